/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's arrays of unwind tables, and how far they are filled: rows in blocks that are made when they are needed, rules, and
 * pages that lead to rows. Tables are only appended; to get rid of some, all are dropped. For one thread.
 */
#ifndef PYBPF_UNWIND_ARRAYS_H
#define PYBPF_UNWIND_ARRAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "collect/kernel.h"
#include "unwind/table.h"

struct unwind_arrays {
	struct kernel_unwind_maps fds;
	uint32_t pages, rules; /* in use */
	uint32_t block;        /* the block being filled, + 1, which is how many are in use; 0: none yet */
	uint32_t block_len;    /* rows in it */
	struct vec(int) made;  /* the kernel's blocks; -1 once they are full */
	struct unwind_block rows; /* of the block being filled */
};

/* k must outlive it. What is pointed to is otherwise zero. */
void unwind_arrays__init(struct unwind_arrays *u, const struct kernel *k);
void unwind_arrays__end(struct unwind_arrays *u);

/*
 * Appends a table and sets *info, by which walks find it once it is published. 0, -ENOSPC when there is no room, -E2BIG (more rows
 * in a page than a block has), -ENOMEM or another error of bpf(2).
 */
int unwind_arrays__put(struct unwind_arrays *u, const struct unwind_table *t, struct unwind_table_info *info);

/* Blocks in hand before they are needed, which takes 10-20 ms. False when there are enough already, or can be no more. */
bool unwind_arrays__spare(struct unwind_arrays *u);

/*
 * The arrays are filled from the beginning. Nothing may lead to what is in them by now; walks that have found a table before
 * end first, which is waited for.
 */
void unwind_arrays__empty(struct unwind_arrays *u);

#endif
