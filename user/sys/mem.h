/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading memory that is not ours: a live process, or a buffer that stands in for one (tests, captures).
 * Nothing here stops or writes to a process.
 */
#ifndef PYBPF_MEM_H
#define PYBPF_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct memory_reader;

struct memory_ops {
	/* Reads up to n bytes at addr. Returns how many (> 0), or -errno: -EFAULT unmapped, -ESRCH gone, -EPERM. */
	ssize_t (*read)(struct memory_reader *r, uint64_t addr, void *buf, size_t n);
	void (*close)(struct memory_reader *r);
};

/* The head of every reader; its owner embeds it. */
struct memory_reader {
	const struct memory_ops *ops;
};

/*
 * A live process' memory. /proc/PID/mem when it opens, because that descriptor stays with the address space it was
 * opened on (after exec or exit it reads as gone, never as somebody else's); else process_vm_readv. Page faults are
 * served by the kernel, so swapped and not yet touched pages are read. 0, -ESRCH, -EPERM or -EACCES, -ENOMEM.
 */
int memory__open_process(pid_t pid, struct memory_reader **out, struct err *e);

/* `n` bytes that stand at address `base`. The bytes stay the caller's. NULL when out of memory. */
struct memory_reader *memory__from_buffer(uint64_t base, const void *bytes, size_t n);

void memory__close(struct memory_reader *r); /* NULL is fine */

/* All n bytes at addr. 0, -EFAULT when part of them is not mapped, or another -errno; buf may be partly written. */
int memory__read(struct memory_reader *r, uint64_t addr, void *buf, size_t n);

/* As many of the n bytes at addr as are mapped. Returns how many, or -errno when not even one is. */
ssize_t memory__read_some(struct memory_reader *r, uint64_t addr, void *buf, size_t n);

/* A word, as memory__read; *value is untouched on failure. */
int memory__read_u64(struct memory_reader *r, uint64_t addr, uint64_t *value);
int memory__read_u32(struct memory_reader *r, uint64_t addr, uint32_t *value);

#endif
