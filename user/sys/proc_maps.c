/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/maps, and opening the files behind it. */
#include "sys/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/elf.h"

#define BUFFER (32 << 10) /* paths longer than 4 KB exist; lines beyond this are passed over */

struct proc_maps {
	int fd;
	size_t at, len;
	bool end, passing_over;
	char buf[BUFFER + 1];
};

int proc_maps__open(pid_t pid, struct proc_maps **out, struct err *e)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)proc__thread_with_memory(pid));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err__errno(e, errno == ENOENT ? -ESRCH : -errno,
				  "cannot read the mappings of process %d", (int)pid);
	return proc_maps__from_fd(fd, out, e);
}

int proc_maps__from_fd(int fd, struct proc_maps **out, struct err *e)
{
	struct proc_maps *it = malloc(sizeof(*it));

	if (!it) {
		close(fd);
		return err__set(e, -ENOMEM, "out of memory");
	}
	it->fd = fd;
	it->at = it->len = 0;
	it->end = it->passing_over = false;
	*out = it;
	return 0;
}

void proc_maps__close(struct proc_maps *it)
{
	if (!it)
		return;
	close(it->fd);
	free(it);
}

/* The next line, NUL in place of its newline. 1, 0 at the end, or -errno. */
static int next_line(struct proc_maps *it, char **line)
{
	for (;;) {
		char *start = it->buf + it->at;
		char *newline = memchr(start, '\n', it->len - it->at);
		ssize_t got;

		if (newline) {
			*newline = '\0';
			it->at = (size_t)(newline - it->buf) + 1;
			if (!it->passing_over) {
				*line = start;
				return 1;
			}
			it->passing_over = false;
			continue;
		}
		if (it->end)
			return 0;
		memmove(it->buf, start, it->len - it->at);
		it->len -= it->at;
		it->at = 0;
		if (it->len == BUFFER) {
			it->passing_over = true;
			it->len = 0;
		}
		got = read(it->fd, it->buf + it->len, BUFFER - it->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		it->end = got == 0;
		it->len += (size_t)got;
	}
}

static bool parse_hex(const char **p, uint64_t *value, char stop)
{
	const char *c = *p;
	uint64_t v = 0;

	for (; *c != stop; c++) {
		if (*c >= '0' && *c <= '9')
			v = v << 4 | (uint64_t)(*c - '0');
		else if (*c >= 'a' && *c <= 'f')
			v = v << 4 | (uint64_t)(*c - 'a' + 10);
		else
			return false;
	}
	*p = c + 1;
	*value = v;
	return true;
}

/* The kernel writes newlines in paths as \012. */
static void unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (strncmp(from, "\\012", 4) == 0) {
			*to = '\n';
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

int proc_maps__next(struct proc_maps *it, struct proc_map *out)
{
	static const char deleted[] = " (deleted)";
	struct proc_map map = {0};
	uint64_t dev_major, dev_minor;
	const char *p;
	char *line = NULL, *path;
	size_t n;
	int err;

	err = next_line(it, &line);
	if (err <= 0)
		return err;
	p = line;
	if (!parse_hex(&p, &map.start, '-') || !parse_hex(&p, &map.end, ' '))
		return -EINVAL;
	if (strnlen(p, 5) < 5)
		return -EINVAL;
	map.read = p[0] == 'r';
	map.write = p[1] == 'w';
	map.exec = p[2] == 'x';
	p += 5;
	if (!parse_hex(&p, &map.offset, ' ') || !parse_hex(&p, &dev_major, ':') ||
	    !parse_hex(&p, &dev_minor, ' '))
		return -EINVAL;
	map.dev = (uint32_t)(dev_major << 20 | dev_minor);
	map.ino = strtoull(p, &path, 10);
	path += strspn(path, " ");
	n = strlen(path);
	if (n >= sizeof(deleted) && strcmp(path + n - (sizeof(deleted) - 1), deleted) == 0) {
		path[n - (sizeof(deleted) - 1)] = '\0';
		map.deleted = true;
	}
	unescape(path);
	map.path = path;
	*out = map;
	return 1;
}

static bool is_the_file(int fd, const struct proc_map *map)
{
	struct stat st;

	/* The device is not compared: stat shows anonymous numbers for btrfs subvolumes and overlay layers. */
	return fstat(fd, &st) == 0 && (uint64_t)st.st_ino == map->ino;
}

int proc__open_mapping(pid_t pid, const struct proc_map *map)
{
	_cleanup_free_ char *path = NULL;
	int fd, err;

	if (!map->ino || map->path[0] != '/')
		return -ENOENT;
	pid = proc__thread_with_memory(pid);
	if (asprintf(&path, "/proc/%d/map_files/%llx-%llx", (int)pid, (unsigned long long)map->start,
		     (unsigned long long)map->end) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = elf__open_path(path);
	if (fd >= 0)
		return fd;
	err = fd;
	free(path);
	if (asprintf(&path, "/proc/%d/root%s", (int)pid, map->path) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	for (int i = 0; i < 2; i++) {
		fd = elf__open_path(i ? map->path : path);
		if (fd >= 0 && is_the_file(fd, map))
			return fd;
		if (!i && err == -EPERM) /* no CAP_CHECKPOINT_RESTORE for map_files: the reason is that of the path */
			err = fd < 0 ? fd : -ENOENT;
		if (fd >= 0)
			close(fd);
	}
	return err;
}
