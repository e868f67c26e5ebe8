package server

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreNew makes a listening socket deaf to attempts to connect, while those
// that have begun come through. A client that is not heard tries again a second
// later and is refused then, before it has sent anything; one that is in the
// queue when the socket closes is reset with its request.
func ignoreNew(raw syscall.RawConn) error {
	const flags, syn, ack = 13, 0x02, 0x10 // of the TCP header, where the filter's bytes begin
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err != nil {
		return err
	}
	return failed
}
