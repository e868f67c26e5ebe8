package join

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"tollgate/cluster/members"
	"tollgate/config/secret"
)

const (
	// certLife is how long a node's certificate lasts. It is renewed long before.
	certLife = 30 * 24 * time.Hour
	// authorityLife is for good: a cluster has one authority.
	authorityLife = 30 * 365 * 24 * time.Hour
	// clockSkew is how far behind the clock of another node may be.
	clockSkew = time.Hour
)

// Authority signs the certificates of the nodes of one cluster.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cluster},
		NotBefore:    now.Add(-24 * clockSkew), NotAfter: now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return &Authority{cert, key}, nil
}

// OpenAuthority opens the authority that the state has.
func OpenAuthority(ca *members.CA, box *secret.Box) (*Authority, error) {
	if ca == nil {
		return nil, errors.New("open the certificate authority: the cluster has none yet")
	}
	cert, err := parseCert(ca.Cert)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	text, err := box.Open("ca", "key", ca.SealedKey)
	if err != nil {
		return nil, fmt.Errorf("open the authority's key: %w", err)
	}
	key, err := parseKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("open the certificate authority: its key and its certificate do not belong together")
	}
	return &Authority{cert, key}, nil
}

// Seal is the authority for the state.
func (a *Authority) Seal(box *secret.Box) (*members.CA, error) {
	text, err := keyPEM(a.key)
	if err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	sealed, err := box.Seal("ca", "key", string(text))
	if err != nil {
		return nil, err
	}
	return &members.CA{Cert: a.PEM(), SealedKey: sealed}, nil
}

// PEM is the authority's certificate.
func (a *Authority) PEM() string { return certPEM(a.cert.Raw) }

// Fingerprint is what tokens know the authority by.
func (a *Authority) Fingerprint() [sha256.Size]byte { return sha256.Sum256(a.cert.Raw) }

// Signed is a node's new certificate and what the members keep of it.
type Signed struct {
	Cert     string // PEM
	KeySum   string
	Serial   string
	NotAfter time.Time
}

// Sign makes a certificate for a node out of its request. Of the request only
// the key counts: who the node is has been proven otherwise.
func (a *Authority) Sign(request []byte, node string, now time.Time) (*Signed, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("check certificate request: the key is not of the curve P-256")
	}
	sum, err := keySum(public)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: node},
		DNSNames:     []string{node},
		NotBefore:    now.Add(-clockSkew), NotAfter: now.Add(certLife).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return &Signed{Cert: certPEM(der), KeySum: sum, Serial: serial.Text(16), NotAfter: template.NotAfter}, nil
}

// newRequest is a certificate request: the key and the proof of holding it.
func newRequest(key *ecdsa.PrivateKey, node string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return serial, nil
}

func keySum(public *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("write public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM in it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a key of kind %T, want ECDSA", key)
	}
	return ec, nil
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func parseCert(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Identity is what a node shows to others.
type Identity struct {
	NodeID string
	// Certificate has the authority's as the last of its chain: a newcomer checks
	// its fingerprint.
	Certificate tls.Certificate
	Roots       *x509.CertPool
	NotBefore   time.Time
	NotAfter    time.Time

	authority *x509.Certificate
}

// newIdentity puts key, certificate and authority together and checks that they
// belong together, but for the time.
func newIdentity(node string, key *ecdsa.PrivateKey, cert, ca string) (*Identity, error) {
	leaf, err := parseCert(cert)
	if err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	root, err := parseCert(ca)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the node's certificate is not of its key")
	}
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != node {
		return nil, fmt.Errorf("the certificate is of node %q, this is node %s", leaf.DNSNames, node)
	}
	id := &Identity{
		NodeID:      node,
		Certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw, root.Raw}, PrivateKey: key, Leaf: leaf},
		Roots:       x509.NewCertPool(),
		NotBefore:   leaf.NotBefore, NotAfter: leaf.NotAfter,
		authority: root,
	}
	id.Roots.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: id.Roots, CurrentTime: leaf.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, fmt.Errorf("the node's certificate is not of this authority: %w", err)
	}
	return id, nil
}
