// SPDX-License-Identifier: Apache-2.0
#include "symbolize/jittable.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_ENTRIES (1u << 20)
#define MAX_NAMES   (64u << 20) /* bytes of them all */
#define MAX_OVERLAP 64          /* entries at one address that are looked at */
#define NONE        UINT32_MAX

void jittable__free(struct jittable *t)
{
	vec__free(&t->entries);
	str__free(&t->names);
	*t = (struct jittable){0};
}

/* Whether there is such a range, and room for it. */
static bool can_add(struct jittable *t, uint64_t start, uint64_t size, size_t name)
{
	if (!size || size > UINT64_MAX - start)
		return false;
	t->full |= t->entries.len >= MAX_ENTRIES || t->names.len + name > MAX_NAMES;
	return !t->full;
}

static int push(struct jittable *t, uint64_t start, uint64_t size, uint32_t name)
{
	struct jit_entry entry = {.start = start, .end = start + size, .name = name, .number = (uint32_t)t->entries.len};

	t->sorted = false;
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

/* Sorts the entries and links those that overlap. */
static int settle(struct jittable *t)
{
	struct vec(uint32_t) open = {0};
	int err = 0;

	if (t->sorted || !t->entries.len)
		return 0;
	qsort(t->entries.data, t->entries.len, sizeof(struct jit_entry), by_start);
	for (size_t i = 0; i < t->entries.len && !err; i++) {
		struct jit_entry *e = &t->entries.data[i];

		while (open.len && t->entries.data[open.data[open.len - 1]].end <= e->start)
			open.len--;
		e->outer = open.len ? open.data[open.len - 1] : NONE;
		err = vec__push(&open, (uint32_t)i);
	}
	vec__free(&open);
	t->sorted = !err;
	return err;
}

int jittable__find(struct jittable *t, uint64_t addr, const char **name)
{
	const struct jit_entry *best = NULL;
	int err = settle(t);
	uint32_t at;

	if (err)
		return err;
	at = (uint32_t)vec__count_first(&t->entries, it, it->start <= addr) - 1; /* NONE for none */
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
