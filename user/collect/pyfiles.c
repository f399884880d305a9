/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the files that processes map: is there a Python in them, and how is it read? */
#include "base/clock.h"
#include "collect/pyproc.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/vec.h"
#include "pybpf/image.h"
#include "pyrt/debugoffsets.h"

struct verdict {
	uint64_t ctime_ns, size;
	uint64_t checked;      /* ns; for a while a file is trusted not to have changed */
	struct pyfile *python; /* NULL: none in there */
	bool linked;           /* it needs a libpython */
	uint64_t text_start, debug; /* when linked: struct pyfile_linked */
};

struct pyfiles {
	struct hmap verdicts; /* device and inode, mixed -> index into seen */
	struct vec(struct verdict) seen;
	struct vec(struct pyfile *) pythons;
};

#define TRUSTED_NS 1000000000ull
#define MAX_SEEN   65536 /* verdicts; some 4 MB */

struct pyfiles *pyfiles__new(void)
{
	return calloc(1, sizeof(struct pyfiles));
}

static void pyfile__free(struct pyfile *f)
{
	if (!f)
		return;
	free(f->path);
	free(f);
}

void pyfiles__free(struct pyfiles *files)
{
	if (!files)
		return;
	vec__foreach(&files->pythons, it)
		pyfile__free(*it);
	vec__free(&files->pythons);
	vec__free(&files->seen);
	hmap__free(&files->verdicts);
	free(files);
}

struct pyfile *pyfiles__own(struct pyfiles *files, const struct pyfile *file)
{
	vec__foreach(&files->pythons, it) {
		if (*it == file)
			return *it;
	}
	return NULL;
}

void pyfiles__use_list(struct pyfiles *files, const struct pyfile *file)
{
	struct pyfile *f = pyfiles__own(files, file);

	if (f)
		f->source = (struct pyrt_source){.source = PY_TSTATE_LIST};
}

static uint64_t ctime_ns(const struct stat *st)
{
	return (uint64_t)st->st_ctim.tv_sec * 1000000000u + (uint64_t)st->st_ctim.tv_nsec;
}

/* What the library's image is known by, where its beginning lies at the load address; else 0. */
static uint64_t image_key(struct elf *elf)
{
	const struct elf_segment *first = elf__find_segment(elf, PT_LOAD);
	uint64_t words[PYBPF_IMAGE_WORDS];

	if (elf__info(elf)->type != ET_DYN || !first || first->offset || first->vaddr ||
	    elf__read(elf, 0, words, sizeof(words)))
		return 0;
	return pybpf_image_key((const __u64 *)words, PYBPF_IMAGE_WORDS);
}

/* What its table of offsets is known by. 0, -ENOENT when it has none, -E2BIG or another error of reading it. */
static int table_key(struct elf *elf, struct pyfile *f)
{
	unsigned int n = f->binary.debug_offsets ? pyrt_debug_offsets__words(f->binary.version_hex) : 0;
	uint64_t words[PYBPF_IMAGE_WORDS];
	int err;

	if (!n)
		return -ENOENT;
	if (n > PYBPF_IMAGE_WORDS)
		return -E2BIG;
	err = elf__read_address(elf, f->binary.runtime, words, n * sizeof(*words));
	if (err)
		return err;
	f->table_words = n;
	f->table = pybpf_image_key((const __u64 *)words, n);
	return 0;
}

static void read_elf(int fd, struct pyfile *f)
{
	struct elf *elf;
	int err;

	if (elf__open(fd, &elf, NULL))
		return;
	err = table_key(elf, f);
	f->image = err && err != -ENOENT ? 0 : image_key(elf);
	for (size_t i = 0; i < elf__segment_count(elf) && f->text_count < PYFILE_TEXTS; i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type == PT_LOAD && s->flags & PF_X) /* they are in order of address */
			f->text[f->text_count++] = (struct pyfile_text){s->vaddr, s->offset, s->filesz};
	}
	elf__close(elf);
}

int pyfile__bias(const struct pyfile *f, uint64_t map_start, uint64_t map_offset, uint64_t *bias)
{
	const uint64_t page = ~((uint64_t)sysconf(_SC_PAGESIZE) - 1);
	const struct pyfile_text *in = NULL;
	int part = 1;

	for (size_t i = 0; i < f->text_count; i++) {
		const struct pyfile_text *t = &f->text[i];

		if (map_offset == (t->offset & page)) {
			in = t;
			part = 0;
			break;
		}
		if (map_offset >= t->offset && map_offset < t->offset + t->size)
			in = t;
	}
	if (!in)
		return -ENOENT;
	*bias = map_start - (in->vaddr + map_offset - in->offset);
	return part;
}

/* Looks into a file. *out is NULL when there is no Python in it. */
static int look(int fd, const char *path, struct file_key key, struct pyfile **out, struct err *e)
{
	struct pyrt_binary binary;
	struct err why = {0};
	struct pyfile *f;
	int err = pyrt_binary__probe(fd, &binary, e);

	*out = NULL;
	if (err)
		return err;
	if (binary.kind == PYRT_NONE)
		return 0;
	f = calloc(1, sizeof(*f));
	if (!f || !(f->path = strdup(path))) {
		free(f);
		return err__set(e, -ENOMEM, "out of memory");
	}
	f->key = key;
	f->binary = binary;
	read_elf(fd, f);
	if (binary.kind == PYRT_UNSUPPORTED)
		snprintf(f->why, sizeof(f->why), "%s", binary.reason);
	else if (pyrt_layout__find(fd, &binary, &f->layout, &why) ||
		 pyrt_source__find(&binary, &f->layout, &f->source, &why))
		snprintf(f->why, sizeof(f->why), "%.255s", why.text);
	else
		f->usable = true;
	*out = f;
	return 0;
}

