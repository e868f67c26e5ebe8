package openai

import (
	"strings"
	"sync"

	"tollgate/proxy/provider"
)

// Provider is the translator of one row.
type Provider struct {
	row     Row
	objects sync.Pool // of *jsonscan.Object, for answers
}

// New makes the translator of a row.
func New(row Row) *Provider { return &Provider{row: row} }

// Name is the row's name.
func (p *Provider) Name() string { return p.row.Name }

// Row is the row, for those who fill in keys and bases.
func (p *Provider) Row() *Row { return &p.row }

// Supports reports whether the provider has the operation.
func (p *Provider) Supports(op provider.Op) bool {
	switch op {
	case provider.OpChat:
		return !p.row.NoChat
	case provider.OpCompletion:
		return !p.row.NoCompletion
	case provider.OpEmbedding:
		return !p.row.NoEmbedding
	}
	return false
}

func path(op provider.Op) string {
	switch op {
	case provider.OpCompletion:
		return "/completions"
	case provider.OpEmbedding:
		return "/embeddings"
	}
	return "/chat/completions"
}

// url joins base and path; a base that already ends in the path is taken whole,
// as many write it so.
func (p *Provider) url(c *provider.Call) (string, *provider.Error) {
	base := c.Deployment.APIBase
	if base == "" {
		base = p.row.BaseURL
	}
	if base == "" {
		return "", provider.NewError(provider.APIConnection, "no address for provider "+p.row.Name+": set litellm_params.api_base of the deployment")
	}
	base = strings.TrimRight(base, "/")
	if strings.HasSuffix(base, path(c.Op)) {
		return base, nil
	}
	if !strings.HasSuffix(base, p.row.BasePath) {
		base += p.row.BasePath
	}
	return base + path(c.Op), nil
}

var _ provider.Provider = (*Provider)(nil)
