/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for code that linkers and C libraries write without call frame information. */
#ifndef PYBPF_UNWIND_FILLER_H
#define PYBPF_UNWIND_FILLER_H

#include <stddef.h>
#include <stdint.h>

#include "pybpf/unwind.h"
#include "sys/elf.h"
#include "unwind/cfi.h"

#define MAX_FILLERS 16

struct filler {
	uint64_t start, end; /* link-time addresses */
	struct unwind_rule rule;
};

/* Fills out[] with what holds where no function is known: PLT stubs, _init and _fini, the program's start. Returns how many. */
size_t filler__find(struct elf *elf, const struct cfi_arch *arch, struct filler out[MAX_FILLERS]);

#endif
