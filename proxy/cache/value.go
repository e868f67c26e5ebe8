package cache

import (
	"errors"
	"strconv"
	"time"

	"tollgate/config/unit"
	"tollgate/proxy/jsonscan"
)

// version is that of the stored form. A value of another is a miss: caches are
// shared by nodes of different releases.
const version = 1

// Value is one kept answer.
type Value struct {
	At         time.Time // when it was given
	Kind       string    // of the call, in LiteLLM's words (acompletion)
	ID         string    // the provider's
	Model      string    // as the provider named it
	Deployment string
	Cost       unit.Money // what it took
	Body       []byte     // one JSON object: the whole answer, or one item of an embedding's
}

// Encode is the stored form: {"timestamp", "response"} as LiteLLM's, and what we
// need besides.
func (v *Value) Encode() []byte {
	b := make([]byte, 0, len(v.Body)+256)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, version, 10)
	b = append(jsonscan.AppendKey(b, "timestamp"), strconv.FormatFloat(float64(v.At.UnixMicro())/1e6, 'f', 6, 64)...)
	b = jsonscan.AppendText(b, "kind", v.Kind)
	b = jsonscan.AppendText(b, "id", v.ID)
	b = jsonscan.AppendText(b, "model", v.Model)
	b = jsonscan.AppendText(b, "deployment", v.Deployment)
	b = jsonscan.AppendInt(b, "cost_nano", int64(v.Cost))
	return append(jsonscan.AppendRaw(b, "response", v.Body), '}')
}

var errNoValue = errors.New("this is no kept answer of this release")

// Decode reads what Encode wrote, or refuses it: whoever may write to a shared
// store is not always one of us. Body is part of data.
func Decode(data []byte) (*Value, error) {
	var o jsonscan.Object
	if err := o.Parse(data); err != nil {
		return nil, errNoValue
	}
	number := func(key string) int64 {
		raw, _ := o.Get(key)
		n, _ := jsonscan.Int(raw)
		return n
	}
	text := func(key string) string {
		raw, _ := o.Get(key)
		s, _ := jsonscan.String(raw)
		return s
	}
	raw, _ := o.Get("timestamp")
	at, err := strconv.ParseFloat(string(raw), 64)
	body, _ := o.Get("response")
	if number("v") != version || err != nil || !(at > 0 && at < 1e11) || !jsonscan.IsObject(body) {
		return nil, errNoValue
	}
	v := &Value{At: time.UnixMicro(int64(at * 1e6)), Kind: text("kind"), ID: text("id"), Model: text("model"),
		Deployment: text("deployment"), Cost: unit.Money(number("cost_nano")), Body: body}
	if v.Cost < 0 {
		return nil, errNoValue
	}
	return v, nil
}
