package cli

import "strings"

var eighths = []rune(" ▏▎▍▌▋▊▉█")

// bar draws part of whole, width cells wide. Something is never drawn as nothing.
func bar(part, whole int64, width int) string {
	if whole <= 0 || part < 0 {
		part, whole = 0, 1
	}
	n := int(float64(min(part, whole)) / float64(whole) * float64(width*8))
	if part > 0 {
		n = max(n, 1)
	}
	b := strings.Repeat("█", n/8)
	if n%8 > 0 {
		b += string(eighths[n%8])
	}
	return b + strings.Repeat("·", width-(n+7)/8)
}

var levels = []rune("▁▂▃▄▅▆▇█")

// sparkline draws how a figure went, the newest at the right.
func sparkline(values []int64) string {
	var top int64
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		level := 0
		if top > 0 && v > 0 {
			level = int(float64(v) / float64(top) * float64(len(levels)-1))
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}
