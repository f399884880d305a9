/* SPDX-License-Identifier: Apache-2.0 */
/* What a table is made of, between reading it and compiling: the cache looks in between whether it has been done. */
#ifndef PYBPF_UNWIND_SOURCE_H
#define PYBPF_UNWIND_SOURCE_H

#include "unwind/cfi.h"
#include "unwind/filler.h"
#include "unwind/gaps.h"
#include "unwind/table.h"
#include "unwind/untold.h"
#include "unwind/work.h"

struct unwind_source {
	struct elf *elf;
	struct unwind_work work;
	struct cfi cfi; /* the sections only */
	struct filler fillers[MAX_FILLERS];
	size_t nfillers;
	filler_list followed; /* what gaps__follow and forks__find found, once compiled */
	filler_list untold;   /* what untold__follow found, likewise */
	code_ranges code;     /* that the table depends on, likewise */
};

/*
 * Reads it. Errors as for unwind_table__build; and -ECANCELED, from here on, when *stop becomes true (NULL: it is never
 * looked at). The caller calls unwind_source__close either way.
 */
int unwind_source__open(struct elf *elf, const atomic_bool *stop, struct unwind_source *s, struct err *e);
void unwind_source__close(struct unwind_source *s);

/* Compiles the table. Errors likewise. */
int unwind_source__compile(struct unwind_source *s, struct unwind_table **out, struct err *e);

#endif
