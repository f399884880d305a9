/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples of processes whose interpreter's layout no live process has proven yet. They are held for it to be proven, by their own
 * process or by any other that runs the same binary, and shown then; or said to be unsupported, when it is refuted. What is neither
 * in time, as the process was over too soon, is judged by what the kernel saw of its code objects.
 */
#ifndef PYBPF_HOLDS_H
#define PYBPF_HOLDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect/layouts.h"
#include "store/profile.h"

struct holds;

struct holds *holds__new(void); /* NULL when out of memory */
void holds__free(struct holds *all); /* NULL is fine */

/*
 * Takes a sample of a program; its time is still CLOCK_MONOTONIC. types: enum code_types, the worst of the program's code objects
 * so far. 0 or -ENOMEM.
 */
int holds__add(struct holds *all, uint64_t identity, const struct interp *interp, uint16_t types,
	       const struct profile_sample *sample);

/* Gets each sample whose time has come, and what it is: PYBPF_OK: as it is; PYBPF_UNSUPPORTED, PYBPF_UNPROVEN: not to be shown. */
typedef void (*holds_fn)(void *arg, const struct profile_sample *sample, enum pybpf_outcome outcome);

/* Lets go of what has been decided, and of what was held for too long; last: of all. */
void holds__settle(struct holds *all, bool last, holds_fn fn, void *arg);

/* The ids of the profile that are kept here: struct profile_holder. */
void holds__each_id(struct holds *all, profile_id_fn fn, void *arg);

/* How many programs have samples here. */
size_t holds__count(const struct holds *all);

#endif
