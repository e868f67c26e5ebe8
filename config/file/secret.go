package file

import "strings"

// IsSecretParam reports whether a field of this name holds a secret: provider
// keys, passwords, tokens, credentials, authorization headers, and addresses
// that carry a password. Names are compared without case, and - as _.
func IsSecretParam(name string) bool {
	n := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	switch n {
	case "authorization", "proxy_authorization", "cookie", "set_cookie", "database_url", "direct_url",
		"redis_url", "dsn", "sentry_dsn", "vertex_credentials", "aws_access_key_id", "key", "auth":
		return true
	case "cache_key", "public_key", "key_name", "litellm_credential_name", "credential_name",
		"litellm_key_header_name", "api_key_env", "custom_tokenizer":
		return false
	}
	switch {
	case strings.HasSuffix(n, "_key"), strings.HasSuffix(n, "apikey"), strings.HasSuffix(n, "_keys"):
		return true
	case strings.Contains(n, "secret"), strings.Contains(n, "password"), strings.Contains(n, "passwd"),
		strings.HasSuffix(n, "credentials"), strings.Contains(n, "webhook"):
		return true
	}
	return strings.Contains(n, "token") && !countsTokens(n)
}

// countsTokens tells the tokens of language from the tokens of access.
func countsTokens(n string) bool {
	for _, word := range []string{"tokens", "cost", "tokenizer", "per_token", "token_limit", "token_rate", "token_count", "token_usage"} {
		if strings.Contains(n, word) {
			return true
		}
	}
	return false
}
