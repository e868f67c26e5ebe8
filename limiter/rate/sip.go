package rate

import "math/bits"

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// sip13 is SipHash-1-3 of two tag bytes and a string. A plain seeded hash has
// collisions that hold for every seed; ids come from requests, so it would not do.
func sip13(k0, k1 uint64, a, b byte, s string) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	n := len(s) + 2
	m := uint64(a) | uint64(b)<<8
	have := uint(16)
	for i := range len(s) {
		m |= uint64(s[i]) << have
		if have += 8; have == 64 {
			v3 ^= m
			round()
			v0 ^= m
			m, have = 0, 0
		}
	}
	m |= uint64(byte(n)) << 56
	v3 ^= m
	round()
	v0 ^= m
	v2 ^= 0xff
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}
