package anthropic_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/proxy/jsonscan"
)

// TestAnyInterleavingOfCallsGivesWholeBlocks draws calls with arguments, cuts
// them and shuffles the fragments of different calls into one another.
func TestAnyInterleavingOfCallsGivesWholeBlocks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		said := rapid.String().Draw(rt, "text")
		n := rapid.IntRange(0, 4).Draw(rt, "calls")
		args := make([]string, n)
		left := make([][]rune, n)
		for i := range args {
			args[i] = `{"v":` + string(jsonscan.AppendQuoted(nil, rapid.String().Draw(rt, "value"))) + `}`
			left[i] = []rune(args[i])
		}
		docs := []string{delta(`{"role":"assistant","content":` + string(jsonscan.AppendQuoted(nil, said)) + `}`)}
		begun := 0
		for {
			var ready []int
			for i := range min(begun+1, n) {
				if i == begun || len(left[i]) > 0 {
					ready = append(ready, i)
				}
			}
			if len(ready) == 0 {
				break
			}
			i := rapid.SampledFrom(ready).Draw(rt, "call")
			head, k := "", 0
			if i == begun {
				begun++
				head = `"id":"c` + strconv.Itoa(i) + `","type":"function",`
			} else {
				k = rapid.IntRange(1, len(left[i])).Draw(rt, "cut")
			}
			name := ""
			if head != "" {
				name = `"name":"f` + strconv.Itoa(i) + `",`
			}
			docs = append(docs, delta(`{"tool_calls":[{"index":`+strconv.Itoa(i)+`,`+head+`"function":{`+name+`"arguments":`+string(jsonscan.AppendQuoted(nil, string(left[i][:k])))+`}}]}`))
			left[i] = left[i][k:]
		}
		out, err := run(rt, append(docs, finish("tool_calls"), "[DONE]")...)
		require.NoError(rt, err)
		m := assemble(rt, out)
		if said != "" {
			require.Equal(rt, said, m.Blocks[0].Text)
			m.Blocks = m.Blocks[1:]
		}
		require.Len(rt, m.Blocks, n)
		for i, b := range m.Blocks {
			require.Equal(rt, "c"+strconv.Itoa(i), b.ID)
			require.Equal(rt, "f"+strconv.Itoa(i), b.Name)
			require.Equal(rt, args[i], b.JSON)
		}
	})
}
