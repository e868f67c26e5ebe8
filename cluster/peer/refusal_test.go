package peer

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
)

func TestRepeatedRefusalsAreLoggedOnceAMinuteWithTheirNumber(t *testing.T) {
	var buf bytes.Buffer
	now := time.Unix(1_700_000_000, 0)
	talk := NewRefusalLog(slog.New(slog.NewTextHandler(&buf, nil)), unit.ClockFunc(func() time.Time { return now }))
	for range 5 {
		talk.Warn("refused", "10.0.0.1", reasonNotTLS)
	}
	talk.Warn("refused", "10.0.0.1", reasonCertificate)
	talk.Warn("refused", "10.0.0.2", reasonNotTLS)
	require.Equal(t, 3, strings.Count(buf.String(), "refused"))
	buf.Reset()
	now = now.Add(quietFor + time.Second)
	talk.Warn("refused", "10.0.0.1", reasonNotTLS)
	require.Contains(t, buf.String(), "repeated=4")
}

func TestFloodFromManyAddressesTakesBoundedMemory(t *testing.T) {
	talk := NewRefusalLog(slog.New(slog.DiscardHandler), unit.SystemClock{})
	for i := range 10 * maxTalkers {
		talk.Warn("refused", fmt.Sprint(i), reasonNotTLS)
	}
	require.LessOrEqual(t, len(talk.said), maxTalkers)
}
