// SPDX-License-Identifier: Apache-2.0
/*
 * What is kept for a process goes when the kernel tells its end. Some ends are never told: the ring was full, or the process was
 * described by user space when it had just ended, or the kernel has missed it; and threads have none that is told. What is left
 * of these is looked for every few seconds.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "collect/collect_priv.h"

/* The kernel forgets each process that it has met, and none before its last sample. */
static bool is_unknown(void *arg, uint32_t pid)
{
	struct proc_info info;

	return kernel__lookup_process(arg, pid, &info) == -ENOENT;
}

/* Described by user space and never met: the kernel cannot tell its end from that of another with that pid. */
static bool was_never_met(struct kernel *k, uint32_t pid)
{
	struct proc_info info;

	return !kernel__lookup_process(k, pid, &info) && !info.start_time;
}

/*
 * Pids of no process go from the kernel's maps. It does that itself, but now and then, once in some hundred deaths on a busy host where
 * other programs attach to that tracepoint and detach, Linux 6.18 does not tell one. Who was gone the last time as well
 * has no samples on their way.
 */
static void sweep_pids(struct collect *c)
{
	struct hmap gone = {0};
	uint32_t pid = 0;
	int map = 0;
	uint64_t key, *at;
	size_t pos = 0;

	while (!kernel__next_pid(c->kernel, &map, &pid)) {
		if (kill((pid_t)pid, 0) && errno == ESRCH && hmap__put(&gone, pid, 1))
			break;
	}
	while (hmap__next(&gone, &pos, &key, &at)) {
		if (hmap__get(&c->gone, key) || was_never_met(c->kernel, (uint32_t)key))
			kernel__forget_pid(c->kernel, (uint32_t)key);
	}
	hmap__free(&c->gone);
	c->gone = gone;
}

void collect__make_room(struct collect *c)
{
	_cleanup_free_ bool *in_use = NULL;
	uint32_t count;

	if (!c->unwinds || !unwinds__wants_room(c->unwinds)) /* without native frames there are no binaries either */
		return;
	count = binaries__count(c->binaries);
	in_use = calloc(count + 1, sizeof(*in_use));
	if (!in_use)
		return;
	spaces__mark_used(c->spaces, in_use, count);
	unwinds__make_room(c->unwinds, in_use, count);
}

static void end_thread(void *arg, uint64_t identity, uint32_t tid)
{
	struct collect *c = arg;

	if (c->threadnames)
		threadnames__end_thread(c->threadnames, identity, tid);
}

/* Code objects that only processes of the past had. */
static void sweep_codes(struct collect *c)
{
	_cleanup_free_ bool *used = calloc((size_t)recorder__code_count(c->recorder) + 1, sizeof(*used));

	if (!used)
		return;
	recorder__mark_codes(c->recorder, used);
	if (c->rests)
		rests__mark_codes(c->rests, used);
	recorder__drop_codes(c->recorder, used);
}

void collect__drop_past(struct collect *c, bool now)
{
	const struct profile_holder holder = {.each = recorder__each_id, .arg = c->recorder};

	if (!now && !spill__is_due(c->spill, c->profile))
		return;
	sweep_codes(c);
	spill__step(c->spill, c->profile, &holder); /* where that fails, memory is what there is */
}

void collect__begin_part(struct collect *c)
{
	const struct profile_holder holder = {.each = recorder__each_id, .arg = c->recorder};
	struct profile_moves moves;

	profile__drop_samples(c->profile);
	spill__restart(c->spill);
	sweep_codes(c);
	if (!profile__drop_past(c->profile, &holder, &moves))
		profile_moves__free(&moves);
}

void collect__sweep(struct collect *c)
{
	recorder__sweep_threads(c->recorder, end_thread, c);
	sweep_pids(c);
	if (c->spaces)
		spaces__sweep(c->spaces);
	if (c->rests && !rests__count(c->rests))
		unwinds__drop_tables(c->unwinds);
	recorder__sweep(c->recorder, is_unknown, c->kernel);
}
