// SPDX-License-Identifier: Apache-2.0
/* What becomes of a recording: its accounts, and its profile in the end, in between, or part by part. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collect/collect_priv.h"
#include "sys/proc.h"

/* What is summed up from the start is counted from the beginning of the part on. */
static void subtract(struct profile_accounts *a, const struct profile_accounts *before)
{
	a->taken -= before->taken;
	a->written -= before->written;
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		a->lost[i] -= before->lost[i];
		a->truncated[i] -= before->truncated[i];
	}
	a->bpf_run_ns -= before->bpf_run_ns;
	a->bpf_runs -= before->bpf_runs;
	a->user_cpu_ns -= before->user_cpu_ns;
}

/* What is told of the run as a whole. */
static int describe_run(struct collect *c)
{
	struct profile_accounts accounts;
	struct utsname host;
	struct profile_meta meta = {
		.version = (char *)PYBPF_VERSION,
		.command = c->words,
		.start_unix_ns = c->start_unix_ns,
		.duration_ns = collect__elapsed_ns(c),
		.rate_hz = c->rate_hz,
		.cpus = c->cpus,
		.by_process = c->by_process,
	};

	if (!uname(&host)) {
		meta.host = host.nodename;
		meta.kernel = host.release;
		meta.machine = host.machine;
	}
	collect__accounts(c, &accounts);
	c->told = accounts;
	subtract(&accounts, &c->before);
	profile__set_accounts(c->profile, &accounts);
	return profile__set_meta(c->profile, &meta);
}

static void note_nameless_kernel(struct collect *c)
{
	_cleanup_free_ char *line = NULL;
	const char *why = natives__kernel_error(c->natives);

	if (!why || c->told_nameless)
		return;
	c->told_nameless = true;
	if (asprintf(&line, "kernel frames are addresses without names: %s", why) < 0)
		line = NULL;
	else
		collect__note(c, line);
}

/* A profile as it was recorded becomes one that is shown: native frames get their names. */
static int name_frames(struct collect *c, struct profile **p, struct err *e)
{
	struct profile *named;
	int err;

	if (!c->natives)
		return 0;
	err = natives__name(c->natives, *p, &named);
	if (err)
		return err__errno(e, err, "naming the native frames");
	note_nameless_kernel(c);
	profile__free(*p);
	*p = named;
	return 0;
}

static void name_thread(void *arg, uint64_t identity, uint32_t tid, const char *name, size_t n)
{
	recorder__name_thread(arg, identity, tid, name, n);
}

void collect__name_threads(struct collect *c, bool all)
{
	if (c->threadnames)
		threadnames__read(c->threadnames, all, name_thread, c->recorder);
}

int collect__stop(struct collect *c, struct err *e)
{
	int err;

	clock_set__stop(c->clocks); /* returns when no program runs any more: what is in the ring is all */
	c->clocks = NULL;
	c->stop_ns = clock_ns(CLOCK_MONOTONIC);
	do
		err = collect__take_all(c, e);
	while (err > 0);
	collect__finish_samples(c);
	if (!err)
		collect__name_threads(c, true);
	if (!err && describe_run(c))
		err = err__errno(e, -ENOMEM, "finishing the profile");
	collect__held(c, &c->held);
	if (!err && spill__is_used(c->spill)) {
		struct profile *whole;

		err = spill__read_back(c->spill, c->profile, &whole, e);
		if (!err) {
			recorder__free(take_ptr(c->recorder)); /* it has the profile of before */
			profile__free(c->profile);
			c->profile = whole;
		}
	}
	if (!err) {
		recorder__free(take_ptr(c->recorder));
		err = name_frames(c, &c->profile, e);
	}
	return err;
}

int collect__snapshot(struct collect *c, struct profile **out, struct err *e)
{
	struct profile *whole;
	int err;

	collect__finish_samples(c);
	collect__name_threads(c, true);
	err = describe_run(c) ? err__errno(e, -ENOMEM, "finishing the profile") : 0;

	if (!err)
		err = spill__read_back(c->spill, c->profile, &whole, e);
	if (err)
		return err;
	err = name_frames(c, &whole, e);
	if (err)
		profile__free(whole);
	else
		*out = whole;
	return err;
}

