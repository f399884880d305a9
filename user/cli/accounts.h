/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts of a run, in words and as JSON. */
#ifndef PYBPF_ACCOUNTS_H
#define PYBPF_ACCOUNTS_H

#include <stdio.h>

#include "collect/collect.h"
#include "export/export.h"
#include "store/profile.h"

/* Samples that were lost, or written with a marker: sums over all reasons. */
uint64_t accounts__lost(const struct profile_accounts *a);
uint64_t accounts__truncated(const struct profile_accounts *a);

/* Two or three lines; that samples were lost is always the last. */
void accounts__print(const struct profile_accounts *a, FILE *out);

/* The object that the manual describes under --json. n: NULL without -n. */
void accounts__json(const struct profile_accounts *a, const struct collect_native *n, const struct profile_meta *m,
		    const char *output, const char *format, FILE *out);
/* A few lines for people: the functions in which most samples were taken. 0 or -ENOMEM. */
int accounts__print_hottest(const struct profile *p, FILE *out);

/* For --verbose, a line each: what is in memory; and what became of unwind tables. */
void accounts__print_held(const struct collect *c, FILE *out);
void accounts__print_tables(const struct unwinds_counts *t, FILE *out);

#endif
