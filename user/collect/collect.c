// SPDX-License-Identifier: Apache-2.0
#include "collect/collect.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collect/clock.h"
#include "collect/interps.h"
#include "collect/kernel.h"
#include "collect/natives.h"
#include "collect/recorder.h"
#include "collect/sideband.h"
#include "collect/spaces.h"
#include "collect/spill.h"
#include "sys/proc.h"

#define SECOND         1000000000ull
#define EPOCH_NS       (5 * SECOND)
#define ENDED_CHECK_NS (SECOND / 20)
#define TABLES_WAIT_NS (2 * SECOND) /* what is not ready by then is marked in samples until it is */

enum poll_tag { TAG_RING, TAG_SIDEBAND };

struct collect {
	struct kernel *kernel;
	struct interps *interps;
	struct sideband *sideband;
	struct clock_set *clocks;
	/* for native frames; NULL unless they were asked for */
	struct binaries *binaries;
	struct unwinds *unwinds;
	struct spaces *spaces;
	struct natives *natives; /* for kernel frames, too */
	struct profile *profile;
	struct recorder *recorder;
	struct spill *spill;
	int epoll_fd;
	bool has_targets;
	uint32_t rate_hz, cpus;
	uint64_t tick_ns;
	uint64_t start_ns, start_unix_ns, stop_ns; /* CLOCK_MONOTONIC; stop_ns 0 while running */
	uint64_t last_second, last_epoch, last_ended_check;
	uint32_t files_missed; /* as last seen */
	char *words;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static bool process_ended(uint32_t pid)
{
	struct proc_stat stat;

	return proc__stat((pid_t)pid, &stat) || stat.state == 'Z' || stat.state == 'X';
}

static int add_targets(struct collect *c, const struct collect_config *config, struct err *e)
{
	for (size_t i = 0; i < config->pid_count; i++) {
		uint32_t pid = config->pids[i];
		int err;

		if (process_ended(pid))
			return err__set(e, -ESRCH, "no process %u: it does not exist or has ended", pid);
		err = kernel__add_target(c->kernel, pid);
		if (err)
			return err__errno(e, err, "adding process %u", pid);
	}
	return 0;
}

/* Every named process must be Python: one that is not is the user's mistake, and is said. */
static int check_targets(struct collect *c, const struct collect_config *config, struct err *e)
{
	for (size_t i = 0; i < config->pid_count && !config->command; i++) {
		uint32_t pid = config->pids[i];
		struct err why = {0};
		int err = interps__check_pid(c->interps, pid, &why);

		if (err == -ESRCH || (err < 0 && process_ended(pid)))
			return err__set(e, -ESRCH, "no process %u: it does not exist or has ended", pid);
		if (!err && (config->native || config->kernel)) {
			err = interps__publish_native(c->interps, pid);
			if (err)
				return err__errno(e, err, "adding process %u", pid);
			continue;
		}
		if (err == -ENOTSUP)
			return err__set(e, -ENOEXEC, "process %u: %s", pid, why.text);
		if (err < 0)
			return err__set(e, err, "process %u: %s", pid, why.text[0] ? why.text : strerror(-err));
		if (!err && !config->follow_children)
			return err__set(e, -ENOEXEC,
					"process %u is not a Python process; `pybpf list` shows those that are", pid);
		if (err > 0)
			err = interps__scan(c->interps, pid, e);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Descendants that exist already are targets as well: their parents come first in what is added. */
static int add_descendants(struct collect *c, struct err *e)
{
	struct proc_pids it;
	bool grown = true;

	while (grown) {
		int err = proc_pids__open(&it, e);
		pid_t pid;

		if (err)
			return err;
		grown = false;
		while ((pid = proc_pids__next(&it))) {
			struct proc_stat stat;

			if (proc__stat(pid, &stat) || stat.ppid <= 0 ||
			    !kernel__is_target(c->kernel, (uint32_t)stat.ppid) ||
			    kernel__is_target(c->kernel, (uint32_t)pid))
				continue;
			if (!kernel__add_target(c->kernel, (uint32_t)pid))
				grown = true;
		}
		proc_pids__close(&it);
	}
	return 0;
}

static int find_processes(struct collect *c, const struct collect_config *config, struct err *e)
{
	int err = add_targets(c, config, e);

	if (!err && config->follow_children)
		err = add_descendants(c, e);
	if (!err)
		err = check_targets(c, config, e);
	if (!err && (!config->pid_count || config->follow_children || config->command))
		interps__learn_installed(c->interps);
	if (!err && (!config->pid_count || config->follow_children)) {
		err = interps__scan(c->interps, 0, e);
		err = err < 0 ? err : 0;
	}
	return err;
}

static void on_found(void *arg, uint32_t pid)
{
	struct collect *c = arg;

	if (c->spaces)
		spaces__load(c->spaces, pid); /* one that has ended meanwhile is nobody's concern */
}

/* Whatever native and kernel frames need. */
static int prepare_natives(struct collect *c, const struct collect_config *config, struct err *e)
{
	int err = 0;

	if (!config->native && !config->kernel)
		return 0;
	c->binaries = binaries__new();
	c->natives = c->binaries ? natives__new(c->profile, c->binaries, config->keep_evaluator) : NULL;
	if (!c->natives)
		return err__errno(e, -ENOMEM, "starting to record");
	if (!config->native)
		return 0;
	err = unwinds__new(c->kernel, &c->unwinds, e);
	if (err)
		return err;
	c->spaces = spaces__new(c->kernel, c->binaries, c->unwinds);
	if (!c->spaces)
		return err__errno(e, -ENOMEM, "starting to record");
	interps__on_found(c->interps, on_found, c);
	return 0;
}

static int watch(struct collect *c, struct err *e)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_RING};

	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, kernel__ring_fd(c->kernel), &event))
		return err__errno(e, -errno, "watching the ring");
	return sideband__poll_with(c->sideband, c->epoll_fd, TAG_SIDEBAND);
}

