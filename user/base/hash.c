// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

uint64_t hash__u64(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ (x >> 32);
}

uint64_t hash__combine(uint64_t a, uint64_t b)
{
	return hash__u64(a * 0x9e3779b97f4a7c15ull ^ b);
}

uint64_t hash__bytes(const void *p, size_t n)
{
	const unsigned char *bytes = p;
	uint64_t h = n * 0x9e3779b97f4a7c15ull, word;

	for (; n >= 8; bytes += 8, n -= 8) {
		memcpy(&word, bytes, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	if (n) {
		word = 0;
		memcpy(&word, bytes, n);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
	}
	return hash__u64(h);
}

enum { SLOT_EMPTY, SLOT_FULL, SLOT_GONE };

struct hmap_slot {
	uint64_t key, value;
	uint8_t state;
};

/* The slot of `key`, or the one where it would go; cap must not be 0. */
static struct hmap_slot *hmap__slot(const struct hmap *m, uint64_t key)
{
	struct hmap_slot *gone = NULL;

	for (size_t i = hash__u64(key) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct hmap_slot *s = &m->slots[i];

		if (s->state == SLOT_EMPTY)
			return gone ? gone : s;
		if (s->state == SLOT_GONE) {
			if (!gone)
				gone = s;
		} else if (s->key == key) {
			return s;
		}
	}
}

uint64_t *hmap__get(const struct hmap *m, uint64_t key)
{
	struct hmap_slot *s;

	if (!m->len)
		return NULL;
	s = hmap__slot(m, key);
	return s->state == SLOT_FULL ? &s->value : NULL;
}

static int hmap__rehash(struct hmap *m)
{
	struct hmap bigger = {0};

	/* many of the used slots may be gone ones: then the same size will do */
	bigger.cap = m->cap ? m->cap : 16;
	if (m->len * 2 >= m->cap && m->cap)
		bigger.cap *= 2;
	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].state == SLOT_FULL)
			*hmap__slot(&bigger, m->slots[i].key) = m->slots[i];
	}
	bigger.len = bigger.used = m->len;
	free(m->slots);
	*m = bigger;
	return 0;
}

int hmap__put(struct hmap *m, uint64_t key, uint64_t value)
{
	struct hmap_slot *s;

	if ((m->used + 1) * 4 > m->cap * 3) {
		int err = hmap__rehash(m);

		if (err)
			return err;
	}
	s = hmap__slot(m, key);
	if (s->state != SLOT_FULL) {
		if (s->state == SLOT_EMPTY)
			m->used++;
		m->len++;
	}
	*s = (struct hmap_slot){.key = key, .value = value, .state = SLOT_FULL};
	return 0;
}

bool hmap__del(struct hmap *m, uint64_t key)
{
	struct hmap_slot *s;

	if (!m->len)
		return false;
	s = hmap__slot(m, key);
	if (s->state != SLOT_FULL)
		return false;
	s->state = SLOT_GONE;
	m->len--;
	return true;
}

bool hmap__next(const struct hmap *m, size_t *pos, uint64_t *key, uint64_t **value)
{
	while (*pos < m->cap) {
		struct hmap_slot *s = &m->slots[(*pos)++];

		if (s->state == SLOT_FULL) {
			*key = s->key;
			*value = &s->value;
			return true;
		}
	}
	return false;
}

void hmap__free(struct hmap *m)
{
	free(m->slots);
	*m = (struct hmap){0};
}

void hmap__clear(struct hmap *m, size_t want)
{
	size_t cap = 16;
	struct hmap_slot *fewer;

	m->len = m->used = 0;
	while (want * 2 >= cap)
		cap *= 2;
	fewer = cap < m->cap / 4 ? calloc(cap, sizeof(*fewer)) : NULL;
	if (fewer) {
		free(m->slots);
		m->slots = fewer;
		m->cap = cap;
	} else if (m->cap) {
		memset(m->slots, 0, m->cap * sizeof(*m->slots));
	}
}
