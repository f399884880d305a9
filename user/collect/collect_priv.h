/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a recording, for the files collect*.c. */
#ifndef PYBPF_COLLECT_PRIV_H
#define PYBPF_COLLECT_PRIV_H

#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"
#include "collect/clock.h"
#include "collect/collect.h"
#include "collect/interps.h"
#include "collect/kernel.h"
#include "collect/natives.h"
#include "collect/recorder.h"
#include "collect/rests.h"
#include "collect/sideband.h"
#include "collect/spaces.h"
#include "collect/spill.h"
#include "collect/threadnames.h"

#define SECOND 1000000000ull

struct collect {
	struct kernel *kernel;
	struct interps *interps;
	struct sideband *sideband;
	struct clock_set *clocks;
	/* for native frames; NULL unless they were asked for */
	struct binaries *binaries;
	struct unwinds *unwinds;
	struct spaces *spaces;
	struct rests *rests;
	struct natives *natives; /* for kernel frames, too */
	struct profile *profile;
	struct recorder *recorder;
	struct threadnames *threadnames; /* NULL unless they were asked for */
	struct spill *spill;
	struct hmap gone; /* pids that the kernel's maps had when they were last looked through, and that were nobody's */
	int epoll_fd;
	bool has_targets;
	bool by_process;
	uint32_t rate_hz, cpus;
	uint64_t tick_ns;
	/* of the recording, or of the part since collect__rotate; stop_ns 0 while running. CLOCK_MONOTONIC but for unix */
	uint64_t start_ns, start_unix_ns, stop_ns;
	struct profile_accounts before; /* what the parts before have accounted for */
	struct profile_accounts told;   /* what was accounted for when the profile was last described */
	struct collect_held held;       /* when it was stopped */
	uint64_t max_memory;            /* bytes */
	bool full;                      /* max_memory was reached */
	bool told_full, told_nameless, told_jit;
	struct vec(char *) notes; /* for the user; those from `told_notes` on have not been told yet */
	size_t told_notes;
	uint64_t last_second, last_epoch, last_drop, last_ended_check;
	uint32_t files_missed; /* as last seen */
	uint64_t mappings_lost; /* records of mappings, since all processes were last looked at */
	char *words;
};

/* collect_profile.c: something that the user should know. */
void collect__note(struct collect *c, const char *line);
/* collect_targets.c: makes the processes that run already known. 0 or as collect__new. */
int collect__find_processes(struct collect *c, const struct collect_config *config, struct err *e);
/* Whether no target is left, be it that all have ended or that those left are zombies. */
bool collect__all_ended(struct collect *c);

/* sweep.c: forgets processes whose end was not told. */
void collect__sweep(struct collect *c);
/* sweep.c: what is past goes to a file, if it is worth it or `now`, and from memory. */
void collect__drop_past(struct collect *c, bool now);
/* sweep.c: all that was recorded up to now is in a file: memory has what the living need. */
void collect__begin_part(struct collect *c);
/* sweep.c: unwind tables of files that no process maps any more make room for others that wait. */
void collect__make_room(struct collect *c);

/* collect_profile.c: once a second. Beyond max_memory no stack that was not seen before is kept. */
void collect__watch_memory(struct collect *c);
/* collect_profile.c: reads the names of threads that it is time for, or of all. */
void collect__name_threads(struct collect *c, bool all);
/* collect.c: the samples that are held, for their stacks to be finished or their processes to be proven, are written, marked if need be. */
void collect__finish_samples(struct collect *c);
/* collect.c: takes in what has come. How much that was, or -errno. */
int collect__take_all(struct collect *c, struct err *e);

#endif
