/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walkers of bpf/ need in order to be compiled for the host: the types of the uapi headers in place of
 * vmlinux.h, and helpers that read from an image of memory, look into plain arrays and keep what is sent. The helpers
 * are as unforgiving as the kernel's: a read is whole or fails and zeroes its target, and it may only go where the
 * verifier would let it.
 */
#ifndef PYBPF_BPF_HOST_H
#define PYBPF_BPF_HOST_H

#define __VMLINUX_H__ /* pybpf/abi.h finds the types of <linux/types.h> */
#include <linux/bpf.h>
#include <linux/types.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sys/mem.h"

#define SEC(name)
#define __uint(name, value)  int(*name)[value]
#define __type(name, value)  __typeof__(value) *name
#define __array(name, value) __typeof__(value) *name[1]
#undef __always_inline
/* BPF loads words from any address (a damaged frame's may be odd) */
#define __always_inline inline __attribute__((always_inline, no_sanitize("alignment")))
#define __noinline      __attribute__((noinline, no_sanitize("alignment")))
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* global functions are the verifier's, not the linker's */

/* ---- memory of a process: pages, copied when they are first read from `live`, or made up */

#define HOST_PAGE 4096ull

struct image {
	struct hmap pages;          /* page number -> unsigned char *; NULL: not there */
	struct memory_reader *live; /* NULL: none but the pages put in */
	bool moving;                /* the process goes on: nothing is kept, each read asks it */
	unsigned int reads;         /* by the program under test */
};

static struct image *host_image;

static inline unsigned char *image__page(struct image *m, uint64_t addr)
{
	uint64_t number = addr / HOST_PAGE, *known = hmap__get(&m->pages, number);
	unsigned char *page = NULL;

	if (known)
		return (unsigned char *)(uintptr_t)*known;
	if (!m->live)
		return NULL;
	page = malloc(HOST_PAGE);
	if (!page || memory__read(m->live, number * HOST_PAGE, page, HOST_PAGE)) {
		free(page);
		page = NULL;
	}
	if (hmap__put(&m->pages, number, (uintptr_t)page))
		abort();
	return page;
}

/* Copies n bytes from or to the image; false when part of them is not there. */
static inline bool image__copy(struct image *m, uint64_t addr, void *bytes, size_t n, bool to)
{
	if (m->moving && !to)
		return !memory__read(m->live, addr, bytes, n);
	for (size_t done = 0; done < n;) {
		size_t at = (addr + done) % HOST_PAGE, step = HOST_PAGE - at;
		unsigned char *page = image__page(m, addr + done);

		if (!page)
			return false;
		if (step > n - done)
			step = n - done;
		if (to)
			memcpy(page + at, (char *)bytes + done, step);
		else
			memcpy((char *)bytes + done, page + at, step);
		done += step;
	}
	return true;
}

/* Writes; pages that are not there come into being, full of 0xa5. */
static inline void image__write(struct image *m, uint64_t addr, const void *bytes, size_t n)
{
	for (uint64_t page = addr & ~(HOST_PAGE - 1); page < addr + n; page += HOST_PAGE) {
		unsigned char *fresh;

		if (image__page(m, page))
			continue;
		fresh = malloc(HOST_PAGE);
		if (!fresh || hmap__put(&m->pages, page / HOST_PAGE, (uintptr_t)fresh))
			abort();
		memset(fresh, 0xa5, HOST_PAGE);
	}
	image__copy(m, addr, (void *)bytes, n, true);
}

static inline void image__write_u64(struct image *m, uint64_t addr, uint64_t value)
{
	image__write(m, addr, &value, sizeof(value));
}

static inline uint64_t image__u64(struct image *m, uint64_t addr)
{
	uint64_t value = 0;

	image__copy(m, addr, &value, sizeof(value), false);
	return value;
}

/* The page that holds addr is gone from now on. */
static inline void image__unmap(struct image *m, uint64_t addr)
{
	free(image__page(m, addr));
	if (hmap__put(&m->pages, addr / HOST_PAGE, 0))
		abort();
}

/* The whole page is there, with these bytes. */
static inline void image__put(struct image *m, uint64_t page, const void *bytes)
{
	unsigned char *fresh = malloc(HOST_PAGE);

	image__unmap(m, page);
	if (!fresh || hmap__put(&m->pages, page / HOST_PAGE, (uintptr_t)fresh))
		abort();
	memcpy(fresh, bytes, HOST_PAGE);
}

