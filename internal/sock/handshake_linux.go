// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package sock

import "syscall"

// noSYN drops segments that have SYN and not ACK, and passes all others. The
// kernel hands a TCP socket's filter each segment from the TCP header on; the
// flags are its byte 13. A connection inherits its listener's filter, so what is
// passed must never be cut short.
var noSYN = []syscall.SockFilter{
	{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: 13},
	{Code: syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K, K: 0x12},
	{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: 1, K: 0x02},
	{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
	{Code: syscall.BPF_RET | syscall.BPF_K, K: 0xffffffff},
}

// blockHandshakes needs no privilege. A socket of Multipath TCP refuses it.
func blockHandshakes(fd uintptr) bool {
	//lint:ignore SA1019 golang.org/x/net/bpf, which is recommended instead, cannot attach a filter.
	return syscall.AttachLsf(int(fd), noSYN) == nil
}
