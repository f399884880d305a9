/* SPDX-License-Identifier: Apache-2.0 */
/* Hash functions and two tables: 64-bit keys to 64-bit values, and interned strings. */
#ifndef PYBPF_HASH_H
#define PYBPF_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash__u64(uint64_t x);              /* a bijective mix */
uint64_t hash__combine(uint64_t a, uint64_t b);
uint64_t hash__bytes(const void *p, size_t n);

/* Open addressing, any key but no order. `struct hmap m = {0}` is empty. */
struct hmap {
	struct hmap_slot *slots;
	size_t len, cap, used;
};

/* Returns the value's place, or NULL when the key is not there. Valid until the next put or delete. */
uint64_t *hmap__get(const struct hmap *m, uint64_t key);
/* Sets key to value, new or not. 0 or -ENOMEM. */
int hmap__put(struct hmap *m, uint64_t key, uint64_t value);
/* Forgets key; true when it was there. */
bool hmap__del(struct hmap *m, uint64_t key);
/* Walks all entries: start with *pos = 0; false at the end. Deleting the entry just returned is allowed. */
bool hmap__next(const struct hmap *m, size_t *pos, uint64_t *key, uint64_t **value);
void hmap__free(struct hmap *m);
/* Forgets all keys. There is room for as many as there were; memory beyond that of `want` is given back where it is much. */
void hmap__clear(struct hmap *m, size_t want);

/* Interned byte strings: equal strings get equal ids, ids count up from 0 without gaps (0 is always ""). */
struct strtab;
struct strtab *strtab__new(void);
void strtab__free(struct strtab *t);
/* Id of the n bytes, or -ENOMEM. The bytes are copied. */
int64_t strtab__add(struct strtab *t, const char *bytes, size_t n);
/* Id of the n bytes if they were added, else -ENOENT. */
int64_t strtab__find(const struct strtab *t, const char *bytes, size_t n);
uint32_t strtab__count(const struct strtab *t);
/* Forgets the strings for which to[id] is `gone`; the others move together in their order. 0, or -ENOMEM with nothing changed. */
int strtab__keep(struct strtab *t, const uint32_t *to, uint32_t gone);
/* NUL-terminated; *n (may be NULL) gets the length. The address stays valid as long as the table, but for strtab__keep. */
const char *strtab__get(const struct strtab *t, uint32_t id, size_t *n);
size_t strtab__memory(const struct strtab *t); /* bytes held */

#endif