/*
 * What the load has left behind goes back to the system: libbpf parses all of the kernel's BTF. And when every CPU is
 * busy with targets, the profiler must still be scheduled in time to learn of new processes.
 */
static void settle(void)
{
	malloc_trim(0);
	setpriority(PRIO_PROCESS, 0, -20);
}

int collect__new(const struct collect_config *config, struct collect **out, struct err *e)
{
	struct kernel_config kernel = {
		.rate_hz = config->rate_hz,
		.tick_ns = clock__period(config->rate_hz),
		.filter_pids = config->pid_count > 0,
		.follow_children = config->follow_children,
		.comm = config->comm,
		.filter_uid = config->filter_uid,
		.uid = config->uid,
		.cgroups = config->cgroups,
		.cgroup_count = config->cgroup_count,
		.native = config->native,
		.kernel = config->kernel,
	};
	struct collect *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return err__errno(e, -ENOMEM, "starting to record");
	c->epoll_fd = -1;
	c->rate_hz = config->rate_hz;
	c->tick_ns = kernel.tick_ns;
	c->has_targets = config->pid_count > 0;
	c->words = strdup(config->words ? config->words : "");
	c->profile = profile__new(config->keep_order);
	c->spill = spill__new();
	err = c->words && c->profile && c->spill ? 0 : err__errno(e, -ENOMEM, "starting to record");
	if (!err)
		err = kernel__load(&kernel, &c->kernel, e);
	if (err)
		goto fail;
	c->interps = interps__new(c->kernel);
	err = c->interps ? prepare_natives(c, config, e) : err__errno(e, -ENOMEM, "starting to record");
	if (!err)
		err = kernel__attach(c->kernel, e);
	if (!err)
		err = sideband__open(&c->sideband, e);
	if (!err)
		err = watch(c, e);
	if (!err)
		err = find_processes(c, config, e);
	if (err)
		goto fail;
	settle();
	*out = c;
	return 0;
fail:
	collect__free(c);
	return err;
}

void collect__free(struct collect *c)
{
	if (!c)
		return;
	clock_set__stop(c->clocks);
	recorder__free(c->recorder);
	natives__free(c->natives);
	spaces__free(c->spaces);
	unwinds__free(c->unwinds);
	binaries__free(c->binaries);
	interps__free(c->interps);
	sideband__close(c->sideband);
	kernel__free(c->kernel);
	profile__free(c->profile);
	spill__free(c->spill);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	free(c->words);
	free(c);
}

int collect__start(struct collect *c, struct err *e)
{
	struct recorder_context context = {
		.profile = c->profile,
		.interps = c->interps,
		.spaces = c->spaces,
		.natives = c->natives,
		.period_ns = SECOND / c->rate_hz,
	};
	int err;

	if (c->unwinds) {
		spaces__flush(c->spaces);
		unwinds__wait(c->unwinds, TABLES_WAIT_NS);
	}
	c->start_ns = clock_ns(CLOCK_MONOTONIC);
	c->start_unix_ns = clock_ns(CLOCK_REALTIME);
	c->last_second = c->last_epoch = c->start_ns;
	context.start_ns = c->start_ns;
	c->recorder = recorder__new(&context);
	if (!c->recorder)
		return err__errno(e, -ENOMEM, "starting to record");
	err = clock_set__start(kernel__tick_program(c->kernel), c->tick_ns, &c->clocks, e);
	if (!err)
		c->cpus = clock_set__running(c->clocks);
	return err;
}

/* The kernel's questions are answered before later records are looked at. */
static int take_record(void *arg, const void *record, size_t size)
{
	struct collect *c = arg;
	const struct rec_file *file = record;

	if (size >= sizeof(*file) && file->type == REC_FILE)
		interps__on_file(c->interps, file);
	if (size >= sizeof(struct rec_proc) && file->type == REC_PROC)
		interps__on_proc(c->interps, record);
	return recorder__take(c->recorder, record, size);
}

static int take_sample(void *arg, const struct rec_sample *sample)
{
	struct collect *c = arg;

	return recorder__sample(c->recorder, sample);
}

