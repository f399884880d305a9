// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/values.h"

struct output {
	char *path;
	char *temporary; /* NULL: written in place (standard output, a device, a pipe) */
	FILE *file;
};

static void output__free(struct output *o)
{
	if (o->file && o->file != stdout)
		fclose(o->file);
	free(o->temporary);
	free(o->path);
	free(o);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A new file beside the target, with the permissions that a plain creation would give. */
static int open_beside(struct output *o, struct err *e)
{
	const char *base = base_name(o->path);
	mode_t mask = umask(0);
	uint32_t uid, gid;
	int fd;

	umask(mask);
	if (asprintf(&o->temporary, "%.*s.%s.XXXXXX", (int)(base - o->path), o->path, base) < 0) {
		o->temporary = NULL;
		return err__errno(e, -ENOMEM, "%s", o->path);
	}
	fd = mkostemp(o->temporary, O_CLOEXEC);
	if (fd < 0) {
		int err = -errno;

		free(o->temporary);
		o->temporary = NULL;
		return err__errno(e, err, "cannot write '%s'", o->path);
	}
	/* best effort: where the file system knows no owners, the file is root's */
	if (cli__sudo_user(&uid, &gid) && fchown(fd, uid, gid))
		errno = 0;
	fchmod(fd, 0666 & ~mask);
	o->file = fdopen(fd, "w");
	return o->file ? 0 : err__errno(e, -errno, "cannot write '%s'", o->path);
}

/* The number of which a path is another name, as /dev/stdout is of 1 (proc(5), /proc/PID/fd); -1: of none. */
static int own_descriptor(const char *path)
{
	static const char *const folders[] = {"/proc/self/fd/", "/dev/fd/"};
	char target[64] = "";

	if (readlink(path, target, sizeof(target) - 1) < 0)
		return -1;
	for (size_t i = 0; i < 2 * sizeof(folders) / sizeof(folders[0]); i++) {
		const char *name = i % 2 ? target : path, *folder = folders[i / 2];
		uint32_t fd;

		if (!strncmp(name, folder, strlen(folder)) && !values__count(name + strlen(folder), 0, INT32_MAX, &fd))
			return (int)fd;
	}
	return -1;
}

/* As the one who opened it has it: at its place in the file, which may be appended to. Nothing is put in the place of its name. */
static int open_descriptor(struct output *o, int number, struct err *e)
{
	int fd = fcntl(number, F_DUPFD_CLOEXEC, 3);

	if (fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
		close(fd);
		return err__errno(e, -EBADF, "cannot write '%s'", o->path);
	}
	o->file = fd < 0 ? NULL : fdopen(fd, "w");
	return o->file ? 0 : err__errno(e, -errno, "cannot write '%s'", o->path);
}

int output__open(const char *path, struct output **out, struct err *e)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat st;
	int err = 0;

	if (!o || !(o->path = strdup(path))) {
		free(o);
		return err__errno(e, -ENOMEM, "%s", path);
	}
	if (!strcmp(path, "-")) {
		o->file = stdout;
		if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY) /* or closed: cli__hold_streams */
			err = err__errno(e, -EBADF, "cannot write standard output");
	} else if (!*path) {
		err = err__set(e, -EINVAL, "the name of the output file is empty");
	} else if (own_descriptor(path) >= 0) {
		err = open_descriptor(o, own_descriptor(path), e);
	} else if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
		err = err__set(e, -EISDIR, "cannot write '%s': it is a directory", path);
	} else if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		o->file = fopen(path, "we");
		if (!o->file)
			err = err__errno(e, -errno, "cannot write '%s'", path);
	} else {
		err = open_beside(o, e);
	}
	if (err) {
		output__abandon(o);
		return err;
	}
	*out = o;
	return 0;
}

static int stat_folder(const char *path, struct stat *st)
{
	_cleanup_free_ char *folder = base_name(path) > path ? strndup(path, (size_t)(base_name(path) - path)) : strdup(".");

	return folder ? stat(folder, st) : -1;
}

bool output__is_file(const struct output *o)
{
	return o->temporary;
}

bool output__is_same(const struct output *a, const struct output *b)
{
	struct stat x, y;

	return a->temporary && b->temporary && !strcmp(base_name(a->path), base_name(b->path)) &&
	       !stat_folder(a->path, &x) && !stat_folder(b->path, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

FILE *output__file(struct output *o)
{
	return o->file;
}

const char *output__path(const struct output *o)
{
	return o->path;
}

int output__commit(struct output *o, struct err *e)
{
	int err = 0;

	if (fflush(o->file) || ferror(o->file))
		err = err__errno(e, errno ? -errno : -EIO, "writing '%s'", o->path);
	/* NFS and quota say so only here */
	if (o->file != stdout) {
		if (fclose(o->file) && !err)
			err = err__errno(e, -errno, "writing '%s'", o->path);
		o->file = NULL;
	}
	if (!err && o->temporary && rename(o->temporary, o->path))
		err = err__errno(e, -errno, "renaming to '%s'", o->path);
	if (err && o->temporary)
		unlink(o->temporary);
	output__free(o);
	return err;
}

void output__abandon(struct output *o)
{
	if (!o)
		return;
	if (o->temporary)
		unlink(o->temporary);
	output__free(o);
}
