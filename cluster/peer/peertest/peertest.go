// Package peertest makes a certificate authority and cluster ports for tests of
// rooms that talk over them. It is no part of the server.
package peertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"tollgate/cluster/peer"
)

// Authority signs certificates of nodes.
type Authority struct {
	Cert *x509.Certificate
	Pool *x509.CertPool
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Cert: cert, Pool: x509.NewCertPool(), key: key}
	a.Pool.AddCert(cert)
	return a
}

// Certificate makes one for a node, with the authority's own behind it.
func (a *Authority) Certificate(t testing.TB, node string) tls.Certificate {
	t.Helper()
	return a.CertificateUntil(t, node, time.Now().Add(12*time.Hour))
}

// CertificateUntil makes one that ends at a given time.
func (a *Authority) CertificateUntil(t testing.TB, node string, end time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: node}, DNSNames: []string{node},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.Cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.Cert.Raw}, PrivateKey: key}
}

// Identity is a node's, in cluster "test" of generation 1.
func (a *Authority) Identity(t testing.TB, node string) peer.Identity {
	t.Helper()
	return peer.Identity{ClusterID: "test", Generation: 1, NodeID: node, Certificate: a.Certificate(t, node), Roots: a.Pool}
}

// Listen opens a port on loopback, closed when the test ends.
func Listen(t testing.TB, cfg peer.Config) *peer.Port {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	p, err := peer.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Run runs a port until the test ends or stop is called; stop waits for Run.
func Run(t testing.TB, p *peer.Port) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("cluster port: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Start runs a port for each node, of one cluster, with a book that they share.
func Start(t testing.TB, a *Authority, nodes ...string) []*peer.Port {
	t.Helper()
	book := peer.NewBook()
	var out []*peer.Port
	for _, node := range nodes {
		p := Listen(t, peer.Config{Book: book})
		if err := p.SetIdentity(a.Identity(t, node)); err != nil {
			t.Fatal(err)
		}
		book.Set(node, p.Advertise())
		out = append(out, p)
	}
	for _, p := range out {
		Run(t, p)
	}
	return out
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
