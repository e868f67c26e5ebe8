package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// helloVersion is the version of the first words on a connection. A node
// answers any version up to its own.
const helloVersion = 1

// maxID and maxReason bound what the first words of a connection may take.
const (
	maxID     = 64
	maxReason = 1024
)

var helloMagic = [3]byte{'T', 'G', 'P'}

// kind says what a connection is about.
type kind byte

const (
	kindRaft   kind = 'R'
	kindCall   kind = 'C'
	kindGossip kind = 'G'
)

// String is the metric label.
func (k kind) String() string {
	switch k {
	case kindRaft:
		return "raft"
	case kindCall:
		return "call"
	case kindGossip:
		return "gossip"
	}
	return "unknown"
}

// hello is what a dialler says first. Who it is, its certificate has said.
type hello struct {
	kind       kind
	generation uint64
	cluster    string
}

var (
	errNotHello = errors.New("not a connection of a Tollgate node")
	errTooLong  = errors.New("cluster id is too long")
)

// newerHello is a hello of a release that speaks a later version.
type newerHello byte

func (v newerHello) Error() string {
	return fmt.Sprintf("this node speaks version %d of the node protocol, the caller only version %d: upgrade this node first", helloVersion, byte(v))
}

// append writes the hello: magic, version, kind, generation, cluster id.
func (h hello) append(to []byte) []byte {
	to = append(to, helloMagic[:]...)
	to = append(to, helloVersion, byte(h.kind))
	to = binary.BigEndian.AppendUint64(to, h.generation)
	to = append(to, byte(len(h.cluster)))
	return append(to, h.cluster...)
}

// readHello reads exactly one hello. Magic and version come alone first, so that
// a later version may look different behind them.
func readHello(r io.Reader) (hello, error) {
	var b [10]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	if [3]byte(b[:3]) != helloMagic || b[3] == 0 {
		return hello{}, errNotHello
	}
	if b[3] > helloVersion {
		return hello{}, newerHello(b[3])
	}
	if _, err := io.ReadFull(r, b[:10]); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	h := hello{kind: kind(b[0]), generation: binary.BigEndian.Uint64(b[1:])}
	if b[9] > maxID {
		return hello{}, errTooLong
	}
	id := make([]byte, b[9])
	if _, err := io.ReadFull(r, id); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	h.cluster = string(id)
	return h, nil
}

// statusOK is the answer that lets the connection go on; any other is the number
// of a reason, with the sentence for people behind it.
const statusOK = 0

// writeStatus answers a hello.
func writeStatus(w io.Writer, refused *Refused) error {
	if refused == nil {
		_, err := w.Write([]byte{statusOK})
		return err
	}
	text := refused.Message
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	b := append(make([]byte, 0, 3+len(text)), refused.Reason.status())
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	_, err := w.Write(append(b, text...))
	return err
}

// readStatus reads the answer to a hello: nil, a *Refused, or what went wrong.
func readStatus(r io.Reader) error {
	var b [2]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return fmt.Errorf("read answer to hello: %w", err)
	}
	status := b[0]
	if status == statusOK {
		return nil
	}
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return fmt.Errorf("read refusal: %w", err)
	}
	n := binary.BigEndian.Uint16(b[:])
	if n > maxReason {
		return fmt.Errorf("read refusal: %d bytes of text, the most is %d", n, maxReason)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("read refusal: %w", err)
	}
	return &Refused{Reason: reasonOf(status), Message: string(text)}
}
