/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own news of executable mappings (perf's PERF_RECORD_MMAP2, kernel/events/core.c), for all processes:
 * how a libpython is noticed that ld.so or dlopen maps, some 100 us after it happens.
 */
#ifndef PYBPF_SIDEBAND_H
#define PYBPF_SIDEBAND_H

#include <stdint.h>

#include "base/err.h"
#include "sys/proc.h"

struct sideband;

struct sideband_mmap {
	uint32_t pid;
	struct proc_map map; /* as /proc/PID/maps would show it; its path is valid during the call */
};

/* Starts listening on all online CPUs. 0, -EPERM, -ENOMEM, -errno. */
int sideband__open(struct sideband **out, struct err *e);
void sideband__close(struct sideband *s); /* NULL is fine */
/* Follows CPUs that came or went. 0 or -errno. */
int sideband__refresh(struct sideband *s, struct err *e);

/* Adds its descriptors to an epoll set, each with `tag` as data. 0 or -errno. Done anew at each refresh. */
int sideband__poll_with(struct sideband *s, int epoll_fd, uint64_t tag);

/* What is done with records. */
struct sideband_handler {
	void (*on_mmap)(void *arg, const struct sideband_mmap *m);
	void (*on_exec)(void *arg, uint32_t pid); /* its mappings of before are gone */
	void *arg;
};
/* Hands over what has come. Returns how many records the kernel had to drop since the last call. */
uint64_t sideband__drain(struct sideband *s, const struct sideband_handler *h);

#endif
