// SPDX-License-Identifier: Apache-2.0
/* What this process may do, and where it stands: capabilities and namespaces. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collect/probe_priv.h"

#define INIT_PID_NS "pid:[4026531836]" /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF     39
#endif

/* The host's user namespace maps every id to itself; one that does the same is as good. */
static bool has_all_users(void)
{
	unsigned long first, outside, count;
	char line[128];

	probe__read_line("/proc/self/uid_map", line, sizeof(line));
	return sscanf(line, "%lu %lu %lu", &first, &outside, &count) != 3 || (!first && !outside && count >= UINT32_MAX);
}

void privileges__read(struct privileges *p)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	unsigned long long bits = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "CapEff: %llx", &bits) != 1)
		;
	p->effective = bits;
	p->of_host = has_all_users();
	probe__read_line("/proc/sys/kernel/cap_last_cap", line, sizeof(line));
	if (sscanf(line, "%d", &p->last) != 1)
		p->last = CAP_BPF;
}

bool privileges__has(const struct privileges *p, int cap)
{
	return p->effective >> cap & 1;
}

int probe__check_privileges(struct err *e)
{
	struct privileges have;

	privileges__read(&have);
	if (!have.of_host)
		return err__set(e, -EPERM,
				"not permitted: root of a user namespace (a rootless container) may not load BPF programs; "
				"run as root of the host");
	if (privileges__has(&have, CAP_SYS_ADMIN) ||
	    (privileges__has(&have, CAP_BPF) && privileges__has(&have, CAP_PERFMON)))
		return 0;
	return err__set(e, -EPERM,
			"not permitted: run as root (sudo), or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; "
			"`pybpf check` tells what is missing");
}

void probe__privileges(struct probe *p, struct probe_trial *t)
{
	const struct privileges *have = &t->privileges;
	bool admin = privileges__has(have, CAP_SYS_ADMIN), ptrace = privileges__has(have, CAP_SYS_PTRACE);
	bool split = have->last >= CAP_BPF; /* 5.8 took the two out of CAP_SYS_ADMIN */
	const struct {
		const char *name;
		bool missing;
	} caps[] = {
		{"CAP_BPF", split && !admin && !privileges__has(have, CAP_BPF)},
		{"CAP_PERFMON", split && !admin && !privileges__has(have, CAP_PERFMON)},
		{"CAP_SYS_ADMIN", !split && !admin},
		{"CAP_SYS_PTRACE", !ptrace},
	};
	size_t n;

	if (!have->of_host) {
		probe__detail(p, "user id %u of a user namespace, whose capabilities are none on the host",
			      (unsigned int)geteuid());
		probe__remedy(p, "run as root of the host, or in a container that is not rootless");
		return;
	}
	p->ok = true;
	probe__detail(p, "user id %u", (unsigned int)geteuid());
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (!caps[i].missing)
			continue;
		n = strlen(p->detail);
		snprintf(p->detail + n, sizeof(p->detail) - n, "%s%s", p->ok ? ", missing " : ", ", caps[i].name);
		p->ok = false;
	}
	if (p->ok) {
		n = strlen(p->detail);
		snprintf(p->detail + n, sizeof(p->detail) - n, " with all capabilities that are needed");
	} else {
		probe__remedy(p, split ? "run as root (sudo), or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"
				       : "run as root (sudo), or with CAP_SYS_ADMIN and CAP_SYS_PTRACE");
	}
}

static bool is_in_hosts_pid_namespace(void)
{
	char ns[64] = "";
	ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);

	return n < 0 || !strcmp(ns, INIT_PID_NS);
}

int probe__check_pid_namespace(struct err *e)
{
	if (is_in_hosts_pid_namespace())
		return 0;
	return err__set(e, -ENOTSUP,
			"this is a container's own pid namespace, where the kernel's process ids are not known: run on the "
			"host, or start the container with --pid=host (hostPID: true)");
}

void probe__pid_namespace(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	p->ok = is_in_hosts_pid_namespace();
	if (p->ok) {
		probe__detail(p, "that of the host");
		return;
	}
	probe__detail(p, "a container's own: the kernel's process ids are not those seen here");
	probe__remedy(p, "start the container in the host's pid namespace (--pid=host, hostPID: true)");
}
