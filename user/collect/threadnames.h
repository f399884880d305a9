/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Python calls the threads of the processes that are being recorded. The names are read from their memory soon
 * after a thread was sampled for the first time, again every few seconds, as they may change, and at the end; beside
 * the way of the samples.
 */
#ifndef PYBPF_COLLECT_THREADNAMES_H
#define PYBPF_COLLECT_THREADNAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect/interps.h"

struct threadnames;

/* x must outlive it; NULL when out of memory. */
struct threadnames *threadnames__new(struct interps *x);
void threadnames__free(struct threadnames *t); /* NULL is fine */

/* Every record of the ring, in their order: those of other kinds are passed over. */
void threadnames__take(struct threadnames *t, const void *record, size_t size);

/* A thread of a program that goes on has ended. */
void threadnames__end_thread(struct threadnames *t, uint64_t identity, uint32_t tid);

/* Called with the name (UTF-8) of a thread of the program `identity` (rec_proc.identity). */
typedef void (*threadnames_fn)(void *arg, uint64_t identity, uint32_t tid, const char *name, size_t n);

/* Reads those that it is time for, or all of them. */
void threadnames__read(struct threadnames *t, bool all, threadnames_fn fn, void *arg);

#endif
