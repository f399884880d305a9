/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading little-endian values and LEB128 numbers out of a buffer that ends. What lies behind the end reads as 0, and
 * `bad` stays set: one look at it after a run of reads is enough.
 */
#ifndef PYBPF_UNWIND_CURSOR_H
#define PYBPF_UNWIND_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

static inline size_t cursor__left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

/* Where the next n bytes are, which are then behind the cursor; NULL when there are fewer. */
static inline const uint8_t *cursor__take(struct cursor *c, uint64_t n)
{
	const uint8_t *p = c->at;

	if (n > cursor__left(c)) {
		c->at = c->end;
		c->bad = true;
		return NULL;
	}
	c->at += n;
	return p;
}

/* An unsigned number of n bytes, n <= 8. */
static inline uint64_t cursor__fixed(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor__take(c, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* A signed one. */
static inline int64_t cursor__signed(struct cursor *c, size_t n)
{
	unsigned int unused = 64 - 8 * (unsigned int)n;

	return (int64_t)(cursor__fixed(c, n) << unused) >> unused;
}

static inline uint8_t cursor__u8(struct cursor *c)
{
	if (c->at == c->end) {
		c->bad = true;
		return 0;
	}
	return *c->at++;
}

/* LEB128 (DWARF 5 section 7.6); bits beyond the 64th are dropped. */
static inline uint64_t cursor__leb(struct cursor *c, bool is_signed)
{
	unsigned int shift = 0;
	uint64_t v = 0;
	uint8_t byte;

	do {
		byte = cursor__u8(c);
		if (shift < 64)
			v |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (is_signed && shift < 64 && byte & 0x40)
		v |= ~(uint64_t)0 << shift;
	return v;
}

static inline uint64_t cursor__uleb(struct cursor *c)
{
	if (c->at < c->end && *c->at < 0x80)
		return *c->at++;
	return cursor__leb(c, false);
}

static inline int64_t cursor__sleb(struct cursor *c)
{
	return (int64_t)cursor__leb(c, true);
}

#endif
