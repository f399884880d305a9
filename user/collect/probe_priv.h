/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind probe.h share. */
#ifndef PYBPF_PROBE_PRIV_H
#define PYBPF_PROBE_PRIV_H

#include <stdint.h>

#include "collect/probe.h"

struct privileges {
	uint64_t effective; /* capabilities */
	int last;           /* highest capability that the kernel knows */
	bool of_host;       /* false: in a user namespace of its own, whose capabilities are none on the host */
};

/* What one probe finds out and later ones build on. */
struct probe_trial {
	struct privileges privileges;
	struct kernel *kernel; /* NULL: not loaded */
	bool faulty;           /* one that may lock up */
};

/* Of this process. */
void privileges__read(struct privileges *p);
bool privileges__has(const struct privileges *p, int cap);

/* What `pybpf check` says of a probe, and how to get what is missing: each cut to its room. */
void probe__detail(struct probe *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void probe__remedy(struct probe *p, const char *text);
/* The first line of a small file without its end; "" when there is none. */
void probe__read_line(const char *path, char *line, size_t size);

/* Whether root's rights are there, and whether it is the initial pid namespace. */
void probe__privileges(struct probe *p, struct probe_trial *t);
void probe__pid_namespace(struct probe *p, struct probe_trial *t);

#endif
