/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups by path, in every hierarchy that has them, as the kernel knows them. */
#ifndef PYBPF_TARGET_CGROUPS_H
#define PYBPF_TARGET_CGROUPS_H

#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "pybpf/abi.h"

/*
 * One cgroup. hierarchy: CGROUP_V2, or the index of a v1 controller among the kernel's own (enum cgroup_subsys_id in its BTF). id:
 * that of its kernfs node, which is also its directory's inode number (fs/kernfs, since Linux 5.5).
 */
struct cgroup_ref {
	uint64_t id;
	uint32_t hierarchy;
};

#define CGROUP_V2 PYBPF_CGROUP_V2

struct cgroup_refs vec(struct cgroup_ref);

/*
 * Appends the cgroup at `path`: a directory below a mount of cgroup or cgroup2 ("/sys/fs/cgroup/..."), or as /proc/PID/cgroup
 * names it ("/docker/..."), in all hierarchies that have it. 0; -ESRCH when none has; -ENOMEM; *e says what.
 */
int cgroups__resolve(const char *path, struct cgroup_refs *out, struct err *e);

/*
 * Appends the cgroups of all containers that run now and that `word` means (container__matches). 0; -ESRCH when there is none;
 * -ENOMEM.
 */
int cgroups__of_container(const char *word, struct cgroup_refs *out, struct err *e);

#endif
