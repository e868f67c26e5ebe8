// Package jsonscan reads a JSON object in one pass: it validates the whole
// document, refuses what could fool an authorisation (duplicate keys, invalid
// UTF-8, nesting beyond 64) and indexes the top level, so that fields can be
// read, left out or replaced while every other byte stays as the client sent it.
package jsonscan
