package state

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// choose finds the provider of a model name: the one stated, else a known
// prefix, else the owner of the address, else what the bare name tells.
func (c *compiler) choose(name, stated, base string) (provider, rest string, ok bool) {
	if stated != "" {
		if !c.usable(stated) {
			return "", "", false
		}
		return stated, strings.TrimPrefix(name, stated+"/"), true
	}
	if p, rest, ok := c.prefix(name); ok {
		return p, rest, true
	}
	if p := c.host(base); p != "" {
		return p, name, true
	}
	if p := infer(name); p != "" && c.usable(p) {
		return p, name, true
	}
	return "", "", false
}

// prefix splits "provider/model" when the provider is one we can call.
func (c *compiler) prefix(name string) (provider, rest string, ok bool) {
	provider, rest, found := strings.Cut(name, "/")
	if !found || rest == "" || !c.usable(provider) {
		return "", "", false
	}
	return provider, rest, true
}

// host finds the provider whose own address this is.
func (c *compiler) host(base string) string {
	if base == "" {
		return ""
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return ""
	}
	best := ""
	for name, p := range c.providers {
		if d, err := url.Parse(p.Base); err == nil && d.Host != "" && strings.EqualFold(d.Host, u.Host) && (best == "" || name < best) {
			best = name
		}
	}
	return best
}

// bareNames are beginnings of model names that belong to one provider.
var bareNames = []struct{ start, provider string }{
	{"gpt-", "openai"}, {"chatgpt-", "openai"}, {"o1", "openai"}, {"o3", "openai"}, {"o4", "openai"},
	{"ft:", "openai"}, {"text-embedding-", "openai"}, {"text-moderation-", "openai"}, {"omni-moderation-", "openai"},
	{"davinci-", "openai"}, {"babbage-", "openai"}, {"dall-e-", "openai"}, {"whisper-", "openai"}, {"tts-", "openai"},
	{"codex-", "openai"}, {"computer-use-", "openai"}, {"sora-", "openai"},
	{"claude-", "anthropic"}, {"gemini-", "gemini"}, {"command-", "cohere"}, {"embed-", "cohere"},
	{"deepseek-", "deepseek"}, {"grok-", "xai"}, {"sonar", "perplexity"}, {"mistral-", "mistral"},
	{"ministral-", "mistral"}, {"codestral-", "mistral"}, {"magistral-", "mistral"},
}

// infer tells the provider of a well-known bare name.
func infer(name string) string {
	for _, b := range bareNames {
		if strings.HasPrefix(name, b.start) {
			return b.provider
		}
	}
	return ""
}

// CheckBase refuses addresses that lead to the machine's own metadata services
// unless the deployment says allow_private. Loopback and private networks are
// allowed: local models live there.
func CheckBase(base string, allowPrivate bool) error {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("api_base %q is no http address: write for example https://host/v1", base)
	}
	if allowPrivate {
		return nil
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	forbidden := host == "metadata.google.internal" || host == "metadata" || host == "instance-data"
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		forbidden = ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified() || metadata[ip]
	}
	if forbidden {
		return fmt.Errorf("api_base %q is a link-local or metadata address: set allow_private: true on the deployment if it is meant", base)
	}
	return nil
}

// metadata are the addresses of clouds' metadata services outside the
// link-local ranges.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("100.100.100.200"): true,
	netip.MustParseAddr("fd00:ec2::254"):   true,
	netip.MustParseAddr("168.63.129.16"):   true,
	netip.MustParseAddr("192.0.0.192"):     true,
}