/* Will a process that runs this file have a Python as soon as it runs any code of its own? */
static void find_needs(int fd, struct verdict *v)
{
	struct elf *elf;

	if (elf__open(fd, &elf, NULL))
		return;
	v->linked = elf__needs(elf, "libpython");
	if (v->linked && elf__debug_word(elf, &v->debug))
		v->debug = 0;
	for (size_t i = 0; v->linked && i < elf__segment_count(elf); i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type == PT_LOAD && s->flags & PF_X) {
			v->text_start = s->vaddr;
			break;
		}
	}
	elf__close(elf);
}

/* Of all the files that are mapped in days, those without a Python are forgotten now and then: they can be asked again. */
static void forget_plain(struct pyfiles *files)
{
	uint64_t id, *at;
	size_t pos = 0, kept = 0;
	struct vec(struct verdict) rest = {0};

	while (hmap__next(&files->verdicts, &pos, &id, &at)) {
		struct verdict v = files->seen.data[*at];

		if (v.python && !vec__push(&rest, v))
			*at = kept++;
		else
			hmap__del(&files->verdicts, id);
	}
	vec__free(&files->seen);
	files->seen.data = rest.data;
	files->seen.len = rest.len;
	files->seen.cap = rest.cap;
}

/* The verdict on a file as it was when it was last looked into, or NULL. */
static struct verdict *recall(const struct pyfiles *files, uint64_t id)
{
	const uint64_t *at = hmap__get(&files->verdicts, id);

	return at ? &files->seen.data[*at] : NULL;
}

static int remember(struct pyfiles *files, uint64_t id, int fd, const char *path,
		    struct file_key key, struct verdict **out, struct err *e)
{
	struct verdict v = {.checked = clock_ns(CLOCK_MONOTONIC_COARSE)}, *old = recall(files, id);
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return err__errno(e, -errno, "cannot examine %s", path);
	v.ctime_ns = ctime_ns(&st);
	v.size = (uint64_t)st.st_size;
	if (old && old->ctime_ns == v.ctime_ns && old->size == v.size) {
		old->checked = v.checked;
		*out = old;
		return 0;
	}
	err = look(fd, path, key, &v.python, e);
	if (v.python)
		v.python->ctime_ns = v.ctime_ns;
	if (err == -ENOMEM)
		return err;
	if (err) /* damaged: no Python to us, and not to be tried again and again */
		v.python = NULL;
	if (!v.python && !err)
		find_needs(fd, &v);
	if (v.python && vec__push(&files->pythons, v.python)) {
		pyfile__free(v.python);
		return err__set(e, -ENOMEM, "out of memory");
	}
	if (old) {
		*old = v; /* the old pyfile stays with the cache: somebody may hold it */
		*out = old;
		return 0;
	}
	if (files->seen.len >= MAX_SEEN)
		forget_plain(files);
	if (vec__push(&files->seen, v) || hmap__put(&files->verdicts, id, files->seen.len - 1))
		return err__set(e, -ENOMEM, "out of memory");
	*out = &files->seen.data[files->seen.len - 1];
	return 0;
}

static uint64_t id_of(uint32_t dev, uint64_t ino)
{
	return hash__combine(hash__u64(dev), ino);
}

int pyfiles__get(struct pyfiles *files, pid_t pid, const struct proc_map *map,
		 const struct pyfile **out, struct err *e)
{
	uint64_t id = id_of(map->dev, map->ino);
	struct verdict *v = recall(files, id);
	_cleanup_close_ int fd = -1;
	int err;

	if (!v || clock_ns(CLOCK_MONOTONIC_COARSE) - v->checked > TRUSTED_NS) {
		struct file_key key = {.ino = map->ino, .dev = map->dev};

		fd = proc__open_mapping(pid, map);
		if (fd < 0)
			return err__errno(e, fd, "cannot open %s of process %d", map->path, (int)pid);
		err = remember(files, id, fd, map->path, key, &v, e);
		if (err)
			return err;
	}
	*out = v->python;
	return 0;
}

bool pyfiles__is_linked(const struct pyfiles *files, const struct file_key *key, struct pyfile_linked *out)
{
	const struct verdict *v = recall(files, id_of(key->dev, key->ino));

	if (!v || !v->linked)
		return false;
	if (out)
		*out = (struct pyfile_linked){v->ctime_ns, v->text_start, v->debug};
	return true;
}

int pyfiles__get_path(struct pyfiles *files, const char *path, struct file_key *key, const struct pyfile **out,
		      struct err *e)
{
	_cleanup_close_ int fd = elf__open_path(path);
	struct verdict *v;
	struct stat st;
	int err;

	if (fd < 0)
		return err__errno(e, fd, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return err__errno(e, -errno, "cannot examine %s", path);
	*key = (struct file_key){
		.ino = (uint64_t)st.st_ino,
		.dev = (uint32_t)(major(st.st_dev) << 20 | minor(st.st_dev)),
	};
	err = remember(files, id_of(key->dev, key->ino), fd, path, *key, &v, e);
	if (!err)
		*out = v->python;
	return err;
}
