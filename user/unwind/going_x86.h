/* SPDX-License-Identifier: Apache-2.0 */
/* Where control goes behind an instruction of x86-64 (Intel SDM, volume 2), as far as what is known of the registers tells. */
#ifndef PYBPF_UNWIND_GOING_X86_H
#define PYBPF_UNWIND_GOING_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unwind/insn_x86.h"
#include "unwind/state_x86.h"

enum way {
	WAY_NONE, /* not understood */
	WAY_NEXT,
	WAY_END,
	WAY_RETURN,
	WAY_JUMP,
	WAY_BRANCH, /* or to the next one */
	WAY_CALL,
	WAY_TABLE, /* a jump to what a table says */
};

struct going {
	enum way way;
	size_t next;
	uint64_t to;  /* link-time address that it jumps to or calls, or of the table */
	size_t size;  /* of the table's entries: 4, distances from it, or 8, addresses */
	bool pointer; /* to an address that is not known */
};

/*
 * at: the instruction's offset in code that begins at link-time address `start`; addresses: by their numbers, those that `s` has. Its
 * `next` is an offset as well.
 */
struct going going_x86(const struct insn_x86 *i, const struct state_x86 *s, size_t at, uint64_t start,
		       const uint64_t addresses[]);

#endif
