/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of people, for the files people*.c. */
#ifndef PYBPF_PEOPLE_PRIV_H
#define PYBPF_PEOPLE_PRIV_H

#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "collect/people.h"
#include "collect/stacks.h"
#include "symbolize/shortfile.h"

/* Not there any more when it was last looked for: what it left behind may still be on its way. */
#define THREAD_MISSING (1ull << 32)

struct person {
	uint64_t identity;
	bool introduced, leaving;
	bool named; /* its arguments are known */
	uint32_t pid;
	uint32_t process; /* id in the profile */
	const struct interp *interp;     /* NULL: not told */
	bool refused;                    /* a Python whose layout was found to be wrong, and introduced as one since */
	uint16_t types;                  /* enum code_types of its code objects: the worst that was met */
	uint64_t code_type;              /* address of its code objects' type; 0: not known yet */
	int root_fd;                     /* its root directory, -1 when it could not be had */
	char comm[PYBPF_COMM_LEN + 1];
	struct hmap threads; /* tid -> thread id in the profile, and THREAD_MISSING */
	struct hmap python_names, kernel_names; /* tid -> string: what Python calls them, and who named themselves */
	struct hmap codes;   /* address -> id in codes */
	struct space *space; /* where its code lies; NULL: not known or not wanted */
	struct stacks *stacks;
};

struct people {
	struct profile *profile;
	struct codes *codes;
	const struct interps *interps;
	struct spaces *spaces; /* NULL: no native frames */
	struct stacks_context stacks;
	struct shortfile *shortfile;
	bool limited;
	struct hmap by_identity; /* -> struct person * */
	struct hmap by_pid;      /* pid -> identity of its latest program */
	struct vec(uint64_t) leaving, gone; /* identities: ended in this round, in the last one */
	uint64_t live;                      /* introduced and not ended */
	struct str scratch[2];
};

/* Its samples may still be on their way: it goes at the end of the next round. */
void people__leave(struct people *all, uint64_t identity);
struct person *people__find(const struct people *all, uint64_t identity);
void person__free(struct person *who); /* NULL is fine */

#endif
