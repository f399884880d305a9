/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes whose threads' states the kernel side cannot find by itself: their interpreter's lists of threads are read here
 * again and again, and each thread's state is put where the kernel side looks it up.
 */
#ifndef PYBPF_LISTED_H
#define PYBPF_LISTED_H

#include <stdbool.h>

#include "collect/kernel.h"
#include "collect/pyproc.h"

struct listed;

struct listed *listed__new(struct kernel *k); /* k must outlive it; NULL when out of memory */
void listed__free(struct listed *x);           /* NULL is fine */

/* From now on this process is one of them; its threads are looked up at once. 0 or -ENOMEM. */
int listed__add(struct listed *x, const struct pyproc *p);

/* One of them, if it is one, is to be looked at again soon: a thread was met there. */
void listed__ask(struct listed *x, uint32_t pid);

/* Looks again at those that listed__ask was called for, or at all of them; those that have ended are forgotten. */
void listed__refresh(struct listed *x, bool all);

#endif
