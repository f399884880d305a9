// SPDX-License-Identifier: Apache-2.0
#include "collect/jitcode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "symbolize/jitdump.h"
#include "symbolize/perfmap.h"
#include "sys/mem.h"

#define MAX_DUMPS 4
#define LONGEST   16 /* trampoline, bytes */

/* A jitdump, and where it is mapped. */
struct mapped_dump {
	struct jitdump *dump;
	uint64_t start, ino;
};

struct jitcode {
	uint32_t pid;
	uint64_t start_ticks;
	struct jitbudget budget; /* a part of that of all, from the first question on */
	struct mapped_dump dumps[MAX_DUMPS]; /* the newest first: there are as many as compilers */
	uint32_t ndumps;
	struct perfmap *perfmap; /* NULL: not asked yet */
	int root_fd;             /* for that one */
	struct memory_reader *memory; /* NULL: not read yet */
	bool unreadable;
};

struct jitcode *jitcode__new(uint32_t pid, uint64_t start_ticks)
{
	struct jitcode *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->pid = pid;
	j->start_ticks = start_ticks;
	j->root_fd = -1;
	return j;
}

void jitcode__free(struct jitcode *j)
{
	if (!j)
		return;
	for (uint32_t i = 0; i < j->ndumps; i++)
		jitdump__free(j->dumps[i].dump);
	perfmap__free(j->perfmap);
	memory__close(j->memory);
	cleanup__close(&j->root_fd);
	free(j);
}

/* Where the new one at an address goes: in the place of what was mapped there, or else of nothing, or of the oldest. */
static uint32_t place_of(const struct jitcode *j, uint64_t start)
{
	uint32_t i = 0;

	while (i < j->ndumps && j->dumps[i].start != start)
		i++;
	return i < MAX_DUMPS ? i : MAX_DUMPS - 1;
}

bool jitcode__on_map(struct jitcode *j, const struct proc_map *map)
{
	struct mapped_dump fresh = {.start = map->start, .ino = map->ino};
	uint32_t i;
	int fd;

	if (!jitdump__is_name(map->path))
		return false;
	i = place_of(j, map->start);
	if (i < j->ndumps && j->dumps[i].start == map->start && j->dumps[i].ino == map->ino)
		return true;
	fd = proc__open_mapping((pid_t)j->pid, map);
	fresh.dump = fd < 0 ? NULL : jitdump__new(fd, &j->budget);
	if (!fresh.dump)
		return true;
	if (i == j->ndumps)
		j->ndumps++;
	else
		jitdump__free(j->dumps[i].dump);
	memmove(j->dumps + 1, j->dumps, i * sizeof(*j->dumps));
	j->dumps[0] = fresh;
	return true;
}

static struct perfmap *perfmap_of(struct jitcode *j)
{
	struct proc_status status = {.ns_pid = (pid_t)j->pid};
	char path[64];

	if (j->perfmap)
		return j->perfmap;
	proc__status((pid_t)j->pid, &status);
	snprintf(path, sizeof(path), "/proc/%u/root", j->pid);
	if (j->root_fd < 0)
		j->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	j->perfmap = perfmap__new(j->root_fd, status.ns_pid, status.uid, proc__start_second(j->start_ticks),
				  &j->budget);
	return j->perfmap;
}

/* Is the byte at `at` part of such code, which may have an endbr64 before it? */
static bool has(const uint8_t *text, size_t n, size_t at, const uint8_t *code, size_t size)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	for (size_t i = 0; i + size <= n; i++) {
		size_t before;

		if (memcmp(text + i, code, size))
			continue;
		before = i < sizeof(endbr64) || memcmp(text + i - sizeof(endbr64), endbr64, sizeof(endbr64)) ? 0 : sizeof(endbr64);
		if (at + before >= i && at < i + size)
			return true;
	}
	return false;
}

/* CPython Python/asm_trampoline.S, x86-64. Code that does nothing but call what its fourth argument is. */
static bool is_trampoline(struct jitcode *j, uint64_t addr, uint64_t mapped)
{
	static const uint8_t upto_3_13[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd1, 0x48, 0x83, 0xc4, 0x08, 0xc3};
	static const uint8_t from_3_14[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd1, 0x5d, 0xc3};
	uint64_t first = addr - mapped < LONGEST ? mapped : addr - LONGEST;
	uint8_t text[2 * LONGEST];
	ssize_t n;

	if (j->unreadable)
		return false;
	if (!j->memory && memory__open_process((pid_t)j->pid, &j->memory, NULL)) {
		j->unreadable = true;
		return false;
	}
	n = memory__read_some(j->memory, first, text, sizeof(text));
	return n > 0 &&
	       (has(text, (size_t)n, addr - first, upto_3_13, sizeof(upto_3_13)) ||
		has(text, (size_t)n, addr - first, from_3_14, sizeof(from_3_14)));
}

int jitcode__name(struct jitcode *j, struct jitbudget *all, uint64_t addr, uint64_t mapped, const char **name)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int err = -ENOENT;

	if (!j->budget.all)
		j->budget = jitbudget__part(all);
	for (uint32_t i = 0; i < j->ndumps && err == -ENOENT; i++)
		err = jitdump__find(j->dumps[i].dump, addr, now_ns, name);
	if (err != -ENOENT)
		return err;
	if (!perfmap_of(j))
		return -ENOMEM;
	err = perfmap__find(j->perfmap, addr, now_ns, name);
	if (err == -ENOENT && is_trampoline(j, addr, mapped)) {
		*name = "py::?";
		err = 0;
	}
	return err;
}
