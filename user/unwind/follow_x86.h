/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules for x86-64 functions that have no call frame information: hand-written assembly. The stack pointer is followed
 * through each path of the function, from its start, where it points to the return address. At each return and jump to
 * elsewhere it must do so again, with the caller's rbp in place; else nothing is known of the function. Where rbx is
 * not seen to be restored (it may be saved in an aligned buffer), nothing is known of the caller's.
 */
#ifndef PYBPF_UNWIND_FOLLOW_X86_H
#define PYBPF_UNWIND_FOLLOW_X86_H

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "unwind/filler.h"

#define FOLLOW_MAX_CODE ((size_t)128 << 10) /* bytes of a function; OpenBLAS's largest have 25 KB */

typedef struct vec(struct filler) filler_list;

/* Code of which rules were made, at link-time addresses. */
struct code_range {
	uint64_t start, end;
};
typedef struct vec(struct code_range) code_ranges;

/*
 * Follows the function whose n bytes of code these are, at link-time address `start`, and appends what holds where to `out`,
 * ascending. 0, -ENOTSUP when the function's code is not understood or not well-formed, -E2BIG, -ENOMEM; out is then as it was.
 */
int follow_x86(const uint8_t *code, size_t n, uint64_t start, filler_list *out);

#endif
