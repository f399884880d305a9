/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel and these privileges allow, found by trying: the program is really loaded, its hooks attached, its
 * clocks started, and all of it taken away again.
 */
#ifndef PYBPF_PROBE_H
#define PYBPF_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/vec.h"

struct probe {
	char what[288];
	bool ok;
	bool needed;      /* recording is not possible while it is not ok */
	char detail[512];
	char remedy[320]; /* "": none is needed or known */
};

struct probe_list vec(struct probe);

/* Adds the probes of kernel and privileges to the list; takes some 0.2 s. 0 or -ENOMEM. vec__free frees the list. */
int probe__kernel(struct probe_list *out);

/*
 * Is a kernel of this upstream release ("6.1.35", what follows the numbers is ignored) one that can lock up when a BPF
 * program reads user memory in an interrupt? From 5.19 on copy_from_user_nofault() ran the checks of hardened usercopy, which
 * take a spinlock that the interrupted code may hold. Mended in 6.4 (d319f344561d), 6.3.10 (3acb3dd3145b) and
 * 6.1.36 (2e7ad879e1b0); 5.19, 6.0 and 6.2 had ended by then. False for what is no release.
 */
bool probe__kernel_may_lock_up(const char *release);

/*
 * The upstream release that a kernel was made of. Debian and Ubuntu keep uname's release at x.y.0 and name the real one
 * elsewhere: in uname's version ("... Debian 6.1.76-1 (2024-02-01)") and as the last word of
 * /proc/version_signature. signature may be NULL.
 */
void probe__upstream_release(const char *release, const char *version, const char *signature, char *out,
			     size_t size);

/* Whether this process may load BPF programs and open perf events at all: 0, or -EPERM with *e saying what to do. */
int probe__check_privileges(struct err *e);

/* Whether the process ids seen here are the kernel's: 0, or -ENOTSUP with *e saying what to do. */
int probe__check_pid_namespace(struct err *e);

/* Refuses to run on a kernel that may lock up: 0, or -ENOTSUP with *e saying why and what helps. */
int probe__check_kernel(struct err *e);

#endif
