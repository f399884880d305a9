/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code objects as user space keeps them: equal ones of different processes (forks, workers of one service) are one,
 * and each place in them that was sampled is one frame of the profile.
 */
#ifndef PYBPF_CODES_H
#define PYBPF_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/profile.h"

struct codes;

/* What a code object says of itself. Strings are ids of the profile. */
struct code_facts {
	uint32_t name; /* qualname from 3.11 on */
	uint32_t file;
	uint32_t short_file;
	int32_t first_line;
	uint32_t flags;       /* co_flags */
	uint32_t version_hex; /* of the interpreter: it decides how the line table is read */
	const uint8_t *linetable;
	size_t linetable_bytes;
};

/* Adds its frames to p, which must outlive it. NULL when out of memory. */
struct codes *codes__new(struct profile *p);
void codes__free(struct codes *c); /* NULL is fine */

/* The id of a code object (equal facts, equal id), or -ENOMEM. The line table is copied. */
int64_t codes__intern(struct codes *c, const struct code_facts *facts);

/* The id of one that equals it and is there already, or -ENOENT. */
int64_t codes__find(const struct codes *c, const struct code_facts *facts);

/*
 * The frame of the profile for an instruction `offset` bytes behind the first one (may be negative: the frame has
 * not begun), or -ENOMEM. Cached: the table is read once for each place.
 */
int64_t codes__frame(struct codes *c, uint32_t code, int64_t offset);

/* Whether frames of this code are the interpreter's own scaffolding, which Python itself does not show. */
bool codes__hidden(const struct codes *c, uint32_t code);

/* How many different ones were added, those that were dropped and came back counted anew. */
uint64_t codes__ever(const struct codes *c);

/*
 * Ids are below this. After a while most codes of processes that have ended are nobody's: codes__drop forgets those with !used[id]
 * that were not asked for either since it was called last. Their ids are used again.
 */
uint32_t codes__count(const struct codes *c);
void codes__drop(struct codes *c, const bool *used);

/* The ids of the profile that are kept here: struct profile_holder. */
void codes__each_id(struct codes *c, profile_id_fn fn, void *arg);

#endif