static inline void image__free(struct image *m)
{
	uint64_t number, *page;
	size_t pos = 0;

	while (hmap__next(&m->pages, &pos, &number, &page))
		free((void *)(uintptr_t)*page);
	hmap__free(&m->pages);
	memory__close(m->live);
	*m = (struct image){0};
}

/* ---- helpers */

struct host_array {
	const void *map;
	unsigned char *values;
};

static struct host_array host_arrays[8];

static inline void *host_lookup(const void *map, size_t entries, size_t size, __u32 key)
{
	if (key >= entries)
		return NULL;
	for (size_t i = 0;; i++) {
		struct host_array *a = &host_arrays[i];

		if (i == sizeof(host_arrays) / sizeof(*a))
			abort();
		if (!a->map) {
			a->map = map;
			a->values = calloc(entries, size);
			if (!a->values)
				abort();
		}
		if (a->map == map)
			return a->values + key * size;
	}
}

/* Arrays only: all that the walkers look into. */
#define bpf_map_lookup_elem(array, key)                                                                                \
	host_lookup(array, sizeof(*(array)->max_entries) / sizeof(int), sizeof(*(array)->value), *(key))

static inline void host_forget_maps(void)
{
	for (size_t i = 0; i < sizeof(host_arrays) / sizeof(*host_arrays); i++) {
		free(host_arrays[i].values);
		host_arrays[i] = (struct host_array){0};
	}
}

static inline bool host_may_write(const void *to, size_t n); /* below, where struct scratch is known */

static inline long bpf_probe_read_user(void *to, __u32 n, const void *from)
{
	if (!host_may_write(to, n))
		abort();
	host_image->reads++;
	if (image__copy(host_image, (uint64_t)from, to, n, false))
		return 0;
	memset(to, 0, n);
	return -EFAULT;
}

/* Records sent: one behind the other, each with its length before it. */
static struct {
	unsigned char bytes[1 << 20];
	size_t len, limit; /* limit: room for so many bytes, 0: for all */
} host_ring;

static inline long bpf_ringbuf_output(const void *map, void *data, __u64 n, __u64 flags)
{
	size_t room = host_ring.limit ? host_ring.limit : sizeof(host_ring.bytes);

	(void)map;
	(void)flags;
	if (host_ring.len + sizeof(n) + n > room)
		return -EAGAIN;
	memcpy(host_ring.bytes + host_ring.len, &n, sizeof(n));
	memcpy(host_ring.bytes + host_ring.len + sizeof(n), data, n);
	host_ring.len += sizeof(n) + n;
	return 0;
}

static inline long bpf_get_current_comm(void *to, __u32 n)
{
	memset(to, 0, n);
	return 0;
}

static inline __u32 task__ns_tid(void) /* of compat.bpf.h, which is the kernel's */
{
	return 0;
}

#include "pybpf/abi.h"
#include "bpf/hash.bpf.h"
#include "bpf/maps.bpf.h"
#include "bpf/emit.bpf.h"
#include "bpf/tstate.bpf.h"
#include "bpf/walk.bpf.h"
#include "bpf/code.bpf.h"

/* As sample__python of bpf/pybpf.bpf.c does at a thread's first sample. */
static inline int host_find_tstate(struct proc_info *info, const struct py_layout *lay, uint64_t thread, __u64 *tstate)
{
	int outcome = info->slot[0] ? PYBPF_OK : tstate__resolve(info, lay, thread);

	return outcome == PYBPF_OK ? tstate__find(info, thread, tstate) : outcome;
}

static inline bool host_within(const void *to, size_t n, const void *start, size_t size)
{
	return (const char *)to >= (const char *)start && (const char *)to + n <= (const char *)start + size;
}

/* Inside of the scratch memory a read must stay in the array that it begins in; elsewhere ASan sees what is wrong. */
static inline bool host_may_write(const void *to, size_t n)
{
	const struct scratch *s = scratch__of(0);

	return !host_within(to, 1, s, sizeof(*s)) || host_within(to, n, &s->outer, sizeof(s->outer)) ||
	       host_within(to, n, s->buf, sizeof(s->buf)) || host_within(to, n, s->object, sizeof(s->object)) ||
	       host_within(to, n, s->code_data, sizeof(s->code_data));
}

#endif
