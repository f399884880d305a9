/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way of a process: known from its exec or from its parent, forgotten when its last task is gone.
 *
 * A layout belongs to a file. Where the interpreter is part of the executable, on_exec sets the process up right
 * there, before its first instruction runs; an executable not described yet is announced to user space, and
 * the process waits in PROC_PENDING. Where it is a library that the executable needs, it is found at a tick (library.bpf.h), or
 * user space hears of the mapping from perf's mmap records and publishes the process some 100 us later, long before
 * Python is up: whoever comes first. The child of a fork is its parent's twin at once.
 */
#ifndef PYBPF_PROCESS_BPF_H
#define PYBPF_PROCESS_BPF_H

/* Whether targets that run no Python are of interest, for their native and kernel frames. */
#define WANT_NATIVE_ONLY (cfg_filter_pids && (cfg_native || cfg_kernel))

static __always_inline bool proc__is_target(__u32 pid)
{
	return !cfg_filter_pids || bpf_map_lookup_elem(&pids, &pid);
}

/* A number in the code: loads of cfg_ variables are loads, though the verifier knows what they yield. */
#define TARGET(n)                                                                                                    \
	({                                                                                                           \
		__u64 word;                                                                                          \
		asm volatile("%0 = %1 ll" : "=r"(word) : "i"(PYBPF_TARGET_MARK + (n)));                              \
		word;                                                                                                \
	})

/* False only where all targets are in the code, and this is none of them. */
static __always_inline bool target__is_possible(__u32 pid)
{
	__u64 first = TARGET(0);

	return first >> 32 || pid == first || pid == TARGET(1) || pid == TARGET(2) || pid == TARGET(3);
}

/* The description of a file, NULL when there is none or it is of an earlier content. */
static __always_inline struct file_info *file__lookup(struct file *file, struct file_key *key)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct file_info *info;

	key->ino = BPF_CORE_READ(inode, i_ino);
	key->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	key->pad = 0;
	info = bpf_map_lookup_elem(&files, key);
	if (info && info->ctime_ns && info->ctime_ns != inode__ctime_ns(inode))
		return NULL;
	return info;
}

/* The interpreter in a file that the process has at link-time addresses plus `bias` becomes the process's own. */
static __always_inline void proc__from_file(struct proc_info *p, const struct file_info *f, __u64 bias)
{
	p->layout = f->layout;
	p->source = f->source;
	p->runtime = bias + f->runtime;
	p->slot[0] = f->slot[0];
	p->slot[1] = f->slot[1];
	if (f->source == PY_TSTATE_GOT)
		p->slot[1] += bias;
	p->tss_base = f->tss_base;
	p->tss_stride = f->tss_stride;
	barrier(); /* whoever copies all meanwhile, from the beginning on, has the other fields if he has these */
	p->flags = f->flags;
}

/* That in its executable. fs/binfmt_elf.c: start_code is where the lowest executable segment was loaded. */
static __always_inline void proc__from_exe(struct proc_info *p, const struct file_info *f, __u64 start_code)
{
	proc__from_file(p, f, start_code - f->text_start);
	/* last, for other threads that are sampled meanwhile */
	barrier();
	p->state = PROC_NEW;
}

#include "library.bpf.h"

static __always_inline void file__announce(const struct file_key *key, const struct proc_info *p, __u32 pid)
{
	struct file_info pending = {.state = FILE_STATE_PENDING};
	struct rec_file *r;

	bpf_map_update_elem(&files, key, &pending, BPF_ANY);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&files_missed, 1);
		return;
	}
	r->type = REC_FILE;
	r->pid = pid;
	r->key = *key;
	r->identity = p->identity;
	/* at once: the process may be gone in a few milliseconds */
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

