/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules for x86-64 functions that have no call frame information: hand-written assembly, C libraries without any. The stack pointer
 * is followed through each path of the function, from its start, where it points to the return address. At each return and jump to
 * elsewhere it must do so again, with the caller's rbp in place; else nothing is known of the function. Where rbx is
 * not seen to be restored (it may be saved in an aligned buffer), nothing is known of the caller's.
 *
 * A call of a function that is not known to return may be followed by another function rather than by the rest of this one. Where it
 * is not known how far this one reaches, nothing is said of what can be come to by such a return alone, unless it leads to this one's
 * own end: what belongs to another would find another's stack pointer there.
 */
#ifndef PYBPF_UNWIND_FOLLOW_X86_H
#define PYBPF_UNWIND_FOLLOW_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "unwind/filler.h"
#include "unwind/work.h"

#define FOLLOW_MAX_CODE ((size_t)128 << 10) /* bytes of a function; OpenBLAS's largest have 25 KB */

typedef struct vec(struct filler) filler_list;

/* Code of which rules were made, at link-time addresses. */
struct code_range {
	uint64_t start, end;
};
typedef struct vec(struct code_range) code_ranges;
typedef struct vec(uint64_t) addresses;

enum follow_function {
	FOLLOW_NONE,    /* no function is known to start there */
	FOLLOW_UNKNOWN, /* nothing is known of it */
	FOLLOW_RETURNS, /* has a return */
	FOLLOW_ENDS,    /* never returns: each path ends with the process or thread, or goes round in circles */
};

/* What is to be followed. */
struct follow_x86 {
	const uint8_t *code;
	size_t n;
	uint64_t start; /* link-time address of code[0] */
	bool whole;     /* the code is one function's; else it ends where another's may begin */
	/*
	 * Control comes to the start as to a function's; else that has to be shown: by a return, a jump to a function, or a call by
	 * pointer, of which a stack pointer that is not a function's own would be seen (it is a multiple of 16 then: System V ABI
	 * x86-64, 3.2.2).
	 */
	bool proven;
	/* What is known of other functions; NULL: nothing. */
	enum follow_function (*function)(void *context, uint64_t addr);
	/* Reads what does not change, as many of the n bytes as there are. Returns how many; NULL: nothing can be. */
	size_t (*read)(void *context, uint64_t addr, void *buf, size_t n);
	void *context;
	struct unwind_work *work; /* NULL: only what holds for each function bounds it */
};

/* What else was found, to be freed by the caller. */
struct follow_found {
	enum follow_function is;
	bool partial;     /* nothing was said of some instructions: more may be when more is known of others */
	addresses called; /* of what it calls or jumps to */
	addresses taken;  /* of what it makes pointers to */
	code_ranges tables; /* what was read, also when nothing came of it; the same one may be there more than once */
};

/*
 * Follows a function and appends what holds where to `out`, ascending. 0, -ENOTSUP when the function's code is not
 * understood or not well-formed, -E2BIG when it takes too long, -ECANCELED when it is to stop, -ENOMEM; out and *found
 * are then as they were, but for found->tables, and for -ENOMEM.
 */
int follow_x86__run(const struct follow_x86 *what, struct follow_found *found, filler_list *out);

/* Likewise for all of a function, which must return, without regard to others. */
int follow_x86(const uint8_t *code, size_t n, uint64_t start, filler_list *out);

#endif
