package clusterapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/proxy/clusterapi"
)

func TestABackupIsStreamedAsAFile(t *testing.T) {
	w := newWorld(t)
	content := strings.Repeat("state ", 100_000)
	w.f.backup = func(_ context.Context, out io.Writer) error {
		_, err := io.WriteString(out, content)
		return err
	}
	a := w.call("master", "GET", "/cluster/backup", "")
	require.NoError(t, a.err)
	require.Equal(t, 200, a.status)
	require.Equal(t, "application/octet-stream", a.header("Content-Type"))
	require.Equal(t, `attachment; filename="tollgate-20260115-120000.snapshot"`, a.header("Content-Disposition"))
	require.Equal(t, content, a.body)
}

func TestABackupThatBreaksOffDoesNotLookWhole(t *testing.T) {
	w := newWorld(t)
	w.f.backup = func(_ context.Context, out io.Writer) error {
		if _, err := io.WriteString(out, "the first half"); err != nil {
			return err
		}
		return errAway
	}
	// The client of the standard library: what most tools are made with.
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return w.client.Dial("node")
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, "http://node/cluster/backup", nil)
	require.NoError(t, err)
	req.Header.Set("X-Api-Key", "master")
	res, err := client.Do(req)
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, res.Body.Close())
}

func TestABackupStopsWhenTheClientLeaves(t *testing.T) {
	w := newWorld(t)
	stopped := make(chan error, 1)
	w.f.backup = func(ctx context.Context, out io.Writer) error {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := out.Write(chunk); err != nil {
				<-ctx.Done()
				stopped <- err
				return err
			}
		}
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI("http://node/cluster/backup")
	req.Header.Set("X-Api-Key", "master")
	require.NoError(t, w.client.Do(req, resp))
	_, err := io.ReadFull(resp.BodyStream(), make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, resp.CloseBodyStream())
	require.ErrorIs(t, <-stopped, io.ErrClosedPipe)
}

func TestRotationOfTheGossipKeyTellsEachStepAsItComes(t *testing.T) {
	w := newWorld(t)
	next := make(chan struct{})
	w.f.rotate = func(progress func(string)) error {
		progress("installed on 3 of 3 nodes")
		<-next
		progress("in use")
		return nil
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI("http://node/cluster/gossip/rotate")
	req.Header.SetMethod("POST")
	req.Header.Set("X-Api-Key", "master")
	require.NoError(t, w.client.Do(req, resp))
	first := `{"step":"installed on 3 of 3 nodes"}` + "\n"
	got := make([]byte, len(first))
	_, err := io.ReadFull(resp.BodyStream(), got)
	require.NoError(t, err)
	require.Equal(t, first, string(got), "told before the rotation is over")
	close(next)
	rest, err := io.ReadAll(resp.BodyStream())
	require.NoError(t, err)
	require.Equal(t, "{\"step\":\"in use\"}\n{\"done\":true}\n", string(rest))
	require.NoError(t, resp.CloseBodyStream())
}

func TestARotationThatFailsHalfwaySaysSoOnItsLastLine(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errAway, `{"error":{"message":"no quorum","code":"no_quorum"}}`},
		{&clusterapi.Fault{Status: 409, Code: "unreachable", Message: "node-3 does not answer."}, `{"error":{"message":"node-3 does not answer.","code":"unreachable"}}`},
	} {
		w := newWorld(t)
		w.f.rotate = func(progress func(string)) error {
			progress("installed")
			return c.err
		}
		a := w.call("master", "POST", "/cluster/gossip/rotate", "")
		require.NoError(t, a.err)
		require.Equal(t, "{\"step\":\"installed\"}\n"+c.want+"\n", a.body)
	}
}

func TestARotationIsFinishedAlsoWhenNobodyReads(t *testing.T) {
	w := newWorld(t)
	finished := make(chan struct{})
	w.f.rotate = func(progress func(string)) error {
		for range 5000 {
			progress("a step that is much told")
		}
		close(finished)
		return nil
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI("http://node/cluster/gossip/rotate")
	req.Header.SetMethod("POST")
	req.Header.Set("X-Api-Key", "master")
	require.NoError(t, w.client.Do(req, resp))
	<-finished
	require.NoError(t, resp.CloseBodyStream())
}
