/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may be done for one file's table. Most of it is bounded by what the file has of call frame information; but
 * who follows code can be led in circles, and made to read the same tables again and again, by a file that was made for
 * it.
 */
#ifndef PYBPF_UNWIND_WORK_H
#define PYBPF_UNWIND_WORK_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

/*
 * For one file, in instructions that are looked at; what else there is to do is counted as so many of them as take
 * about as long. Of 5,500 files none needs more than 3.6 millions (OpenBLAS 2.7); a libpython without any call frame
 * information would need 15. They take some 2 s.
 */
#define UNWIND_WORK ((uint64_t)48 << 20)

struct unwind_work {
	uint64_t left;
	const atomic_bool *stop; /* becomes true when the table is not wanted any more; NULL: it does not */
};

/* Takes n of what is left, which may be 0. 0; -E2BIG when there is less, and then there is none; -ECANCELED when it is
 * to stop. */
static inline int unwind_work__take(struct unwind_work *w, uint64_t n)
{
	if (w->stop && atomic_load_explicit(w->stop, memory_order_relaxed))
		return -ECANCELED;
	if (n > w->left) {
		w->left = 0;
		return -E2BIG;
	}
	w->left -= n;
	return 0;
}

#endif
