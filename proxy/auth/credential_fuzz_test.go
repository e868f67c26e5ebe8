package auth_test

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/auth"
)

func FuzzCredential(f *testing.F) {
	for _, v := range []string{"Bearer sk-1", "bearer", "Basic eA==", "AWS4-HMAC-SHA256 Credential=Bearer sk/1", "AWS4-HMAC-SHA256 Credential=Bearer ", "", "\x00"} {
		f.Add("Authorization", v, "")
		f.Add("x-litellm-api-key", v, "")
		f.Add("x-api-key", v, "x-api-key")
	}
	s := state1(f)
	f.Fuzz(func(t *testing.T, name, value, custom string) {
		var h fasthttp.RequestHeader
		raw := "POST / HTTP/1.1\r\nHost: x\r\n" + name + ": " + value + "\r\n\r\n"
		if h.Read(bufio.NewReader(bytes.NewReader([]byte(raw)))) != nil {
			return
		}
		key, ref := auth.Credential(&h, custom)
		if (key == nil) == (ref == nil) && len(key) > 0 {
			t.Fatalf("key %q and refusal %v", key, ref)
		}
		if ref == nil {
			if p, no := auth.Identify(s, auth.Hash([]byte("sk-master")), key, time.Now(), false); no == nil && string(key) != "sk-master" {
				t.Fatalf("%q is nobody's key, and is %+v", key, p)
			}
		}
	})
}
