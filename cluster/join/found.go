package join

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"

	"tollgate/cluster/members"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

// Founder is what the first leader needs.
type Founder struct {
	ClusterID string
	Node      members.Node // this node
	State     func() *members.State
	Submit    func(ctx context.Context, c *members.Command) (members.Result, error)
	Box       *secret.Box
	Store     *Store
	Logger    *slog.Logger
	Clock     unit.Clock
}

// Found gives the cluster its certificate authority and its first gossip key if
// it has none, and this node its certificate if it has none that is good. The
// leader does it, after the data key; it may be repeated.
func Found(ctx context.Context, f Founder) (*Identity, error) {
	if f.State().CA == nil {
		if err := f.found(ctx); err != nil {
			return nil, fmt.Errorf("found the cluster: %w", err)
		}
	}
	id, err := f.own(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the node's certificate: %w", err)
	}
	return id, nil
}

func (f *Founder) found(ctx context.Context) error {
	authority, err := NewAuthority(f.ClusterID, f.Clock.Now())
	if err != nil {
		return err
	}
	ca, err := authority.Seal(f.Box)
	if err != nil {
		return err
	}
	gossip, err := NewGossipKey(f.Box)
	if err != nil {
		return err
	}
	result, err := f.Submit(ctx, &members.Command{Op: members.OpFound, CA: ca, Key: gossip, Node: &f.Node, Feature: f.Node.FeatureMax})
	if err != nil {
		return err
	}
	if result.Refused == members.CodeExists {
		return nil // another leader was first; its state is here by now
	}
	if err := result.Err(); err != nil {
		return err
	}
	f.Logger.Info("cluster founded", "cluster", f.ClusterID, "index", result.Index)
	return nil
}

// NewGossipKey makes a gossip key, sealed for the state.
func NewGossipKey(box *secret.Box) (*members.GossipKey, error) {
	raw := make([]byte, gossipKeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("make gossip key: %w", err)
	}
	k := &members.GossipKey{ID: KeyID(raw)}
	var err error
	k.Sealed, err = box.Seal("gossip/"+k.ID, "key", base64.StdEncoding.EncodeToString(raw))
	return k, err
}

// own is this node's identity, signed by itself when the files lack it. It is
// how the data directory of a node that was alone gets its certificate, and how
// one that was off for too long gets a new one.
func (f *Founder) own(ctx context.Context) (*Identity, error) {
	state := f.State()
	if state.CA == nil {
		return nil, errors.New("the cluster has no certificate authority")
	}
	keys, err := openKeys(state, f.Box)
	if err != nil {
		return nil, err
	}
	if err := f.Store.SaveKeys(keys, state.Primary); err != nil {
		return nil, err
	}
	if err := f.Store.SavePeers(PeersOf(f.ClusterID, state.Generation, state.Nodes())); err != nil {
		return nil, err
	}
	if id, err := f.Store.Identity(f.Node.ID, f.Clock.Now()); err == nil && certPEM(id.authority.Raw) == state.CA.Cert {
		return id, nil
	}
	key, err := f.Store.Key()
	if err != nil {
		return nil, err
	}
	csr, err := newRequest(key, f.Node.ID)
	if err != nil {
		return nil, err
	}
	signed, err := sign(ctx, signer{state, f.Box, f.Submit, f.Logger, f.Clock}, f.Node.ID, csr)
	if err != nil {
		return nil, err
	}
	if err := f.Store.SaveCertificate(signed.Cert, state.CA.Cert); err != nil {
		return nil, err
	}
	return newIdentity(f.Node.ID, key, signed.Cert, state.CA.Cert)
}
