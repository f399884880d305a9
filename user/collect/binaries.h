/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files whose code processes run: each one once, however many processes map it, and open, so that it can still be read
 * when the process and its mount namespace are gone.
 */
#ifndef PYBPF_BINARIES_H
#define PYBPF_BINARIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/proc.h"

struct binary {
	uint32_t id;      /* counts up from 0 */
	int fd;           /* of the file */
	int root_fd;      /* the root directory of the process that it was met in first: for its debug files; -1: none */
	const char *path; /* as that process names it */
	const char *name; /* its base name */
	uint64_t size;    /* bytes, when it was met */
	int64_t written;  /* its time of modification then, ns since 1970 */
	/* Executable segments, by file offset. */
	struct binary_segment {
		uint64_t offset, size, vaddr;
	} *segments;
	uint32_t segment_count;
	/* _PyEval_EvalFrameDefault: where its code is, and the part that lies apart; all 0 when the file has none */
	struct binary_range {
		uint64_t start, end;
	} evaluator, evaluator_cold;
	bool greenlets; /* its code gives pieces of code a stack of their own */
	/*
	 * Of that, the function during which the stack may be that of another one than Python's frames, and the one that it calls
	 * to move the stack pointer, whose callers may not be on the stack yet; all 0: any may be.
	 */
	struct binary_range exchange, exchange_stack;
};

struct binaries;

/* NULL when out of memory. */
struct binaries *binaries__new(void);
void binaries__free(struct binaries *b); /* NULL is fine */

/*
 * The file behind an executable mapping of a process; "[vdso]" is one, too. It is the cache's. 0; -ENOENT for memory without a
 * file; -ENOSPC when there are too many; or -errno when it cannot be opened or is no ELF file. Answers are remembered. A file that was
 * written anew in its place since is another one.
 */
int binaries__get(struct binaries *b, pid_t pid, const struct proc_map *map, struct binary **out);
/* The one with that id. */
struct binary *binaries__at(const struct binaries *b, uint32_t id);
/* How many there are: their ids are below. */
uint32_t binaries__count(const struct binaries *b);

/* Whether the file still has what it had when it was met, by its size and time of modification. */
bool binary__is_unchanged(const struct binary *b);

/* Run-time minus link-time address of what is mapped at `start` from file offset `offset` on. */
uint64_t binary__bias(const struct binary *b, uint64_t start, uint64_t offset);

#endif
