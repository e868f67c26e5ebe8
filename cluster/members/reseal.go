package members

// Sealed values of the membership: what each is bound to, and where it stands.
// They are all sealed under the field "key".
const sealedField = "key"

// SealedValues lists every sealed value, for whoever seals them anew. The new
// ones are left for the caller to fill in.
func (s *State) SealedValues() (field string, values []Sealed) {
	add := func(entity, sealed string) {
		if sealed != "" {
			values = append(values, Sealed{Entity: entity, Old: sealed})
		}
	}
	if s.CA != nil {
		add("ca", s.CA.SealedKey)
	}
	for _, k := range s.Keys {
		add("gossip/"+k.ID, k.Sealed)
	}
	for _, t := range sorted(s.tokens, func(t *Token) string { return t.ID }) {
		add("token/"+t.ID, t.SealedKey)
	}
	return sealedField, values
}

func (s *State) reseal(c *Command) Result {
	for _, v := range c.Sealed {
		if v.Entity == "" || v.Old == "" || v.New == "" {
			return refuse(CodeBadCommand, "a value sealed anew takes its entity, the old and the new")
		}
	}
	for _, v := range c.Sealed {
		s.replace(v)
	}
	return Result{}
}

func (s *State) replace(v Sealed) {
	if s.CA != nil && v.Entity == "ca" && s.CA.SealedKey == v.Old {
		ca := *s.CA
		ca.SealedKey = v.New
		s.CA = &ca
	}
	for i := range s.Keys {
		if k := &s.Keys[i]; v.Entity == "gossip/"+k.ID && k.Sealed == v.Old {
			k.Sealed = v.New
		}
	}
	for id, t := range s.tokens {
		if v.Entity == "token/"+id && t.SealedKey == v.Old {
			in := *t
			in.SealedKey = v.New
			s.tokens[id] = &in
		}
	}
}
