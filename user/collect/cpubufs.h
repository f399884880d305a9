/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each CPU shows of itself (bpf/maps.bpf.h): its samples, which it appends to and we take from, and its counters. They are
 * read where they are: no call for a sample, and no copy of 80 KB to read a counter.
 */
#ifndef PYBPF_CPUBUFS_H
#define PYBPF_CPUBUFS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pybpf/abi.h"

struct cpubufs_maps {
	int scratches, samples, tails; /* descriptors of the array maps */
	size_t scratch_bytes;          /* of a value of scratches, which struct cpu_shared begins */
	uint32_t cpus;                 /* possible ones */
	uint32_t cpu_samples;          /* of each: a power of 2 */
};

struct cpubufs;

/* Maps them; the descriptors are not needed any more. 0 or -errno. */
int cpubufs__new(const struct cpubufs_maps *maps, struct cpubufs **out, struct err *e);
void cpubufs__free(struct cpubufs *b); /* NULL is fine */

/* Sums over all CPUs; head is meaningless. */
void cpubufs__counters(const struct cpubufs *b, struct cpu_shared *sum);

/* A round begins: what is there by now is taken in it. */
void cpubufs__begin(struct cpubufs *b);
/*
 * Takes what was there when the round began, of all CPUs by time. How many, or what fn returned when that is negative: the
 * others are taken in the next round.
 */
int cpubufs__take(struct cpubufs *b, int (*fn)(void *arg, const struct rec_sample *sample), void *arg);

#endif
