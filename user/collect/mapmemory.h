/* SPDX-License-Identifier: Apache-2.0 */
/* What BPF maps cost. */
#ifndef PYBPF_MAPMEMORY_H
#define PYBPF_MAPMEMORY_H

#include <stdint.h>

/* Bytes of the kernel's memory behind a map, by its "memlock" in /proc/self/fdinfo (kernel/bpf/syscall.c); 0: not told. */
uint64_t mapmemory__of(int fd);

#endif
