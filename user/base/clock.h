/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PYBPF_BASE_CLOCK_H
#define PYBPF_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* A clock of clock_gettime(2), in ns. May be called by a signal handler. */
static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
