/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of ranges of addresses, as a JIT compiler tells them one after the other. It uses memory again, without saying so: of
 * ranges that overlap the one that was added later counts. What is kept is bounded, and so is how often there is a look for more.
 */
#ifndef PYBPF_JITTABLE_H
#define PYBPF_JITTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/vec.h"
#include "symbolize/jitbudget.h"

#define JITTABLE_MAX_NAME 1024 /* bytes; longer ones are cut */

struct jit_entry {
	uint64_t start, end;
	uint32_t name;   /* where it begins in names */
	uint32_t number; /* of its coming */
	uint32_t outer;  /* the nearest one before it that has not ended where it starts */
};

/* `struct jittable t = {.budget = b}` is empty. */
struct jittable {
	struct jitbudget *budget;
	size_t beside;    /* bytes that an entry costs whose table it is, beside the table */
	bool full;        /* what is added is dropped, until the next look for more */
	uint64_t held;    /* of the budget */
	uint64_t next_ns; /* when to look for more */
	size_t settled;   /* of the entries, from the first on, those that are sorted and found */
	struct vec(struct jit_entry) entries;
	struct str names;
};

void jittable__clear(struct jittable *t); /* it is empty again, and holds nothing */

/* Whether to look for more now: not at every look-up, and only where the budget allows it. */
bool jittable__is_due(struct jittable *t, uint64_t now_ns);

/*
 * Adds a range of `size` bytes; an empty one, or one that goes beyond the last address, is passed over. The n bytes of the
 * name are copied, as one line of UTF-8. 1 when it was added, 0 when not, or -ENOMEM. It is found from jittable__settle on.
 */
int jittable__add(struct jittable *t, uint64_t start, uint64_t size, const char *name, size_t n);
/* The same for another place of what was named before: `name` is what the entry has in its member. */
int jittable__add_again(struct jittable *t, uint64_t start, uint64_t size, uint32_t name);
/* 0 or -ENOMEM. */
int jittable__settle(struct jittable *t);

/* The name of what is at an address: 0 and a string valid until something is added, or -ENOENT. */
int jittable__find(const struct jittable *t, uint64_t addr, const char **name);

#endif
