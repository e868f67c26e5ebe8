package once

// NewClaimsOf makes claims with room for so many keys.
func NewClaimsOf(most int) *Claims { return newClaims(most) }

// Marks is how many ends of claims are waited for.
func Marks(c *Claims) int { return len(c.queue) }

// AppendQuestion, DecodeQuestion and the others are what nodes send each other.
func AppendQuestion(c *Claim, wait bool) []byte     { return appendQuestion(nil, c, wait) }
func DecodeQuestion(p []byte) (*Claim, bool, error) { return decodeQuestion(p) }
func ReadBecame(p []byte) (state byte, answer []byte, err error) {
	b, err := decodeBecame(p)
	return byte(b.state), b.answer, err
}
func AppendBecame(s byte, answer []byte) []byte { return appendBecame(nil, became{state(s), answer}) }

// Waiting is how many operations wait for the next proposal.
func Waiting(d *Desk) int {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	return len(d.queue.next)
}
