// SPDX-License-Identifier: Apache-2.0
/*
 * All that is to be known about a file is where in its path the short name begins, and that depends
 * on its directory alone: the cache holds one number for each (root, directory).
 */
#include "symbolize/shortfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "sys/inroot.h"

#define DEFAULT_DIRS 4096
#define WAYS         4  /* places that a directory can have in the cache */
#define MAX_LEVELS   64 /* of packages in each other */

/* A directory may be another one, though the inode is the same, in another mount namespace: its
 * root has another mount id there. */
struct root {
	uint64_t dev, ino, mount;
};

struct entry {
	uint64_t hash;
	struct root root;
	uint32_t cut; /* where in the path the short name begins */
	uint32_t len;
	bool found;
	char dir[];
};

struct shortfile {
	size_t nsets; /* a power of two */
	size_t memory;
	struct entry *sets[][WAYS]; /* each from the last used to the longest unused one */
};

/* What was found out about a directory. */
struct verdict {
	size_t cut;
	bool found;
	bool lasting; /* worth remembering */
};

struct shortfile *shortfile__new(size_t max_dirs)
{
	struct shortfile *s;
	size_t nsets = 1;

	if (!max_dirs)
		max_dirs = DEFAULT_DIRS;
	while (nsets * WAYS < max_dirs && nsets < SIZE_MAX / 4 / sizeof(s->sets[0]))
		nsets *= 2;
	s = calloc(1, sizeof(*s) + nsets * sizeof(s->sets[0]));
	if (!s)
		return NULL;
	s->nsets = nsets;
	s->memory = sizeof(*s) + nsets * sizeof(s->sets[0]);
	return s;
}

void shortfile__free(struct shortfile *s)
{
	for (size_t i = 0; s && i < s->nsets; i++) {
		for (int way = 0; way < WAYS; way++)
			free(s->sets[i][way]);
	}
	free(s);
}

size_t shortfile__memory(const struct shortfile *s)
{
	return s->memory;
}

/* ---- paths: offsets are those of the UTF-8 text, `end` is where a directory's name ends, without
 * slash */

static size_t strip_slashes(const char *path, size_t end)
{
	while (end > 0 && path[end - 1] == '/')
		end--;
	return end;
}

/* Where the last component of path[0, end) begins. */
static size_t component(const char *path, size_t end)
{
	while (end > 0 && path[end - 1] != '/')
		end--;
	return end;
}

static size_t skip_slashes(const char *path, size_t at, size_t n)
{
	while (at < n && path[at] == '/')
		at++;
	return at;
}

static bool is_dots(const char *path, size_t start, size_t end)
{
	return (end - start == 1 && path[start] == '.') ||
	       (end - start == 2 && path[start] == '.' && path[start + 1] == '.');
}

/* U+DC80 - U+DCFF (ED B2 80 - ED B3 BF) is how os.fsdecode writes a byte that is no UTF-8. */
static bool is_escaped(const char *p, size_t n)
{
	const uint8_t *b = (const uint8_t *)p;

	return n >= 3 && b[0] == 0xed && (b[1] == 0xb2 || b[1] == 0xb3) && (b[2] & 0xc0) == 0x80;
}

/* Opens the first `end` bytes of path as the bytes that the file system knows. O_PATH, or -errno.
 */
static int open_prefix(int root_fd, const char *path, size_t end)
{
	char name[PATH_MAX];
	size_t n = 0;

	if (memchr(path, '\0', end))
		return -ENOENT;
	for (size_t i = 0; i < end; n++) {
		if (n >= sizeof(name) - 1)
			return -ENAMETOOLONG;
		if (is_escaped(path + i, end - i)) {
			name[n] = (char)((path[i + 1] & 3) << 6 | (path[i + 2] & 0x3f));
			i += 3;
		} else {
			name[n] = path[i++];
		}
	}
	name[n] = '\0';
	return inroot__open(root_fd, n ? name : "/");
}

/* 1: a directory with an __init__.py, 0: without, or -errno. A link counts without being followed.
 */
static int is_package(int root_fd, const char *path, size_t end)
{
	_cleanup_close_ int fd = open_prefix(root_fd, path, end);
	struct stat st;

	if (fd < 0)
		return fd;
	if (!fstatat(fd, "__init__.py", &st, AT_SYMLINK_NOFOLLOW))
		return S_ISREG(st.st_mode) || S_ISLNK(st.st_mode);
	return errno == ENOENT ? 0 : -errno;
}

static bool is_archive_name(const char *name, size_t n)
{
	static const char *const suffixes[] = {".zip", ".whl", ".pyz", ".pex"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (n > 4 && !memcmp(name + n - 4, suffixes[i], 4))
			return true;
	}
	return false;
}

