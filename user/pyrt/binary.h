/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a file hold a CPython interpreter, and which one? Told by what is in the file, never by its name: embedders
 * and bundlers link CPython into binaries of any name.
 */
#ifndef PYBPF_PYRT_BINARY_H
#define PYBPF_PYRT_BINARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "pyrt/access.h"
#include "sys/elf.h"

enum pyrt_kind {
	PYRT_NONE,        /* no Python in here */
	PYRT_CPYTHON,     /* one that pybpf knows about: the layout decides whether it can be read */
	PYRT_UNSUPPORTED, /* a Python that pybpf does not support; `reason` says which and why */
};

enum pyrt_libc {
	PYRT_GLIBC,
	PYRT_MUSL,
};

/* A thread-local variable of the interpreter, as its symbol says: an offset into the file's own TLS block. */
struct pyrt_tls_symbol {
	bool known;
	uint64_t offset;
};

struct pyrt_binary {
	enum pyrt_kind kind;
	char reason[160];
	uint16_t machine;     /* EM_* */
	uint32_t version_hex; /* PY_VERSION_HEX; the last byte is 0 where only "3.N.M" is known */
	uint64_t runtime;     /* link-time address of _PyRuntime; of what stands in for it in 3.6, which has none */
	uint64_t runtime_size; /* bytes; 0: not known */
	uint64_t tss_key;     /* link-time address of the gilstate's key (an int); 0: by the layout's row, or none */
	uint64_t current;     /* 3.6: link-time address of the pointer to the state that holds the GIL; 0: by the layout's row */
	uint64_t interpreters; /* 3.6: link-time address of the head of the list of interpreters; 0: by the layout's row */
	bool shared;          /* a library, as opposed to an executable that contains the interpreter */
	bool debug_offsets;   /* _PyRuntime begins with _Py_DebugOffsets (3.13+) */
	bool free_threaded;   /* --disable-gil */
	bool debug;           /* --with-pydebug */
	bool trace_refs;      /* Py_TRACE_REFS: every object begins with two more pointers */
	enum pyrt_libc libc;
	struct pyrt_tls_symbol tstate;   /* _Py_tss_tstate, 3.12+ */
	struct pyrt_tls_symbol gilstate; /* _Py_tss_gilstate, 3.15+ */
	uint64_t tls_size, tls_align;    /* of the file's PT_TLS; 0: none */
	struct pyrt_access gilstate_access; /* how the code itself reaches the latter; PYRT_ACCESS_NONE: not understood */
	uint8_t build_id[ELF_BUILD_ID_MAX];
	size_t build_id_len;
};

/*
 * Looks into a file. fd stays the caller's. A file that is no ELF file or holds no Python is PYRT_NONE and no error
 * (some 10 preads). 0, or -errno when it cannot be read or *out cannot be told (-EINVAL: damaged ELF; -EIO; -ENOMEM).
 */
int pyrt_binary__probe(int fd, struct pyrt_binary *out, struct err *e);

/* "3.13.0", "3.15.0b4", "3.13.0 free-threaded", "3.12.1 debug" appended to out. 0 or -ENOMEM. */
int pyrt_binary__describe(const struct pyrt_binary *b, struct str *out);

/* "3.13.0" or "3.15.0b4" of a PY_VERSION_HEX (CPython Include/patchlevel.h), appended to out. 0 or -ENOMEM. */
int pyrt_version__format(uint32_t version_hex, struct str *out);

#define PYRT_MINOR(hex) ((hex) >> 16 & 0xff) /* given that the major version is 3 */

#endif
