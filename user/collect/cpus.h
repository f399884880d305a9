/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PYBPF_CPUS_H
#define PYBPF_CPUS_H

#include <stdbool.h>
#include <stddef.h>

/* A kernel list of CPUs such as "0-3,8\n" into on[0..count). CPUs beyond are ignored. 0 or -EINVAL. */
int cpus__parse(const char *list, bool *on, size_t count);
/* The CPUs that are online, from /sys/devices/system/cpu/online. 0 or -errno. */
int cpus__online(bool *on, size_t count);

#endif
