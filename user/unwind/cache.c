// SPDX-License-Identifier: Apache-2.0
#include "unwind/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "unwind/cache_hash.h"
#include "unwind/source.h"

#define MAGIC     0x7762757762707970ull
#define VERSION   11 /* of the file, and of what the compiler makes: a change to either makes it another one */
#define KEY_FILE  "key"
#define MAX_ENTRY ((size_t)512 << 20)
#define KEEP(max) ((max) / 4 * 3) /* what an eviction leaves, so that not every table makes one */

/* An entry: this, then rules, pages, rows, and the ranges of code that they were made of (struct code_range). */
struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of what follows in this */
	uint64_t text_start;
	uint32_t npages, nrows, nrules;
	uint32_t nfunctions, nbad;
	uint32_t machine;
	uint32_t body_crc; /* of what comes behind this */
	uint32_t nranges;
	uint64_t code; /* a hash of what is in these ranges */
};
_Static_assert(sizeof(struct head) == 64, "an entry's head has no holes");

struct unwind_cache {
	int dir;
	size_t max_bytes;
	uint64_t key[2];
	atomic_size_t hits, misses, bytes_written;
	atomic_size_t serial; /* of temporary names */
};

/* Ours, and nobody else's to write? */
static bool is_private(int fd, mode_t type, struct stat *st)
{
	return !fstat(fd, st) && (st->st_mode & S_IFMT) == type && st->st_uid == geteuid() && !(st->st_mode & 022);
}

