/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What names of JIT code may cost. How much of them there is, and how often it changes, is up to the processes that are looked at: one
 * budget is that of the recording, and no process gets more than half of it. What is bounded is memory, and the work of reading: that
 * is done by the thread that takes in everybody's samples.
 */
#ifndef PYBPF_JITBUDGET_H
#define PYBPF_JITBUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct jitbudget {
	struct jitbudget *all; /* what it is a part of; NULL: it is the whole */
	uint64_t max, held;    /* memory, bytes */
	uint64_t work;         /* that was done and that time, until at_ns, has not paid for; a unit is a byte read, some 0.5 ns */
	uint64_t at_ns;
	bool refused;          /* of the whole: memory that somebody asked for */
};

struct jitbudget jitbudget__whole(uint64_t max);
/* For a process. The whole must outlive it. */
struct jitbudget jitbudget__part(struct jitbudget *all);

/* Asks for memory, bytes. What was given is to be given back. */
bool jitbudget__take(struct jitbudget *b, uint64_t bytes);
void jitbudget__give(struct jitbudget *b, uint64_t bytes);

/* Whether some work may be done, at a time of CLOCK_MONOTONIC; how much it was is told when it is done. */
bool jitbudget__may_work(struct jitbudget *b, uint64_t now_ns);
void jitbudget__worked(struct jitbudget *b, uint64_t units);

#endif
