// SPDX-License-Identifier: Apache-2.0
#include "collect/spaces.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"
#include "sys/proc.h"

#define NO_TABLE   UINT32_MAX
#define SMALLEST   64 /* mappings of the smallest run */
#define CLASSES    11 /* up to 65536 */
#define IN_VAIN    8
#define GRACE_NS   1000000000ull /* a walk that began with the old run is over by then */

/* A run of elements in the kernel's mappings. */
struct run {
	uint32_t first, class;
	uint64_t freed_ns;
};

struct space {
	uint32_t refs, pid;
	bool dirty, published;
	uint32_t in_vain; /* times that the mappings were read anew for an address that lies in none */
	uint64_t start_ticks; /* of the process */
	uint64_t start_stack; /* of its program */
	struct jitcode *jitcode;
	struct run run;
	struct vec(struct code_map) maps; /* by start, without overlap */
	size_t read;                      /* how many these were when they were read */
};

struct spaces {
	struct kernel *kernel;
	struct kernel_unwind_maps fds;
	struct binaries *binaries;
	struct unwinds *unwinds;
	struct hmap by_pid; /* -> struct space * */
	struct vec(uint32_t) dirty; /* pids */
	uint32_t used;              /* elements of the mappings that were ever given out */
	struct vec(struct run) resting, free;
	struct vec(struct unwind_mapping) scratch;
};

struct spaces *spaces__new(struct kernel *k, struct binaries *binaries, struct unwinds *unwinds)
{
	struct spaces *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->kernel = k;
	kernel__unwind_maps(k, &all->fds);
	all->binaries = binaries;
	all->unwinds = unwinds;
	return all;
}

void space__put(struct space *s)
{
	if (!s || --s->refs)
		return;
	jitcode__free(s->jitcode);
	vec__free(&s->maps);
	free(s);
}

void spaces__free(struct spaces *all)
{
	size_t pos = 0;
	uint64_t pid, *space;

	if (!all)
		return;
	while (hmap__next(&all->by_pid, &pos, &pid, &space))
		space__put((struct space *)(uintptr_t)*space);
	hmap__free(&all->by_pid);
	vec__free(&all->dirty);
	vec__free(&all->resting);
	vec__free(&all->free);
	vec__free(&all->scratch);
	free(all);
}

static struct space *find(const struct spaces *all, uint32_t pid)
{
	uint64_t *known = hmap__get(&all->by_pid, pid);

	return known ? (struct space *)(uintptr_t)*known : NULL;
}

struct jitcode *space__jitcode(struct space *s)
{
	return s->jitcode;
}

/* ---- runs of the kernel's mappings */

/* Runs that rested long enough and that no process uses any more (children share their parent's) become free. */
static void runs__collect(struct spaces *all)
{
	struct hmap used = {0};
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint32_t pid = 0, *key = NULL;
	struct unwind_space space;
	size_t kept = 0;

	while (!bpf_map_get_next_key(all->fds.spaces, key, &pid)) {
		if (!bpf_map_lookup_elem(all->fds.spaces, &pid, &space) && hmap__put(&used, space.first, 1))
			goto out;
		key = &pid;
	}
	for (size_t i = 0; i < all->resting.len; i++) {
		struct run r = all->resting.data[i];

		if (now - r.freed_ns < GRACE_NS || hmap__get(&used, r.first) || vec__push(&all->free, r))
			all->resting.data[kept++] = r;
	}
	all->resting.len = kept;
out:
	hmap__free(&used);
}

static int runs__take(struct spaces *all, size_t count, struct run *out)
{
	uint32_t class = 0;

	while ((size_t)SMALLEST << class < count)
		class++;
	if (class >= CLASSES)
		return -E2BIG;
	for (int collected = 0; collected < 2; collected++) {
		vec__foreach(&all->free, r) {
			if (r->class != class)
				continue;
			*out = *r;
			*r = all->free.data[--all->free.len];
			return 0;
		}
		if (!collected && all->resting.len)
			runs__collect(all);
	}
	if (all->used + (SMALLEST << class) > all->fds.max_mappings)
		return -ENOSPC;
	*out = (struct run){.first = all->used, .class = class};
	all->used += SMALLEST << class;
	return 0;
}

static void runs__give(struct spaces *all, struct run r)
{
	r.freed_ns = clock_ns(CLOCK_MONOTONIC);
	if (vec__push(&all->resting, r))
		return; /* no memory: it is lost for this recording */
}

/* ---- publishing */

