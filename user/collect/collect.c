// SPDX-License-Identifier: Apache-2.0
#include "collect/collect.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collect/collect_priv.h"

#define EPOCH_NS       (5 * SECOND)
#define ENDED_CHECK_NS (SECOND / 20)
#define DROP_NS        (SECOND / 10)
#define TABLES_WAIT_NS (2 * SECOND) /* what is not ready by then is marked in samples until it is */
#define MAX_WAITS      20
#define JIT_SHARE      4 /* what part of the memory names of JIT code may take */

enum poll_tag { TAG_RING, TAG_SIDEBAND };

static void on_found(void *arg, uint32_t pid)
{
	struct collect *c = arg;

	if (c->spaces && (!c->has_targets || kernel__is_target(c->kernel, pid)))
		spaces__load(c->spaces, pid); /* one that has ended meanwhile is nobody's concern */
}

/* Whatever native and kernel frames need. */
static int prepare_natives(struct collect *c, const struct collect_config *config, struct err *e)
{
	int err = 0;

	if (!config->native && !config->kernel)
		return 0;
	c->binaries = binaries__new();
	c->natives = c->binaries ? natives__new(c->profile, c->binaries, config->keep_evaluator,
						  config->max_memory / JIT_SHARE) :
				     NULL;
	if (!c->natives)
		return err__errno(e, -ENOMEM, "starting to record");
	if (!config->native)
		return 0;
	err = unwinds__new(c->kernel, &c->unwinds, e);
	if (err)
		return err;
	c->spaces = spaces__new(c->kernel, c->binaries, c->unwinds);
	c->rests = c->spaces ? rests__new(c->spaces, c->unwinds) : NULL;
	if (!c->rests)
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
 * When every CPU is busy with targets, the profiler must still be scheduled in time: to begin soon, and to learn of new
 * processes.
 */
static void come_first(void)
{
	setpriority(PRIO_PROCESS, 0, -20);
}

/* Files and root directories of processes are held open for as long as these live: as many as are permitted. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int collect__new(const struct collect_config *config, struct collect **out, struct err *e)
{
	struct kernel_config kernel = {
		.rate_hz = config->rate_hz,
		.tick_ns = clock__period(config->rate_hz),
		.pids = config->pids,
		.pid_count = config->pid_count,
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
	come_first();
	allow_many_files();
	c->epoll_fd = -1;
	c->rate_hz = config->rate_hz;
	c->max_memory = config->max_memory;
	c->by_process = config->by_process;
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
	if (c->interps && config->thread_names)
		c->threadnames = threadnames__new(c->interps);
	if (!c->interps || !c->threadnames != !config->thread_names)
		err = err__errno(e, -ENOMEM, "starting to record");
	if (!err)
		err = prepare_natives(c, config, e);
	if (!err)
		err = kernel__attach(c->kernel, e);
	if (!err)
		err = sideband__open(&c->sideband, e);
	if (!err)
		err = watch(c, e);
	if (!err)
		err = collect__find_processes(c, config, e);
	if (err)
		goto fail;
	malloc_trim(0); /* the load has parsed all of the kernel's BTF: that memory goes back */
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
	threadnames__free(c->threadnames);
	rests__free(c->rests);
	spaces__free(c->spaces);
	natives__free(c->natives);
	unwinds__free(c->unwinds);
	binaries__free(c->binaries);
	interps__free(c->interps);
	sideband__close(c->sideband);
	kernel__free(c->kernel);
	profile__free(c->profile);
	spill__free(c->spill);
	hmap__free(&c->gone);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	vec__foreach(&c->notes, note)
		free(*note);
	vec__free(&c->notes);
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

static void hear_of_mappings(struct collect *c)
{
	struct sideband_handler handler = {.on_mmap = on_mmap, .on_exec = on_exec, .arg = c};

	c->mappings_lost += sideband__drain(c->sideband, &handler);
}

/* The kernel's questions are answered before later records are looked at. */
static int take_record(void *arg, const void *record, size_t size)
{
	struct collect *c = arg;
	const struct rec_file *file = record;

	/* who comes with mappings may have come by an exec: that must be known before, or they are of the program that ran until then */
	if (c->spaces && size >= sizeof(file->type) && (file->type == REC_PROC || file->type == REC_REST))
		hear_of_mappings(c);
	if (size >= sizeof(*file) && file->type == REC_FILE)
		interps__on_file(c->interps, file);
	if (size >= sizeof(struct rec_proc) && file->type == REC_PROC)
		interps__on_proc(c->interps, record);
	if (size >= sizeof(struct rec_thread) && file->type == REC_THREAD)
		interps__on_thread(c->interps, record);
	if (c->threadnames)
		threadnames__take(c->threadnames, record, size);
	if (c->rests && rests__take(c->rests, c->recorder, record, size))
		return 0;
	return recorder__take(c->recorder, record, size);
}

static int take_sample(void *arg, const struct rec_sample *sample)
{
	struct collect *c = arg;

	if (c->rests && rests__hold(c->rests, sample))
		return 0;
	return recorder__sample(c->recorder, sample);
}

static bool is_held(void *arg, uint64_t identity)
{
	return rests__has(arg, identity);
}

/* Samples of processes that are not proven are held: are they by now? */
static void settle(struct collect *c, bool last)
{
	if (!recorder__holds(c->recorder))
		return;
	interps__prove(c->interps);
	recorder__settle(c->recorder, last);
}

void collect__finish_samples(struct collect *c)
{
	/* each walk may find another table to wait for */
	for (int i = 0; c->rests && rests__count(c->rests) && i < MAX_WAITS; i++) {
		unwinds__wait(c->unwinds, TABLES_WAIT_NS / MAX_WAITS);
		rests__finish(c->rests, c->recorder, false);
	}
	if (c->rests)
		rests__finish(c->rests, c->recorder, true);
	settle(c, true);
}

int collect__take_all(struct collect *c, struct err *e)
{
	uint32_t missed = kernel__files_missed(c->kernel);
	uint64_t lost;
	int n;

	hear_of_mappings(c);
	lost = c->mappings_lost;
	c->mappings_lost = 0;
	if (lost || missed != c->files_missed)
		interps__scan(c->interps, 0, NULL); /* some mappings or files were missed: look at everyone again */
	c->files_missed = missed;
	if (lost && c->spaces)
		spaces__reload(c->spaces);
	if (c->spaces)
		spaces__flush(c->spaces);
	if (c->rests)
		rests__finish(c->rests, c->recorder, false);
	n = kernel__drain(c->kernel, take_record, take_sample, c);
	settle(c, false);
	recorder__end_round(c->recorder, c->rests ? &(struct recorder_held){is_held, c->rests} : NULL);
	return n < 0 ? err__errno(e, n, "reading the ring") : n;
}

/* Whether that was at least so long ago, ns; it is now, then. */
static bool is_due(uint64_t *last, uint64_t now, uint64_t every)
{
	if (now - *last < every)
		return false;
	*last = now;
	return true;
}

int collect__step(struct collect *c, int timeout_ms, struct err *e)
{
	struct epoll_event events[16];
	uint64_t now;
	int err;

	if (epoll_wait(c->epoll_fd, events, ARRAY_SIZE(events), timeout_ms) < 0 && errno != EINTR)
		return err__errno(e, -errno, "waiting for samples");
	err = collect__take_all(c, e);
	if (err < 0)
		return err;
	now = clock_ns(CLOCK_MONOTONIC);
	interps__refresh(c->interps);
	collect__make_room(c);
	collect__name_threads(c, false);
	if (is_due(&c->last_epoch, now, EPOCH_NS)) {
		kernel__next_epoch(c->kernel);
		collect__sweep(c);
	}
	if (is_due(&c->last_drop, now, DROP_NS))
		collect__drop_past(c, false);
	if (is_due(&c->last_second, now, SECOND)) {
		err = clock_set__refresh(c->clocks, e);
		if (err >= 0)
			err = sideband__refresh(c->sideband, e);
		if (err < 0)
			return err;
		collect__watch_memory(c);
	}
	return c->has_targets && is_due(&c->last_ended_check, now, ENDED_CHECK_NS) ? collect__all_ended(c) : 0;
}

