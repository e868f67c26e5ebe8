package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	priceHead = "provider,model,input_usd_per_mtok,cache_read_usd_per_mtok,cache_write_usd_per_mtok,output_usd_per_mtok,input_audio_usd_per_mtok,output_audio_usd_per_mtok,usd_per_1000_requests,context_window,long_context_tier(start_tokens:usd_per_mtok)\n"
	modelHead = "provider,model,input_usd_per_mtok,cache_read_usd_per_mtok,cache_write_usd_per_mtok,output_usd_per_mtok,context_window,max_output_tokens,tools,reasoning,input_modalities\n"
	bookHead  = "# version 2026-01-02\n# See README.md for the columns. Prices are USD per million units; empty is unknown.\n" +
		"provider,model,mode,in,cache_read,cache_write,cache_write_1h,out,in_audio,out_audio,more,tiers,max_input,max_output,can,aliases\n"
)

func generate(t *testing.T, prices, models, extra string) (string, error) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.csv": priceHead + prices, "b.csv": modelHead + models, "c.csv": "provider,model,field,value\n" + extra} {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
	}
	var out bytes.Buffer
	err := run("2026-01-02", filepath.Join(dir, "a.csv"), filepath.Join(dir, "b.csv"), filepath.Join(dir, "c.csv"), &out)
	return out.String(), err
}

func TestBookJoinsPricesLimitsAndOtherNames(t *testing.T) {
	got, err := generate(t,
		"anthropic,claude-a,3,0.3,3.75,15,,,,200000,200000:6\nperplexity,sonar,1,,,1,,,12,128000,\nopenrouter,x/y:free,,,,,,,,,\n",
		"anthropic,claude-a-20250929,3,0.3,3.75,15,200000,64000,1,1,text|image\nxai,grok-z,0,0,0,0,1000,0,1,0,text\ntogetherai,new,0.1,0,,0.18000000000000002,10,5,0,0,text\n",
		"anthropic,claude-a,tier:200000:out,22.5\nanthropic,claude-a,web_search,10000\nanthropic,claude-a,alias,claude-a-0\n")
	require.NoError(t, err)
	require.Equal(t, bookHead+
		"anthropic,claude-a,chat,3,0.3,3.75,6,15,,,web_search=10000,200000 in=6 out=22.5,200000,64000,irt,claude-a-0 claude-a-20250929\n"+
		"openrouter,x/y:free,chat,0,,,,0,,,,,,,,\n"+
		"perplexity,sonar,chat,1,,,,1,,,request=12000,,128000,,,\n"+
		"together,new,chat,0.1,,,,0.18,,,,,10,5,,\n"+
		"x-ai,grok-z,chat,,,,,,,,,,1000,,t,\n", got)
}

func TestFiguresThatAreNoPricesStopTheBook(t *testing.T) {
	_, err := generate(t, "openai,m,-1,,,1,,,,1,\n", "", "")
	require.ErrorContains(t, err, "a.csv line 2")
	require.ErrorContains(t, err, `"-1" is no price`)
}
