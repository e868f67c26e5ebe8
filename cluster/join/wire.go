package join

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tollgate/cluster/members"
)

// wireVersion is the form of the messages on a join connection.
const wireVersion = 1

const (
	// maxAsk bounds what a stranger can make a node read and keep.
	maxAsk = 64 << 10
	// maxAnswer leaves room for a thousand members.
	maxAnswer = 4 << 20

	// talkWithin bounds one exchange, agreement of the cluster included.
	talkWithin = 20 * time.Second
	// askWithin bounds how long a stranger may take over its question.
	askWithin = 10 * time.Second
)

// What is asked on a join connection.
const (
	askJoin   = "join"
	askProbe  = "probe"  // who are you, between machines that form a cluster
	askWhoami = "whoami" // is it you who lives there
)

// ask is the one message of the side that dials.
type ask struct {
	Version int    `json:"v"`
	Op      string `json:"op"`
	TokenID string `json:"token,omitempty"` // "": the cluster's secret
	Proof   []byte `json:"proof,omitempty"`

	// Of a join. ClusterID and Generation are of a node that comes back.
	Node       *members.Node `json:"node,omitempty"`
	CSR        []byte        `json:"csr,omitempty"`
	ClusterID  string        `json:"cluster_id,omitempty"`
	Generation uint64        `json:"generation,omitempty"`

	Probe *probe `json:"probe,omitempty"`
}

// subject is the node that an ask is about, as bound into its proof.
func (a *ask) subject() (role, id string) {
	switch {
	case a.Node != nil:
		return string(a.Node.Role), a.Node.ID
	case a.Probe != nil:
		return "", a.Probe.ID
	}
	return "", ""
}

// answer is the one message back. Without Proof only Refused counts.
type answer struct {
	Version int       `json:"v"`
	Proof   []byte    `json:"proof,omitempty"`
	Refused *Refusal  `json:"refused,omitempty"`
	Welcome *Welcome  `json:"welcome,omitempty"`
	Seen    *sighting `json:"seen,omitempty"`
	Whoami  *Whoami   `json:"whoami,omitempty"`
}

// writeMessage writes one message behind its length.
func writeMessage(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	if _, err := w.Write(append(out, data...)); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// readMessage reads one message of at most limit bytes. It keeps only what has
// arrived: a length costs its sender as much as us.
func readMessage(r io.Reader, limit uint32, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > limit {
		return fmt.Errorf("read message: it says it has %d bytes, the most is %d", size, limit)
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if len(data) < int(size) {
		return fmt.Errorf("read message: %w", io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

// SecretKey derives from the operator's cluster secret, or from the master key,
// what both sides of a join prove.
func SecretKey(text string) ([]byte, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, errors.New("derive the cluster secret's key: the secret is empty")
	}
	key, err := hkdf.Key(sha256.New, []byte(text), nil, "tollgate cluster secret v1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the cluster secret's key: %w", err)
	}
	return key, nil
}

// exported is what the two ends of this TLS session, and nobody between them,
// have in common. A proof bound to it is worth nothing elsewhere.
func exported(conn *tls.Conn) ([]byte, error) {
	state := conn.ConnectionState()
	value, err := state.ExportKeyingMaterial("EXPORTER-tollgate-join-1", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind the proof to the connection: %w", err)
	}
	return value, nil
}

// prove is the proof of one side. The side's name keeps one from being sent
// back as the other.
func prove(key, session []byte, side string, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(session)
	for _, p := range append([]string{side}, parts...) {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		mac.Write([]byte(p))
	}
	return mac.Sum(nil)
}

func (a *ask) prove(key, session []byte) []byte {
	role, id := a.subject()
	return prove(key, session, "ask", a.Op, a.TokenID, role, id)
}

func proveAnswer(key, session []byte) []byte { return prove(key, session, "answer") }

// talk asks and reads the answer. With a key both sides prove that they have
// it; what comes without proof is at most a refusal.
func talk(ctx context.Context, conn *tls.Conn, key []byte, a *ask) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, talkWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only on a closed connection
	defer stop()
	got, err := talkNow(conn, key, a)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return got, err
}

func talkNow(conn *tls.Conn, key []byte, a *ask) (*answer, error) {
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	session, err := exported(conn)
	if err != nil {
		return nil, err
	}
	a.Version = wireVersion
	if key != nil {
		a.Proof = a.prove(key, session)
	}
	if err := writeMessage(conn, a); err != nil {
		return nil, err
	}
	var got answer
	if err := readMessage(conn, maxAnswer, &got); err != nil {
		return nil, err
	}
	if got.Refused != nil {
		return nil, got.Refused
	}
	if key != nil && !hmac.Equal(got.Proof, proveAnswer(key, session)) {
		return nil, ErrUnproven
	}
	return &got, nil
}
