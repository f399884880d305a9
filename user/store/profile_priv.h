/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a profile, for the files profile*.c. */
#ifndef PYBPF_PROFILE_PRIV_H
#define PYBPF_PROFILE_PRIV_H

#include "base/hash.h"
#include "base/vec.h"
#include "store/profile.h"

struct process_entry {
	struct profile_process facts;
	bool ended;
};

struct thread_entry {
	struct profile_thread facts;
	bool ended; /* before its process */
};

struct profile {
	bool keep_order;
	struct strtab *strings;
	struct vec(struct frame) frames;
	struct vec(struct stack_node) stacks;
	struct vec(struct process_entry) processes;
	struct vec(struct thread_entry) threads;
	size_t ended;                           /* processes and threads that have ended and are still here */
	uint64_t processes_ever, threads_ever, stacks_ever; /* with those that were dropped */
	struct vec(uint32_t) changed_processes; /* ids, since profile__drop_past */
	struct vec(uint32_t) changed_threads;
	struct vec(struct profile_sample) samples;
	struct hmap frame_ids;  /* hash of the frame -> id; a clash is resolved by probing on */
	struct hmap stack_ids;  /* parent and frame -> id */
	struct hmap sample_ids; /* what makes samples equal -> index */
	struct profile_meta meta;
	struct profile_accounts accounts;
};

uint64_t profile__frame_key(const struct frame *f);
uint64_t profile__stack_key(uint32_t parent, uint32_t frame);
uint64_t profile__sample_key(const struct profile_sample *s);

#endif
