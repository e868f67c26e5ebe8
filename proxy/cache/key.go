package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"

	"tollgate/config/model"
	"tollgate/proxy/jsonscan"
)

// Question is what an answer depends on. Two calls with equal questions may have
// the same answer, whoever asks by which route and in which order of fields.
type Question struct {
	Kind  string // of call: answers of different kinds have different shapes
	Group string // the model group
	// Fields are the request's. Gateway says which of them do not reach a provider.
	Fields  *jsonscan.Object
	Gateway func(key []byte) bool
	// Beta names what a client's headers switch on at the provider.
	Beta string
	// Owner is who alone may have the answer, "" when anybody may; Regions are
	// those in which it may be, empty anywhere.
	Owner     string
	Regions   []string
	Namespace string
}

// Key is the name under which the answer is kept: a hash, behind its namespace
// if there is one.
func (q *Question) Key() string { return q.key(nil) }

// ItemKey is that of one item of an embedding's input, raw.
func (q *Question) ItemKey(item []byte) string { return q.key(item) }

func (q *Question) key(item []byte) string {
	h := sha256.New()
	add(h, "tollgate 1")
	add(h, q.Kind)
	add(h, q.Group)
	add(h, q.Beta)
	add(h, q.Owner)
	regions := slices.Sorted(slices.Values(q.Regions))
	for _, r := range slices.Compact(regions) {
		add(h, "region")
		add(h, r)
	}
	fields := q.relevant()
	var compact []byte
	for _, f := range fields {
		value := f.Value
		if item != nil && string(f.Key) == "input" {
			value = item
		}
		add(h, "field")
		add(h, f.Key)
		// White space is nobody's meaning. The order inside of objects is: a model
		// reads a tool's parameters as they are written.
		compact = jsonscan.Compact(compact[:0], value)
		add(h, compact)
	}
	var sum [sha256.Size]byte
	text := hex.EncodeToString(h.Sum(sum[:0]))
	if q.Namespace != "" {
		return q.Namespace + ":" + text
	}
	return text
}

// relevant are the fields that say what is asked, sorted. How the answer travels
// and what the gateway notes of the call do not change it; null is as absent.
func (q *Question) relevant() []jsonscan.Field {
	all := q.Fields.Fields()
	out := make([]jsonscan.Field, 0, len(all))
	for _, f := range all {
		switch string(f.Key) {
		case "model", "stream", "stream_options", "metadata":
			continue
		}
		if jsonscan.IsNull(f.Value) || q.Gateway != nil && q.Gateway(f.Key) {
			continue
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b jsonscan.Field) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	return out
}

// add writes a part and its length, so that no two rows of parts look alike.
func add[T string | []byte](h hash.Hash, part T) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(part)))
	_, _ = h.Write(n[:]) // a hash takes everything
	_, _ = h.Write([]byte(part))
}

// GroupOf is the name under which a model group's answers are kept: that of the
// caching group it is in, or its own.
func GroupOf(c *model.Cache, group string) string {
	for _, list := range c.Groups {
		if slices.Contains(list, group) {
			sorted := slices.Sorted(slices.Values(list))
			name := "caching_group"
			for _, g := range sorted {
				name += "\x00" + g
			}
			return name
		}
	}
	return group
}
