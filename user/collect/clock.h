/* SPDX-License-Identifier: Apache-2.0 */
/* The timers: a software clock on each online CPU that runs the BPF program. CPUs that come later get one, too. */
#ifndef PYBPF_CLOCK_H
#define PYBPF_CLOCK_H

#include <stdint.h>

#include "base/err.h"

struct bpf_program;
struct clock_set;

/* The period of the clocks for a sampling rate, ns: shorter than that of the rate, and another one at each call. */
uint64_t clock__period(uint32_t rate_hz);

/*
 * Starts the clocks of all online CPUs with that period. Errors: -EPERM (perf events are not permitted),
 * -ENOTSUP, -EMFILE, -ENOMEM.
 */
int clock_set__start(struct bpf_program *tick, uint64_t period_ns, struct clock_set **out, struct err *e);
/* Looks at which CPUs are online now and starts or stops their clocks. How many run, or -errno. */
int clock_set__refresh(struct clock_set *c, struct err *e);
uint32_t clock_set__running(const struct clock_set *c);
void clock_set__stop(struct clock_set *c); /* stops and frees; NULL is fine */

#endif
