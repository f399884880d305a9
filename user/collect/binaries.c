// SPDX-License-Identifier: Apache-2.0
#include "collect/binaries.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/vec.h"
#include "sys/elf.h"
#include "unwind/table.h"

#define MAX_BINARIES 4096
#define VDSO_MAX     (64 << 10)
#define EVALUATOR_MAX (1 << 20) /* bytes; some 50 KB */
#define EXCHANGE_MAX   8192 /* bytes of the functions of greenlet that exchange stacks */
#define EXCHANGE_CALLS 256
#define COLD_JUMPS    256

struct binaries {
	struct hmap known; /* device, inode and change time, mixed -> id + 1; 0: it can't be used */
	struct vec(struct binary *) list;
	uint32_t vdso; /* id + 1 */
};

struct binaries *binaries__new(void)
{
	return calloc(1, sizeof(struct binaries));
}

static void binary__free(struct binary *b)
{
	if (!b)
		return;
	if (b->fd >= 0)
		close(b->fd);
	if (b->root_fd >= 0)
		close(b->root_fd);
	free(b->segments);
	free((char *)b->path);
	free(b);
}

void binaries__free(struct binaries *b)
{
	if (!b)
		return;
	vec__foreach(&b->list, it)
		binary__free(*it);
	vec__free(&b->list);
	hmap__free(&b->known);
	free(b);
}

/* Where a jump at text[0 ... 5] that lies at `at` leads to; 0: it is none. Intel SDM, volume 2, JMP and Jcc. */
static uint64_t jump_target(const uint8_t *text, uint64_t at)
{
	int32_t distance;

	if (text[0] == 0xe9) {
		memcpy(&distance, text + 1, sizeof(distance));
		return at + 5 + (uint64_t)(int64_t)distance;
	}
	if (text[0] == 0x0f && (text[1] & 0xf0) == 0x80) {
		memcpy(&distance, text + 2, sizeof(distance));
		return at + 6 + (uint64_t)(int64_t)distance;
	}
	return 0;
}

/*
 * Compilers and BOLT put what a function seldom does elsewhere, and strip removes the name of that part. The function
 * jumps into its middle, which it does with no other function: the part that most jumps lead to is it. Any byte is taken
 * for the beginning of a jump; those that are none lead all over the place.
 */
static void find_cold_part(struct elf *elf, struct binary *b)
{
	uint64_t targets[COLD_JUMPS], starts[COLD_JUMPS], ends[COLD_JUMPS], size = b->evaluator.end - b->evaluator.start;
	_cleanup_free_ uint8_t *text = size < EVALUATOR_MAX ? malloc(size + 1) : NULL;
	size_t n = 0, most = 1;

	if (!text || elf__read_address(elf, b->evaluator.start, text, size))
		return;
	for (uint64_t i = 0; i + 6 <= size && n < COLD_JUMPS; i++) {
		uint64_t target = jump_target(text + i, b->evaluator.start + i);

		if (target && (target < b->evaluator.start || target >= b->evaluator.end))
			targets[n++] = target;
	}
	if (unwind__functions_at(elf, targets, n, starts, ends, NULL))
		return;
	for (size_t i = 0; i < n; i++) {
		size_t same = 0;

		for (size_t k = 0; k < n; k++)
			same += starts[k] == starts[i] && targets[k] != starts[k];
		if (ends[i] && same > most) {
			most = same;
			b->evaluator_cold = (struct binary_range){starts[i], ends[i]};
		}
	}
}

/* CPython Python/ceval.c: it is exported by every build up to 3.10, whose frames are placed by it, and by later ones. */
static void find_evaluator(struct elf *elf, struct binary *b)
{
	static const char *const names[] = {"_PyEval_EvalFrameDefault.cold"};
	struct elf_symbol sym;
	bool found[1];

	if (elf__dynamic_symbol(elf, "_PyEval_EvalFrameDefault", &sym))
		return;
	b->evaluator = (struct binary_range){sym.value, sym.value + sym.size};
	if (elf__static_symbols(elf, names, 1, &sym, found) == 1)
		b->evaluator_cold = (struct binary_range){sym.value, sym.value + sym.size};
	else if (elf__info(elf)->machine == EM_X86_64)
		find_cold_part(elf, b);
}