/* Who is meant by all records: p->start_time is there. */
static __always_inline void proc__identify(struct proc_info *p, __u32 pid, struct task_struct *task)
{
	p->identity = mix(mix(p->start_time, pid), task__execs(task));
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 ppid = parent->tgid, pid = child->tgid, one = 1;
	struct proc_info *p, twin;

	if (child->pid != child->tgid) /* a thread */
		return 0;
	if (cfg_filter_pids && cfg_follow_children && bpf_map_lookup_elem(&pids, &ppid))
		bpf_map_update_elem(&pids, &pid, &one, BPF_ANY);
	if (cfg_native) {
		struct unwind_space *space = bpf_map_lookup_elem(&spaces, &ppid);

		if (space) {
			struct unwind_space copy = *space;

			bpf_map_update_elem(&spaces, &pid, &copy, BPF_ANY);
		} else { /* of an earlier process with this pid, published when it had just ended */
			bpf_map_delete_elem(&spaces, &pid);
		}
	}
	p = bpf_map_lookup_elem(&procs, &ppid);
	if (!p) {
		/* of an earlier process with this pid that was described, but never met: on_free could not know it */
		bpf_map_delete_elem(&procs, &pid);
		return 0;
	}
	twin = *p;
	twin.start_time = child->start_boottime;
	twin.mm = (__u64)child->mm;
	proc__identify(&twin, pid, child);
	twin.flags &= ~(PROC_INTRODUCED | PROC_NAMELESS);
	if (twin.state == PROC_WANTED || twin.state == PROC_UNWANTED)
		twin.state = PROC_NEW;
	if (twin.state == PROC_NEW && twin.source == PY_TSTATE_TSS) {
		/* CPython makes a new key in the child (PyOS_AfterFork_Child) */
		twin.slot[0] = twin.slot[1] = 0;
		twin.flags &= ~PROC_TSS_LEVEL2;
	}
	bpf_map_update_elem(&procs, &pid, &twin, BPF_ANY);
	procs__changed();
	return 0;
}

/* The end of a program; p is NULL when it was never met. One that finds no room is found by user space's own search. */
static __always_inline void life__emit(const struct proc_info *p, __u32 pid, __u32 type)
{
	struct rec_life *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r)
		return;
	r->type = type;
	r->pid = pid;
	r->identity = p ? p->identity : 0;
	r->start_time = p ? p->start_time : 0;
	r->time = bpf_ktime_get_ns();
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

/* What is known of the program in a process, which runs now; `old` is of the one before, if any. */
static __always_inline void proc__executed(struct proc_info *fresh, const struct proc_info *old, struct task_struct *task,
					   __u32 pid)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct file_info *info;
	struct file_key key;

	info = exe ? file__lookup(exe, &key) : NULL;
	if (info && info->state == FILE_STATE_PYTHON) {
		proc__from_exe(fresh, info, BPF_CORE_READ(task, mm, start_code));
	} else if (exe && (!info || info->state == FILE_STATE_PENDING)) {
		fresh->state = PROC_PENDING;
		fresh->pending = key;
	} else if (exe && info->state == FILE_STATE_LINKED) {
		/* until the library is mapped: no Python runs before that */
		fresh->state = PROC_NEW;
		fresh->flags = PROC_NATIVE_ONLY | PROC_LINKED;
		fresh->pending = key;
	} else if (exe && WANT_NATIVE_ONLY) {
		fresh->state = PROC_NEW;
		fresh->flags = PROC_NATIVE_ONLY;
	} else {
		/* perf's record of a library may have come first, and user space may have been that fast */
		if (old && old->mm != fresh->mm)
			bpf_map_delete_elem(&procs, &pid);
		return;
	}
	bpf_map_update_elem(&procs, &pid, fresh, BPF_ANY);
	if (fresh->state == PROC_PENDING)
		file__announce(&key, fresh, pid);
}

/* Another program in the same process: what was known of the old one is void. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	__u32 pid = task->tgid;
	struct proc_info fresh = {}, *old;

	if (cfg_native)
		bpf_map_delete_elem(&spaces, &pid);
	if (!proc__is_target(pid) || pid == cfg_self)
		return 0;
	fresh.start_time = task->group_leader->start_boottime;
	fresh.mm = (__u64)task->mm;
	proc__identify(&fresh, pid, task);
	old = bpf_map_lookup_elem(&procs, &pid);
	if (old && old->flags & PROC_INTRODUCED && old->identity != fresh.identity)
		life__emit(old, pid, REC_EXEC);
	proc__executed(&fresh, old, task, pid);
	procs__changed(); /* last: a tick may come in the middle, and what it has found of the process is void then */
	return 0;
}

/* The task is freed: no tick can meet this process any more. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *task)
{
	__u32 pid = task->tgid;
	struct proc_info *p, gone = {};
	bool told;

	if (task->pid != task->tgid)
		return 0;
	p = bpf_map_lookup_elem(&procs, &pid);
	/* one without a start was described by user space and never met: it goes with whoever has its pid */
	if (p && p->start_time && p->start_time != task->start_boottime) {
		/* the pid was free before the task, and is another process's by now: so is all that is known by it */
		gone.start_time = task->start_boottime;
		proc__identify(&gone, pid, task);
		life__emit(&gone, pid, REC_EXIT);
		return 0;
	}
	if (cfg_filter_pids)
		bpf_map_delete_elem(&pids, &pid);
	told = cfg_native && !bpf_map_delete_elem(&spaces, &pid);
	if (told || (p && p->flags & PROC_INTRODUCED))
		life__emit(p, pid, REC_EXIT);
	if (!p)
		return 0;
	bpf_map_delete_elem(&procs, &pid);
	procs__changed();
	return 0;
}

