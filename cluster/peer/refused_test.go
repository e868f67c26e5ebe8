package peer_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
)

func TestRefusalIsOneClearLineOnBothSides(t *testing.T) {
	a := peertest.NewAuthority(t)
	for name, c := range map[string]struct {
		change func(*peer.Identity)
		forget bool
		reason peer.Reason
		says   string
	}{
		"forgotten":      {func(*peer.Identity) {}, true, peer.ReasonNotMember, "node node-b is not a member of this cluster: it was forgotten or never joined"},
		"other cluster":  {func(id *peer.Identity) { id.ClusterID = "prod" }, false, peer.ReasonOtherCluster, "node node-b is of cluster prod, this node of cluster test"},
		"old generation": {func(id *peer.Identity) { id.Generation = 0 }, false, peer.ReasonOldGeneration, "was recovered since: remove DATA/raft and DATA/cluster and join again"},
		"stale server":   {func(id *peer.Identity) { id.Generation = 2 }, false, peer.ReasonStaleServer, "node node-a is of generation 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var here, there lines
			reg := prometheus.NewRegistry()
			server := peertest.Listen(t, peer.Config{Logger: here.logger(), Registerer: reg})
			set(t, server, a.Identity(t, "node-a"))
			server.Handle("echo", echo)
			if c.forget {
				server.SetAllow(func(id string) error { return peer.NotMember(id) })
			}
			peertest.Run(t, server)
			client := peertest.Listen(t, peer.Config{Logger: there.logger()})
			id := a.Identity(t, "node-b")
			c.change(&id)
			set(t, client, id)
			client.Book().Set("node-a", server.Advertise())
			for range 3 {
				_, err := client.Call(within(t), "node-a", "echo", nil)
				require.ErrorIs(t, err, peer.ErrUnreached)
				var refused *peer.Refused
				require.ErrorAs(t, err, &refused)
				require.Equal(t, c.reason, refused.Reason)
				require.ErrorContains(t, err, c.says)
			}
			require.Equal(t, 1, here.with(c.says))
			require.Equal(t, 1, there.with(c.says))
			require.EqualValues(t, 3, total(t, reg, "tollgate_peer_refusals_total", string(c.reason)))
		})
	}
}

func TestStrangersAreRefusedWithOneLine(t *testing.T) {
	a := peertest.NewAuthority(t)
	withCert := func(cert *tls.Certificate) func(t *testing.T, addr string) {
		return func(t *testing.T, addr string) {
			cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"tollgate-peer/1"}}
			if cert != nil {
				cfg.Certificates = []tls.Certificate{*cert}
			}
			c, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, err = io.ReadAll(c)
			require.Error(t, err)
		}
	}
	foreign := peertest.NewAuthority(t).Certificate(t, "node-b")
	expired := a.CertificateUntil(t, "node-b", time.Now().Add(-time.Minute))
	good := a.Certificate(t, "node-b")
	for name, c := range map[string]struct {
		come   func(t *testing.T, addr string)
		reason string
	}{
		"plain TCP": {func(t *testing.T, addr string) {
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			require.NoError(t, err)
			_, _ = io.ReadAll(c)
		}, "not_tls"},
		"no certificate":      {withCert(nil), "handshake"},
		"other authority":     {withCert(&foreign), "certificate"},
		"expired certificate": {withCert(&expired), "certificate"},
		"no hello": {func(t *testing.T, addr string) {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"tollgate-peer/1"}, Certificates: []tls.Certificate{good}})
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write([]byte("GET / HTTP/1.1\r\n"))
			require.NoError(t, err)
			_, _ = io.ReadAll(c)
		}, "hello"},
		"old TLS": {func(t *testing.T, addr string) {
			_, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
			require.Error(t, err)
		}, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			reg := prometheus.NewRegistry()
			p := peertest.Listen(t, peer.Config{Logger: log.logger(), Registerer: reg})
			set(t, p, a.Identity(t, "node-a"))
			peertest.Run(t, p)
			for range 3 {
				c.come(t, p.Addr())
			}
			require.Eventually(t, func() bool {
				return total(t, reg, "tollgate_peer_refusals_total", c.reason) == 3
			}, 5*time.Second, time.Millisecond)
			require.Equal(t, 1, log.with("connection refused"))
		})
	}
}

func TestSilentConnectionsAreClosedAndBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := peertest.Listen(t, peer.Config{FirstBytes: 200 * time.Millisecond, MaxPending: 8, Registerer: reg})
	peertest.Run(t, p)
	var open []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", p.Addr())
		require.NoError(t, err)
		open = append(open, c)
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "closed by the port")
		_ = c.Close()
	}
	require.EqualValues(t, 4, total(t, reg, "tollgate_peer_refusals_total", "silent")+total(t, reg, "tollgate_peer_refusals_total", "too_many"))

	slow := peertest.Listen(t, peer.Config{MaxPending: 8, Registerer: prometheus.NewRegistry()})
	peertest.Run(t, slow)
	for range 2 {
		c, err := net.Dial("tcp", slow.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	third, err := net.Dial("tcp", slow.Addr())
	require.NoError(t, err)
	defer func() { _ = third.Close() }()
	_ = third.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = third.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "one address may hold two of eight")
}

func TestHelloOfALaterReleaseIsToldWhichNodeToUpgrade(t *testing.T) {
	a := peertest.NewAuthority(t)
	for name, c := range map[string]struct{ hello, says string }{
		"version": {"TGP\x02whatever a later release sends", "speaks version 1 of the node protocol, the caller only version 2"},
		"kind":    {"TGP\x01Z\x00\x00\x00\x00\x00\x00\x00\x01\x04test", "does not know connections of kind 'Z'"},
		"serving": {"TGP\x01R\x00\x00\x00\x00\x00\x00\x00\x01\x04test", "does not serve raft yet"},
	} {
		t.Run(name, func(t *testing.T) {
			p := peertest.Start(t, a, "node-a")[0]
			raw, err := tls.Dial("tcp", p.Addr(), &tls.Config{
				InsecureSkipVerify: true, NextProtos: []string{"tollgate-peer/1"}, Certificates: []tls.Certificate{a.Certificate(t, "node-b")},
			})
			require.NoError(t, err)
			defer func() { _ = raw.Close() }()
			_, err = raw.Write([]byte(c.hello))
			require.NoError(t, err)
			answer, _ := io.ReadAll(raw)
			require.Contains(t, string(answer), c.says)
		})
	}
}

func TestOwnExpiredCertificateIsNamedOnTheDiallersSide(t *testing.T) {
	a := peertest.NewAuthority(t)
	server := peertest.Start(t, a, "node-a")[0]
	var log lines
	client := peertest.Listen(t, peer.Config{Logger: log.logger(), Book: server.Book()})
	id := a.Identity(t, "node-b")
	id.Certificate = a.CertificateUntil(t, "node-b", time.Now().Add(-time.Minute))
	set(t, client, id)
	for range 3 {
		_, err := client.Call(within(t), "node-a", "echo", nil)
		require.ErrorIs(t, err, peer.ErrUnreached)
		require.ErrorContains(t, err, "does not take this node's certificate")
	}
	require.Equal(t, 1, log.with("does not take this node's certificate"))
}

func TestANodeHearsThatOthersDoNotTakeIt(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	type word struct {
		node   string
		reason peer.Reason
	}
	words := make(chan word, 4)
	for _, p := range p {
		p.OnRefused(func(node string, r *peer.Refused) { words <- word{node, r.Reason} })
	}
	p[0].SetAllow(func(id string) error { return peer.NotMember(id) })
	_, err := p[1].Call(within(t), "node-a", "echo", nil)
	require.Error(t, err)
	require.Equal(t, word{"node-a", peer.ReasonNotMember}, <-words)
	_, err = p[0].Call(within(t), "node-b", "echo", nil)
	require.Error(t, err, "its own refusal")
	require.Empty(t, words)

	id := a.Identity(t, "node-b")
	id.Generation = 2
	set(t, p[1], id)
	_, err = p[1].Call(within(t), "node-a", "echo", nil)
	require.Error(t, err)
	require.ElementsMatch(t, []word{{"node-a", peer.ReasonStaleServer}, {"node-b", peer.ReasonStaleServer}}, []word{<-words, <-words}, "both know who is behind")
}
