/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording: loads the program, finds the interpreters, runs the clocks, drains the ring, and has a profile in the
 * end.
 *
 *	collect__new -> collect__start -> collect__step ... -> collect__stop -> collect__take_profile -> collect__free
 */
#ifndef PYBPF_COLLECT_H
#define PYBPF_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collect/unwinds.h"
#include "store/profile.h"
#include "target/cgroups.h"

struct collect;

struct collect_config {
	uint32_t rate_hz;
	const uint32_t *pids; /* targets; none: every process */
	size_t pid_count;
	bool command;         /* pids[0] is a command that waits to be started: it runs no Python yet */
	bool follow_children;
	const struct cgroup_ref *cgroups; /* only processes in these and below; none: any */
	size_t cgroup_count;
	const char *comm; /* NULL: any */
	bool filter_uid;
	uint32_t uid;
	bool native;       /* native frames */
	bool keep_evaluator; /* those of the Python evaluator, too */
	bool kernel;       /* kernel frames */
	bool thread_names; /* those that Python gives them; else the kernel's, which have 15 bytes */
	bool keep_order;   /* samples one by one, for formats with a time line */
	bool by_process;   /* struct profile_meta */
	uint64_t max_memory; /* bytes; see collect__next_notice for when it is reached */
	const char *words; /* the command line of this run, for the profile's meta data */
};

/*
 * Everything but the clocks: the program is loaded, hooks are attached, the processes that run are known. Errors: -EPERM,
 * -ENOTSUP as kernel__load; -ESRCH when a pid does not exist; -ENOEXEC when one is not Python, or a Python that can't
 * be read (of several pids: when that is true of all; else collect__next_notice tells); -ENOMEM.
 */
int collect__new(const struct collect_config *config, struct collect **out, struct err *e);
void collect__free(struct collect *c); /* NULL is fine; stops what runs */

/* Starts the clocks: samples are taken from now on. 0 or -errno. */
int collect__start(struct collect *c, struct err *e);

/*
 * Waits for at most timeout_ms and takes in what has come. 1 when every target has ended, 0 otherwise (also when a signal
 * came), or -errno.
 */
int collect__step(struct collect *c, int timeout_ms, struct err *e);

/* Stops the clocks and takes in all that is left. 0 or -errno. */
int collect__stop(struct collect *c, struct err *e);

/* The profile so far, in *out, the caller's; the recording goes on. 0 or -errno. */
int collect__snapshot(struct collect *c, struct profile **out, struct err *e);

/* As collect__snapshot, of what came since the last call of this; what comes next counts from here on. */
int collect__rotate(struct collect *c, struct profile **out, struct err *e);

/* How it goes, of the whole run: a profile knows the accounts of its own part alone. */
void collect__accounts(struct collect *c, struct profile_accounts *out);
uint64_t collect__elapsed_ns(const struct collect *c);
uint64_t collect__live_processes(const struct collect *c);
/* What native stacks took; all zeros where there are none. */
struct collect_native {
	struct unwinds_counts tables;
	uint64_t finished;  /* samples that were taken before a table was there, and whose stacks were completed later */
	uint64_t map_bytes; /* memory of the kernel for all BPF maps, those of the tables included */
};
void collect__native(const struct collect *c, struct collect_native *out);

/*
 * How much of each kind is in memory; of a recording that was stopped, when it was. What belonged only to processes and threads of
 * the past is written to a file and dropped (collect/spill.h): none of this grows with their number.
 */
struct collect_held {
	uint64_t processes, threads, strings, frames, stacks, samples, code_objects;
	uint64_t files; /* whose native code was met */
	uint64_t bytes; /* of the profile */
};
void collect__held(const struct collect *c, struct collect_held *out);

/* What the user should know of an interpreter that was met, one line, each told once; NULL: nothing new. See interps.h. */
const char *collect__next_notice(struct collect *c);

/* The finished profile, meta data and accounts included. The caller's from now on. NULL when it was taken before. */
struct profile *collect__take_profile(struct collect *c);

#endif
