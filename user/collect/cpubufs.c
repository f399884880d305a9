// SPDX-License-Identifier: Apache-2.0
#include "collect/cpubufs.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One CPU's samples that are to be taken: positions from `next` up to `end`. */
struct span {
	uint64_t next, end;
};

struct cpubufs {
	struct cpubufs_maps maps;         /* the descriptors are not used any more */
	const char *scratches;            /* of all CPUs, read-only; NULL: not mapped */
	const struct rec_sample *samples; /* of all CPUs, cpu_samples each */
	uint64_t *tails;                  /* by CPU: samples taken, for the kernel to see */
	struct span *spans;               /* by CPU, during a round */
};

static size_t scratches_bytes(const struct cpubufs *b)
{
	return b->maps.cpus * b->maps.scratch_bytes;
}

static size_t samples_bytes(const struct cpubufs *b)
{
	return (size_t)b->maps.cpus * b->maps.cpu_samples * sizeof(*b->samples);
}

static size_t tails_bytes(const struct cpubufs *b)
{
	return b->maps.cpus * sizeof(*b->tails);
}

/* Maps an array map of `bytes`. 0 or -errno. */
static int map_array(int fd, size_t bytes, int protection, const void *to, struct err *e)
{
	void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return err__errno(e, -errno, "mapping the samples");
	*(void **)to = at;
	return 0;
}

int cpubufs__new(const struct cpubufs_maps *maps, struct cpubufs **out, struct err *e)
{
	struct cpubufs *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return err__errno(e, -ENOMEM, "mapping the samples");
	b->maps = *maps;
	b->maps.scratch_bytes = (maps->scratch_bytes + 7) & ~7ul; /* kernel/bpf/arraymap.c: elem_size */
	b->spans = calloc(maps->cpus, sizeof(*b->spans));
	err = b->spans ? 0 : err__errno(e, -ENOMEM, "mapping the samples");
	if (!err)
		err = map_array(maps->scratches, scratches_bytes(b), PROT_READ, &b->scratches, e);
	if (!err)
		err = map_array(maps->samples, samples_bytes(b), PROT_READ, &b->samples, e);
	if (!err)
		err = map_array(maps->tails, tails_bytes(b), PROT_READ | PROT_WRITE, &b->tails, e);
	if (err)
		cpubufs__free(b);
	else
		*out = b;
	return err;
}

void cpubufs__free(struct cpubufs *b)
{
	if (!b)
		return;
	if (b->scratches)
		munmap((void *)b->scratches, scratches_bytes(b));
	if (b->samples)
		munmap((void *)b->samples, samples_bytes(b));
	if (b->tails)
		munmap(b->tails, tails_bytes(b));
	free(b->spans);
	free(b);
}

static const struct cpu_shared *shared_of(const struct cpubufs *b, uint32_t cpu)
{
	return (const void *)(b->scratches + cpu * b->maps.scratch_bytes);
}

void cpubufs__counters(const struct cpubufs *b, struct cpu_shared *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (uint32_t cpu = 0; cpu < b->maps.cpus; cpu++) {
		const uint64_t *from = (const uint64_t *)shared_of(b, cpu);
		uint64_t *to = (uint64_t *)sum;

		for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
			to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	}
}

void cpubufs__begin(struct cpubufs *b)
{
	for (uint32_t cpu = 0; cpu < b->maps.cpus; cpu++) {
		b->spans[cpu].next = b->tails[cpu];
		b->spans[cpu].end = __atomic_load_n(&shared_of(b, cpu)->head, __ATOMIC_ACQUIRE);
	}
#ifndef __x86_64__
	/* the BPF program has no barrier that every supported kernel knows: make each CPU pass one */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
#endif
}

static const struct rec_sample *sample_at(const struct cpubufs *b, uint32_t cpu, uint64_t position)
{
	return &b->samples[(size_t)cpu * b->maps.cpu_samples + (position & (b->maps.cpu_samples - 1))];
}

/* The CPU with the oldest sample of the round, or -1. There are few CPUs with something in them: looking at each is fast enough. */
static int oldest(const struct cpubufs *b)
{
	uint64_t time = 0;
	int found = -1;

	for (uint32_t cpu = 0; cpu < b->maps.cpus; cpu++) {
		const struct rec_sample *r = sample_at(b, cpu, b->spans[cpu].next);

		if (b->spans[cpu].next == b->spans[cpu].end || (found >= 0 && r->time >= time))
			continue;
		time = r->time;
		found = (int)cpu;
	}
	return found;
}

int cpubufs__take(struct cpubufs *b, int (*fn)(void *arg, const struct rec_sample *sample), void *arg)
{
	int taken = 0, err = 0, cpu;

	while (err >= 0 && (cpu = oldest(b)) >= 0) {
		err = fn(arg, sample_at(b, (uint32_t)cpu, b->spans[cpu].next));
		b->spans[cpu].next += err >= 0;
		taken++;
	}
	for (uint32_t i = 0; i < b->maps.cpus; i++)
		__atomic_store_n(&b->tails[i], b->spans[i].next, __ATOMIC_RELEASE);
	return err < 0 ? err : taken;
}
