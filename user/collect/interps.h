/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreters of this host: which files hold one, told to the kernel by file and by process. It hears of files
 * from three sides: the processes that run already, exec of an executable not seen before, and mappings of
 * libraries.
 */
#ifndef PYBPF_INTERPS_H
#define PYBPF_INTERPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collect/kernel.h"
#include "collect/layouts.h"
#include "collect/pyproc.h"
#include "collect/sideband.h"

struct interps;

/* k must outlive it; NULL when out of memory. */
struct interps *interps__new(struct kernel *k);
void interps__free(struct interps *x); /* NULL is fine */

/*
 * What the user should know of an interpreter that has been met, one line, each told once: that it cannot be read and why, or
 * that it is newer than this program. NULL: nothing new. Valid as long as x.
 */
const char *interps__next_notice(struct interps *x);

/* Calls fn for each process whose interpreter has been published from now on. */
void interps__on_found(struct interps *x, void (*fn)(void *arg, uint32_t pid), void *arg);

/* NULL for an index that is not known. */
const struct interp *interps__get(const struct interps *x, uint32_t layout);

/*
 * Looks at every process of the host (or at the one `pid`, if not 0) that it has not looked at yet and publishes
 * those that run Python. How many it found, or -errno.
 */
int interps__scan(struct interps *x, uint32_t pid, struct err *e);

/*
 * Describes the interpreters that are installed in the usual places, so that a process which starts one is known from its first
 * instruction on. Some ms. Those elsewhere are met when they run.
 */
void interps__learn_installed(struct interps *x);

/* The kernel's questions. */
void interps__on_file(struct interps *x, const struct rec_file *r);
void interps__on_mmap(struct interps *x, const struct sideband_mmap *m);

/*
 * A process has been sampled for the first time. While nothing has proven its layout, its structures are looked at; when
 * they speak against it the kernel is told, and the process is refused.
 */
void interps__on_proc(struct interps *x, const struct rec_proc *r);
/* Samples of processes that nothing has proven yet are held: looks at these, so as not to miss their short lives. */
void interps__prove(struct interps *x);
/* A thread was met for the first time for a while. */
void interps__on_thread(struct interps *x, const struct rec_thread *r);
/* Looks again at what changes in processes all the time, ten times a second. Call it as often or more. */
void interps__refresh(struct interps *x);

/* The interpreter of a process, as pyproc__find. */
int interps__find(struct interps *x, uint32_t pid, struct pyproc *out);

/* Publishes a process that runs no Python, for its native and kernel frames. 0 or -errno. */
int interps__publish_native(struct interps *x, uint32_t pid);

/* Whether a program that the kernel asked about turned out to be Python. */
bool interps__is_python(const struct interps *x, uint64_t identity);

/* Whether the process runs Python: 1, 0, or -ENOTSUP with the reason in *e; -ESRCH when it is gone. */
int interps__check_pid(struct interps *x, uint32_t pid, struct err *e);

#endif
