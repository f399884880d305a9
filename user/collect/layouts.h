/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layouts that the kernel knows, one for each kind of interpreter: files that are the same in all by which a binary is known
 * (its layout, build id, the beginning of its image, its table of offsets) share one, and what one live process proves of it.
 */
#ifndef PYBPF_LAYOUTS_H
#define PYBPF_LAYOUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel.h"
#include "collect/pyproc.h"

struct layouts;

/* What is known of one kind of interpreter, by index of its layout in the kernel. */
struct interp {
	struct py_layout layout;
	char version[48]; /* "3.13.0", "3.13.0 free-threaded" */
	bool noticed;     /* what there was to say of it has been said */
	bool proven;      /* a live process has shown that the layout is true */
	bool refused;     /* or that it is not: nothing that was read by it may be shown */
};

/* k must outlive it; NULL when out of memory. */
struct layouts *layouts__new(struct kernel *k);
void layouts__free(struct layouts *all); /* NULL is fine */

/* The index of the layout of a file that is usable; the kernel hears of it when it is new. 0, -ENOSPC or -ENOMEM. */
int layouts__add(struct layouts *all, const struct pyfile *file, uint32_t *index);

/* NULL for an index that is not known. Valid as long as `all`. */
struct interp *layouts__get(const struct layouts *all, uint32_t index);

/* The file's layout has been proven or refuted, or neither: its kind of interpreter is, too. */
void layouts__judge(struct layouts *all, const struct pyfile *file);

#endif