/* add %reg, %rsp; add %reg, %rbp: greenlet src/greenlet/platform/switch_amd64_unix.h, slp_switch() */
static bool moves_stack(const uint8_t *text, size_t n)
{
	for (size_t i = 0; i + 6 <= n; i++) {
		const uint8_t *t = text + i;

		if ((t[0] & 0xfb) == 0x48 && t[1] == 0x01 && (t[2] & 0xc7) == 0xc4 && t[3] == t[0] && t[4] == 0x01 && t[5] == t[2] + 1)
			return true;
	}
	return false;
}

/* Of the functions that the one in text[] calls, the one that moves the stack pointer. 0 or -ENOENT. */
static int find_mover(struct elf *elf, const uint8_t *text, const struct binary_range *caller, struct binary_range *out)
{
	uint64_t targets[EXCHANGE_CALLS], starts[EXCHANGE_CALLS], ends[EXCHANGE_CALLS], size = caller->end - caller->start;
	uint8_t other[EXCHANGE_MAX];
	size_t n = 0;

	for (uint64_t i = 0; i + 5 <= size && n < EXCHANGE_CALLS; i++) {
		int32_t distance;

		memcpy(&distance, text + i + 1, sizeof(distance));
		if (text[i] == 0xe8) /* call */
			targets[n++] = caller->start + i + 5 + (uint64_t)(int64_t)distance;
	}
	if (unwind__functions_at(elf, targets, n, starts, ends, NULL))
		return -ENOENT;
	for (size_t i = 0; i < n; i++) {
		size = ends[i] - starts[i];
		if (size && size <= sizeof(other) && !elf__read_address(elf, starts[i], other, size) && moves_stack(other, size)) {
			*out = (struct binary_range){starts[i], ends[i]};
			return 0;
		}
	}
	return -ENOENT;
}

/*
 * greenlet src/greenlet/TGreenlet.cpp (from 2.0 on), g_switchstack(): it exchanges the stacks and then Python's state. It is virtual,
 * so that there is no other copy of it, and a public symbol.
 */
static void find_exchange(struct elf *elf, struct binary *b)
{
	uint8_t text[EXCHANGE_MAX];
	struct binary_range all, mover;
	struct elf_symbol sym;

	if (elf__info(elf)->machine != EM_X86_64 || elf__dynamic_symbol(elf, "_ZN8greenlet8Greenlet13g_switchstackEv", &sym) ||
	    !sym.size || sym.size > sizeof(text) || elf__read_address(elf, sym.value, text, sym.size))
		return;
	all = mover = (struct binary_range){sym.value, sym.value + sym.size};
	if (!moves_stack(text, sym.size) && find_mover(elf, text, &all, &mover))
		return;
	b->exchange = all;
	b->exchange_stack = mover;
}

/* Takes over fd and what is found in it. */
static int describe(struct binary *b)
{
	struct elf *elf;
	int err = elf__open(b->fd, &elf, NULL);

	if (err)
		return err;
	b->segments = calloc(elf__segment_count(elf) + 1, sizeof(*b->segments));
	for (size_t i = 0; b->segments && i < elf__segment_count(elf); i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type == PT_LOAD && s->flags & PF_X)
			b->segments[b->segment_count++] =
				(struct binary_segment){s->offset, s->filesz, s->vaddr};
	}
	find_evaluator(elf, b);
	if (b->greenlets)
		find_exchange(elf, b);
	elf__close(elf);
	if (!b->segments)
		return -ENOMEM;
	return b->segment_count ? 0 : -ENOEXEC;
}

