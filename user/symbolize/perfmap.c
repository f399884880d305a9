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
#include "symbolize/jittable.h"
#include "sys/inroot.h"

#define PART        65536
#define MAX_FILE    (1ull << 30) /* what lies behind that is not read */
#define CLOCK_SLACK 2 /* s: neither start times nor the clock are that exact */

struct perfmap {
	int root_fd;
	pid_t ns_pid;
	uid_t uid;
	int64_t started; /* s */
	int fd;         /* of the map, -1: not open */
	uint64_t taken; /* bytes of it, whole lines */
	struct jittable table;
};

struct perfmap *perfmap__new(int root_fd, pid_t ns_pid, uid_t uid, int64_t started, struct jitbudget *budget)
{
	struct perfmap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->root_fd = root_fd;
	m->ns_pid = ns_pid;
	m->uid = uid;
	m->started = started;
	m->fd = -1;
	m->table.budget = budget;
	return m;
}

void perfmap__free(struct perfmap *m)
{
	if (!m)
		return;
	cleanup__close(&m->fd);
	jittable__clear(&m->table);
	free(m);
}

/*
 * Opens the file, when the process could be its author. Everybody may write there: the last component is
 * not followed, and who owns it decides. O_PATH first, so that a FIFO is not even opened.
 */
static int open_own(const struct perfmap *m)
{
	_cleanup_close_ int tmp = inroot__open(m->root_fd, "/tmp"), probe = -1;
	char name[64], again[64];
	struct stat st;
	int fd;

	if (tmp < 0)
		return tmp;
	snprintf(name, sizeof(name), "perf-%d.map", (int)m->ns_pid);
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
	uint64_t start, size;
	const char *at = take_hex(line, end, &start);
	int added;

	at = at ? take_hex(at, end, &size) : NULL;
	if (!at || at == end)
		return 0;
	added = jittable__add(&m->table, start, size, at, (size_t)(end - at));
	return added < 0 ? added : 0;
}

/* The whole lines of a part of the file. Returns how many bytes they are, or -ENOMEM. */
static ssize_t take_lines(struct perfmap *m, const char *part, size_t n)
{
	const char *line = part, *end;

	while (!m->table.full && (end = memchr(line, '\n', n - (size_t)(line - part)))) {
		int err = take_line(m, line, end);

		if (err)
			return err;
		if (m->table.full) /* it is still to be taken */
			break;
		line = end + 1;
	}
	return line - part;
}

/* Takes what was written since the last time, no further than it reached now: who keeps writing does not keep us here. */
static int take_new(struct perfmap *m, uint64_t end, uint64_t now_ns)
{
	_cleanup_free_ char *part = malloc(PART);

	if (!part)
		return -ENOMEM;
	while (m->taken < end && !m->table.full && jitbudget__may_work(m->table.budget, now_ns)) {
		ssize_t got = pread(m->fd, part, PART, (off_t)m->taken), used;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used = take_lines(m, part, (size_t)got);
		jitbudget__worked(m->table.budget, (uint64_t)got);
		if (used < 0)
			return (int)used;
		if (!used && got == PART && !m->table.full) /* a line that long is none */
			used = got;
		if (!used)
			break;
		m->taken += (uint64_t)used;
	}
	return jittable__settle(&m->table);
}

/* The file stays open: it is the process's even when another one has its name. */
static int refresh(struct perfmap *m, uint64_t now_ns)
{
	struct stat st;
	uint64_t end;

	if (!jittable__is_due(&m->table, now_ns))
		return 0;
	if (m->fd < 0)
		m->fd = open_own(m);
	if (m->fd < 0 || fstat(m->fd, &st) < 0)
		return 0;
	end = (uint64_t)st.st_size < MAX_FILE ? (uint64_t)st.st_size : MAX_FILE;
	return m->taken < end ? take_new(m, end, now_ns) : 0;
}

int perfmap__find(struct perfmap *m, uint64_t addr, uint64_t now_ns, const char **name)
{
	int err = refresh(m, now_ns);

	return err ? err : jittable__find(&m->table, addr, name);
}
