// Package e2e holds the whole-process tests: real nodes from bin/tollgate
// against fake providers. It builds nothing and contains no product code.
package e2e
