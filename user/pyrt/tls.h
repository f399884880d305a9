/* SPDX-License-Identifier: Apache-2.0 */
/* Where a thread keeps its PyThreadState, relative to the thread pointer. */
#ifndef PYBPF_PYRT_TLS_H
#define PYBPF_PYRT_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pybpf/abi.h"
#include "pyrt/binary.h"
#include "pyrt/layout.h"

/*
 * The value of key k < direct lies at thread pointer + base + k * stride; with `indirect`, the pointer at thread pointer + base
 * leads to an array whose elements are stride bytes apart.
 */
struct pyrt_pthread {
	int32_t base;
	uint32_t stride;
	uint32_t direct; /* keys below this are found so */
	bool indirect;
};

/* The facts for a processor (EM_*) and C library. 0, or -ENOENT. */
int pyrt_pthread__find(uint16_t machine, enum pyrt_libc libc, struct pyrt_pthread *out);

/* How the running thread's state is found, as the kernel side takes it (struct proc_info). */
struct pyrt_source {
	enum py_tstate_source source;
	int64_t slot[2];
	int32_t base;
	uint32_t stride;
};

/*
 * Where nothing better is known, the lists of interpreters and threads are (PY_TSTATE_LIST). 0, or -ENOTSUP when not even these
 * tell whose state is whose: before 3.11 states name their threads by pthread_self(), which is the thread pointer on
 * x86-64 only.
 */
int pyrt_source__find(const struct pyrt_binary *b, const struct pyrt_layout *l, struct pyrt_source *out,
		      struct err *e);

#endif