static void on_mmap(void *arg, const struct sideband_mmap *m)
{
	struct collect *c = arg;

	if (c->spaces && c->has_targets && kernel__is_target(c->kernel, m->pid))
		spaces__load(c->spaces, m->pid);
	interps__on_mmap(c->interps, m);
	if (c->spaces)
		spaces__on_mmap(c->spaces, m);
}

static void on_exec(void *arg, uint32_t pid)
{
	struct collect *c = arg;

	if (c->spaces)
		spaces__on_exec(c->spaces, pid);
}

static int take_all(struct collect *c, struct err *e)
{
	struct sideband_handler handler = {.on_mmap = on_mmap, .on_exec = on_exec, .arg = c};
	uint32_t missed = kernel__files_missed(c->kernel);
	int n;

	if (sideband__drain(c->sideband, &handler) || missed != c->files_missed)
		interps__scan(c->interps, 0, NULL); /* some mappings or files were missed: look at everyone again */
	c->files_missed = missed;
	if (c->spaces)
		spaces__flush(c->spaces);
	n = kernel__drain(c->kernel, take_record, take_sample, c);
	recorder__end_round(c->recorder);
	return n < 0 ? err__errno(e, n, "reading the ring") : n;
}

/* Whether no target is left, be it that all have ended or that those left are zombies. */
static bool all_ended(struct collect *c)
{
	uint32_t pid = 0;

	while (!kernel__next_target(c->kernel, &pid)) {
		if (!process_ended(pid))
			return false;
	}
	return true;
}

int collect__step(struct collect *c, int timeout_ms, struct err *e)
{
	struct epoll_event events[16];
	uint64_t now;
	int err;

	if (epoll_wait(c->epoll_fd, events, ARRAY_SIZE(events), timeout_ms) < 0 && errno != EINTR)
		return err__errno(e, -errno, "waiting for samples");
	err = take_all(c, e);
	if (err < 0)
		return err;
	now = clock_ns(CLOCK_MONOTONIC);
	interps__refresh(c->interps);
	if (now - c->last_epoch >= EPOCH_NS) {
		kernel__next_epoch(c->kernel);
		c->last_epoch = now;
	}
	if (now - c->last_second >= SECOND) {
		err = clock_set__refresh(c->clocks, e);
		if (err >= 0)
			err = sideband__refresh(c->sideband, e);
		if (err < 0)
			return err;
		c->last_second = now;
		spill__step(c->spill, c->profile, false); /* where that fails, memory is what there is */
	}
	if (c->has_targets && now - c->last_ended_check >= ENDED_CHECK_NS) {
		c->last_ended_check = now;
		return all_ended(c);
	}
	return 0;
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
	};

	if (!uname(&host)) {
		meta.host = host.nodename;
		meta.kernel = host.release;
		meta.machine = host.machine;
	}
	collect__accounts(c, &accounts);
	profile__set_accounts(c->profile, &accounts);
	return profile__set_meta(c->profile, &meta);
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
	profile__free(*p);
	*p = named;
	return 0;
}

int collect__stop(struct collect *c, struct err *e)
{
	int err;

	clock_set__stop(c->clocks); /* returns when no program runs any more: what is in the ring is all */
	c->clocks = NULL;
	c->stop_ns = clock_ns(CLOCK_MONOTONIC);
	do
		err = take_all(c, e);
	while (err > 0);
	if (!err && describe_run(c))
		err = err__errno(e, -ENOMEM, "finishing the profile");
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
	int err = describe_run(c) ? err__errno(e, -ENOMEM, "finishing the profile") : 0;

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

void collect__accounts(struct collect *c, struct profile_accounts *out)
{
	struct recorder_counts user;
	struct cpu_shared kernel;
	struct rusage usage;

	*out = (struct profile_accounts){0};
	recorder__counts(c->recorder, &user);
	kernel__counters(c->kernel, &kernel);
	out->taken = kernel.taken + user.taken;
	out->written = user.written;
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		out->lost[i] = kernel.lost[i] + user.lost[i];
		out->truncated[i] = user.truncated[i];
	}
	out->processes = user.processes;
	out->threads = user.threads;
	out->stacks = user.stacks;
	out->code_objects = user.code_objects;
	kernel__run_stats(c->kernel, &out->bpf_run_ns, &out->bpf_runs);
	if (!getrusage(RUSAGE_SELF, &usage)) {
		out->user_cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
				   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
		out->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
	}
}

uint64_t collect__elapsed_ns(const struct collect *c)
{
	return (c->stop_ns ? c->stop_ns : clock_ns(CLOCK_MONOTONIC)) - c->start_ns;
}

uint64_t collect__live_processes(const struct collect *c)
{
	return recorder__live(c->recorder);
}

uint32_t collect__cpus(const struct collect *c)
{
	return c->cpus;
}

const char *collect__next_notice(struct collect *c)
{
	return interps__next_notice(c->interps);
}

struct profile *collect__take_profile(struct collect *c)
{
	return take_ptr(c->profile);
}
