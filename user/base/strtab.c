// SPDX-License-Identifier: Apache-2.0
/* Interned strings: bytes in blocks that never move, an index of them, and an open-addressing table of ids. */
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define BLOCK_BYTES (64u << 10)

struct entry {
	const char *bytes;
	uint32_t len;
	uint32_t hash;
};

struct strtab {
	struct vec(struct entry) entries;
	struct vec(char *) blocks;
	size_t block_used, block_size, held;
	uint32_t *slots; /* id + 1, 0: empty */
	size_t cap;
};

struct strtab *strtab__new(void)
{
	struct strtab *t = calloc(1, sizeof(*t));

	if (t && strtab__add(t, "", 0) != 0) {
		strtab__free(t);
		return NULL;
	}
	return t;
}

void strtab__free(struct strtab *t)
{
	if (!t)
		return;
	vec__foreach(&t->blocks, block)
		free(*block);
	vec__free(&t->blocks);
	vec__free(&t->entries);
	free(t->slots);
	free(t);
}

static char *strtab__room(struct strtab *t, size_t n)
{
	if (t->block_used + n > t->block_size) {
		size_t size = n > BLOCK_BYTES / 4 ? n : BLOCK_BYTES;
		char *block;

		if (t->entries.len == 0)
			size = 64; /* the empty string alone: many tables stay small */
		block = malloc(size);
		if (!block)
			return NULL;
		if (vec__push(&t->blocks, block)) {
			free(block);
			return NULL;
		}
		t->held += size;
		t->block_used = 0;
		t->block_size = size;
	}
	t->block_used += n;
	return t->blocks.data[t->blocks.len - 1] + t->block_used - n;
}

static int strtab__rehash(struct strtab *t)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	uint32_t *slots = calloc(cap, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t id = 0; id < t->entries.len; id++) {
		size_t i = t->entries.data[id].hash & (cap - 1);

		while (slots[i])
			i = (i + 1) & (cap - 1);
		slots[i] = (uint32_t)id + 1;
	}
	free(t->slots);
	t->slots = slots;
	t->cap = cap;
	return 0;
}

/* The slot that holds the string, or the empty one where it would be. There must be one. */
static size_t strtab__slot(const struct strtab *t, const char *bytes, size_t n, uint32_t hash)
{
	size_t i = hash & (t->cap - 1);

	for (; t->slots[i]; i = (i + 1) & (t->cap - 1)) {
		const struct entry *e = &t->entries.data[t->slots[i] - 1];

		if (e->hash == hash && e->len == n && !memcmp(e->bytes, bytes, n))
			break;
	}
	return i;
}

int64_t strtab__find(const struct strtab *t, const char *bytes, size_t n)
{
	uint32_t id = t->slots[strtab__slot(t, bytes, n, (uint32_t)hash__bytes(bytes, n))];

	return id ? (int64_t)id - 1 : -ENOENT;
}

int64_t strtab__add(struct strtab *t, const char *bytes, size_t n)
{
	uint32_t hash = (uint32_t)hash__bytes(bytes, n);
	char *copy;
	size_t i;

	if (n > UINT32_MAX - 1 || t->entries.len >= UINT32_MAX - 1)
		return -ENOMEM;
	if ((t->entries.len + 1) * 4 > t->cap * 3 && strtab__rehash(t))
		return -ENOMEM;
	i = strtab__slot(t, bytes, n, hash);
	if (t->slots[i])
		return t->slots[i] - 1;
	if (vec__reserve(&t->entries, t->entries.len + 1))
		return -ENOMEM;
	copy = strtab__room(t, n + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	t->entries.data[t->entries.len] = (struct entry){.bytes = copy, .len = (uint32_t)n, .hash = hash};
	t->slots[i] = (uint32_t)++t->entries.len;
	return (int64_t)t->entries.len - 1;
}

int strtab__keep(struct strtab *t, const uint32_t *to, uint32_t gone)
{
	struct strtab *fresh = strtab__new(), old;

	for (size_t id = 1; fresh && id < t->entries.len; id++) {
		const struct entry *e = &t->entries.data[id];

		if (to[id] != gone && strtab__add(fresh, e->bytes, e->len) < 0) {
			strtab__free(fresh);
			fresh = NULL;
		}
	}
	if (!fresh)
		return -ENOMEM;
	old = *t;
	*t = *fresh;
	*fresh = old;
	strtab__free(fresh);
	return 0;
}

uint32_t strtab__count(const struct strtab *t)
{
	return (uint32_t)t->entries.len;
}

const char *strtab__get(const struct strtab *t, uint32_t id, size_t *n)
{
	if (n)
		*n = t->entries.data[id].len;
	return t->entries.data[id].bytes;
}

size_t strtab__memory(const struct strtab *t)
{
	return t->held + t->entries.cap * sizeof(struct entry) + t->cap * sizeof(*t->slots);
}
