/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): without the key nobody can find two
 * inputs of the same hash.
 */
#ifndef PYBPF_UNWIND_SIPHASH_H
#define PYBPF_UNWIND_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t siphash__rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void siphash__rounds(uint64_t v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = siphash__rotl(v[1], 13) ^ v[0];
		v[3] = siphash__rotl(v[3], 16) ^ v[2];
		v[0] = siphash__rotl(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = siphash__rotl(v[1], 17) ^ v[2];
		v[3] = siphash__rotl(v[3], 21) ^ v[0];
		v[2] = siphash__rotl(v[2], 32);
	}
}

/* Of n bytes, behind others of which `before` is the hash (0: none). */
static inline uint64_t siphash(const uint64_t key[2], uint64_t before, const void *data, size_t n)
{
	const uint64_t k0 = key[0] ^ before, k1 = key[1];
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull, k0 ^ 0x6c7967656e657261ull,
			 k1 ^ 0x7465646279746573ull};
	const uint8_t *p = data;
	uint64_t word, last = (uint64_t)n << 56;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&word, p, 8);
		v[3] ^= word;
		siphash__rounds(v, 2);
		v[0] ^= word;
	}
	for (size_t i = 0; i < n; i++)
		last |= (uint64_t)p[i] << 8 * i;
	v[3] ^= last;
	siphash__rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	siphash__rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
