// Package stream reads server-sent events from upstreams, byte-exact at any
// chunk boundary, and writes them to clients one flush an event.
package stream
