package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"tollgate/config/unit"
)

// The protocols, chosen in the TLS handshake.
const (
	protocolPeer = "tollgate-peer/1"
	protocolJoin = "tollgate-join/1"
)

// unjoinedName stands in the certificate of a node that has none of a cluster
// yet, so that a node which dials it too early learns why it is not let in.
const unjoinedName = "unjoined.tollgate.invalid"

// Identity is who this node is, to other nodes.
type Identity struct {
	ClusterID  string
	Generation uint64 // of recovery
	NodeID     string

	// Certificate carries NodeID as its only DNS name. The authority's own
	// certificate is the last of the chain: a newcomer checks its fingerprint.
	Certificate tls.Certificate
	Roots       *x509.CertPool
}

// identity is an Identity with what follows from it, immutable.
type identity struct {
	Identity
	server *tls.Config // for connections between nodes
	join   *tls.Config
}

func newIdentity(id Identity, clock unit.Clock) (*identity, error) {
	if id.NodeID == "" || id.ClusterID == "" || len(id.ClusterID) > maxID {
		return nil, errors.New("node id and cluster id are needed")
	}
	if id.Roots == nil || len(id.Certificate.Certificate) == 0 {
		return nil, errors.New("certificate and roots are needed")
	}
	leaf, err := x509.ParseCertificate(id.Certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	name, err := nodeOf(leaf)
	if err != nil {
		return nil, err
	}
	if name != id.NodeID {
		return nil, fmt.Errorf("certificate is of node %s, not of %s", name, id.NodeID)
	}
	id.Certificate.Leaf = leaf
	n := &identity{Identity: id, join: joinConfig(id.Certificate, clock)}
	n.server = base(clock)
	n.server.Certificates = []tls.Certificate{id.Certificate}
	n.server.NextProtos = []string{protocolPeer}
	n.server.ClientAuth = tls.RequireAndVerifyClientCert
	n.server.ClientCAs = id.Roots
	return n, nil
}

// client is the configuration for dialling node, or whoever answers when node
// is empty.
func (id *identity) client(node string, clock unit.Clock) *tls.Config {
	c := base(clock)
	c.Certificates = []tls.Certificate{id.Certificate}
	c.NextProtos = []string{protocolPeer}
	// Verified below instead: the name is a node's id and may be unknown yet.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error { return id.verify(s, node, clock) }
	return c
}

// verify proves that the other side is a node of the same authority, and which.
func (id *identity) verify(s tls.ConnectionState, node string, clock unit.Clock) error {
	leaf := s.PeerCertificates[0]
	if slices.Contains(leaf.DNSNames, unjoinedName) {
		return errors.New("the node there has not joined a cluster yet")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: id.Roots, Intermediates: between, CurrentTime: clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	name, err := nodeOf(leaf)
	if err != nil {
		return err
	}
	if node != "" && name != node {
		return fmt.Errorf("node %s is there, not %s", name, node)
	}
	return nil
}

// nodeOf is the id that a certificate of our authority proves.
func nodeOf(leaf *x509.Certificate) (string, error) {
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] == "" || len(leaf.DNSNames[0]) > maxID {
		return "", fmt.Errorf("certificate %s is not a node's: %d names in it, not one", leaf.SerialNumber, len(leaf.DNSNames))
	}
	return leaf.DNSNames[0], nil
}

func base(clock unit.Clock) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		Time:       clock.Now,
		// Connections live long; a resumed one would skip the check of a
		// certificate that may have run out since.
		SessionTicketsDisabled: true,
	}
}

func joinConfig(cert tls.Certificate, clock unit.Clock) *tls.Config {
	c := base(clock)
	c.Certificates = []tls.Certificate{cert}
	c.NextProtos = []string{protocolJoin}
	return c
}

// unjoinedConfig serves other nodes while this one has no identity: they see at
// once that they came too early.
func unjoinedConfig(cert tls.Certificate, clock unit.Clock) *tls.Config {
	c := base(clock)
	c.Certificates = []tls.Certificate{cert}
	c.NextProtos = []string{protocolPeer}
	return c
}

// ephemeral is a certificate that proves nothing, for joining before there is a
// cluster: the two sides prove a secret over the session instead.
func ephemeral(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: unjoinedName}, DNSNames: []string{unjoinedName},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
