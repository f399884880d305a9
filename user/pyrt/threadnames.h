/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a live process's Python calls its threads: Lib/threading.py's dict `_active` in each interpreter, which a Thread
 * object is in while it runs.
 */
#ifndef PYBPF_PYRT_THREADNAMES_H
#define PYBPF_PYRT_THREADNAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "pyrt/layout.h"
#include "sys/mem.h"

/* Where an interpreter's dict is; 0: not found among so many modules. */
struct pyrt_active {
	uint64_t interp, dict, modules;
};

/* A thread by its id in the process's own pid namespace. */
struct pyrt_thread_name {
	uint32_t native_id;
	uint32_t at, n; /* of pyrt_thread_names.text: its name, UTF-8 */
};

/* {0} before the first use; what one call has learnt makes the next one cheap. */
struct pyrt_thread_names {
	struct vec(struct pyrt_thread_name) names;
	struct str text;
	struct vec(struct pyrt_active) active; /* its own */
};

/*
 * Reads the names of those threads that `wanted` has (by id in their namespace; NULL: of all) and that are known to
 * `threading` now: *out has these and no others. One that changes meanwhile may be missing. A thread has the name that
 * the oldest interpreter knows, which is the main one. `interpreters` is the run-time address of the lists' head. 0
 * (also when there are none), -ESRCH when the process has ended, -ENOMEM.
 */
int pyrt_thread_names__read(struct memory_reader *mem, const struct pyrt_layout *layout, uint64_t interpreters,
			    const struct hmap *wanted, struct pyrt_thread_names *out);
void pyrt_thread_names__free(struct pyrt_thread_names *names);

#endif
