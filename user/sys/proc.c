/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of /proc/PID. Mappings are in proc_maps.c. */
#include "sys/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

/* include/linux/sched.h */
#define PF_FORKNOEXEC 0x00000040
#define PF_KTHREAD    0x00200000

int proc_pids__open(struct proc_pids *it, struct err *e)
{
	DIR *dir = opendir("/proc");

	if (!dir)
		return err__errno(e, -errno, "cannot list /proc");
	it->dir = dir;
	return 0;
}

int proc_threads__open(struct proc_pids *it, pid_t pid, struct err *e)
{
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return err__errno(e, errno == ENOENT ? -ESRCH : -errno,
				  "cannot list the threads of process %d", (int)pid);
	it->dir = dir;
	return 0;
}

pid_t proc_pids__next(struct proc_pids *it)
{
	struct dirent *d;

	while ((d = readdir(it->dir))) {
		char *end;
		long pid;

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		pid = strtol(d->d_name, &end, 10);
		if (*end == '\0' && pid > 0 && pid <= INT32_MAX)
			return (pid_t)pid;
	}
	return 0;
}

void proc_pids__close(struct proc_pids *it)
{
	if (it->dir)
		closedir(it->dir);
	it->dir = NULL;
}

/* Reads a small file whole; a longer one is cut. Returns its length, NUL-terminated, or -errno. */
static ssize_t read_small(pid_t pid, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (n < size - 1) {
		ssize_t got = read(fd, buf + n, size - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	buf[n] = '\0';
	return (ssize_t)n;
}

/* As the thread's own file says. */
static int read_stat(pid_t pid, struct proc_stat *out)
{
	struct proc_stat st = {0};
	char buf[1024], *open_paren, *close_paren;
	unsigned long long start, stack;
	unsigned int flags;
	long threads;
	ssize_t n = read_small(pid, "stat", buf, sizeof(buf));
	size_t len;
	int ppid;

	if (n < 0)
		return (int)n;
	/* The name may hold anything, parentheses too: it ends at the last one. */
	open_paren = strchr(buf, '(');
	close_paren = strrchr(buf, ')');
	if (!open_paren || !close_paren || close_paren < open_paren)
		return -EINVAL;
	len = (size_t)(close_paren - open_paren) - 1;
	if (len >= sizeof(st.comm))
		len = sizeof(st.comm) - 1;
	memcpy(st.comm, open_paren + 1, len);
	/* state ppid pgrp session tty tpgid flags, 4 fault and 4 time counts, priority nice threads itreal start, 3 sizes, start and
	 * end of code, start of the stack */
	if (sscanf(close_paren + 1,
		   " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu %*u %*d %*u %*u %*u %llu",
		   &st.state, &ppid, &flags, &threads, &start, &stack) != 6)
		return -EINVAL;
	st.ppid = ppid;
	st.kernel_thread = flags & PF_KTHREAD;
	st.forked = flags & PF_FORKNOEXEC;
	st.threads = (uint32_t)threads;
	st.start_ticks = start;
	st.start_stack = stack;
	*out = st;
	return 0;
}

int proc__stat(pid_t pid, struct proc_stat *out)
{
	struct proc_stat st, other;
	int err = read_stat(pid, &st);

	if (err)
		return err;
	if (st.state == 'Z' && st.threads > 1 && !read_stat(proc__thread_with_memory(pid), &other))
		st.start_stack = other.start_stack;
	*out = st;
	return 0;
}

int proc__run_time(pid_t pid, uint64_t *ns, bool *busy)
{
	/* include/linux/posix-timers_types.h, MAKE_PROCESS_CPUCLOCK: what files tell lags behind by a tick */
	clockid_t clock = (clockid_t)(~(unsigned int)pid << 3 | 2);
	struct timespec used;
	struct proc_pids it;
	bool any = false;
	pid_t tid;
	int err = proc_threads__open(&it, pid, NULL);

	if (err)
		return err;
	while (!any && (tid = proc_pids__next(&it))) {
		struct proc_stat stat;

		any = !proc__stat(tid, &stat) && stat.state != 'S';
	}
	proc_pids__close(&it);
	if (clock_gettime(clock, &used))
		return errno == EINVAL ? -ESRCH : -errno;
	*ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
	*busy = any;
	return 0;
}

bool proc__same_start(uint64_t start_ns, uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);

	return start_ns / (1000000000u / (uint64_t)(hz > 0 ? hz : 100)) == ticks;
}

int64_t proc__start_second(uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);
	struct timespec now, up;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return now.tv_sec - up.tv_sec + (int64_t)(ticks / (uint64_t)(hz > 0 ? hz : 100));
}

int proc__status(pid_t pid, struct proc_status *out)
{
	struct proc_status st = {.ns_pid = pid, .process = pid};
	char buf[8192], *line, *save = NULL;
	ssize_t n = read_small(pid, "status", buf, sizeof(buf));
	bool have_uid = false;

	if (n < 0)
		return (int)n;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long kb;
		unsigned int uid;

		if (strncmp(line, "Tgid:", 5) == 0) {
			st.process = atoi(line + 5);
		} else if (sscanf(line, "Uid: %*u %u", &uid) == 1) {
			st.uid = uid;
			have_uid = true;
		} else if (strncmp(line, "NSpid:", 6) == 0) {
			const char *last = strrchr(line, '\t');

			if (last && atoi(last) > 0)
				st.ns_pid = atoi(last);
		} else if (sscanf(line, "VmHWM: %llu kB", &kb) == 1) {
			st.peak_rss = kb * 1024;
			break;
		}
	}
	if (!have_uid)
		return -EINVAL;
	*out = st;
	return 0;
}

int proc__cmdline(pid_t pid, size_t max, struct str *out)
{
	_cleanup_free_ char *buf = malloc(max + 1);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	n = read_small(pid, "cmdline", buf, max + 1);
	if (n < 0)
		return (int)n;
	str__reset(out);
	return str__add(out, buf, (size_t)n);
}

int proc__cgroups(pid_t pid, struct str *out)
{
	char buf[16384];
	ssize_t n = read_small(pid, "cgroup", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	str__reset(out);
	return str__add(out, buf, (size_t)n);
}

pid_t proc__thread_with_memory(pid_t pid)
{
	struct proc_stat stat;
	struct proc_pids it;
	pid_t tid;

	if (read_stat(pid, &stat) || stat.state != 'Z' || stat.threads <= 1 || proc_threads__open(&it, pid, NULL))
		return pid;
	do
		tid = proc_pids__next(&it);
	while (tid == pid);
	proc_pids__close(&it);
	return tid ? tid : pid;
}

int proc__exe(pid_t pid, struct str *out)
{
	char path[64], target[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)proc__thread_with_memory(pid));
	n = readlink(path, target, sizeof(target));
	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	str__reset(out);
	return str__add(out, target, (size_t)n);
}
