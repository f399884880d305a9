// SPDX-License-Identifier: Apache-2.0
#include "collect/holds.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"

#define MAX_NS      1000000000ull /* from the first sample on */
#define MAX_SAMPLES 65536         /* of all programs: some 3 MB */

struct hold {
	uint64_t identity;
	const struct interp *interp;
	uint64_t since; /* CLOCK_MONOTONIC */
	uint16_t types;
	struct vec(struct profile_sample) samples;
};

struct holds {
	struct vec(struct hold) open;
	struct hmap by_identity; /* -> index into open */
	size_t samples;
};

struct holds *holds__new(void)
{
	return calloc(1, sizeof(struct holds));
}

void holds__free(struct holds *all)
{
	if (!all)
		return;
	vec__foreach(&all->open, hold)
		vec__free(&hold->samples);
	vec__free(&all->open);
	hmap__free(&all->by_identity);
	free(all);
}

size_t holds__count(const struct holds *all)
{
	return all->open.len;
}

void holds__each_id(struct holds *all, profile_id_fn fn, void *arg)
{
	vec__foreach(&all->open, hold) {
		vec__foreach(&hold->samples, s) {
			fn(arg, PROFILE_THREADS, &s->thread);
			fn(arg, PROFILE_STACKS, &s->stack);
		}
	}
}

int holds__add(struct holds *all, uint64_t identity, const struct interp *interp, uint16_t types,
	       const struct profile_sample *sample)
{
	uint64_t *at = hmap__get(&all->by_identity, identity);
	struct hold *hold;

	if (!at) {
		struct hold fresh = {.identity = identity, .interp = interp, .since = clock_ns(CLOCK_MONOTONIC)};

		if (hmap__put(&all->by_identity, identity, all->open.len))
			return -ENOMEM;
		if (vec__push(&all->open, fresh)) {
			hmap__del(&all->by_identity, identity);
			return -ENOMEM;
		}
	}
	hold = at ? &all->open.data[*at] : &all->open.data[all->open.len - 1];
	hold->types = types;
	if (vec__push(&hold->samples, *sample))
		return -ENOMEM;
	all->samples++;
	return 0;
}

/* The kernel saw code objects with names, files and line tables, and nothing else in their place. */
static bool speaks_for_itself(const struct hold *hold)
{
	return hold->types == CODE_TYPES_RIGHT;
}

static void let_go(struct holds *all, size_t i, enum pybpf_outcome outcome, holds_fn fn, void *arg)
{
	struct hold *hold = &all->open.data[i], *last = &all->open.data[all->open.len - 1];

	vec__foreach(&hold->samples, sample)
		fn(arg, sample, outcome);
	all->samples -= hold->samples.len;
	vec__free(&hold->samples);
	hmap__del(&all->by_identity, hold->identity);
	if (hold != last) {
		*hold = *last;
		hmap__put(&all->by_identity, hold->identity, i);
	}
	all->open.len--;
}

void holds__settle(struct holds *all, bool last, holds_fn fn, void *arg)
{
	uint64_t now = all->open.len ? clock_ns(CLOCK_MONOTONIC) : 0;

	for (size_t i = 0; i < all->open.len;) {
		const struct hold *hold = &all->open.data[i];

		if (hold->interp->refused)
			let_go(all, i, PYBPF_UNSUPPORTED, fn, arg);
		else if (hold->interp->proven)
			let_go(all, i, PYBPF_OK, fn, arg);
		else if (last || now - hold->since > MAX_NS || all->samples > MAX_SAMPLES)
			let_go(all, i, speaks_for_itself(hold) ? PYBPF_OK : PYBPF_UNPROVEN, fn, arg);
		else
			i++;
	}
}
