/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source lines and inlined functions out of DWARF, by libdw, which was not written for files that mean harm: it runs in
 * a process of its own that has neither rights nor other files, and limits on memory and time. When that one dies the file
 * has no DWARF, and that is all.
 */
#ifndef PYBPF_DWARF_H
#define PYBPF_DWARF_H

#include <stddef.h>
#include <stdint.h>

struct dwarf_reader;

/* Innermost function first. */
struct dwarf_frame {
	const char *name; /* mangled where there is such a name, "" when not known */
	const char *file; /* "" when not known */
	uint32_t line;    /* 0: unknown */
};

/*
 * Starts a process for the file behind fd; alternate_fd: what dwz moved out of it, or -1. Both may be closed afterwards. 0;
 * -ENOENT when it has no DWARF that is worth it; or what starting failed with.
 */
int dwarf_reader__new(int fd, int alternate_fd, struct dwarf_reader **out);
void dwarf_reader__free(struct dwarf_reader *r); /* ends the process; NULL is fine */

/*
 * What is at a link-time address. Returns how many frames *out has (the last one is no inlined one), valid until the next call;
 * 0, and *out untouched, when nothing is known. -EPIPE: the process has died or takes too long; the reader is of no use any more. -ENOMEM.
 */
int dwarf_reader__find(struct dwarf_reader *r, uint64_t addr, const struct dwarf_frame **out);

#endif
