/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* 64-bit mixing of words: a few multiplications, no state but the word. */
#ifndef PYBPF_HASH_BPF_H
#define PYBPF_HASH_BPF_H

#define MIX_A 0x9e3779b97f4a7c15ull
#define MIX_B 0xd6e8feb86659fd93ull

/* Folds `word` into `h`. The right shifts bring high bits, where products carry their entropy, down. */
static __always_inline __u64 mix(__u64 h, __u64 word)
{
	h = (h ^ word) * MIX_A;
	return h ^ (h >> 29);
}

/* Two words in one, for mix: in a long chain of them, half of its steps. */
static __always_inline __u64 mix2(__u64 a, __u64 b)
{
	return a + b * MIX_B;
}

static __always_inline __u64 mix_final(__u64 h)
{
	h ^= h >> 32;
	h *= MIX_B;
	h ^= h >> 32;
	h *= MIX_B;
	return h ^ (h >> 32);
}

#endif
