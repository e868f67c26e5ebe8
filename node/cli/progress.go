package cli

import (
	"fmt"
	"io"
)

// progress tells how far something has come: on a terminal in one line that
// changes, else in a line for each change.
type progress struct {
	out      io.Writer
	terminal bool
	last     string
}

func newProgress(out io.Writer) *progress { return &progress{out: out, terminal: isTerminal(out)} }

func (p *progress) show(text string) {
	if text == p.last {
		return
	}
	p.last = text
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// end replaces the changing line by the last one.
func (p *progress) end(text string) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.last = ""
	fmt.Fprintln(p.out, text)
}

// clear takes the changing line away, before something else is printed.
func (p *progress) clear() {
	if p.terminal && p.last != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.last = ""
}
