/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of code that a JIT compiler made: /tmp/perf-PID.map, lines of "START SIZE NAME" in hex (kernel,
 * tools/perf/Documentation/jit-interface.txt), as Python's -X perf, node, Java and others write them. The file is anybody's: only
 * a regular file of the process's user or of root is read, no link to it is followed, and what is read and kept is bounded, by a
 * budget (jitbudget.h) that others share.
 */
#ifndef PYBPF_PERFMAP_H
#define PYBPF_PERFMAP_H

#include <stdint.h>
#include <sys/types.h>

#include "symbolize/jitbudget.h"

struct perfmap;

/*
 * The map of one process. root_fd: its root directory, which stays the caller's and must stay open; ns_pid: as the
 * process itself knows its pid; uid: its effective user; started: the second in which it started: a file that was last written
 * before is of another process that had its pid. The budget is the caller's as well. Opens nothing yet. NULL when out of memory.
 */
struct perfmap *perfmap__new(int root_fd, pid_t ns_pid, uid_t uid, int64_t started, struct jitbudget *budget);
void perfmap__free(struct perfmap *m); /* NULL is fine */

/*
 * The name of what is at an address, now by CLOCK_MONOTONIC: 0 and a string valid until the next call, -ENOENT or -ENOMEM. The file is
 * looked at again where it may have grown since, as far as the budget allows it and not oftener than every 10 ms; of entries that
 * overlap the later one counts.
 */
int perfmap__find(struct perfmap *m, uint64_t addr, uint64_t now_ns, const char **name);

#endif