/* A new run is written, then the process's entry turned to it. */
static int publish(struct spaces *all, struct space *s)
{
	struct unwind_space entry = {.count = (uint32_t)s->maps.len, .settled = s->in_vain >= IN_VAIN};
	struct run run;
	uint32_t n = (uint32_t)s->maps.len, *keys;
	int err = runs__take(all, s->maps.len, &run);

	if (err)
		return err;
	entry.first = run.first;
	all->scratch.len = 0;
	keys = calloc(n + 1, sizeof(*keys));
	for (uint32_t i = 0; !err && keys && i < n; i++) {
		const struct code_map *m = &s->maps.data[i];

		keys[i] = run.first + i;
		err = vec__push(&all->scratch, (struct unwind_mapping){
				.start = m->start,
				.length = m->end - m->start,
				.bias = m->bias,
				.table = m->binary ? m->binary->id : NO_TABLE,
				.apart = m->binary && m->binary->greenlets,
			});
	}
	if (!keys)
		err = -ENOMEM;
	if (!err && n)
		err = bpf_map_update_batch(all->fds.mappings, keys, all->scratch.data, &n, NULL);
	free(keys);
	if (!err)
		err = bpf_map_update_elem(all->fds.spaces, &s->pid, &entry, BPF_ANY);
	if (err) {
		runs__give(all, run);
		return err;
	}
	if (s->published)
		runs__give(all, s->run);
	s->run = run;
	s->published = true;
	return 0;
}

void spaces__flush(struct spaces *all)
{
	if (!all->dirty.len)
		return;
	vec__foreach(&all->dirty, pid) {
		struct space *s = find(all, *pid);

		if (!s || !s->dirty)
			continue;
		s->dirty = false;
		publish(all, s); /* what does not fit is not unwound, and samples say so */
	}
	all->dirty.len = 0;
	kernel__processes_changed(all->kernel);
}

/* ---- mappings of a process */

/* The index of the first mapping that ends above addr. */
static size_t lower_bound(const struct space *s, uint64_t addr)
{
	return vec__count_first(&s->maps, it, it->end <= addr);
}

const struct code_map *space__find(const struct space *s, uint64_t addr)
{
	size_t i = lower_bound(s, addr);

	return i < s->maps.len && s->maps.data[i].start <= addr ? &s->maps.data[i] : NULL;
}

/* Puts a mapping in, over whatever was there. */
static int insert(struct space *s, const struct code_map *m)
{
	size_t at = lower_bound(s, m->start), behind = at;
	struct code_map head = {0}, tail = {0};

	while (behind < s->maps.len && s->maps.data[behind].start < m->end) {
		const struct code_map *old = &s->maps.data[behind++];

		if (old->start < m->start) {
			head = *old;
			head.end = m->start;
		}
		if (old->end > m->end) {
			tail = *old;
			tail.start = m->end;
		}
	}
	if (vec__reserve(&s->maps, s->maps.len + 3))
		return -ENOMEM;
	{
		struct code_map put[3];
		size_t n = 0, rest = s->maps.len - behind;

		if (head.end)
			put[n++] = head;
		put[n++] = *m;
		if (tail.end)
			put[n++] = tail;
		memmove(&s->maps.data[at + n], &s->maps.data[behind], rest * sizeof(*put));
		memcpy(&s->maps.data[at], put, n * sizeof(*put));
		s->maps.len = at + n + rest;
	}
	return 0;
}

static void mark(struct spaces *all, struct space *s)
{
	if (!s->dirty && !vec__push(&all->dirty, s->pid))
		s->dirty = true;
}

static int add_mapping(struct spaces *all, struct space *s, const struct proc_map *map)
{
	struct code_map m = {.start = map->start, .end = map->end};
	int err;

	if (!strcmp(map->path, "[vsyscall]"))
		return 0;
	if (jitcode__on_map(s->jitcode, map))
		return 0;
	err = binaries__get(all->binaries, (pid_t)s->pid, map, &m.binary);
	if (err == -ENOMEM)
		return err;
	if (m.binary) {
		m.bias = binary__bias(m.binary, map->start, map->offset);
		unwinds__request(all->unwinds, m.binary);
	}
	return insert(s, &m);
}

/* What is mapped now, in the place of what was known; that stays when the process can't be read any more. */
static int read_mappings(struct spaces *all, struct space *s)
{
	__typeof__(s->maps) before = s->maps;
	struct proc_stat stat;
	struct proc_maps *maps;
	struct proc_map map;
	int err = proc_maps__open((pid_t)s->pid, &maps, NULL);

	if (err)
		return err;
	memset(&s->maps, 0, sizeof(s->maps));
	while ((err = proc_maps__next(maps, &map)) > 0) {
		if (map.exec && add_mapping(all, s, &map))
			break;
	}
	proc_maps__close(maps);
	if (err > 0)
		err = -ENOMEM;
	else if (!err && (!s->maps.len || proc__stat((pid_t)s->pid, &stat) || stat.start_stack != s->start_stack))
		err = -ESRCH; /* it is ending, or runs another program by now */
	if (err) {
		vec__free(&s->maps);
		s->maps = before;
	} else {
		vec__free(&before);
		s->read = s->maps.len;
	}
	return err;
}

