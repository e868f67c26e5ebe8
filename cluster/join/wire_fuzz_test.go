package join

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzMessagesAreReadOrRefused(f *testing.F) {
	for _, v := range []any{
		ask{Version: 1, Op: askJoin, TokenID: "t", Proof: []byte("p"), CSR: []byte("c")},
		ask{Version: 1, Op: askProbe, Probe: &probe{ID: "a", Expect: 3, Claim: 1}},
		answer{Refused: refuse(CodeForming, "wait")},
	} {
		var b bytes.Buffer
		if err := writeMessage(&b, v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 9, '{'})
	f.Fuzz(func(t *testing.T, data []byte) {
		var a ask
		if readMessage(bytes.NewReader(data), maxAsk, &a) == nil {
			a.subject()
			if _, err := json.Marshal(a); err != nil {
				t.Fatal(err)
			}
		}
		var b answer
		_ = readMessage(bytes.NewReader(data), maxAnswer, &b) // any error will do
	})
}

func FuzzTokensAreReadOrRefused(f *testing.F) {
	t := Token{ID: "0123456789abcdef"}
	text, err := t.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:40])
	f.Add("tg2.x")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := tok.Text()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseToken(again); err != nil || *back != *tok {
			t.Fatalf("%s does not read back: %v", again, err)
		}
	})
}

func FuzzCertificateRequestsAreSignedOrRefused(f *testing.F) {
	f.Add([]byte("?"))
	f.Add([]byte{0x30, 0x82, 0x01})
	a, err := NewAuthority("c", noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, csr []byte) {
		if s, err := a.Sign(csr, "n", noon); err == nil && s.KeySum == "" {
			t.Fatal("signed without a key")
		}
	})
}