/* A process goes to another cgroup: the filter is asked again. Attached only where that matters. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_cgroup, struct cgroup *to, const char *path, struct task_struct *task)
{
	__u32 pid = task->tgid;
	struct proc_info *p = bpf_map_lookup_elem(&procs, &pid);

	if (!p || (p->state != PROC_WANTED && p->state != PROC_UNWANTED))
		return 0;
	p->state = PROC_NEW;
	procs__changed();
	return 0;
}

/* Asks the filter, once for each program in a process. */
static __always_inline bool proc__decide(__u32 pid)
{
	if (pid == cfg_self || !proc__is_target(pid))
		return false;
	if (cfg_filter_uid && (__u32)bpf_get_current_uid_gid() != cfg_uid)
		return false;
	if (cfg_filter_cgroup && !task_in_cgroups(cfg_hierarchies))
		return false;
	if (cfg_filter_comm) {
		char comm[PYBPF_COMM_LEN];

		task__leader_comm(comm);
		for (int i = 0; i < PYBPF_COMM_LEN; i++) {
			if (comm[i] != cfg_comm[i])
				return false;
			if (!comm[i])
				break;
		}
	}
	return true;
}

/* A process that waited for the description of a file: has it come? Returns whether the process is ready. */
static __always_inline bool proc__resolve(struct proc_info *p)
{
	struct file_key key = p->pending;
	struct file_info *info = bpf_map_lookup_elem(&files, &key);

	if (!info || info->state == FILE_STATE_PENDING)
		return false;
	if (info->state == FILE_STATE_PLAIN) {
		p->state = WANT_NATIVE_ONLY ? PROC_NEW : PROC_UNWANTED;
		p->flags |= PROC_NATIVE_ONLY;
		return WANT_NATIVE_ONLY;
	}
	if (info->state == FILE_STATE_LINKED) {
		p->flags |= PROC_NATIVE_ONLY | PROC_LINKED;
		return true;
	}
	proc__from_exe(p, info, task__start_code());
	return true;
}

/* Tells user space who this is, with its command line. Runs in the process's own context. */
static __always_inline int proc__introduce(struct scratch *s, struct proc_info *p, __u32 pid)
{
	struct rec_proc *r = &s->proc;
	__u64 start, end, len;

	r->type = REC_PROC;
	r->pid = pid;
	r->identity = s->identity;
	r->start_time = p->start_time;
	r->start_stack = task__start_stack();
	r->uid = bpf_get_current_uid_gid();
	r->layout = p->layout;
	r->runtime = p->runtime;
	r->flags = p->flags;
	r->cgroup = bpf_get_current_cgroup_id();
	task__describe(&r->ppid, &r->ns_pid, &start, &end);
	task__leader_comm(r->comm);
	len = end - start;
	if (!start || end < start) /* or it is ending and has no memory any more: it is known by its name then */
		len = 0;
	if (len > PYBPF_CMDLINE_MAX)
		len = PYBPF_CMDLINE_MAX;
	if (len && bpf_probe_read_user(s->cmdline, len, (void *)start))
		len = 0;
	r->cmdline_bytes = len;
	if (!len) /* user space may read them, as long as they are there */
		s->unannounced = cfg_wakeup_bytes;
	if (emit__record(s, r, sizeof(*r) + len))
		return -EAGAIN;
	/* a thread that ends has no memory any more, its process may: another thread is to tell */
	if (!len && (!start || !(p->flags & PROC_NAMELESS)))
		p->flags |= PROC_NAMELESS;
	else
		p->flags &= ~PROC_NAMELESS;
	p->flags |= PROC_INTRODUCED;
	return 0;
}

/* Nobody's business, until procs changes. */
static __always_inline bool proc__pass_over(struct scratch *s, const struct task_view *task, __u32 now)
{
	s->other_pid = task->pid;
	s->other_mm = task->mm;
	s->other_generation = now;
	return false;
}

/*
 * Whether the running process is to be sampled; if so, s->known is it. Some 150 ns, when another process runs than at the
 * tick before.
 */
