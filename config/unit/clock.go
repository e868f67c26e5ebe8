package unit

import "time"

// Clock is where the time comes from. Everything that waits or measures takes
// one, so that the same code runs in virtual time.
type Clock interface {
	Now() time.Time
}

// SystemClock reads the machine's clock.
type SystemClock struct{}

// Now is the wall clock with the monotonic reading.
func (SystemClock) Now() time.Time { return time.Now() }

// ClockFunc makes a Clock of a function.
type ClockFunc func() time.Time

// Now calls the function.
func (f ClockFunc) Now() time.Time { return f() }
