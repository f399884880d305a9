/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the code of each process lies: its executable mappings, kept as they change and published to the kernel for the walk
 * of native stacks.
 */
#ifndef PYBPF_SPACES_H
#define PYBPF_SPACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collect/binaries.h"
#include "collect/jitcode.h"
#include "collect/kernel.h"
#include "collect/sideband.h"
#include "collect/unwinds.h"

/* One program in one process. Whoever has been given one holds it until space__put, also when the process has ended. */
struct space;

struct code_map {
	uint64_t start, end;
	uint64_t bias;         /* run-time minus link-time address */
	struct binary *binary; /* NULL: memory without a file, as of a JIT compiler */
};

struct spaces;

/* All must outlive it. NULL when out of memory. */
struct spaces *spaces__new(struct kernel *k, struct binaries *binaries, struct unwinds *unwinds);
void spaces__free(struct spaces *all); /* NULL is fine */

/*
 * Reads the mappings of a process from /proc and publishes them, unless they are known. 0, -ESRCH (also when another program takes the
 * place of the one that ran) or another -errno.
 */
int spaces__load(struct spaces *all, uint32_t pid);
/* A mapping has come. Processes that were not loaded are passed over. Published by the next spaces__flush. */
void spaces__on_mmap(struct spaces *all, const struct sideband_mmap *m);
/* Another program runs in the process: nothing is known of it yet. */
void spaces__on_exec(struct spaces *all, uint32_t pid);
/* The process that began then (CLOCK_BOOTTIME, ns; 0: whichever it is) has ended. Another one that has its pid by now stays known. */
void spaces__on_exit(struct spaces *all, uint32_t pid, uint64_t start_time);
/* Sets in_use[id] for each binary that a living process maps; there are `count` in all. */
void spaces__mark_used(const struct spaces *all, bool *in_use, size_t count);
void spaces__flush(struct spaces *all);
/* Reads all mappings anew: some records of them were lost. Published by the next spaces__flush. */
void spaces__reload(struct spaces *all);
/* Forgets processes that have ended without being told. Call it every few seconds. */
void spaces__sweep(struct spaces *all);

/*
 * The mappings of the program that has this start_stack (rec_proc) in the process; those of its parent, which it was forked from, when
 * it runs another program by now or has ended. NULL when there are none.
 */
struct space *spaces__get(struct spaces *all, uint32_t pid, uint32_t ppid, uint64_t start_stack);
void space__put(struct space *s); /* NULL is fine */
/*
 * An address of the program lies in none of the mappings that are known. Reads them anew; where that has been in vain too often
 * since the last mapping has come, the kernel is told not to ask any more. True when there may be others now.
 */
bool spaces__look_again(struct spaces *all, struct space *s);
/* What is mapped at an address, or NULL. Valid until the next call to spaces. */
const struct code_map *space__find(const struct space *s, uint64_t addr);
/* What the process says of code that has no file. It goes with the space. */
struct jitcode *space__jitcode(struct space *s);

#endif
