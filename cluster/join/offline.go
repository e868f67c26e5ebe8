package join

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tollgate/cluster/members"
	"tollgate/config/secret"
)

// authorityFile keeps the authority where a node can open it before it can read
// the replicated state.
const authorityFile = "ca.sealed"

// authorityJSON is the authority sealed under a data key of its own, which is
// wrapped with the key-encryption key like those of the state.
type authorityJSON struct {
	Form    int         `json:"form"`
	Wrapped string      `json:"wrapped"` // base64
	CA      *members.CA `json:"ca"`
}

// KeepAuthority keeps the authority in the node's files. A cluster that was off
// for longer than a certificate lives could otherwise never start again: no
// node would speak to another, and without a majority none reads the state.
// spare is a box with the node's KEK and nothing else in it.
func (s *Store) KeepAuthority(cluster string, state *members.State, box, spare *secret.Box) error {
	authority, err := OpenAuthority(state.CA, box)
	if err != nil {
		return fmt.Errorf("keep the certificate authority: %w", err)
	}
	wrapped, err := spare.NewDataKey(cluster)
	if err == nil {
		_, err = spare.Install(cluster, wrapped)
	}
	if err != nil {
		return fmt.Errorf("keep the certificate authority: %w", err)
	}
	ca, err := authority.Seal(spare)
	if err != nil {
		return fmt.Errorf("keep the certificate authority: %w", err)
	}
	return s.writeJSON(authorityFile, authorityJSON{storeForm, base64.StdEncoding.EncodeToString(wrapped), ca}, 0o600)
}

// Mend signs this node's certificate anew with the authority that it keeps, for
// a node whose certificate has run out while it was off. spare is as in
// KeepAuthority. ErrNotJoined: no authority is kept here.
func (s *Store) Mend(cluster, node string, spare *secret.Box, now time.Time) (*Identity, error) {
	text, err := s.readSecret(authorityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotJoined
	}
	if err != nil {
		return nil, err
	}
	var kept authorityJSON
	if err := s.parse(authorityFile, text, &kept, &kept.Form); err != nil {
		return nil, err
	}
	wrapped, err := base64.StdEncoding.DecodeString(kept.Wrapped)
	if err == nil {
		_, err = spare.Install(cluster, wrapped)
	}
	if err != nil {
		return nil, fmt.Errorf("open the certificate authority kept in %s: %w", s.path(authorityFile), err)
	}
	authority, err := OpenAuthority(kept.CA, spare)
	if err != nil {
		return nil, err
	}
	key, err := s.Key()
	if err != nil {
		return nil, err
	}
	csr, err := newRequest(key, node)
	if err != nil {
		return nil, err
	}
	signed, err := authority.Sign(csr, node, now)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(node, key, signed.Cert, authority.PEM())
	if err != nil {
		return nil, err
	}
	return id, s.SaveCertificate(signed.Cert, authority.PEM())
}
