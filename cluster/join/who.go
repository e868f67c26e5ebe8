package join

import (
	"context"
	"errors"
	"fmt"
)

// Who asks who lives at an address. The answer is that of a node of id's own
// cluster: it has shown a certificate of the cluster's for the id that it says.
func Who(ctx context.Context, dial Dialler, id *Identity, addr string) (Whoami, error) {
	if id == nil {
		return Whoami{}, ErrNotJoined
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return Whoami{}, err
	}
	defer conn.Close() // what was said is said
	if err := conn.HandshakeContext(ctx); err != nil {
		return Whoami{}, err
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	if err := leaf.CheckSignatureFrom(id.authority); err != nil {
		return Whoami{}, fmt.Errorf("the node at %s is of another cluster: %w", addr, err)
	}
	got, err := talk(ctx, conn, nil, &ask{Op: askWhoami})
	if err != nil {
		return Whoami{}, err
	}
	if got.Whoami == nil {
		return Whoami{}, errors.New("the node there does not say who it is")
	}
	if err := leaf.VerifyHostname(got.Whoami.ID); err != nil {
		return Whoami{}, fmt.Errorf("the node at %s says another id than its certificate: %w", addr, err)
	}
	return *got.Whoami, nil
}
