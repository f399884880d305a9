/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a long recording puts what is past, so that its memory stays as it is: a capture in a file without a name, which is read
 * back in the end.
 */
#ifndef PYBPF_SPILL_H
#define PYBPF_SPILL_H

#include <stdbool.h>

#include "base/err.h"
#include "store/profile.h"

struct spill;

struct spill *spill__new(void); /* NULL when out of memory */
void spill__free(struct spill *s); /* NULL is fine */

/* Whether so much is past that it is worth a walk through the profile. */
bool spill__is_due(const struct spill *s, const struct profile *p);
/*
 * Writes what is past and drops it from the profile: holder as for profile__drop_past. 0, or -errno once: then all stays in memory
 * from there on.
 */
int spill__step(struct spill *s, struct profile *p, const struct profile_holder *holder);

/* Forgets all that was written: another part of the recording begins. */
void spill__restart(struct spill *s);

/* Whether anything was written. */
bool spill__is_used(const struct spill *s);

/*
 * The whole profile as it is by now, in *out, the caller's. The recording may go on with p afterwards. 0, or -errno with *e
 * set.
 */
int spill__read_back(struct spill *s, const struct profile *p, struct profile **out, struct err *e);

#endif
