// SPDX-License-Identifier: Apache-2.0
#include "sys/inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MAX_DEPTH   64
#define MAX_LINKS   40 /* as the kernel */
#define MAX_RETRIES 8

/* The directories from below the root to where the walk stands, and the path that is left. */
struct walk {
	int root;
	int fds[MAX_DEPTH];
	unsigned int depth, links;
	char rest[2 * PATH_MAX];
};

static void walk__up(struct walk *w, unsigned int depth)
{
	while (w->depth > depth)
		close(w->fds[--w->depth]);
}

static int walk__here(const struct walk *w)
{
	return w->depth ? w->fds[w->depth - 1] : w->root;
}

/* Moves the next component of rest to `name`; false when there is none. */
static bool walk__take(struct walk *w, char name[NAME_MAX + 1], int *err)
{
	const char *from = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(from, "/");

	*err = n > NAME_MAX ? -ENAMETOOLONG : 0;
	if (!n || *err)
		return false;
	memcpy(name, from, n);
	name[n] = '\0';
	memmove(w->rest, from + n, strlen(from + n) + 1);
	return true;
}

/* Puts the link's text before rest. */
static int walk__follow(struct walk *w, int link)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(link, "", text, sizeof(text));
	size_t rest = strlen(w->rest);

	if (n < 0)
		return -errno;
	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (n == 0)
		return -ENOENT;
	if ((size_t)n == sizeof(text) || (size_t)n + 1 + rest >= sizeof(w->rest))
		return -ENAMETOOLONG;
	memmove(w->rest + n + 1, w->rest, rest + 1);
	memcpy(w->rest, text, (size_t)n);
	w->rest[n] = '/';
	if (text[0] == '/')
		walk__up(w, 0);
	return 0;
}

static int walk__step(struct walk *w, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		if (fstat(walk__here(w), &st))
			return -errno;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
		walk__up(w, w->depth && name[1] ? w->depth - 1 : w->depth);
		return 0;
	}
	fd = openat(walk__here(w), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (S_ISLNK(st.st_mode))
		return walk__follow(w, fd);
	if (w->depth == MAX_DEPTH)
		return -ENAMETOOLONG;
	w->fds[w->depth++] = take_fd(fd);
	return 0;
}

int inroot__open_stepwise(int root_fd, const char *path)
{
	struct walk w = {.root = root_fd};
	char name[NAME_MAX + 1];
	int err = 0, fd;

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(w.rest, path);
	while (!err && walk__take(&w, name, &err))
		err = walk__step(&w, name);
	if (err) {
		walk__up(&w, 0);
		return err;
	}
	fd = w.depth ? w.fds[--w.depth] : openat(root_fd, ".", O_PATH | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	walk__up(&w, 0);
	return err ? err : fd;
}

int inroot__open(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int retries = MAX_RETRIES;
	long fd;

	/* EAGAIN: something was renamed while `..` was being resolved. */
	do
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && retries-- > 0)));
	if (fd >= 0)
		return (int)fd;
	if (errno == ENOSYS || errno == EPERM)
		return inroot__open_stepwise(root_fd, path);
	return -errno;
}
