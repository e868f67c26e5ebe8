package members

import "slices"

// maxKeys bounds the ring: a rotation needs two, an interrupted one three.
const maxKeys = 8

func (s *State) installKey(c *Command) Result {
	if c.Key == nil || c.Key.ID == "" || c.Key.Sealed == "" || tooLong(c.Key.ID) != "" {
		return refuse(CodeBadCommand, "a gossip key takes an id and its sealed bytes")
	}
	if _, ok := s.Key(c.Key.ID); ok {
		return Result{}
	}
	if len(s.Keys) >= maxKeys {
		return refuse(CodeBadCommand, "install gossip key: there are %d: remove one first", len(s.Keys))
	}
	s.Keys = append(s.Keys, *c.Key)
	return Result{}
}

func (s *State) useKey(c *Command) Result {
	if _, ok := s.Key(c.ID); !ok {
		return refuse(CodeUnknownKey, "use gossip key %s: it is not installed", c.ID)
	}
	s.Primary = c.ID
	return Result{}
}

// removeKey lets go of a key. One that is gone already is no fault: the command
// may be a retry.
func (s *State) removeKey(c *Command) Result {
	if c.ID == s.Primary {
		return refuse(CodeKeyInUse, "remove gossip key %s: nodes send with it: use another key first", c.ID)
	}
	if s.Keys = slices.DeleteFunc(s.Keys, func(k GossipKey) bool { return k.ID == c.ID }); len(s.Keys) == 0 {
		s.Keys = nil // as it is read back
	}
	return Result{}
}

// raiseFeature lifts the level to what every member can read.
func (s *State) raiseFeature(c *Command) Result {
	if c.Feature < s.Feature {
		return refuse(CodeFeature, "the feature level is %d and is never lowered", s.Feature)
	}
	for _, n := range s.Nodes() {
		if c.Feature > n.FeatureMax || c.Feature < n.FeatureMin {
			return refuse(CodeFeature, "node %s (%s) speaks feature levels %d to %d, not %d: upgrade it first",
				n.ID, n.Name, n.FeatureMin, n.FeatureMax, c.Feature)
		}
	}
	s.Feature = c.Feature
	return Result{}
}