int collect__rotate(struct collect *c, struct profile **out, struct err *e)
{
	int err = collect__snapshot(c, out, e);

	if (err)
		return err;
	c->before = c->told; /* and not what has been lost since: the next part tells that */
	collect__begin_part(c);
	c->start_ns = clock_ns(CLOCK_MONOTONIC);
	c->start_unix_ns = clock_ns(CLOCK_REALTIME);
	recorder__restart(c->recorder, c->start_ns);
	return 0;
}

/* Memory in use, bytes; 0 when it can't be told. */
static uint64_t memory_used(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages;

	return f && fscanf(f, "%*u %lu", &pages) == 1 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void collect__watch_memory(struct collect *c)
{
	uint64_t used = memory_used();
	bool was_full = c->full;

	if (used > c->max_memory && !c->full) {
		collect__drop_past(c, true);
		used = memory_used();
	}
	c->full = used > c->max_memory - (c->full ? c->max_memory / 10 : 0);
	recorder__limit(c->recorder, c->full);
	if (was_full && !c->full)
		kernel__retell_codes(c->kernel);
}

void collect__accounts(struct collect *c, struct profile_accounts *out)
{
	struct recorder_counts user;
	struct cpu_shared kernel;
	struct proc_status status;
	struct rusage usage;

	if (!c->recorder) {
		*out = c->told;
		return;
	}
	*out = (struct profile_accounts){0};
	recorder__counts(c->recorder, &user);
	kernel__counters(c->kernel, &kernel);
	out->taken = kernel.taken + user.taken;
	out->written = user.written;
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		out->lost[i] = kernel.lost[i] + user.lost[i];
		out->truncated[i] = user.truncated[i];
	}
	/* while it goes on, what has not been taken in yet belongs to what comes next */
	if (!c->stop_ns) {
		out->taken = out->written;
		for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
			out->taken += out->lost[i];
	}
	out->processes = user.processes;
	out->threads = user.threads;
	out->stacks = user.stacks;
	out->code_objects = user.code_objects;
	kernel__run_stats(c->kernel, &out->bpf_run_ns, &out->bpf_runs);
	if (!getrusage(RUSAGE_SELF, &usage)) {
		out->user_cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
				   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
	}
	if (!proc__status(getpid(), &status))
		out->peak_rss_bytes = status.peak_rss;
}

uint64_t collect__elapsed_ns(const struct collect *c)
{
	return (c->stop_ns ? c->stop_ns : clock_ns(CLOCK_MONOTONIC)) - c->start_ns;
}

uint64_t collect__live_processes(const struct collect *c)
{
	return recorder__live(c->recorder);
}

void collect__native(const struct collect *c, struct collect_native *out)
{
	memset(out, 0, sizeof(*out));
	if (!c->unwinds)
		return;
	unwinds__counts(c->unwinds, &out->tables);
	out->map_bytes = kernel__map_bytes(c->kernel) + out->tables.block_bytes;
	out->finished = c->rests ? rests__finished(c->rests) : 0;
}

void collect__held(const struct collect *c, struct collect_held *out)
{
	if (!c->recorder) {
		*out = c->held;
		return;
	}
	*out = (struct collect_held){
		.processes = profile__process_count(c->profile),
		.threads = profile__thread_count(c->profile),
		.strings = profile__string_count(c->profile),
		.frames = profile__frame_count(c->profile),
		.stacks = profile__stack_count(c->profile),
		.samples = profile__sample_count(c->profile),
		.code_objects = recorder__code_count(c->recorder),
		.files = c->binaries ? binaries__count(c->binaries) : 0,
		.bytes = profile__memory(c->profile),
	};
}

void collect__note(struct collect *c, const char *line)
{
	char *copy = strdup(line);

	if (copy && vec__push(&c->notes, copy))
		free(copy);
}

const char *collect__next_notice(struct collect *c)
{
	if (c->told_notes < c->notes.len)
		return c->notes.data[c->told_notes++];
	if (c->full && !c->told_full) {
		c->told_full = true;
		return "the limit of --max-memory is reached: stacks not seen before are counted but not kept";
	}
	if (c->natives && natives__jit_refused(c->natives) && !c->told_jit) {
		c->told_jit = true;
		return "names of JIT code fill their part of --max-memory: newer code has none";
	}
	return interps__next_notice(c->interps);
}

struct profile *collect__take_profile(struct collect *c)
{
	return take_ptr(c->profile);
}
