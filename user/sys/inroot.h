/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of another process, looked up in its own root directory. That root may belong to a
 * container whose owner is nobody's friend: no link, however made, leads out of it, and nothing is
 * opened for reading, so that FIFOs and devices neither block nor notice.
 */
#ifndef PYBPF_INROOT_H
#define PYBPF_INROOT_H

/*
 * Opens what `path` leads to below `root_fd` (of a directory, O_PATH will do; for a process
 * /proc/PID/root), links being followed as a process with that root would. Absolute or not, path
 * begins at the root. Returns a descriptor of O_PATH, or -errno: -ENOENT, -ENOTDIR, -ELOOP,
 * -EACCES, -ENAMETOOLONG, ...
 */
int inroot__open(int root_fd, const char *path);

/* The same without openat2(2), which came with Linux 5.6 and which seccomp filters may refuse:
 * inroot__open turns to it by itself. It follows at most 64 directories down. */
int inroot__open_stepwise(int root_fd, const char *path);

#endif
