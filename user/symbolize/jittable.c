// SPDX-License-Identifier: Apache-2.0
#include "symbolize/jittable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES (1u << 20)
#define MAX_NAMES   (64u << 20) /* bytes of them all */
#define MAX_OVERLAP 64          /* entries at one address that are looked at */
#define NONE        UINT32_MAX
/*
 * Samples come in rounds of some tens of ms: code that ran before a round has been told of when the round is taken in, and one look
 * does for all of it.
 */
#define LOOK_NS    10000000
#define LOOK_WORK  2048 /* of the calls */
#define ENTRY_WORK 256  /* to add one and sort it */

void jittable__clear(struct jittable *t)
{
	jitbudget__give(t->budget, t->held);
	vec__free(&t->entries);
	str__free(&t->names);
	*t = (struct jittable){.budget = t->budget, .beside = t->beside, .next_ns = t->next_ns};
}

static bool has_room(const struct jittable *t)
{
	return t->entries.len < MAX_ENTRIES && t->names.len < MAX_NAMES - JITTABLE_MAX_NAME;
}

bool jittable__is_due(struct jittable *t, uint64_t now_ns)
{
	if (now_ns < t->next_ns || !jitbudget__may_work(t->budget, now_ns))
		return false;
	t->next_ns = now_ns + LOOK_NS;
	t->full = !has_room(t);
	jitbudget__worked(t->budget, LOOK_WORK);
	return true;
}

/* Whether there is such a range, and room for it. */
static bool can_add(struct jittable *t, uint64_t start, uint64_t size, size_t name)
{
	size_t bytes = sizeof(struct jit_entry) + t->beside + name;

	if (!size || size > UINT64_MAX - start)
		return false;
	t->full = t->full || !has_room(t) || !jitbudget__take(t->budget, bytes);
	t->held += t->full ? 0 : bytes;
	return !t->full;
}

static int push(struct jittable *t, uint64_t start, uint64_t size, uint32_t name)
{
	struct jit_entry entry = {.start = start, .end = start + size, .name = name, .number = (uint32_t)t->entries.len};

	jitbudget__worked(t->budget, ENTRY_WORK);
	return vec__push(&t->entries, entry) ? -ENOMEM : 1;
}

int jittable__add(struct jittable *t, uint64_t start, uint64_t size, const char *name, size_t n)
{
	size_t before = t->names.len;

	n = n < JITTABLE_MAX_NAME ? n : JITTABLE_MAX_NAME;
	if (!can_add(t, start, size, n + 1))
		return 0;
	if (str__add(&t->names, name, n))
		return -ENOMEM;
	str__make_plain(&t->names, before);
	return str__addc(&t->names, '\0') ? -ENOMEM : push(t, start, size, (uint32_t)before);
}

int jittable__add_again(struct jittable *t, uint64_t start, uint64_t size, uint32_t name)
{
	return can_add(t, start, size, 0) ? push(t, start, size, name) : 0;
}

static int by_start(const void *a, const void *b)
{
	const struct jit_entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Sorts what is new in among the others. From *first on entries are not where they were. */
static int merge(struct jittable *t, size_t *first)
{
	size_t old = t->settled, n = t->entries.len - old, to = t->entries.len;
	struct jit_entry *all = t->entries.data, *added;

	qsort(all + old, n, sizeof(*all), by_start);
	*first = old;
	if (!old || by_start(&all[old - 1], &all[old]) < 0)
		return 0;
	added = malloc(n * sizeof(*added));
	if (!added)
		return -ENOMEM;
	memcpy(added, all + old, n * sizeof(*added));
	while (n)
		all[--to] = old && by_start(&all[old - 1], &added[n - 1]) > 0 ? all[--old] : added[--n];
	free(added);
	*first = to;
	return 0;
}

int jittable__settle(struct jittable *t)
{
	size_t first;

	if (t->settled == t->entries.len)
		return 0;
	if (merge(t, &first))
		return -ENOMEM;
	for (size_t i = first; i < t->entries.len; i++) {
		struct jit_entry *e = &t->entries.data[i];

		e->outer = (uint32_t)i - 1; /* NONE for the first */
		while (e->outer != NONE && t->entries.data[e->outer].end <= e->start)
			e->outer = t->entries.data[e->outer].outer;
	}
	jitbudget__worked(t->budget, (t->entries.len - first) * sizeof(struct jit_entry));
	t->settled = t->entries.len;
	return 0;
}

int jittable__find(const struct jittable *t, uint64_t addr, const char **name)
{
	const struct vec(struct jit_entry) settled = {.data = t->entries.data, .len = t->settled};
	const struct jit_entry *best = NULL;
	uint32_t at = (uint32_t)vec__count_first(&settled, it, it->start <= addr) - 1; /* NONE for none */

	for (int i = 0; i < MAX_OVERLAP && at != NONE; i++, at = t->entries.data[at].outer) {
		const struct jit_entry *e = &t->entries.data[at];

		if (addr < e->end && (!best || e->number > best->number))
			best = e;
	}
	if (!best)
		return -ENOENT;
	*name = t->names.data + best->name;
	return 0;
}
