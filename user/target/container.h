/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers, as the cgroups of their processes tell: Docker, containerd, CRI-O, Podman, Kubernetes pods, LXC, Garden; and the
 * units of systemd, which are none.
 */
#ifndef PYBPF_TARGET_CONTAINER_H
#define PYBPF_TARGET_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/str.h"

struct container {
	char id[72];         /* 64 hexadecimal digits, Garden's 32 and a number, or LXC's name; "": none */
	char pod[48];        /* UID of its Kubernetes pod, with dashes; "": none */
	char unit[128];      /* innermost systemd unit, such as "nginx.service"; "": none */
	const char *runtime; /* "docker", "containerd", "cri-o", "podman", "lxc", "garden"; NULL: not told by the path */
	size_t id_end;       /* length of the cgroup's path up to and including the part that names the id */
	size_t pod_end;      /* likewise for the pod; 0: none */
};

/* What a cgroup's path says, innermost container first. */
void container__of_cgroup(const char *path, struct container *out);

/*
 * The container that a process runs in, by all hierarchies of its cgroups; *cgroup (may be NULL) becomes the path that tells, or
 * its cgroup v2 path where none does. 0, -ESRCH or another -errno.
 */
int container__of_process(pid_t pid, struct container *out, struct str *cgroup);

/*
 * The name that its runtime gave it, from the files where Docker, Podman, containerd and CRI-O keep it below `root` ("" for the
 * host's own). Appends to out; adds nothing when there is none. 0 or -ENOMEM.
 */
int container__name(const struct container *c, const char *root, struct str *out);

/* Whether `word` means this container: a prefix of its id (at least 3 digits), its name, or the UID of its pod. */
bool container__matches(const struct container *c, const char *name, const char *word);

#endif