static int64_t written(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* The file of the binary's descriptor, or of another one of the same file. */
static bool has_content(const struct binary *b, const struct stat *st)
{
	return (uint64_t)st->st_size == b->size && written(st) == b->written;
}

bool binary__is_unchanged(const struct binary *b)
{
	struct stat st;

	return !fstat(b->fd, &st) && has_content(b, &st);
}

static int add(struct binaries *b, int fd, pid_t pid, const char *path, struct binary **out)
{
	struct binary *fresh = calloc(1, sizeof(*fresh));
	char root[64];
	struct stat st;
	int err = !fresh ? -ENOMEM : fstat(fd, &st) ? -errno : 0;

	if (err) {
		free(fresh);
		close(fd);
		return err;
	}
	fresh->fd = fd;
	fresh->size = (uint64_t)st.st_size;
	fresh->written = written(&st);
	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	fresh->root_fd = pid ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	fresh->path = strdup(path);
	if (fresh->path) {
		const char *slash = strrchr(fresh->path, '/');

		fresh->name = slash ? slash + 1 : fresh->path;
		/* the extension module of greenlet; before 1.0 it was a module by itself */
		fresh->greenlets = !strncmp(fresh->name, "_greenlet.", 10) || !strncmp(fresh->name, "greenlet.", 9);
	}
	err = fresh->path ? describe(fresh) : -ENOMEM;
	if (!err) {
		fresh->id = (uint32_t)b->list.len;
		err = b->list.len < MAX_BINARIES ? vec__push(&b->list, fresh) : -ENOSPC;
	}
	if (err) {
		binary__free(fresh);
		return err;
	}
	*out = fresh;
	return 0;
}

/* The kernel maps the same image into every process of its own word size: ours will do. */
static int get_vdso(struct binaries *b, struct binary **out)
{
	const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
	size_t size;
	int fd, err;

	if (b->vdso) {
		*out = b->list.data[b->vdso - 1];
		return 0;
	}
	if (!image)
		return -ENOENT;
	/* section headers come last in the image (arch/x86/entry/vdso) */
	size = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
	if (size > VDSO_MAX)
		return -EFBIG;
	fd = memfd_create("vdso", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, image, size) != (ssize_t)size) {
		close(fd);
		return -EIO;
	}
	err = add(b, fd, 0, "[vdso]", out);
	if (!err)
		b->vdso = (*out)->id + 1;
	return err;
}

int binaries__get(struct binaries *b, pid_t pid, const struct proc_map *map, struct binary **out)
{
	uint64_t key, *known;
	struct stat st;
	int fd, err;

	if (!strcmp(map->path, "[vdso]"))
		return get_vdso(b, out);
	if (!map->ino)
		return -ENOENT;
	key = hash__combine(hash__u64(map->dev), map->ino);
	known = hmap__get(&b->known, key);
	if (known && !*known)
		return -ENOEXEC;
	/* an inode that is used again is another file */
	if (known && !fstat(b->list.data[*known - 1]->fd, &st) && st.st_nlink && has_content(b->list.data[*known - 1], &st)) {
		*out = b->list.data[*known - 1];
		return 0;
	}
	if (!known && b->list.len >= MAX_BINARIES) /* and not remembered, as there is no end to these */
		return -ENOSPC;
	fd = proc__open_mapping(pid, map);
	if (fd < 0)
		return fd;
	if (known) { /* deleted since, or written anew: is it still that one? */
		struct binary *old = b->list.data[*known - 1];
		struct stat now;

		if (!fstat(fd, &now) && !fstat(old->fd, &st) && now.st_dev == st.st_dev && now.st_ino == st.st_ino &&
		    has_content(old, &now)) {
			close(fd);
			*out = old;
			return 0;
		}
	}
	err = add(b, fd, pid, map->path, out);
	if (err == -ENOMEM)
		return err;
	return hmap__put(&b->known, key, err ? 0 : (uint64_t)(*out)->id + 1) ?: err;
}

struct binary *binaries__at(const struct binaries *b, uint32_t id)
{
	return b->list.data[id];
}

uint32_t binaries__count(const struct binaries *b)
{
	return (uint32_t)b->list.len;
}

uint64_t binary__bias(const struct binary *b, uint64_t start, uint64_t offset)
{
	const struct binary_segment *best = &b->segments[0];

	for (uint32_t i = 0; i < b->segment_count; i++) {
		const struct binary_segment *s = &b->segments[i];

		/* mappings begin at page borders, segments anywhere in their page */
		if (offset + 4096 > s->offset && offset < s->offset + s->size)
			best = s;
	}
	return start - offset - (best->vaddr - best->offset);
}
