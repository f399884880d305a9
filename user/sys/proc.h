/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says about processes. Everything here may be gone at the next call: -ESRCH is an ordinary answer.
 * Formats: proc(5) and the kernel's fs/proc/array.c, fs/proc/task_mmu.c.
 */
#ifndef PYBPF_PROC_H
#define PYBPF_PROC_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* All process ids (thread group leaders), in /proc's order. */
struct proc_pids {
	DIR *dir;
};
int proc_pids__open(struct proc_pids *it, struct err *e); /* 0 or -errno */
pid_t proc_pids__next(struct proc_pids *it);              /* 0 at the end */
void proc_pids__close(struct proc_pids *it);

/* The threads of one process, likewise; -ESRCH when it is gone. */
int proc_threads__open(struct proc_pids *it, pid_t pid, struct err *e);

/* One line of /proc/PID/maps. */
struct proc_map {
	uint64_t start, end;
	uint64_t offset;        /* of the file, bytes */
	uint64_t ino;           /* 0: no file */
	uint32_t dev;           /* kernel encoding: major << 20 | minor */
	bool read, write, exec;
	bool deleted;           /* the path ended in " (deleted)", which is cut off */
	const char *path;       /* "" for anonymous memory, "[heap]" and the like; valid until the next call */
};

struct proc_maps;
/* 0, -ESRCH, -EPERM or -EACCES, -ENOMEM. */
int proc_maps__open(pid_t pid, struct proc_maps **out, struct err *e);
/* Out of a file like /proc/PID/maps, which is closed with the rest, and at once when that fails. 0 or -ENOMEM. */
int proc_maps__from_fd(int fd, struct proc_maps **out, struct err *e);
int proc_maps__next(struct proc_maps *it, struct proc_map *out); /* 1, 0 at the end, or -errno */
void proc_maps__close(struct proc_maps *it);

/*
 * Opens the file behind a mapping, read-only: /proc/PID/map_files/START-END first (it is the mapped file itself, also
 * when that was deleted or replaced, in any mount namespace or chroot), then /proc/PID/root + path, then path; the
 * last two only when device and inode agree (inode alone where the file system shows another device number
 * to stat than to maps, as btrfs and overlayfs do). Never opens anything but a regular file. Returns
 * a descriptor or -errno.
 */
int proc__open_mapping(pid_t pid, const struct proc_map *map);

/* /proc/PID/stat; start_stack also when the first thread has ended before the others. */
struct proc_stat {
	char comm[64];
	char state; /* 'Z' and 'X': it is dead */
	pid_t ppid;
	bool kernel_thread;
	bool forked;          /* and has not executed a program since */
	uint64_t start_ticks; /* since boot, suspend included; ticks of sysconf(_SC_CLK_TCK) */
	uint32_t threads;
	uint64_t start_stack; /* mm_struct.start_stack; 0: it has no memory any more, or is not ours to see */
};
int proc__stat(pid_t pid, struct proc_stat *out); /* 0, -ESRCH, -errno */

/*
 * How long the threads of a process have been on a CPU, ns. *busy: one of them has not gone to sleep by itself: it runs, waits for a
 * CPU or for a page, or is stopped, wherever it is in its program. 0, -ESRCH, -errno.
 */
int proc__run_time(pid_t pid, uint64_t *ns, bool *busy);

/* Is a start time in boot-time ns (task_struct.start_boottime) the one that stat shows as `ticks`? */
bool proc__same_start(uint64_t start_ns, uint64_t ticks);

/* The second of the clock (CLOCK_REALTIME) in which a process started, of stat's `ticks`. */
int64_t proc__start_second(uint64_t ticks);

/* /proc/PID/status. */
struct proc_status {
	uint32_t uid;     /* effective */
	pid_t process;    /* it is a thread of this one: itself, unless the number is that of another thread than the first */
	pid_t ns_pid;     /* in its innermost pid namespace */
	uint64_t peak_rss; /* bytes, of this program: getrusage's goes on through exec; 0: it has no memory any more */
};
int proc__status(pid_t pid, struct proc_status *out);

/* The arguments, NUL separated as the kernel gives them, at most `max` bytes. 0 or -errno; empty for kernel threads. */
int proc__cmdline(pid_t pid, size_t max, struct str *out);

/* /proc/PID/cgroup: a line for each hierarchy, "ID:CONTROLLERS:PATH", v2's ("0::PATH") last. */
int proc__cgroups(pid_t pid, struct str *out);

/*
 * The thread by whose folder in /proc the memory of a process is seen (fs/proc/base.c: each thread has one, though they are not
 * listed): `pid` itself, unless the first thread has ended before the others. A zombie has given up its memory, they have not.
 */
pid_t proc__thread_with_memory(pid_t pid);

/* What /proc/PID/exe points to, " (deleted)" included. */
int proc__exe(pid_t pid, struct str *out);

#endif
