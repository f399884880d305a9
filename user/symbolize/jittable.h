/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of ranges of addresses, as a JIT compiler tells them one after the other. It uses memory again, without saying so: of
 * ranges that overlap the one that was added later counts. What is kept is bounded.
 */
#ifndef PYBPF_JITTABLE_H
#define PYBPF_JITTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/vec.h"

#define JITTABLE_MAX_NAME 1024 /* bytes; longer ones are cut */

struct jit_entry {
	uint64_t start, end;
	uint32_t name;   /* where it begins in names */
	uint32_t number; /* of its coming */
	uint32_t outer;  /* the nearest one before it that has not ended where it starts */
};

/* `struct jittable t = {0}` is empty. */
struct jittable {
	bool full; /* what is added is dropped from now on */
	bool sorted;
	struct vec(struct jit_entry) entries;
	struct str names;
};

void jittable__free(struct jittable *t); /* it is empty again */

/*
 * Adds a range of `size` bytes; an empty one, or one that goes beyond the last address, is passed over. The n bytes of the
 * name are copied, as one line of UTF-8. 1 when it was added, 0 when not, or -ENOMEM.
 */
int jittable__add(struct jittable *t, uint64_t start, uint64_t size, const char *name, size_t n);
/* The same for another place of what was named before: `name` is what the entry has in its member. */
int jittable__add_again(struct jittable *t, uint64_t start, uint64_t size, uint32_t name);

/* The name of what is at an address: 0 and a string valid until something is added, -ENOENT or -ENOMEM. */
int jittable__find(struct jittable *t, uint64_t addr, const char **name);

#endif
