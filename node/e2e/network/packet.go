package network

import (
	"encoding/binary"
	"net/netip"
)

// Protocols of Match, by their numbers in IP.
const (
	TCP = 6
	UDP = 17
)

// Match is a kind of packets. Zero members match everything.
type Match struct {
	Protocol byte
	Port     uint16 // source or destination
}

// destination is where an IPv4 packet wants to go. Others are not forwarded: the
// hosts have no IPv6 addresses beside those the kernel gives by itself.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// Matches tells whether a packet is of this kind. Fragments after the first carry
// no ports; they match by protocol alone.
func (m Match) Matches(packet []byte) bool {
	header := int(packet[0]&0xf) * 4
	if m.Protocol != 0 && packet[9] != m.Protocol {
		return false
	}
	if m.Port == 0 {
		return true
	}
	if p := packet[9]; p != TCP && p != UDP || header < 20 || len(packet) < header+4 {
		return false
	}
	return binary.BigEndian.Uint16(packet[header:]) == m.Port || binary.BigEndian.Uint16(packet[header+2:]) == m.Port
}
