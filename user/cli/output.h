/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that a command writes: found to be writable before work starts, written beside its final place and renamed
 * when it is whole, handed to the user who called sudo. Nothing half-written is ever left.
 */
#ifndef PYBPF_OUTPUT_H
#define PYBPF_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

struct output;

/* Prepares `path`, "-" being standard output. 0, or -errno with *e set. The path is copied. */
int output__open(const char *path, struct output **out, struct err *e);
/* Where to write. */
FILE *output__file(struct output *o);
/* All is written: flushes, renames and frees. On failure nothing is left at the path but what was there before. */
int output__commit(struct output *o, struct err *e);
/* Leaves everything as it was and frees. NULL is fine. Safe after a failed write. */
void output__abandon(struct output *o);
/* Can the path be written again, by another output? Not a pipe or a terminal, whose readers would get both. */
bool output__is_file(const struct output *o);
/* Would one replace the other? */
bool output__is_same(const struct output *a, const struct output *b);
const char *output__path(const struct output *o);

#endif
