/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler from .eh_frame (and .debug_frame, for what .eh_frame leaves out) to compact unwind tables;
 * include/pybpf/unwind.h says what they look like. The file may be anything: whatever it holds, a table that is
 * well-formed or an error comes out, and memory and time are bounded by its size.
 */
#ifndef PYBPF_UNWIND_TABLE_H
#define PYBPF_UNWIND_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <linux/types.h>

#include "base/err.h"
#include "pybpf/unwind.h"
#include "sys/elf.h"

/* Never changed once built; shared by reading it. */
struct unwind_table {
	uint64_t text_start; /* link-time address of page 0, a multiple of 64 KiB */
	uint32_t npages;     /* `pages` has one more */
	uint32_t nrows, nrules;
	uint32_t *pages;
	uint32_t *rows;
	struct unwind_rule *rules;
	/* of what it was made */
	uint32_t nfunctions; /* FDEs of code that the file has */
	uint32_t nbad;       /* those among them whose instructions make no sense: UNWIND_UNKNOWN */
	uint16_t machine;    /* EM_X86_64, EM_AARCH64 */
};

/*
 * Compiles the table of a file. 0 and *out, which the caller frees; else -ENOENT when the file has no call frame
 * information, -ENOTSUP for a machine we do not know, -EBADMSG when the information is malformed, -E2BIG when a
 * table cannot hold it (more than 65535 different rules, or code spread over more than 4 GiB), -EINVAL,
 * -EIO when the file is cut short, -ENOMEM; *e says why.
 */
int unwind_table__build(struct elf *elf, struct unwind_table **out, struct err *e);

/* NULL is fine. */
void unwind_table__free(struct unwind_table *t);

/* The rule for the instruction at a link-time address. 0, or -ENOENT when the table does not reach there or has a gap.
 */
int unwind_table__lookup(const struct unwind_table *t, uint64_t addr, struct unwind_rule *out);

/* Bytes held. */
size_t unwind_table__memory(const struct unwind_table *t);

/*
 * The function (its FDE's range) that covers each of n link-time addresses: starts[i] and ends[i] are set, both 0
 * where none does. One pass over the file's information, a few ms for libpython. Errors as for unwind_table__build,
 * outputs then untouched.
 */
int unwind__functions_at(struct elf *elf, const uint64_t addrs[], size_t n, uint64_t starts[], uint64_t ends[],
			 struct err *e);

#endif
