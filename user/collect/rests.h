/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Native stacks that the kernel could not walk to their end, because the table of some code was being made or a mapping had not
 * been published: their samples are held until user space has caught up, and the walk is finished here, in the copy of the stack
 * that the kernel took (bpf/rest.bpf.h).
 */
#ifndef PYBPF_RESTS_H
#define PYBPF_RESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect/recorder.h"
#include "collect/spaces.h"
#include "collect/unwinds.h"

struct rests;

/* Both must outlive it. NULL when out of memory. */
struct rests *rests__new(struct spaces *spaces, struct unwinds *unwinds);
void rests__free(struct rests *all); /* NULL is fine */

/* A record of the ring. True when it is held here; other records are for the recorder. */
bool rests__take(struct rests *all, struct recorder *r, const void *record, size_t size);
/* A sample. True when it is held until its stack is finished. */
bool rests__hold(struct rests *all, const struct rec_sample *sample);

/*
 * Finishes what can be finished and hands it to the recorder; call it when the mappings that had come have been taken in. last: the
 * others as well, which stay marked. What waits for too long, or for which there is no room, does so in any case.
 */
void rests__finish(struct rests *all, struct recorder *r, bool last);

/* Of how many the stack became complete here. */
uint64_t rests__finished(const struct rests *all);

size_t rests__count(const struct rests *all); /* how many are held */
/* Whether one of the program is held: then nothing of it may be forgotten. */
bool rests__has(const struct rests *all, uint64_t identity);
/* Sets used[id] for each code object that one needs: as recorder__mark_codes. */
void rests__mark_codes(const struct rests *all, bool *used);

#endif