int spaces__load(struct spaces *all, uint32_t pid)
{
	struct proc_stat stat;
	struct space *s;
	int err;

	if (find(all, pid))
		return 0;
	err = proc__stat((pid_t)pid, &stat);
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->refs = 1;
	s->pid = pid;
	s->start_ticks = stat.start_ticks;
	s->start_stack = stat.start_stack;
	s->jitcode = jitcode__new(pid, stat.start_ticks);
	err = s->jitcode ? read_mappings(all, s) : -ENOMEM;
	if (!err)
		err = hmap__put(&all->by_pid, pid, (uintptr_t)s);
	if (err) {
		space__put(s);
		return err;
	}
	mark(all, s);
	return 0;
}

void spaces__on_mmap(struct spaces *all, const struct sideband_mmap *m)
{
	struct space *s = find(all, m->pid);

	if (!s || add_mapping(all, s, &m->map))
		return;
	if (s->maps.len > 2 * s->read + SMALLEST)
		read_mappings(all, s); /* nobody tells of those that have gone */
	s->in_vain = 0;
	mark(all, s);
}

bool spaces__look_again(struct spaces *all, struct space *s)
{
	if (find(all, s->pid) != s || s->in_vain >= IN_VAIN || read_mappings(all, s))
		return false;
	if (++s->in_vain == IN_VAIN)
		mark(all, s);
	return true;
}

static void forget(struct spaces *all, uint32_t pid)
{
	struct space *s = find(all, pid);

	if (!s)
		return;
	hmap__del(&all->by_pid, pid);
	if (s->published)
		runs__give(all, s->run);
	s->published = false;
	space__put(s);
}

void spaces__on_exec(struct spaces *all, uint32_t pid)
{
	forget(all, pid);
}

void spaces__on_exit(struct spaces *all, uint32_t pid, uint64_t start_time)
{
	const struct space *s = find(all, pid);

	if (s && start_time && !proc__same_start(start_time, s->start_ticks))
		return; /* another process's by now */
	/* the kernel has forgotten it, but it may have been published since */
	if (s && s->published && kill((pid_t)pid, 0) && errno == ESRCH)
		bpf_map_delete_elem(all->fds.spaces, &pid);
	forget(all, pid);
}

void spaces__mark_used(const struct spaces *all, bool *in_use, size_t count)
{
	uint64_t pid, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_pid, &pos, &pid, &at)) {
		struct space *s = (struct space *)(uintptr_t)*at;

		vec__foreach(&s->maps, m) {
			if (m->binary && m->binary->id < count)
				in_use[m->binary->id] = true;
		}
	}
}

void spaces__reload(struct spaces *all)
{
	uint64_t pid, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_pid, &pos, &pid, &at)) {
		struct space *s = (struct space *)(uintptr_t)*at;

		if (!read_mappings(all, s))
			mark(all, s);
	}
}

void spaces__sweep(struct spaces *all)
{
	uint64_t pid, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_pid, &pos, &pid, &at)) {
		const struct space *s = (const struct space *)(uintptr_t)*at;
		struct proc_stat stat;
		uint32_t key = (uint32_t)pid;

		if (!proc__stat((pid_t)pid, &stat) && stat.start_ticks == s->start_ticks)
			continue;
		bpf_map_delete_elem(all->fds.spaces, &key);
		forget(all, key);
	}
}

/* The space of a program, if it runs in the process; exec may not have been told of yet, and what is known is of the one before. */
static struct space *find_program(struct spaces *all, uint32_t pid, uint64_t start_stack)
{
	struct space *s = find(all, pid);
	struct proc_stat stat;

	if (!s || s->start_stack != start_stack) {
		if (proc__stat((pid_t)pid, &stat) || stat.start_stack != start_stack)
			return NULL;
		forget(all, pid);
		spaces__load(all, pid);
		s = find(all, pid);
	}
	return s && s->start_stack == start_stack ? s : NULL;
}

struct space *spaces__get(struct spaces *all, uint32_t pid, uint32_t ppid, uint64_t start_stack)
{
	struct space *s = find_program(all, pid, start_stack);

	if (!s)
		s = find_program(all, ppid, start_stack);
	if (s)
		s->refs++;
	return s;
}
