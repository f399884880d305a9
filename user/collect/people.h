/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes that are being recorded, each with its threads, its code objects by address and its stacks by the name
 * that the kernel gives them. All of it goes when the process ends; the profile keeps what it needs.
 */
#ifndef PYBPF_PEOPLE_H
#define PYBPF_PEOPLE_H

#include <stddef.h>
#include <stdint.h>

#include "collect/recorder.h"
#include "store/profile.h"
#include "symbolize/codes.h"

struct people;
struct person; /* one program in one process */

/* What both point to must outlive it. NULL when out of memory. */
struct people *people__new(const struct recorder_context *context, struct codes *codes);
void people__free(struct people *all); /* NULL is fine */

/* Records of the ring; `size` covers what follows the structure. 0, -EBADMSG (sizes disagree) or -ENOMEM. */
int people__on_proc(struct people *all, const struct rec_proc *r, size_t size);
int people__on_thread(struct people *all, const struct rec_thread *r);
int people__on_code(struct people *all, const struct rec_code *r, size_t size);
/* ids: as stacks__tell. */
int people__on_stack(struct people *all, const struct rec_stack *r, size_t size, const uint32_t *ids);
/* As recorder__name_thread. */
void people__name_thread(struct people *all, uint64_t identity, uint32_t tid, const char *name, size_t n);
void people__on_exit(struct people *all, const struct rec_life *r);
void people__on_exec(struct people *all, const struct rec_life *r);
/* As recorder__resolve. */
void people__resolve(struct people *all, const struct rec_stack *r, uint32_t *ids);
/* As recorder__sweep. */
void people__sweep(struct people *all, bool (*is_gone)(void *arg, uint32_t pid), void *arg);

/*
 * While memory is short: of stacks and code objects only those are taken in that were there before. What has another code object
 * at its address than before is not known any more.
 */
void people__limit(struct people *all, bool on);

/* The program by its identity; one without facts is made when its introduction was lost. NULL when out of memory. */
struct person *people__of(struct people *all, uint64_t identity, uint32_t pid);

/* As recorder__end_round: those who had left before the records of the last round are forgotten. */
void people__end_round(struct people *all, const struct recorder_held *held);
/* As recorder__sweep_threads. */
void people__sweep_threads(struct people *all, recorder_thread_fn ended, void *arg);
/* What is kept here: ids of the profile, as struct profile_holder; and codes, by setting used[id]. */
void people__each_id(struct people *all, profile_id_fn fn, void *arg);
void people__mark_codes(const struct people *all, bool *used);

/* The profile's id of its thread, or -ENOMEM. */
int64_t people__thread(struct people *all, struct person *who, uint32_t tid);

/* May what was read of its interpreter be shown? */
enum trust {
	TRUST_FULL, /* yes, or there is no interpreter */
	TRUST_OPEN, /* its layout has not been proven yet */
	TRUST_NONE, /* its layout was refuted */
};
enum trust people__trust(const struct person *who);
/* While that is open: its interpreter, and enum code_types of its code objects, the worst that was met. */
const struct interp *people__interp(const struct person *who, uint16_t *types);

/* Whether a stack has Python frames, as stacks__has_python. */
bool people__has_python(const struct person *who, uint64_t stack);
/* The profile's stack for a sample, as stacks__find. */
int64_t people__stack(struct person *who, const struct rec_sample *s, uint16_t *outcome);

/* Those that were introduced and have not ended. */
uint64_t people__live(const struct people *all);

#endif
