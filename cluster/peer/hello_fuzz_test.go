package peer

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

func FuzzHelloRoundTripsOrIsRefused(f *testing.F) {
	f.Add(hello{kind: kindRaft, generation: 7, cluster: "test"}.append(nil))
	f.Add([]byte("TGP\x02anything"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := readHello(r)
		if err != nil {
			return
		}
		if len(h.cluster) > maxID {
			t.Fatalf("cluster id of %d bytes", len(h.cluster))
		}
		read := len(b) - r.Len()
		if again := h.append(nil); b[3] == helloVersion && !bytes.Equal(again, b[:read]) {
			t.Fatalf("%x became %x", b[:read], again)
		}
	})
}

func FuzzAnswerToHelloIsBounded(f *testing.F) {
	var ok, no bytes.Buffer
	_ = writeStatus(&ok, nil)
	_ = writeStatus(&no, NotMember("node"))
	f.Add(ok.Bytes())
	f.Add(no.Bytes())
	f.Add([]byte{1, 0xff, 0xff, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		err := readStatus(bytes.NewReader(b))
		var refused *Refused
		if !errors.As(err, &refused) {
			return
		}
		if len(refused.Message) > maxReason || refused.Reason == "" {
			t.Fatalf("%q: %d bytes", refused.Reason, len(refused.Message))
		}
		var again bytes.Buffer
		_ = writeStatus(&again, refused)
		if refused.Reason != ReasonUnknown && utf8.ValidString(refused.Message) && !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%x became %x", b, again.Bytes())
		}
	})
}
