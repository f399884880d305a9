// SPDX-License-Identifier: Apache-2.0
/* Which processes are recorded: those named, their descendants, or every Python of the host. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "collect/collect_priv.h"
#include "sys/proc.h"

/* A process whose main thread has ended looks like a zombie, but for its other threads. */
static bool process_ended(uint32_t pid)
{
	struct proc_stat stat;

	return proc__stat((pid_t)pid, &stat) || stat.state == 'X' || (stat.state == 'Z' && stat.threads <= 1);
}

static int no_such_process(struct err *e, uint32_t pid)
{
	return err__set(e, -ESRCH, "no process %u: it does not exist or has ended", pid);
}

static int add_targets(struct collect *c, const struct collect_config *config, struct err *e)
{
	for (size_t i = 0; i < config->pid_count; i++) {
		int err = kernel__add_target(c->kernel, config->pids[i]);

		if (err)
			return err__errno(e, err, "adding process %u", config->pids[i]);
	}
	return 0;
}

/* Every named process must be Python: one that is not is the user's mistake, and is said. */
static int check_target(struct collect *c, const struct collect_config *config, uint32_t pid, struct err *e)
{
	struct proc_status status;
	struct err why = {0};
	int err = process_ended(pid) ? -ESRCH : interps__check_pid(c->interps, pid, &why);

	if (!proc__status((pid_t)pid, &status) && status.process != (pid_t)pid)
		return err__set(e, -ESRCH, "no process %u: that is a thread of process %d", pid, (int)status.process);
	if (err == -ESRCH || (err < 0 && process_ended(pid)))
		return no_such_process(e, pid);
	if (!err && (config->native || config->kernel)) {
		err = interps__publish_native(c->interps, pid);
		return err ? err__errno(e, err, "adding process %u", pid) : 0;
	}
	if (err == -ENOTSUP)
		return err__set(e, -ENOEXEC, "process %u: %s", pid, why.text);
	if (err == -EACCES || err == -EPERM)
		return err__set(e, err, "process %u: %s; %s", pid, why.text,
				geteuid() ? "run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH" : "the system protects it");
	if (err < 0)
		return err__set(e, err, "process %u: %s", pid, why.text[0] ? why.text : strerror(-err));
	if (!err && !config->follow_children)
		return err__set(e, -ENOEXEC, "process %u is not a Python process; `pybpf list` shows those that are", pid);
	if (err > 0)
		err = interps__scan(c->interps, pid, e);
	return err < 0 ? err : 0;
}

/* Of several, those that are not are left out, which is said; where none remains that is an error, the first one's. */
static int check_targets(struct collect *c, const struct collect_config *config, struct err *e)
{
	struct err first = {0};
	size_t left = 0;

	for (size_t i = 0; i < config->pid_count && !config->command; i++) {
		uint32_t pid = config->pids[i];
		struct err why = {0};
		int err = check_target(c, config, pid, &why);

		if (config->pid_count > 1 && (err == -ESRCH || err == -ENOEXEC || err == -EACCES || err == -EPERM)) {
			if (kernel__is_target(c->kernel, pid)) /* named once */
				collect__note(c, why.text);
			kernel__remove_target(c->kernel, pid);
		} else if (err) {
			*e = why;
			return err;
		} else {
			left++;
		}
		first = first.code ? first : why;
	}
	if (left || config->command || !config->pid_count)
		return 0;
	err__set(e, first.code, "%.600s; of the %zu processes none can be recorded", first.text, config->pid_count);
	return first.code;
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

int collect__find_processes(struct collect *c, const struct collect_config *config, struct err *e)
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

bool collect__all_ended(struct collect *c)
{
	uint32_t pid = 0;

	while (!kernel__next_target(c->kernel, &pid)) {
		if (!process_ended(pid))
			return false;
	}
	return true;
}
