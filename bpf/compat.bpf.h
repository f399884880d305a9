/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Kernel differences, each behind one function that cites the change. */
#ifndef PYBPF_COMPAT_BPF_H
#define PYBPF_COMPAT_BPF_H

/*
 * The running task. From 5.11 (3ca1032ab7ab) its fields can be loaded directly, a nanosecond each;
 * before that every field costs a probe read. The branch not taken is dead code to the verifier.
 */
#define HAVE_TASK_BTF                                                                              \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

struct task_view {
	__u32 pid; /* of the thread group, in the initial namespace */
	__u32 tid;
	__u64 mm;
	__u64 thread_pointer;
	__u64 switches; /* how often it has left a CPU */
};

#if defined(__TARGET_ARCH_x86)
#define TASK_TP(task) thread.fsbase
#elif defined(__TARGET_ARCH_arm64)
#define TASK_TP(task) thread.uw.tp_value
#else
#error "pybpf: no thread pointer for this architecture"
#endif

static __always_inline __u32 task__pid(void)
{
	return HAVE_TASK_BTF ? (__u32)bpf_get_current_task_btf()->tgid : bpf_get_current_pid_tgid() >> 32;
}

/* All but thread_pointer and switches. */
static __always_inline void task_view__current(struct task_view *v)
{
	if (HAVE_TASK_BTF) {
		struct task_struct *task = bpf_get_current_task_btf();

		v->pid = task->tgid;
		v->tid = task->pid;
		v->mm = (__u64)task->mm;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();
		__u64 id = bpf_get_current_pid_tgid();

		v->pid = id >> 32;
		v->tid = (__u32)id;
		v->mm = (__u64)BPF_CORE_READ(task, mm);
	}
}

/* Sets these two, which lie far from the rest of a task: for tasks that are sampled. */
static __always_inline void task_view__find_thread(struct task_view *v)
{
	if (HAVE_TASK_BTF) {
		struct task_struct *task = bpf_get_current_task_btf();

		v->thread_pointer = task->TASK_TP(task);
		v->switches = task->nvcsw + task->nivcsw;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		v->thread_pointer = BPF_CORE_READ(task, TASK_TP(task));
		v->switches = BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw);
	}
}

/*
 * The registers of user space, as words of struct pt_regs, copied out of where they lie. `regs` are those of the interrupted
 * code; when that was the kernel, the task's own are at the top of its kernel stack. Their place there is told by a helper
 * from 5.15 (dd6e10fbd9fb) on; before that it follows from the size of the stack. 0 or -EFAULT.
 */
#if defined(__TARGET_ARCH_x86)
#define REGS_WORDS 21 /* arch/x86/include/asm/ptrace.h */
#define KERNEL_STACK_BYTES 16384 /* THREAD_SIZE of 4.x to 5.14 */
#define REGS_SP            19
#define REGS_FROM_USER(w)  (((w)[17] & 3) == 3) /* cs */
#elif defined(__TARGET_ARCH_arm64)
#define REGS_WORDS 34 /* arch/arm64/include/uapi/asm/ptrace.h, struct user_pt_regs */
#define KERNEL_STACK_BYTES 16384
#define REGS_SP            31
#define REGS_FROM_USER(w)  (((w)[33] & 0xf) == 0) /* pstate: EL0 */
#endif

static __always_inline int task__user_regs(const __u64 *interrupted, __u64 *words)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	void *regs;

	if (REGS_FROM_USER(interrupted)) {
#pragma unroll
		for (int i = 0; i < REGS_WORDS; i++)
			words[i] = interrupted[i];
		return 0;
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	else
		regs = BPF_CORE_READ(task, stack) + KERNEL_STACK_BYTES - bpf_core_type_size(struct pt_regs);
	return bpf_probe_read_kernel(words, REGS_WORDS * 8, regs) ? -EFAULT : 0;
}

/* The thread's stack pointer in user space; 0: not readable. A load, or in the kernel some 40 ns. */
static __always_inline __u64 task__user_sp(const __u64 *interrupted)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 sp = 0;
	void *regs;

	if (REGS_FROM_USER(interrupted)) {
		sp = interrupted[REGS_SP];
		asm volatile("" : "+r"(sp)); /* or both ways share one load, which the verifier does not permit */
		return sp;
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	else
		regs = BPF_CORE_READ(task, stack) + KERNEL_STACK_BYTES - bpf_core_type_size(struct pt_regs);
	bpf_probe_read_kernel(&sp, sizeof(sp), regs + REGS_SP * 8);
	return sp;
}

#define PF_IO_WORKER   0x10   /* include/linux/sched.h, from 5.12 on; before that the bit is another's */
#define PF_USER_WORKER 0x4000 /* from 6.4 (54e6842d0775) on */

/*
 * Whether the running thread works for its process in the kernel only, as io_uring's and vhost's do. It has the thread pointer of
 * the one that made it, but no registers of user space: arch/x86/kernel/process.c and arch/arm64/kernel/process.c, copy_thread.
 */
static __always_inline bool task__is_worker(const __u64 *interrupted)
{
	__u32 flags;

	if (HAVE_TASK_BTF) {
		struct task_struct *task = bpf_get_current_task_btf();

		flags = task->flags;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		flags = BPF_CORE_READ(task, flags);
	}
	return flags & (PF_IO_WORKER | PF_USER_WORKER) && !task__user_sp(interrupted);
}

