/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which variable does a small function of CPython read? Its symbol is gone from stripped files, and where a thread-local
 * variable lies is written nowhere else: the function's machine code tells it. Understood are the few instructions
 * that compilers make of such getters, in every thread-local storage model (Ulrich Drepper, "ELF Handling
 * For Thread-Local Storage", 4.4; Alexandre Oliva, "Thread-Local Storage Descriptors for IA32 and AMD64/EM64T").
 */
#ifndef PYBPF_PYRT_ACCESS_H
#define PYBPF_PYRT_ACCESS_H

#include <stdint.h>

#include "sys/elf.h"

enum pyrt_access_kind {
	PYRT_ACCESS_NONE,
	PYRT_ACCESS_MEMORY,  /* a variable at the link-time address `address` */
	PYRT_ACCESS_INDIRECT, /* at `offset` from the object that the word at `address` (in the GOT) points to */
	PYRT_ACCESS_LOCAL_EXEC, /* thread-local: at thread pointer + offset */
	PYRT_ACCESS_INITIAL_EXEC, /* the word at `address` holds its distance from the thread pointer; plus offset */
	PYRT_ACCESS_DYNAMIC, /* the words at `address` hold module and offset, as __tls_get_addr takes them; plus offset */
	PYRT_ACCESS_DESCRIPTOR, /* the words at `address` are a TLS descriptor; plus offset */
};

struct pyrt_access {
	enum pyrt_access_kind kind;
	uint64_t address; /* link-time */
	int64_t offset;
};

/*
 * The pthread key (the int itself) that the function at `function` uses, or the variable that it returns: both occur as
 * PyGILState_GetThisThreadState. 0; -ENOENT when its code is not understood; or what reading failed with.
 */
int pyrt_access__find(struct elf *elf, uint64_t function, struct pyrt_access *out);

/* The same for `n` bytes of x86-64 code that lie at `address`. *next is a function that it ends in, 0: none. 0, -ENOENT. */
int pyrt_access__decode_x86(const uint8_t *code, size_t n, uint64_t address, struct pyrt_access *out,
			    uint64_t *next);

#endif
