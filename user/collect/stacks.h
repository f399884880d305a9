/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stacks of one process: what the kernel told of each, by the name that it gave it, and what becomes of it in the
 * profile. Python, native and kernel frames are merged here, in their true order.
 */
#ifndef PYBPF_STACKS_H
#define PYBPF_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "collect/natives.h"
#include "store/profile.h"
#include "symbolize/codes.h"

struct stacks;

/* What the stacks of all processes share; it must outlive them. */
struct stacks_context {
	struct profile *profile;
	struct codes *codes;
	struct natives *natives; /* NULL: neither native nor kernel frames were asked for */
};

/* by_address: code object's address -> id in codes; it must outlive the result. NULL when out of memory. */
struct stacks *stacks__new(const struct stacks_context *context, const struct hmap *by_address);
void stacks__free(struct stacks *s); /* NULL is fine */

/* How its interpreter lays out frames (all zeros: it has none), and where its code lies; space must outlive the stacks. */
void stacks__set_process(struct stacks *s, const struct py_layout *layout, struct space *space);

#define STACKS_NO_CODE UINT32_MAX

/*
 * A record of the ring; `size` bytes in all. ids: what stacks__resolve said of it when it came; NULL: it has just come. 0,
 * -EBADMSG (sizes disagree) or -ENOMEM.
 */
int stacks__tell(struct stacks *s, const struct rec_stack *r, size_t size, const uint32_t *ids);

/*
 * For a record that is told later, with more native frames: which code objects its Python frames' addresses stand for by now.
 * ids has room for r->nframes; STACKS_NO_CODE for one that is not known.
 */
void stacks__resolve(const struct stacks *s, const struct rec_stack *r, uint32_t *ids);

/* Is the stack of that name told? */
bool stacks__knows(const struct stacks *s, uint64_t name);
/* Whether a stack has frames that were read from Python's structures: those of one that is not known, too. */
bool stacks__has_python(const struct stacks *s, uint64_t name);

/*
 * Call it when the kernel has begun another epoch, in which it tells each stack anew before its samples: what was not told in this
 * one nor in the one before is forgotten.
 */
void stacks__next_epoch(struct stacks *s);

/*
 * The profile's stack for a sample. *outcome becomes what the stack's own is; CODE_FAULT where a name in it could not be
 * had. -ENOENT when the stack was never told, -ENOMEM.
 */
int64_t stacks__find(struct stacks *s, const struct rec_sample *sample, uint16_t *outcome);

/* What is kept here: ids of the profile, as struct profile_holder; and codes, by setting used[id]. */
void stacks__each_id(struct stacks *s, profile_id_fn fn, void *arg);
void stacks__mark_codes(const struct stacks *s, bool *used);

/* The profile's marker frame for an outcome, or -ENOMEM. */
int64_t stacks__marker(struct profile *p, enum pybpf_outcome outcome);

#endif
