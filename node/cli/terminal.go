package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// isTerminal reports whether a person sits at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // a character device as well, with nobody behind it
	return err != nil || !os.SameFile(st, null)
}

// confirm asks a person to type a word. Anything else is no.
func confirm(in io.Reader, out io.Writer, question, word string) error {
	if _, err := fmt.Fprintf(out, "%s\nType %s to go on: ", question, word); err != nil {
		return err
	}
	line, err := readLine(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if line != word {
		return errors.New("nothing was changed")
	}
	return nil
}

// sure asks before what cannot be undone: --yes answers, else a person does,
// and without either the command refuses.
func sure(in io.Reader, out io.Writer, yes bool, question, word string) error {
	switch {
	case yes:
		return nil
	case !isTerminal(in):
		return errors.New(strings.TrimSuffix(question, ".") + ": add --yes if that is what you want")
	}
	return confirm(in, out, question, word)
}

// readLine reads up to the end of a line, and nothing of the next.
func readLine(in io.Reader) (string, error) {
	var b strings.Builder
	one := make([]byte, 1)
	for {
		n, err := in.Read(one)
		if n == 1 {
			if one[0] == '\n' {
				return strings.TrimRight(b.String(), "\r"), nil
			}
			b.WriteByte(one[0])
		}
		if err != nil {
			return b.String(), err
		}
		if b.Len() > bufio.MaxScanTokenSize {
			return "", errors.New("the line is too long")
		}
	}
}
