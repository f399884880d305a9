/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of code that a JIT compiler made, out of its jitdump (kernel, tools/perf/Documentation/jitdump-specification.txt), as Python's
 * -X perf_jit, node's --perf-prof, the agents of Java, .NET, LLVM and wasmtime write it: a header of 40 bytes and records, in the
 * byte order of the process. The process maps its file, jit-PID.dump in some folder, executable, to be found by profilers. What it
 * maps it has chosen itself, so that it does not matter whose file that is and how old; its contents are still anybody's: what
 * is read and kept is bounded, by a budget (jitbudget.h) that others share.
 *
 * Read are the names of what is loaded (JIT_CODE_LOAD) and moved (JIT_CODE_MOVE); lines and unwind information are not. Times are not
 * looked at: of ranges that overlap the later record counts, which is the newest code when the table is asked while the process runs.
 */
#ifndef PYBPF_JITDUMP_H
#define PYBPF_JITDUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "symbolize/jitbudget.h"

struct jitdump;

/* Whether a file of this path is called as jitdumps are. */
bool jitdump__is_name(const char *path);

/*
 * The jitdump in an open regular file, which is taken over, and closed when that fails. The budget is the caller's and must outlive
 * it. NULL when out of memory.
 */
struct jitdump *jitdump__new(int fd, struct jitbudget *budget);
void jitdump__free(struct jitdump *d); /* NULL is fine */

/*
 * The name of what is at an address, now by CLOCK_MONOTONIC: 0 and a string valid until the next call, -ENOENT or -ENOMEM. What has
 * come to the file is read first, whole records only, as far as the budget allows it; more of it at the next call, and not oftener
 * than every 10 ms. A file that begins anew (it is shorter than it was, or has another header, where there is the time) is read
 * anew, some 16 times.
 */
int jitdump__find(struct jitdump *d, uint64_t addr, uint64_t now_ns, const char **name);

#endif
