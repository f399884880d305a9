// SPDX-License-Identifier: Apache-2.0
#include "collect/clock.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "collect/cpus.h"

/*
 * The timer runs a little faster than the sampling rate, and the BPF program picks the first tick behind a random moment
 * of each period (bpf/pybpf.bpf.c). Ten periods are 10.618 ticks, off by up to 2 % at random for each run: 0.618
 * is the fraction that no small one comes near, so that the ticks wander through any period of a workload, and evenly.
 * A larger ratio would only cost more ticks.
 */
#define TICKS_PER_SAMPLE 1.0618
#define RATIO_JITTER     0.02
#define MIN_PERIOD_NS    10000 /* kernel/events/core.c, perf_swevent_init_hrtimer: the kernel's own floor */

struct clock {
	struct bpf_link *link; /* NULL while the CPU is offline */
	int fd;                /* the link's */
	uint64_t enabled;      /* see cpus__event_ended */
};

struct clock_set {
	struct bpf_program *tick;
	uint64_t period_ns;
	uint32_t running;
	size_t count;
	struct clock *clocks; /* by CPU */
	bool *online;         /* scratch of the same length */
};

uint64_t clock__period(uint32_t rate_hz)
{
	uint32_t random = 0;
	double jitter, period;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)getpid() * 2654435761u;
	jitter = 1 + RATIO_JITTER * (random / 2147483648.0 - 1);
	period = 1e9 / rate_hz / (TICKS_PER_SAMPLE * jitter);
	return period < MIN_PERIOD_NS ? MIN_PERIOD_NS : (uint64_t)period;
}

static int clock__open(struct clock_set *c, int cpu, struct err *e)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = c->period_ns,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.disabled = 1,
		.exclude_idle = 1, /* time is counted in ticks of busy CPUs */
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	struct bpf_link *link;

	if (fd < 0 && errno == ENODEV) /* went offline meanwhile */
		return 0;
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err__set(e, -EPERM, "perf events are not permitted: run as root or with CAP_PERFMON; a container's "
					   "seccomp filter must allow perf_event_open(2)");
	if (fd < 0)
		return err__errno(e, -errno, "opening the clock of CPU %d", cpu);
	link = bpf_program__attach_perf_event(c->tick, fd);
	if (!link) {
		int err = -errno;

		close(fd);
		return err__errno(e, err, "attaching the BPF program to the clock of CPU %d", cpu);
	}
	c->clocks[cpu] = (struct clock){.link = link, .fd = fd}; /* link owns fd */
	c->running++;
	return 0;
}

static void clock__close(struct clock_set *c, size_t cpu)
{
	bpf_link__destroy(c->clocks[cpu].link);
	c->clocks[cpu].link = NULL;
	c->running--;
}

int clock_set__refresh(struct clock_set *c, struct err *e)
{
	int err = cpus__online(c->online, c->count);

	if (err)
		return err__errno(e, err, "reading /sys/devices/system/cpu/online");
	for (size_t cpu = 0; cpu < c->count; cpu++) {
		struct clock *clock = &c->clocks[cpu];

		if (clock->link && (!c->online[cpu] || cpus__event_ended(clock->fd, &clock->enabled)))
			clock__close(c, cpu);
		if (c->online[cpu] && !clock->link)
			err = clock__open(c, (int)cpu, e);
		if (err)
			return err;
	}
	return (int)c->running;
}

int clock_set__start(struct bpf_program *tick, uint64_t period_ns, struct clock_set **out, struct err *e)
{
	int cpus = libbpf_num_possible_cpus(), err;
	struct clock_set *c = calloc(1, sizeof(*c));

	if (!c)
		return err__errno(e, -ENOMEM, "starting the clocks");
	c->tick = tick;
	c->period_ns = period_ns;
	c->count = cpus > 0 ? (size_t)cpus : 1;
	c->clocks = calloc(c->count, sizeof(*c->clocks));
	c->online = calloc(c->count, sizeof(*c->online));
	err = c->clocks && c->online ? clock_set__refresh(c, e)
				     : err__errno(e, -ENOMEM, "starting the clocks");
	if (err < 0) {
		clock_set__stop(c);
		return err;
	}
	*out = c;
	return 0;
}

uint32_t clock_set__running(const struct clock_set *c)
{
	return c->running;
}

void clock_set__stop(struct clock_set *c)
{
	if (!c)
		return;
	for (size_t cpu = 0; c->clocks && cpu < c->count; cpu++)
		bpf_link__destroy(c->clocks[cpu].link);
	free(c->clocks);
	free(c->online);
	free(c);
}
