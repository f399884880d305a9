/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes whose threads' states the kernel side cannot find by itself: their interpreter's lists of threads are read here
 * again and again, and each thread's state is put where the kernel side looks it up.
 */
#ifndef PYBPF_LISTED_H
#define PYBPF_LISTED_H

#include "collect/kernel.h"
#include "collect/pyproc.h"

struct listed;

struct listed *listed__new(struct kernel *k); /* k must outlive it; NULL when out of memory */
void listed__free(struct listed *x);           /* NULL is fine */

/* From now on this process is one of them; its threads are looked up at once. 0 or -ENOMEM. */
int listed__add(struct listed *x, const struct pyproc *p);

/* Looks at all of them again; those that have ended are forgotten. Call it some ten times a second. */
void listed__refresh(struct listed *x);

#endif
