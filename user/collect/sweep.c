// SPDX-License-Identifier: Apache-2.0
/*
 * What is kept for a process goes when the kernel tells its end. Some ends are never told: the ring was full, or the process was
 * described by user space when it had just ended. What is left of these is looked for every few seconds.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "collect/collect_priv.h"

/* The kernel forgets each process that it has met, and none before its last sample. */
static bool is_unknown(void *arg, uint32_t pid)
{
	struct proc_info info;

	return kernel__lookup_process(arg, pid, &info) == -ENOENT;
}

/* Processes that were described and never met: the kernel cannot tell theirs from the end of another with that pid. */
static void sweep_described(struct kernel *k)
{
	struct vec(uint32_t) gone = {0};
	struct proc_info info;
	uint32_t pid = 0;

	while (!kernel__next_process(k, &pid)) {
		if (kernel__lookup_process(k, pid, &info) || info.start_time || !kill((pid_t)pid, 0) || errno != ESRCH)
			continue;
		if (vec__push(&gone, pid))
			break;
	}
	vec__foreach(&gone, it)
		kernel__forget_process(k, *it);
	vec__free(&gone);
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

void collect__sweep(struct collect *c)
{
	sweep_described(c->kernel);
	if (c->spaces)
		spaces__sweep(c->spaces);
	if (c->rests && !rests__count(c->rests))
		unwinds__drop_tables(c->unwinds);
	recorder__sweep(c->recorder, is_unknown, c->kernel);
}
