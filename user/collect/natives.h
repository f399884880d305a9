/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Native and kernel frames: from addresses to frames of the profile. While recording an address only becomes (file, address
 * in it), which costs next to nothing and needs the process no more; natives__name makes names of them in the end.
 */
#ifndef PYBPF_NATIVES_H
#define PYBPF_NATIVES_H

#include <stdbool.h>
#include <stdint.h>

#include "collect/binaries.h"
#include "store/profile.h"

struct natives;
struct space; /* where the code of a process lies: collect/spaces.h */

/*
 * Adds its frames to p; both must outlive it, and it all spaces that it is asked about. keep_evaluator: see natives__name. jit_bytes:
 * of memory for the names of JIT code. NULL when out of memory.
 */
struct natives *natives__new(struct profile *p, struct binaries *binaries, bool keep_evaluator, uint64_t jit_bytes);
void natives__free(struct natives *n); /* NULL is fine */

/*
 * The frame of a native address; -ENOENT when it is not to be shown, or -ENOMEM. exact: the address of the instruction itself; otherwise a return address,
 * which lies behind its call. space NULL: nothing is known of the process.
 */
int64_t natives__frame(struct natives *n, struct space *space, uint64_t addr, bool exact);
/* Whether an address lies in a file's code: what else there is comes and goes, and gets its names late. space as above. */
bool natives__is_of_file(struct space *space, uint64_t addr);
/* The frame of a kernel address, or -ENOMEM. */
int64_t natives__kernel_frame(struct natives *n, uint64_t addr, bool exact);

/* Whether names of JIT code did not fit into their memory. */
bool natives__jit_refused(const struct natives *n);

/* Whether frames of the evaluator are shown as they are, rather than left out where Python's stand for them. */
bool natives__keeps_evaluator(const struct natives *n);
/*
 * Whether a return address lies in the evaluator, _PyEval_EvalFrameDefault. Never in one whose work is in other functions (3.14+): that
 * may be inlined anywhere.
 */
bool natives__is_evaluator(struct space *space, uint64_t addr);
/* Whether a return address lies in the code of greenlet, which begins new stacks. */
bool natives__is_greenlet(struct space *space, uint64_t addr);
/*
 * Whether what is at `addr`, or returns to there unless it is exact, may have exchanged greenlets' stacks and not Python's state yet,
 * or the other way round. Where that function is not known it may be all of greenlet that other functions of it call.
 */
bool natives__is_exchange(struct space *space, uint64_t addr, bool exact, bool innermost);
/*
 * Whether `inner`, which was called from the evaluator at `addr`, does the evaluator's own work: in builds whose instructions
 * are functions that call each other in tail position (3.14+).
 */
bool natives__has_helpers(struct space *space, uint64_t addr, uint64_t inner);

/*
 * The profile p that was recorded with this, with names in the place of addresses; inlined functions become frames of their own.
 * The evaluator's frames are left out unless keep_evaluator. 0 and *out, the caller's; or -errno.
 */
int natives__name(struct natives *n, const struct profile *p, struct profile **out);
/* Why the last natives__name found no names for the kernel's functions; NULL where it did. Valid until the next one. */
const char *natives__kernel_error(const struct natives *n);

#endif
