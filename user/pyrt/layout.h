/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a given interpreter keeps what is read of it: the rows of layout_rows.c, one a version, and from 3.13 on
 * the interpreter's own table of offsets.
 */
#ifndef PYBPF_PYRT_LAYOUT_H
#define PYBPF_PYRT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pybpf/abi.h"
#include "pyrt/binary.h"

/* What only user space reads: the lists of interpreters and threads. Bytes; PYBPF_NO_OFFSET: none. */
struct pyrt_lists {
	uint16_t runtime_interpreters; /* _PyRuntime.interpreters.head */
	uint16_t interp_next;
	uint16_t interp_threads; /* head of the interpreter's threads */
	uint16_t tstate_next;
	uint16_t tstate_thread_id; /* pthread_self(): unsigned long */
	uint16_t interp_modules;   /* sys.modules */
};

struct pyrt_layout {
	struct py_layout abi;
	struct pyrt_lists lists;
	/*
	 * One line when the layout is not one that was proven with a real interpreter: a newer minor version whose table of
	 * offsets was understood, for instance. Empty otherwise.
	 */
	char warning[160];
};

/*
 * The layout of the interpreter in the file behind fd, which pyrt_binary__probe described as *b. 0; -ENOTSUP with the
 * reason in *e when it is of an unknown version or what it says of itself is wrong; -EIO and the like when it cannot be read.
 */
int pyrt_layout__find(int fd, const struct pyrt_binary *b, struct pyrt_layout *out, struct err *e);

/*
 * As above, with the first n bytes of _PyRuntime (at least PYRT_DEBUG_MAX where it has a table of offsets) in place of the
 * file: for a live process, and for tests.
 */
int pyrt_layout__from_runtime(const struct pyrt_binary *b, const void *runtime, size_t n,
			      struct pyrt_layout *out, struct err *e);

/* The row of a minor version of CPython 3, or NULL. For a plain build with glibc. */
const struct pyrt_layout *pyrt_layout__row(unsigned int minor);
/* The oldest and newest minor version that have a row. */
#define PYRT_OLDEST_MINOR 6
#define PYRT_NEWEST_MINOR 15

#endif