static int open_private(const struct unwind_cache *c, const char *name, struct stat *st)
{
	int fd = openat(c->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (!is_private(fd, S_IFREG, st)) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

static int read_all(int fd, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, (char *)buf + done, n - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		done += (size_t)got;
	}
	return 0;
}

static int write_all(int fd, const void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = write(fd, (const char *)buf + done, n - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

/* A new file for what is to be renamed. Its descriptor, or -errno. */
static int open_new(struct unwind_cache *c, char name[NAME_MAX + 1])
{
	int fd;

	snprintf(name, NAME_MAX + 1, "new.%d.%zu", (int)getpid(), atomic_fetch_add(&c->serial, 1));
	fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST) { /* left by a process of that number that was ended */
		unlinkat(c->dir, name, 0);
		fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return fd < 0 ? -errno : fd;
}

/* Makes the folder's key, unless another process is faster. */
static int make_key(struct unwind_cache *c)
{
	_cleanup_close_ int fd = -1;
	char name[NAME_MAX + 1];
	uint64_t key[2];
	int err = 0;

	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -EIO;
	fd = open_new(c, name);
	if (fd < 0)
		return fd;
	err = write_all(fd, key, sizeof(key));
	if (!err && linkat(c->dir, name, c->dir, KEY_FILE, 0) && errno != EEXIST)
		err = -errno;
	unlinkat(c->dir, name, 0);
	return err;
}

static int read_key(struct unwind_cache *c)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int err;

	fd = open_private(c, KEY_FILE, &st);
	if (fd == -ENOENT) {
		err = make_key(c);
		if (err)
			return err;
		fd = open_private(c, KEY_FILE, &st);
	}
	return fd < 0 ? fd : read_all(fd, c->key, sizeof(c->key));
}

/* The folder and those above it. */
static int make_folders(const char *dir)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

int unwind_cache__open(const char *dir, size_t max_bytes, struct unwind_cache **out, struct err *e)
{
	struct unwind_cache *c = calloc(1, sizeof(*c));
	struct stat st;
	int err;

	if (!c)
		return err__set(e, -ENOMEM, "out of memory");
	c->max_bytes = max_bytes;
	err = make_folders(dir);
	c->dir = err ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (c->dir < 0) {
		err = err__errno(e, err ? err : -errno, "cannot open the folder '%s'", dir);
	} else if (!is_private(c->dir, S_IFDIR, &st)) {
		err = err__set(e, -EPERM, "the folder '%s' is another user's, or others can write to it", dir);
	} else {
		err = read_key(c);
		if (err)
			err__errno(e, err, "cannot use the key in '%s'", dir);
	}
	if (err)
		unwind_cache__close(c);
	else
		*out = c;
	return err;
}

void unwind_cache__close(struct unwind_cache *c)
{
	if (!c)
		return;
	if (c->dir >= 0)
		close(c->dir);
	free(c);
}

/* Whatever it holds, a look-up in it stays within it. */
static bool is_sound(const struct unwind_table *t)
{
	if (!t->npages || t->pages[0] || t->pages[t->npages] != t->nrows)
		return false;
	for (uint32_t i = 0; i < t->npages; i++)
		if (t->pages[i] >= t->pages[i + 1] || t->pages[i + 1] > t->nrows ||
		    UNWIND_ROW_OFFSET(t->rows[t->pages[i]]))
			return false;
	for (uint32_t i = 0; i < t->nrows; i++)
		if (UNWIND_ROW_RULE(t->rows[i]) >= t->nrules)
			return false;
	return true;
}

static void *copy(const uint8_t **from, size_t n)
{
	void *to = malloc(n);

	if (to)
		memcpy(to, *from, n);
	*from += n;
	return to;
}

static uint32_t head_crc(const struct head *h)
{
	size_t at = offsetof(struct head, text_start);

	return (uint32_t)crc32_z(0, (const uint8_t *)h + at, sizeof(*h) - at);
}

/* Is the code that an entry was made of still what the file has? Its ranges are the last thing in it. */
static bool has_code(const struct unwind_cache *c, struct elf *elf, const struct head *h, const atomic_bool *stop,
		     const uint8_t *end)
{
	size_t bytes = h->nranges * sizeof(struct code_range);
	_cleanup_free_ struct code_range *ranges = malloc(bytes + 1);
	uint64_t is;

	if (!ranges)
		return false;
	memcpy(ranges, end - bytes, bytes);
	return cache_hash__code(c->key, elf, ranges, h->nranges, stop, &is) && is == h->code;
}

/* The table of an entry's n bytes, or NULL. */
static struct unwind_table *decode(const struct unwind_cache *c, struct elf *elf, const atomic_bool *stop,
				   const uint8_t *data, size_t n)
{
	struct unwind_table *t;
	struct head h;

	if (n < sizeof(h))
		return NULL;
	memcpy(&h, data, sizeof(h));
	data += sizeof(h);
	if (h.magic != MAGIC || h.version != VERSION || h.machine > UINT16_MAX ||
	    n != sizeof(h) + h.nrules * sizeof(*t->rules) + ((size_t)h.npages + 1 + h.nrows) * sizeof(uint32_t) +
			    h.nranges * sizeof(struct code_range) ||
	    h.crc != head_crc(&h) || h.body_crc != crc32_z(0, data, n - sizeof(h)) ||
	    !has_code(c, elf, &h, stop, data + n - sizeof(h)))
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	*t = (struct unwind_table){.text_start = h.text_start,
				   .npages = h.npages,
				   .nrows = h.nrows,
				   .nrules = h.nrules,
				   .nfunctions = h.nfunctions,
				   .nbad = h.nbad,
				   .machine = (uint16_t)h.machine};
	t->rules = copy(&data, h.nrules * sizeof(*t->rules));
	t->pages = copy(&data, ((size_t)h.npages + 1) * sizeof(*t->pages));
	t->rows = copy(&data, (size_t)h.nrows * sizeof(*t->rows));
	if (!t->rules || !t->pages || !t->rows || !is_sound(t)) {
		unwind_table__free(t);
		return NULL;
	}
	return t;
}

static struct unwind_table *load(const struct unwind_cache *c, struct elf *elf, const atomic_bool *stop,
				 const char *name)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ uint8_t *data = NULL;
	struct unwind_table *t;
	struct stat st;

	fd = open_private(c, name, &st);
	if (fd < 0 || st.st_size <= 0 || (uint64_t)st.st_size > MAX_ENTRY)
		return NULL;
	data = malloc((size_t)st.st_size);
	if (!data || read_all(fd, data, (size_t)st.st_size))
		return NULL;
	t = decode(c, elf, stop, data, (size_t)st.st_size);
	if (t)
		futimens(fd, NULL); /* used just now */
	return t;
}

struct file {
	char name[40];
	struct timespec used;
	size_t size;
};

static int by_use(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	return x->used.tv_nsec < y->used.tv_nsec ? -1 : x->used.tv_nsec > y->used.tv_nsec;
}

/* Removes what was not used for longest, when there is too much. Files that a kill left unfinished go as well. */
static void evict(struct unwind_cache *c)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct vec(struct file) files = {0};
	size_t total = 0;
	int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
		struct file f;
		struct stat st;

		if (!strcmp(entry->d_name, KEY_FILE) || strlen(entry->d_name) >= sizeof(f.name) ||
		    fstatat(c->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		strcpy(f.name, entry->d_name);
		f.used = st.st_mtim;
		f.size = (size_t)st.st_size;
		total += f.size;
		if (vec__push(&files, f))
			break;
	}
	if (total > c->max_bytes) {
		qsort(files.data, files.len, sizeof(*files.data), by_use);
		for (size_t i = 0; i < files.len && total > KEEP(c->max_bytes); i++) {
			unlinkat(c->dir, files.data[i].name, 0);
			total -= files.data[i].size;
		}
	}
	vec__free(&files);
}

static int write_entry(int fd, const struct unwind_table *t, const code_ranges *ranges, uint64_t code)
{
	struct head h = {.magic = MAGIC,
			 .version = VERSION,
			 .text_start = t->text_start,
			 .npages = t->npages,
			 .nrows = t->nrows,
			 .nrules = t->nrules,
			 .nfunctions = t->nfunctions,
			 .nbad = t->nbad,
			 .machine = t->machine,
			 .nranges = (uint32_t)ranges->len,
			 .code = code};
	const struct {
		const void *data;
		size_t n;
	} parts[] = {{t->rules, t->nrules * sizeof(*t->rules)},
		     {t->pages, ((size_t)t->npages + 1) * sizeof(*t->pages)},
		     {t->rows, t->nrows * sizeof(*t->rows)},
		     {ranges->data, ranges->len * sizeof(*ranges->data)}};
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].n) /* of NULL it would begin anew */
			h.body_crc = (uint32_t)crc32_z(h.body_crc, parts[i].data, parts[i].n);
	h.crc = head_crc(&h);
	err = write_all(fd, &h, sizeof(h));
	for (size_t i = 0; i < ARRAY_SIZE(parts) && !err; i++)
		err = write_all(fd, parts[i].data, parts[i].n);
	return err;
}

