/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PYBPF_CPUS_H
#define PYBPF_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kernel list of CPUs such as "0-3,8\n" into on[0..count). CPUs beyond are ignored. 0 or -EINVAL. */
int cpus__parse(const char *list, bool *on, size_t count);
/* The CPUs that are online, from /sys/devices/system/cpu/online. 0 or -errno. */
int cpus__online(bool *on, size_t count);

/*
 * Whether a perf event of a CPU, opened with PERF_FORMAT_TOTAL_TIME_ENABLED, has stood still since the last call: it ends when its
 * CPU goes offline, and does not come back with it. A CPU may have come back before anybody saw that it was gone, as
 * it does when the machine is suspended. *enabled: as of the last call, ns; 0 before the first.
 */
bool cpus__event_ended(int fd, uint64_t *enabled);

#endif
