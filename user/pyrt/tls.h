/* SPDX-License-Identifier: Apache-2.0 */
/* Where the C library keeps a thread's pthread_getspecific values, relative to the thread pointer. */
#ifndef PYBPF_PYRT_TLS_H
#define PYBPF_PYRT_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pyrt/binary.h"

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

/* The facts for a processor (EM_*) and C library. 0, or -ENOTSUP. */
int pyrt_pthread__find(uint16_t machine, enum pyrt_libc libc, struct pyrt_pthread *out,
		       struct err *e);

#endif
