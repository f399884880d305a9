/* SPDX-License-Identifier: Apache-2.0 */
/* All thread states of a live interpreter, by its own lists: of every interpreter in the process. */
#ifndef PYBPF_PYRT_THREADS_H
#define PYBPF_PYRT_THREADS_H

#include <stdint.h>

#include "base/vec.h"
#include "pyrt/layout.h"
#include "sys/mem.h"

struct pyrt_thread {
	uint64_t tstate;    /* its address */
	uint64_t thread_id; /* pthread_self(): on x86-64 the thread pointer; 0: not running yet */
	uint32_t native_id; /* tid in the process's own pid namespace (3.11+); 0: not known */
};

struct pyrt_threads vec(struct pyrt_thread);

/*
 * Adds them to *out, up to 16384; vec__free frees it. `interpreters` is the run-time address of the lists' head. The process goes on
 * meanwhile: a list that changes may be told in part. 0, -ESRCH when it has ended, -EFAULT, -ENOMEM.
 */
int pyrt_threads__list(struct memory_reader *mem, const struct pyrt_layout *layout, uint64_t interpreters,
		       struct pyrt_threads *out);

#endif
