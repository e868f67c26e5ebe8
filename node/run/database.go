package run

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"tollgate/ledger/flush"
)

// databaseURL is the PostgreSQL that this node's environment names: DATABASE_URL,
// or LiteLLM's parts of it. It is "" when there is none.
func databaseURL(env func(string) string) (string, error) {
	if addr := env("DATABASE_URL"); addr != "" {
		return addr, checkDatabaseURL("DATABASE_URL", addr)
	}
	host := env("DATABASE_HOST")
	if host == "" {
		return "", nil
	}
	if env("DATABASE_NAME") == "" {
		return "", errors.New("DATABASE_HOST is set and DATABASE_NAME is not: name the database, or give the whole address in DATABASE_URL")
	}
	if port := env("DATABASE_PORT"); port != "" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	} else if strings.Contains(host, ":") && host[0] != '[' {
		host = "[" + host + "]"
	}
	u := url.URL{Scheme: "postgresql", Host: host, Path: "/" + env("DATABASE_NAME")}
	if user := cmp.Or(env("DATABASE_USERNAME"), env("DATABASE_USER")); user != "" {
		u.User = url.UserPassword(user, env("DATABASE_PASSWORD"))
	}
	if schema := env("DATABASE_SCHEMA"); schema != "" {
		u.RawQuery = url.Values{"schema": {schema}}.Encode()
	}
	return u.String(), checkDatabaseURL("DATABASE_HOST and its like", u.String())
}

// checkDatabaseURL tells a wrong address now, not on the day it is first used.
// That a database is away is no fault of the address: it may come back.
func checkDatabaseURL(where, addr string) error {
	if _, err := flush.ParseAddress(addr); err != nil {
		return fmt.Errorf("%s: %w: write postgresql://user:password@host:5432/database", where, err)
	}
	return nil
}

// database is the PostgreSQL this node keeps its books in: the one its own
// environment or file names, else the cluster's, which came with the config of
// another node.
func (n *node) database() (string, error) {
	if addr := n.loaded.Config.General.DatabaseURL; addr != "" {
		return addr, checkDatabaseURL("general_settings.database_url", addr)
	}
	addr, err := databaseURL(n.env)
	if addr != "" || err != nil {
		return addr, err
	}
	v := n.store.State().ActiveConfig()
	if v == nil || v.Config.General.DatabaseURL == "" {
		return "", nil
	}
	opened, faults := n.box.OpenConfig(&v.Config)
	if opened.General.DatabaseURL == "" {
		return "", fmt.Errorf("open the cluster's general_settings.database_url: %w", errors.Join(faults...))
	}
	return opened.General.DatabaseURL, nil
}
