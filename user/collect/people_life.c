// SPDX-License-Identifier: Apache-2.0
/* How processes and threads end, and what is kept of those that live. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "collect/people_priv.h"

void people__on_exec(struct people *all, const struct rec_life *r)
{
	uint64_t *latest = hmap__get(&all->by_pid, r->pid);

	people__leave(all, r->identity);
	if (latest && *latest == r->identity)
		hmap__del(&all->by_pid, r->pid);
}

void people__on_exit(struct people *all, const struct rec_life *r)
{
	people__on_exec(all, r);
	if (all->spaces)
		spaces__on_exit(all->spaces, r->pid, r->start_time);
}

void people__sweep(struct people *all, bool (*is_gone)(void *arg, uint32_t pid), void *arg)
{
	uint64_t identity, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_identity, &pos, &identity, &at)) {
		const struct person *who = (struct person *)(uintptr_t)*at;
		struct rec_life end = {.pid = who->pid, .identity = identity};

		if (who->leaving)
			continue;
		stacks__next_epoch(who->stacks);
		if (is_gone(arg, who->pid))
			people__on_exit(all, &end);
	}
}

void people__end_round(struct people *all, const struct recorder_held *held)
{
	size_t stay = 0;

	vec__foreach(&all->gone, identity) {
		struct person *who = people__find(all, *identity);

		if (!who)
			continue;
		if (held && held->has(held->arg, *identity)) {
			all->gone.data[stay++] = *identity;
			continue;
		}
		hmap__del(&all->by_identity, *identity);
		profile__end_process(all->profile, who->process);
		person__free(who);
	}
	all->gone.len = stay;
	vec__foreach(&all->leaving, identity) {
		if (vec__push(&all->gone, *identity))
			break;
	}
	all->leaving.len = 0;
}

/* By /proc a thread cannot be looked for without a walk through all; signal 0 is none. */
static bool is_gone_thread(uint32_t pid, uint32_t tid)
{
	return syscall(SYS_tgkill, pid, tid, 0) && errno == ESRCH;
}

void people__sweep_threads(struct people *all, recorder_thread_fn ended, void *arg)
{
	uint64_t identity, tid, *at, *thread;
	size_t pos = 0;

	while (hmap__next(&all->by_identity, &pos, &identity, &at)) {
		struct person *who = (struct person *)(uintptr_t)*at;
		size_t next = 0;

		if (who->leaving)
			continue;
		while (hmap__next(&who->threads, &next, &tid, &thread)) {
			if (!is_gone_thread(who->pid, (uint32_t)tid)) {
				*thread &= ~THREAD_MISSING;
			} else if (!(*thread & THREAD_MISSING)) {
				*thread |= THREAD_MISSING;
			} else {
				profile__end_thread(all->profile, (uint32_t)*thread);
				hmap__del(&who->threads, tid);
				hmap__del(&who->python_names, tid);
				hmap__del(&who->kernel_names, tid);
				ended(arg, identity, (uint32_t)tid);
			}
		}
	}
}

/* An id that is the value of a map. */
static void each_value(struct hmap *m, enum profile_table table, profile_id_fn fn, void *arg)
{
	uint64_t key, *value;
	size_t pos = 0;

	while (hmap__next(m, &pos, &key, &value)) {
		uint32_t id = (uint32_t)*value;

		fn(arg, table, &id);
		*value = (*value & ~(uint64_t)UINT32_MAX) | id;
	}
}

void people__each_id(struct people *all, profile_id_fn fn, void *arg)
{
	uint64_t identity, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_identity, &pos, &identity, &at)) {
		struct person *who = (struct person *)(uintptr_t)*at;

		fn(arg, PROFILE_PROCESSES, &who->process);
		each_value(&who->threads, PROFILE_THREADS, fn, arg);
		each_value(&who->python_names, PROFILE_STRINGS, fn, arg);
		each_value(&who->kernel_names, PROFILE_STRINGS, fn, arg);
		stacks__each_id(who->stacks, fn, arg);
	}
}

void people__mark_codes(const struct people *all, bool *used)
{
	uint64_t identity, addr, *at, *code;
	size_t pos = 0;

	while (hmap__next(&all->by_identity, &pos, &identity, &at)) {
		const struct person *who = (const struct person *)(uintptr_t)*at;
		size_t next = 0;

		while (hmap__next(&who->codes, &next, &addr, &code))
			used[*code] = true;
		stacks__mark_codes(who->stacks, used);
	}
}
