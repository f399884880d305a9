/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process says of its code that has no file, which a JIT compiler has made: in its jitdump (symbolize/jitdump.h), or else in its
 * perf map (symbolize/perfmap.h).
 */
#ifndef PYBPF_JITCODE_H
#define PYBPF_JITCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "symbolize/jitbudget.h"
#include "sys/proc.h"

struct jitcode;

/* start_ticks: of the process, as in its proc_stat. Opens nothing yet. NULL when out of memory. */
struct jitcode *jitcode__new(uint32_t pid, uint64_t start_ticks);
void jitcode__free(struct jitcode *j); /* NULL is fine */

/* A mapping of the process. True when it is that of a jitdump, by its name, which is opened then: nothing can run there. */
bool jitcode__on_map(struct jitcode *j, const struct proc_map *map);

/*
 * The name of what is at an address: 0 and a string valid until the next call, -ENOENT or -ENOMEM. Perf trampolines of CPython, as -X
 * perf and -X perf_jit make them, are "py::NAME:FILE". It writes the jitdump in blocks of 4 KB: those that it has not written yet
 * are "py::?", by their code. mapped: where the mapping of the address begins. all: the budget of all processes, the same each
 * time, which must outlive it; what this one has of it is given back by jitcode__free.
 */
int jitcode__name(struct jitcode *j, struct jitbudget *all, uint64_t addr, uint64_t mapped, const char **name);

#endif
