// Package stream reads server-sent events from upstreams, byte-exact at any
// chunk boundary, and frames events for clients. It refuses to know what the
// events mean: that is the translators' business.
package stream
