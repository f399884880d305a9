// SPDX-License-Identifier: Apache-2.0
#include "symbolize/perfmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "sys/inroot.h"

#define MAX_ENTRIES (1u << 20)
#define MAX_NAMES   (64u << 20) /* bytes of them all */
#define MAX_NAME    1024        /* longer ones are cut */
#define MAX_OVERLAP 64          /* entries at one address that are looked at */
#define NONE        UINT32_MAX
#define PART        (64u << 10)
#define CLOCK_SLACK 2 /* s: neither start times nor the clock are that exact */

struct entry {
	uint64_t start, end;
	uint32_t name;   /* where it begins in names */
	uint32_t number; /* counts up: the later one of two that overlap counts */
	uint32_t outer;  /* the nearest one before it that has not ended where it starts */
};

struct perfmap {
	int root_fd;
	pid_t ns_pid;
	uid_t uid;
	int64_t started; /* s */
	int fd;         /* of the map, -1: not open */
	uint64_t taken; /* bytes of it, whole lines */
	uint32_t count; /* of entries in the file */
	bool full;
	bool sorted;
	struct vec(struct entry) entries;
	struct str names;
};

struct perfmap *perfmap__new(int root_fd, pid_t ns_pid, uid_t uid, int64_t started)
{
	struct perfmap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->root_fd = root_fd;
	m->ns_pid = ns_pid;
	m->uid = uid;
	m->started = started;
	m->fd = -1;
	return m;
}

void perfmap__free(struct perfmap *m)
{
	if (!m)
		return;
	cleanup__close(&m->fd);
	vec__free(&m->entries);
	str__free(&m->names);
	free(m);
}

/*
 * Opens a file of /tmp of which the process could be the author. Everybody may write there: the last component is
 * not followed, and who owns it decides. O_PATH first, so that a FIFO is not even opened.
 */
static int open_own(const struct perfmap *m, const char *format)
{
	_cleanup_close_ int tmp = inroot__open(m->root_fd, "/tmp"), probe = -1;
	char name[64], again[64];
	struct stat st;
	int fd;

	if (tmp < 0)
		return tmp;
	snprintf(name, sizeof(name), format, (int)m->ns_pid);
	probe = openat(tmp, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (probe < 0 || fstat(probe, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_uid != m->uid && st.st_uid != 0))
		return -EACCES;
	if (st.st_mtim.tv_sec + CLOCK_SLACK < m->started)
		return -ESTALE;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", probe);
	fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static const char *take_hex(const char *at, const char *end, uint64_t *value)
{
	const char *first;

	if (end - at > 2 && at[0] == '0' && at[1] == 'x')
		at += 2;
	first = at;
	for (*value = 0; at < end && at - first < 16; at++) {
		int digit = *at >= '0' && *at <= '9' ? *at - '0'
			    : (*at | 32) >= 'a' && (*at | 32) <= 'f' ? (*at | 32) - 'a' + 10 : -1;

		if (digit < 0)
			break;
		*value = *value << 4 | (uint64_t)digit;
	}
	return at == first || at == end || *at != ' ' ? NULL : at + 1;
}

static int take_line(struct perfmap *m, const char *line, const char *end)
{
	struct entry entry = {.number = m->count};
	size_t before = m->names.len, n;
	const char *at = take_hex(line, end, &entry.start);
	uint64_t size;

	at = at ? take_hex(at, end, &size) : NULL;
	if (!at || at == end || !size || size > UINT64_MAX - entry.start)
		return 0;
	entry.end = entry.start + size;
	n = (size_t)(end - at) < MAX_NAME ? (size_t)(end - at) : MAX_NAME;
	if (m->entries.len >= MAX_ENTRIES || before + n + 1 > MAX_NAMES) {
		m->full = true;
		return 0;
	}
	entry.name = (uint32_t)before;
	if (str__add(&m->names, at, n))
		return -ENOMEM;
	str__make_plain(&m->names, before);
	m->sorted = false;
	m->count++;
	return str__addc(&m->names, '\0') || vec__push(&m->entries, entry) ? -ENOMEM : 0;
}

/* The whole lines of a part of the file. Returns how many bytes they are, or -ENOMEM. */
static ssize_t take_lines(struct perfmap *m, const char *part, size_t n)
{
	const char *line = part, *end;

	while (!m->full && (end = memchr(line, '\n', n - (size_t)(line - part)))) {
		int err = take_line(m, line, end);

		if (err)
			return err;
		line = end + 1;
	}
	return line - part;
}

/* Takes what was written since the last time. The file stays open: it is the process's even when another one has its name. */
static int refresh(struct perfmap *m)
{
	_cleanup_free_ char *part = NULL;
	struct stat st;

	if (m->full)
		return 0;
	if (m->fd < 0) {
		m->fd = open_own(m, "perf-%d.map");
		if (m->fd < 0)
			return 0;
	}
	if (fstat(m->fd, &st) < 0 || (uint64_t)st.st_size <= m->taken)
		return 0;
	part = malloc(PART);
	if (!part)
		return -ENOMEM;
	/* no further than it reached now: who keeps writing does not keep us here */
	while (m->taken < (uint64_t)st.st_size && !m->full) {
		ssize_t got = pread(m->fd, part, PART, (off_t)m->taken), used;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return 0;
		used = take_lines(m, part, (size_t)got);
		if (used < 0)
			return (int)used;
		if (!used && got == PART) /* a line that long is none */
			used = got;
		if (!used)
			return 0;
		m->taken += (uint64_t)used;
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Sorts the entries and links those that overlap. */
static int settle(struct perfmap *m)
{
	struct vec(uint32_t) open = {0};
	int err = 0;

	if (m->sorted || !m->entries.len)
		return 0;
	qsort(m->entries.data, m->entries.len, sizeof(struct entry), by_start);
	for (size_t i = 0; i < m->entries.len && !err; i++) {
		struct entry *e = &m->entries.data[i];

		while (open.len && m->entries.data[open.data[open.len - 1]].end <= e->start)
			open.len--;
		e->outer = open.len ? open.data[open.len - 1] : NONE;
		err = vec__push(&open, (uint32_t)i);
	}
	vec__free(&open);
	m->sorted = !err;
	return err;
}

/* The latest that has the address. */
static const struct entry *find(const struct perfmap *m, uint64_t addr)
{
	size_t low = vec__count_first(&m->entries, it, it->start <= addr);
	const struct entry *best = NULL;
	uint32_t at = low ? (uint32_t)low - 1 : NONE;
	for (int i = 0; i < MAX_OVERLAP && at != NONE; i++, at = m->entries.data[at].outer) {
		const struct entry *e = &m->entries.data[at];

		if (addr < e->end && (!best || e->number > best->number))
			best = e;
	}
	return best;
}

int perfmap__find(struct perfmap *m, uint64_t addr, const char **name)
{
	const struct entry *e;
	int err = refresh(m);

	if (!err)
		err = settle(m);
	if (err)
		return err;
	e = find(m, addr);
	if (!e)
		return -ENOENT;
	*name = m->names.data + e->name;
	return 0;
}

bool perfmap__has_jitdump(const struct perfmap *m)
{
	int fd = open_own(m, "jit-%d.dump");
	uint32_t magic = 0;
	bool is_one;

	if (fd < 0)
		return false;
	is_one = pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) && magic == 0x4a695444; /* "JiTD" */
	close(fd);
	return is_one;
}
