/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What an ELF file is known by where only its image in memory can be seen: a number made of its first KB, in which headers tell
 * the places and sizes of all its parts, and mostly a build id lies. Included after vmlinux.h by BPF, after <linux/types.h> by
 * user space.
 */
#ifndef PYBPF_IMAGE_H
#define PYBPF_IMAGE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define PYBPF_IMAGE_WORDS 128 /* of 8 bytes */

/* The number for the first n words of PYBPF_IMAGE_WORDS; never 0. */
static inline __attribute__((always_inline)) __u64 pybpf_image_key(const __u64 *words, __u32 n)
{
	__u64 h = 0;

	for (__u32 i = 0; i < PYBPF_IMAGE_WORDS; i++) {
		if (i >= n)
			break;
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h | 1;
}

#endif