static __always_inline bool proc__meet(struct scratch *s, const struct task_view *task, __u32 now, __u32 cpu)
{
	__u32 pid = task->pid;
	struct proc_info *p = bpf_map_lookup_elem(&procs, &pid);
	__u64 start_time;
	__s64 found;

	if (!p || p->state == PROC_UNWANTED)
		return proc__pass_over(s, task, now);
	start_time = task__start_time();
	if (task->mm && !(p->start_time && p->mm && p->identity)) {
		/* described by user space, which can't know these; another CPU may be about to write the same */
		p->start_time = start_time;
		p->mm = task->mm;
		proc__identify(p, pid, (void *)bpf_get_current_task());
	}
	/* of an earlier process with this pid, or of the program before exec; a process that ends has no mm any more */
	if (start_time != p->start_time || (task->mm && task->mm != p->mm))
		return proc__pass_over(s, task, now);
	if (p->state == PROC_PENDING && task->mm && proc__resolve(p)) /* which asks the memory for its start_code */
		p->state = PROC_NEW;
	if (p->state == PROC_NEW)
		p->state = proc__decide(pid) ? PROC_WANTED : PROC_UNWANTED;
	/* one that waits is asked each time: its samples count once it has turned out to be Python */
	if (p->state == PROC_UNWANTED || (p->state == PROC_PENDING && !proc__decide(pid)))
		return proc__pass_over(s, task, now);
	if (p->flags & PROC_LINKED)
		library__find(s, p, cpu);
	found = *(volatile __s64 *)&p->slot[0]; /* the last one that is written */
	barrier();
	s->known = *p;
	if (s->known.slot[0] != found)
		s->known.slot[0] = 0; /* another CPU has found it out in the middle: once more, then */
	/* ask again; the copy tells, for another CPU may have found out since */
	s->known_pid = s->known.state == PROC_PENDING || s->known.flags & PROC_LINKED ? 0 : pid;
	s->known_generation = now;
	s->last_thread = 0;
	return true;
}

/* As proc__meet, without a look-up when the answer is known. */
static __always_inline bool proc__is_wanted(struct scratch *s, const struct task_view *task, __u32 cpu)
{
	__u32 now = *(volatile __u32 *)&generation;

	if (task->pid == s->known_pid && now == s->known_generation && (!task->mm || task->mm == s->known.mm))
		return true;
	if (task->pid == s->other_pid && now == s->other_generation && task->mm == s->other_mm)
		return false;
	return proc__meet(s, task, now, cpu);
}

/* What was found out about the process since goes back into the map, for other CPUs and later meetings. */
static __always_inline void proc__remember(struct scratch *s)
{
	__u32 pid = s->pid;
	struct proc_info *p = bpf_map_lookup_elem(&procs, &pid);

	if (!p || p->start_time != s->known.start_time || p->mm != s->known.mm || p->runtime != s->known.runtime)
		return;
	s->known.flags |= p->flags & (PROC_INTRODUCED | PROC_TSS_LEVEL2 | PROC_UNCHECKED | PROC_STATES); /* by other CPUs */
	p->flags = s->known.flags;
	if (s->known.slot[0] && p->state == PROC_WANTED) {
		p->source = s->known.source;
		p->slot[1] = s->known.slot[1];
		barrier(); /* whoever has slot[0] has the others */
		p->slot[0] = s->known.slot[0];
	}
}

/*
 * Programs reuse addresses mostly while they import, and to validate every frame costs a read each: it lapses with the next
 * epoch but one, unless it is seen again.
 */
static __always_inline bool proc__is_volatile(const struct proc_info *p)
{
	__u32 passed = (epoch - PROC_VOLATILE_EPOCH(p->flags)) << PROC_VOLATILE_SHIFT;

	return p->flags & PROC_VOLATILE && passed < 2u << PROC_VOLATILE_SHIFT;
}

/* An address of a code object was found to be another object's. Whoever finds another one at the same time has another number. */
static __always_inline void proc__reused(struct scratch *s, __u32 cpu)
{
	struct proc_info *k = &s->known, *p;
	__u32 pid = s->pid;

	k->reuse = mix(bpf_ktime_get_ns(), cpu);
	if (!proc__is_volatile(k)) {
		k->flags = (k->flags & ((1u << PROC_VOLATILE_SHIFT) - 1)) | PROC_VOLATILE | epoch << PROC_VOLATILE_SHIFT;
		proc__remember(s);
	}
	p = bpf_map_lookup_elem(&procs, &pid);
	if (!p || p->start_time != k->start_time || p->mm != k->mm)
		return;
	p->reuse = k->reuse;
	procs__changed();
}

#endif
