/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stack put together from what the kernel told of it: Python, native and kernel frames in their true order, each
 * Python frame where the interpreter runs it on the C stack.
 */
#ifndef PYBPF_MERGE_H
#define PYBPF_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/vec.h"
#include "collect/stacks.h"

/* What stands at one place of a stack. */
struct part {
	enum part_kind {
		PART_FRAME,  /* `id` is a frame of the profile */
		PART_PYTHON, /* the innermost Python frame: the sample tells its instruction. `id` is its code, or
				STACKS_NO_CODE */
		PART_NATIVE, /* the innermost native frame: the sample tells its address */
		PART_KERNEL, /* the kernel's innermost frame, likewise */
	} kind;
	uint32_t id;
	uint64_t base; /* PART_PYTHON: address that its instructions count from */
};
typedef struct vec(struct part) part_list;

/* The process that a stack is of. */
struct merge_process {
	const struct stacks_context *context;
	const struct hmap *by_address; /* code object's address -> id in codes */
	struct space *space;           /* where its code lies; NULL: not known or not wanted */
	struct py_layout layout;       /* of its interpreter; all zeros: it has none */
};

/*
 * Appends the parts of a record of the ring, `size` bytes in all, innermost first, to *out, and says the stack's
 * outcome. ids: what merge__code_at said of each Python frame's code object when the record came; NULL: it has just
 * come. 0, -EBADMSG (sizes disagree) or -ENOMEM; *out has to be freed all the same.
 */
int merge__parts(const struct merge_process *of, const struct rec_stack *r, size_t size, const uint32_t *ids,
		 part_list *out, uint16_t *outcome);

/* The code object at an address by now; STACKS_NO_CODE: not known. */
uint32_t merge__code_at(const struct merge_process *of, uint64_t addr);

/* Bytes from a code object's first instruction to `instr`, as a frame holds it; base: that of PART_PYTHON. */
int64_t merge__instr_offset(const struct py_layout *l, uint64_t base, uint64_t instr);

#endif
