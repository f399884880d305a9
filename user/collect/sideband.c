// SPDX-License-Identifier: Apache-2.0
#include "collect/sideband.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "collect/cpus.h"

#define RING_PAGES 16 /* of data, a power of two: some 500 mappings before user space must look */

struct ring {
	int fd; /* -1 while the CPU is offline */
	uint64_t enabled; /* see cpus__event_ended */
	struct perf_event_mmap_page *head;
};

struct sideband {
	struct ring *rings; /* by CPU */
	bool *online;
	size_t count, page;
	int epoll_fd;
	uint64_t tag;
};

/* Starts of PERF_RECORD_MMAP2 and PERF_RECORD_LOST as <linux/perf_event.h> describes them. */
struct mmap2_record {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t addr, len, pgoff;
	uint32_t maj, min;
	uint64_t ino, ino_generation;
	uint32_t prot, flags;
	char filename[];
};

struct comm_record {
	struct perf_event_header header;
	uint32_t pid, tid;
};

struct lost_record {
	struct perf_event_header header;
	uint64_t id, lost;
};

static void ring__close(struct sideband *s, struct ring *r)
{
	if (r->head)
		munmap(r->head, (RING_PAGES + 1) * s->page);
	if (r->fd >= 0)
		close(r->fd);
	r->head = NULL;
	r->fd = -1;
}

static int ring__watch(struct sideband *s, const struct ring *r)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = s->tag};

	if (s->epoll_fd < 0 || r->fd < 0)
		return 0;
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, r->fd, &event) && errno != EEXIST ? -errno : 0;
}

static int ring__open(struct sideband *s, struct ring *r, int cpu, struct err *e)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.mmap = 1,
		.mmap2 = 1,
		.comm = 1,
		.comm_exec = 1,
		.watermark = 1,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.wakeup_watermark = 1, /* each record wakes: the process runs on while we hesitate */
	};
	void *map;

	r->fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (r->fd < 0 && errno == ENODEV)
		return 0;
	if (r->fd < 0 && (errno == EACCES || errno == EPERM))
		return err__set(e, -EPERM, "perf events are not permitted: run as root or with CAP_PERFMON; a container's "
					   "seccomp filter must allow perf_event_open(2)");
	if (r->fd < 0)
		return err__errno(e, -errno, "listening to mappings on CPU %d", cpu);
	map = mmap(NULL, (RING_PAGES + 1) * s->page, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (map == MAP_FAILED) {
		int err = -errno;

		ring__close(s, r);
		return err__errno(e, err, "mapping the ring of mapping records of CPU %d", cpu);
	}
	r->head = map;
	r->enabled = 0;
	return ring__watch(s, r);
}

int sideband__refresh(struct sideband *s, struct err *e)
{
	int err = cpus__online(s->online, s->count);

	if (err)
		return err__errno(e, err, "reading /sys/devices/system/cpu/online");
	for (size_t cpu = 0; cpu < s->count; cpu++) {
		struct ring *r = &s->rings[cpu];

		if (r->fd >= 0 && (!s->online[cpu] || cpus__event_ended(r->fd, &r->enabled)))
			ring__close(s, r);
		if (s->online[cpu] && r->fd < 0)
			err = ring__open(s, r, (int)cpu, e);
		if (err)
			return err;
	}
	return 0;
}

int sideband__open(struct sideband **out, struct err *e)
{
	struct sideband *s = calloc(1, sizeof(*s));
	int cpus = libbpf_num_possible_cpus(), err;

	if (!s)
		return err__errno(e, -ENOMEM, "listening to mappings");
	s->count = cpus > 0 ? (size_t)cpus : 1;
	s->page = (size_t)sysconf(_SC_PAGESIZE);
	s->epoll_fd = -1;
	s->rings = calloc(s->count, sizeof(*s->rings));
	s->online = calloc(s->count, sizeof(*s->online));
	for (size_t cpu = 0; s->rings && cpu < s->count; cpu++)
		s->rings[cpu].fd = -1;
	err = s->rings && s->online ? sideband__refresh(s, e)
				    : err__errno(e, -ENOMEM, "listening to mappings");
	if (err) {
		sideband__close(s);
		return err;
	}
	*out = s;
	return 0;
}

void sideband__close(struct sideband *s)
{
	if (!s)
		return;
	for (size_t cpu = 0; s->rings && cpu < s->count; cpu++)
		ring__close(s, &s->rings[cpu]);
	free(s->rings);
	free(s->online);
	free(s);
}

int sideband__poll_with(struct sideband *s, int epoll_fd, uint64_t tag)
{
	s->epoll_fd = epoll_fd;
	s->tag = tag;
	for (size_t cpu = 0; cpu < s->count; cpu++) {
		int err = ring__watch(s, &s->rings[cpu]);

		if (err)
			return err;
	}
	return 0;
}

/* Copies n bytes from position `at` of a ring that wraps. */
static void ring__copy(const char *data, size_t size, uint64_t at, void *to, size_t n)
{
	size_t from = at & (size - 1), first = size - from < n ? size - from : n;

	memcpy(to, data + from, first);
	memcpy((char *)to + first, data, n - first);
}

static uint64_t record__deliver(char *bytes, size_t size, const struct sideband_handler *to)
{
	const struct perf_event_header *h = (const void *)bytes;

	if (h->type == PERF_RECORD_LOST && size >= sizeof(struct lost_record))
		return ((const struct lost_record *)bytes)->lost;
	if (h->type == PERF_RECORD_COMM && h->misc & PERF_RECORD_MISC_COMM_EXEC && size >= sizeof(struct comm_record))
		to->on_exec(to->arg, ((const struct comm_record *)bytes)->pid);
	if (h->type == PERF_RECORD_MMAP2 && size > sizeof(struct mmap2_record)) {
		const struct mmap2_record *m = (const void *)bytes;

		bytes[size - 1] = '\0';
		to->on_mmap(to->arg, &(struct sideband_mmap){
				.pid = m->pid,
				.map = {
					.start = m->addr,
					.end = m->addr + m->len,
					.offset = m->pgoff,
					.ino = m->ino,
					.dev = m->maj << 20 | m->min,
					.exec = true,
					.path = m->filename,
				},
			});
	}
	return 0;
}

uint64_t sideband__drain(struct sideband *s, const struct sideband_handler *to)
{
	/* a record is at most 64 KB (its size is a u16); ours hold a path */
	static const size_t max_record = UINT16_MAX + 1;
	uint64_t lost = 0;
	char *bytes = NULL;

	for (size_t cpu = 0; cpu < s->count; cpu++) {
		struct ring *r = &s->rings[cpu];
		size_t size = RING_PAGES * s->page;
		uint64_t head, tail;
		const char *data;

		if (!r->head)
			continue;
		head = __atomic_load_n(&r->head->data_head, __ATOMIC_ACQUIRE);
		tail = r->head->data_tail;
		if (head == tail)
			continue;
		if (!bytes && !(bytes = malloc(max_record)))
			break;
		data = (const char *)r->head + s->page;
		while (tail < head) {
			struct perf_event_header h;

			ring__copy(data, size, tail, &h, sizeof(h));
			if (h.size < sizeof(h) || h.size > head - tail)
				break; /* can't be; skip what is there rather than loop */
			ring__copy(data, size, tail, bytes, h.size);
			lost += record__deliver(bytes, h.size, to);
			tail += h.size;
		}
		__atomic_store_n(&r->head->data_tail, head, __ATOMIC_RELEASE);
	}
	free(bytes);
	return lost;
}