/* Behind the first component that is called like an archive, or where the base name begins. */
static size_t cut_by_text(const char *path, size_t dir)
{
	size_t start = 0, end;

	while ((start = skip_slashes(path, start, dir)) < dir) {
		for (end = start; end < dir && path[end] != '/'; end++)
			;
		if (is_archive_name(path + start, end - start))
			return skip_slashes(path, end, dir + 1);
		start = end;
	}
	return dir + 1;
}

/* Behind the regular file that the path leads through; 0 when there is none. */
static size_t cut_behind_file(int root_fd, const char *path, size_t dir)
{
	for (size_t end = dir; end; end = strip_slashes(path, component(path, end))) {
		_cleanup_close_ int fd = open_prefix(root_fd, path, end);
		struct stat st;

		if (fd == -ENOTDIR)
			continue;
		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
			return skip_slashes(path, end, dir + 1);
		break;
	}
	return 0;
}

static bool is_lasting(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EACCES ||
	       err == -ENAMETOOLONG;
}

static struct verdict look(int root_fd, const char *path, size_t dir)
{
	struct verdict v = {.cut = dir + 1, .found = true, .lasting = true};
	size_t end = strip_slashes(path, dir);
	int package = is_package(root_fd, path, end);

	if (package < 0) {
		v.lasting = is_lasting(package);
		v.cut = package == -ENOTDIR ? cut_behind_file(root_fd, path, dir) : 0;
		v.found = v.cut;
		if (!v.found)
			v.cut = cut_by_text(path, dir);
		return v;
	}
	for (int level = 0; package > 0 && level < MAX_LEVELS; level++) {
		size_t start = component(path, end);

		/* sys.path had it so: what is below is no part of a package to Python either. */
		if (start == end || is_dots(path, start, end))
			break;
		v.cut = start;
		end = strip_slashes(path, start);
		package = is_package(root_fd, path, end);
	}
	return v;
}

/* ---- the cache */

static bool entry_is(const struct entry *x, uint64_t hash, const struct root *r, const char *path,
		     size_t dir)
{
	return x->hash == hash && x->len == dir && x->root.dev == r->dev && x->root.ino == r->ino &&
	       x->root.mount == r->mount && !memcmp(x->dir, path, dir);
}

/* Puts x first, moving those before `way` back by one. */
static void to_front(struct entry **set, int way, struct entry *x)
{
	memmove(set + 1, set, (size_t)way * sizeof(*set));
	set[0] = x;
}

/* Failing to remember is no failure. */
static void remember(struct shortfile *s, struct entry **set, uint64_t hash, const struct root *r,
		     const char *path, size_t dir, const struct verdict *v)
{
	struct entry *x = malloc(sizeof(*x) + dir), *last = set[WAYS - 1];

	if (!x)
		return;
	*x = (struct entry){
		.hash = hash,
		.root = *r,
		.cut = (uint32_t)v->cut,
		.len = (uint32_t)dir,
		.found = v->found,
	};
	memcpy(x->dir, path, dir);
	if (last)
		s->memory -= sizeof(*last) + last->len;
	free(last);
	s->memory += sizeof(*x) + dir;
	to_front(set, WAYS - 1, x);
}

static struct verdict recall(struct shortfile *s, int root_fd, const struct root *r,
			     const char *path, size_t dir)
{
	uint64_t hash =
		hash__combine(hash__combine(hash__bytes(path, dir), r->ino), r->dev ^ r->mount);
	struct entry **set = s->sets[hash & (s->nsets - 1)];
	struct verdict v;

	for (int way = 0; way < WAYS && set[way]; way++) {
		struct entry *x = set[way];

		if (!entry_is(x, hash, r, path, dir))
			continue;
		to_front(set, way, x);
		return (struct verdict){.cut = x->cut, .found = x->found};
	}
	v = look(root_fd, path, dir);
	if (v.lasting)
		remember(s, set, hash, r, path, dir, &v);
	return v;
}

static bool identify(int root_fd, struct root *out)
{
	struct statx st;

	if (root_fd < 0 || statx(root_fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &st))
		return false;
	out->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	out->ino = st.stx_ino;
	out->mount = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
	return true;
}

int shortfile__name(struct shortfile *s, int root_fd, const char *path, size_t n, struct str *out)
{
	size_t base = component(path, n);
	struct verdict v;
	struct root r;
	int err;

	if (!n || path[0] != '/' || base == n)
		return str__add(out, path, n);
	/* A name of 4 GiB is nobody's; PATH_MAX in UTF-8 is three times as much at most. */
	if (base > 3 * PATH_MAX || !identify(root_fd, &r))
		v = (struct verdict){.cut = cut_by_text(path, base - 1)};
	else
		v = recall(s, root_fd, &r, path, base - 1);
	err = str__add(out, path + v.cut, n - v.cut);
	return err ? err : !v.found;
}