/* When the running process started (its group leader), boot-time ns. */
static __always_inline __u64 task__start_time(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, group_leader, start_boottime);
}

/*
 * How often the task and those that it was forked from have called exec. The address of an mm_struct does not tell two
 * programs of a process apart: that of the last but one may be used again. fs/exec.c counts up before the hook of exec runs.
 */
static __always_inline __u64 task__execs(struct task_struct *task)
{
	return BPF_CORE_READ(task, self_exec_id);
}

/* The inode's change time moved twice: struct i_ctime; __i_ctime from 6.6 (13bc24457850); two numbers from
 * 6.11 (3aa63a569c64). */
struct timespec64___inode {
	__s64 tv_sec;
	long tv_nsec;
} __attribute__((preserve_access_index));

struct inode___ctime {
	struct timespec64___inode i_ctime;
} __attribute__((preserve_access_index));

struct inode___ctime66 {
	struct timespec64___inode __i_ctime;
} __attribute__((preserve_access_index));

struct inode___ctime611 {
	__s64 i_ctime_sec;
	__u32 i_ctime_nsec;
} __attribute__((preserve_access_index));

static __always_inline __u64 inode__ctime_ns(struct inode *inode)
{
	struct inode___ctime611 *i611 = (void *)inode;
	struct inode___ctime66 *i66 = (void *)inode;
	struct inode___ctime *i0 = (void *)inode;

	/* 6.13 (4e40eff0b573) keeps a flag in the top bit: that somebody has asked */
	if (bpf_core_field_exists(i611->i_ctime_sec))
		return BPF_CORE_READ(i611, i_ctime_sec) * 1000000000ull +
		       (BPF_CORE_READ(i611, i_ctime_nsec) & 0x7fffffff);
	if (bpf_core_field_exists(i66->__i_ctime))
		return BPF_CORE_READ(i66, __i_ctime.tv_sec) * 1000000000ull +
		       BPF_CORE_READ(i66, __i_ctime.tv_nsec);
	if (bpf_core_field_exists(i0->i_ctime))
		return BPF_CORE_READ(i0, i_ctime.tv_sec) * 1000000000ull + BPF_CORE_READ(i0, i_ctime.tv_nsec);
	return 0;
}

/* The tid of the running task in its own pid namespace (include/linux/pid.h, struct upid). */
static __always_inline __u32 pid__innermost(struct pid *pid)
{
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid upid;

	if (level > 32) /* MAX_PID_NS_LEVEL */
		return 0;
	if (bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]))
		return 0;
	return upid.nr;
}

static __always_inline __u32 task__ns_tid(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return pid__innermost(BPF_CORE_READ(task, thread_pid));
}

static __always_inline void task__leader_comm(char *comm)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	bpf_core_read(comm, PYBPF_COMM_LEN, &leader->comm);
}

/* Tells programs in the same process apart: where the kernel has put the arguments (fs/binfmt_elf.c), at random. */
static __always_inline __u64 task__start_stack(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, mm, start_stack);
}

/* Parent, pid in its own namespace, and where its arguments lie. */
static __always_inline void task__describe(__u32 *ppid, __u32 *ns_pid, __u64 *arg_start, __u64 *arg_end)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	*ppid = BPF_CORE_READ(task, real_parent, tgid);
	*ns_pid = pid__innermost(BPF_CORE_READ(task, group_leader, thread_pid));
	*arg_start = BPF_CORE_READ(mm, arg_start);
	*arg_end = BPF_CORE_READ(mm, arg_end);
}

/* Cgroups: each begins with a css of its own; a css leads to the one above (include/linux/cgroup-defs.h, all versions). */
struct cgroup_subsys_state___up {
	struct cgroup *cgroup;
	struct cgroup_subsys_state___up *parent;
} __attribute__((preserve_access_index));

#define CGROUP_LEVELS 32 /* deeper nesting is not followed */
#define CGROUP_SUBSYS 16 /* CGROUP_SUBSYS_COUNT is below that */

static __always_inline bool css__is_wanted(struct cgroup_subsys_state___up *css, __u64 hierarchy)
{
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		__u64 key;

		if (!css)
			return false;
		key = PYBPF_CGROUP_KEY(hierarchy, BPF_CORE_READ(css, cgroup, kn, id));
		if (bpf_map_lookup_elem(&cgroups, &key))
			return true;
		css = BPF_CORE_READ(css, parent);
	}
	return false;
}

/* Whether the running task is in one of the wanted cgroups or below. Some 300 ns a level, once for each program. */
__noinline int task_in_cgroups(__u32 hierarchies)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct css_set *set = BPF_CORE_READ(task, cgroups);

	/* struct cgroup begins with its css: "self" */
	if (hierarchies >> PYBPF_CGROUP_V2 & 1 && css__is_wanted((void *)BPF_CORE_READ(set, dfl_cgrp), PYBPF_CGROUP_V2))
		return 1;
	for (__u32 i = 0; i < CGROUP_SUBSYS; i++) {
		void *css = NULL;

		if (!(hierarchies >> i & 1))
			continue;
		bpf_core_read(&css, sizeof(css), &set->subsys[i]);
		if (css__is_wanted(css, i))
			return 1;
	}
	return 0;
}

static __always_inline __u64 task__start_code(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, mm, start_code);
}

#endif