/* Written beside and renamed: an entry is whole or not there. (After a crash of the machine the CRC tells.) */
static void store(struct unwind_cache *c, const char *name, const struct unwind_table *t, struct unwind_source *s)
{
	_cleanup_close_ int fd = -1;
	char beside[NAME_MAX + 1];
	uint64_t code;

	cache_hash__sort(&s->code);
	if (unwind_table__memory(t) > c->max_bytes ||
	    !cache_hash__code(c->key, s->elf, s->code.data, s->code.len, s->work.stop, &code))
		return;
	fd = open_new(c, beside);
	if (fd < 0)
		return;
	if (write_entry(fd, t, &s->code, code) || renameat(c->dir, beside, c->dir, name)) {
		unlinkat(c->dir, beside, 0);
		return;
	}
	atomic_fetch_add(&c->bytes_written, unwind_table__memory(t));
	evict(c);
}

int unwind_cache__build(struct unwind_cache *c, struct elf *elf, const atomic_bool *stop, struct unwind_table **out,
			struct err *e)
{
	_cleanup_(unwind_source__close) struct unwind_source s;
	struct unwind_table *t = NULL;
	char name[CACHE_NAME_MAX];
	int err = unwind_source__open(elf, stop, &s, e);

	if (err)
		return err;
	if (c) {
		cache_hash__name(c->key, VERSION, &s, name);
		t = load(c, elf, stop, name);
		atomic_fetch_add(t ? &c->hits : &c->misses, 1);
	}
	if (!t) {
		err = unwind_source__compile(&s, &t, e);
		if (err)
			return err;
		if (c)
			store(c, name, t, &s);
	}
	*out = t;
	return 0;
}

struct unwind_cache_stats unwind_cache__stats(const struct unwind_cache *c)
{
	return (struct unwind_cache_stats){.hits = c->hits, .misses = c->misses, .bytes_written = c->bytes_written};
}
