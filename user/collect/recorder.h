/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the records of the ring into a profile: who the processes and threads are, what their code objects are called,
 * which frames a stack is made of. Everything is resolved as it comes, so that nothing is owed to a process that dies.
 */
#ifndef PYBPF_RECORDER_H
#define PYBPF_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include "collect/interps.h"
#include "collect/natives.h"
#include "collect/spaces.h"
#include "store/profile.h"

struct recorder;

/* What a recorder works with; all must outlive it. */
struct recorder_context {
	struct profile *profile;
	const struct interps *interps;
	struct spaces *spaces;   /* NULL: no native frames */
	struct natives *natives; /* NULL: no native and no kernel frames */
	uint64_t start_ns;       /* CLOCK_MONOTONIC: samples are dated from here on */
	uint64_t period_ns;      /* what each weighs */
};

/* NULL when out of memory. */
struct recorder *recorder__new(const struct recorder_context *context);
void recorder__free(struct recorder *r); /* NULL is fine */

/* Takes one record of the ring. Records that it does not know, and REC_FILE, are passed over. 0. */
int recorder__take(struct recorder *r, const void *record, size_t size);
/*
 * For a stack that is to be finished first: which code objects its Python frames are in, by now. ids has room for
 * stack->nframes. recorder__take_stack takes the record then.
 */
void recorder__resolve(struct recorder *r, const struct rec_stack *stack, uint32_t *ids);
void recorder__take_stack(struct recorder *r, const struct rec_stack *stack, size_t size, const uint32_t *ids);
/* Takes one sample; one that memory does not suffice for is counted as lost. 0. */
int recorder__sample(struct recorder *r, const struct rec_sample *sample);
/* What Python calls a thread that has been told already: goes before the kernel's name. */
void recorder__name_thread(struct recorder *r, uint64_t identity, uint32_t tid, const char *name, size_t n);
/* Samples are dated from start_ns on. */
void recorder__restart(struct recorder *r, uint64_t start_ns);
/* Whether memory is short: new stacks and code objects are passed over, their samples marked MEMORY_LIMIT. */
void recorder__limit(struct recorder *r, bool on);
/*
 * Samples of processes that nothing has proven yet (interps.h) are held: writes those that have been decided on by now, or that have
 * been held for long; last: all of them.
 */
void recorder__settle(struct recorder *r, bool last);
/* Whether some are. */
bool recorder__holds(const struct recorder *r);

/* Who holds back samples: those of which programs? */
struct recorder_held {
	bool (*has)(void *arg, uint64_t identity);
	void *arg;
};
/* Call after each round of records and samples: programs that had ended before it are forgotten, unless they are held (NULL: none). */
void recorder__end_round(struct recorder *r, const struct recorder_held *held);
/*
 * Forgets processes whose end was never told, for the ring was full or they were never introduced, and stacks that are not in use
 * any more. Call it when the kernel has been told to begin another epoch.
 */
void recorder__sweep(struct recorder *r, bool (*is_gone)(void *arg, uint32_t pid), void *arg);

/*
 * Forgets threads that were not there any more when it was called last. ended is told each of them. Call it every few seconds.
 */
typedef void (*recorder_thread_fn)(void *arg, uint64_t identity, uint32_t tid);
void recorder__sweep_threads(struct recorder *r, recorder_thread_fn ended, void *arg);

/*
 * Code objects that no living process has are forgotten: of `count` codes those with used[id], which recorder__mark_codes sets for
 * what the recorder itself needs, stay.
 */
uint32_t recorder__code_count(const struct recorder *r);
void recorder__mark_codes(const struct recorder *r, bool *used);
void recorder__drop_codes(struct recorder *r, const bool *used);
/* The ids of the profile that are kept here: struct profile_holder, `arg` being the recorder. */
void recorder__each_id(void *arg, profile_id_fn fn, void *fn_arg);

struct recorder_counts {
	uint64_t taken; /* beyond what the kernel counts: samples of processes that it did not know as Python yet */
	uint64_t written;
	uint64_t lost[PYBPF_OUTCOME_COUNT]; /* in user space: NO_MEMORY */
	uint64_t truncated[PYBPF_OUTCOME_COUNT];
	uint64_t processes, threads, code_objects; /* all that there ever were */
	uint64_t stacks;                            /* that are in the profile by now */
};
void recorder__counts(const struct recorder *r, struct recorder_counts *out);
/* Processes that were introduced and have not ended. */
uint64_t recorder__live(const struct recorder *r);

#endif
