package call

import (
	"encoding/hex"
	"reflect"
	"testing"
)

func FuzzReadKept(f *testing.F) {
	f.Add((&keptCall{stream: true, id: "call", modelID: "m", group: "g", body: []byte("data: {}\n\n")}).append(nil))
	f.Add((&keptCall{large: true}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := readKept(b)
		if err != nil {
			return
		}
		again, err := readKept(k.append(nil))
		if err != nil || !reflect.DeepEqual(k, again) {
			t.Fatalf("%+v became %+v: %v", k, again, err)
		}
	})
}

func TestAnswersThatTheFirstReleaseKeptAreRead(t *testing.T) {
	const first = "0101026964056d6f64656c0567726f7570646174613a207b7d0a0a"
	b, err := hex.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	want := keptCall{stream: true, id: "id", modelID: "model", group: "group", body: []byte("data: {}\n\n")}
	got, err := readKept(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if now := hex.EncodeToString(want.append(nil)); now != first {
		t.Fatalf("it is written as %s", now)
	}
}
