/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a layout that was told by version or table true of a live interpreter? Its own structures must agree: the list of
 * interpreters with the threads' states, these with the process's threads, and their frames with code objects.
 */
#ifndef PYBPF_PYRT_PROOF_H
#define PYBPF_PYRT_PROOF_H

#include <stddef.h>
#include <sys/types.h>

#include "pyrt/layout.h"
#include "sys/mem.h"

enum pyrt_proof {
	PYRT_UNPROVEN, /* the interpreter runs no Python code yet */
	PYRT_PROVEN,
	PYRT_REFUTED,
};

/*
 * Reads from the live process `pid` through mem: some ten to a hundred reads, however its structures are linked no more
 * than 262144. `interpreters` is the run-time address of the head of the list. The process goes on meanwhile, so what
 * does not fit is looked at again before it counts: after it has been on a CPU, as it may have been taken off in the
 * middle of a change; and counts little when the process ran while it was read. *failures, 0 at first, sums up what did
 * not fit from one call to the next, for any process with this layout. Refuted with the reason in why (size bytes). A
 * process that ends meanwhile, or gets no CPU, is unproven.
 */
enum pyrt_proof pyrt__prove(struct memory_reader *mem, pid_t pid, const struct pyrt_layout *layout,
			    uint64_t interpreters, unsigned int *failures, char *why, size_t size);

#endif
