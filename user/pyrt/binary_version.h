/* SPDX-License-Identifier: Apache-2.0 */
/* The version of the interpreter in an ELF file; for pyrt/binary.c. */
#ifndef PYBPF_PYRT_BINARY_VERSION_H
#define PYBPF_PYRT_BINARY_VERSION_H

#include <stdint.h>

#include "sys/elf.h"

/* Py_Version, exported since 3.11 (Include/pylifecycle.h). 0, -ENOENT, or -errno. */
int pyrt_version__symbol(struct elf *elf, uint32_t *hex);

/*
 * From the strings in the file's read-only data, for older ones and for executables that export nothing: PY_VERSION
 * stands there alone ("3.9.18"; Python/getversion.c), and the path of its library beside it ("python3.9"). Some ms. 0,
 * -ENOENT when there is none or they contradict each other, or -errno. The last byte of *hex is that of a final release.
 */
int pyrt_version__find(struct elf *elf, uint32_t *hex);

#endif
