// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The entry points. A software clock on every CPU calls on_tick; the hooks of process.bpf.h keep track of
 * processes. Everything is bounded: a tick walks at most PYBPF_MAX_FRAMES frames.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

#define ENOENT  2
#define E2BIG   7
#define EAGAIN  11
#define EFAULT  14

#include "pybpf/abi.h"
#include "hash.bpf.h"
#include "maps.bpf.h"
#include "compat.bpf.h"
#include "emit.bpf.h"
#include "tstate.bpf.h"
#include "walk.bpf.h"
#include "native.bpf.h"
#include "rest.bpf.h"
#include "code.bpf.h"
#include "process.bpf.h"
#include "states.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* A random moment of the current period. Marsaglia's xorshift64: good enough for jitter, and no call. */
static __always_inline __u64 clock__moment(struct scratch *s)
{
	__u64 x = s->random ? s->random : (bpf_ktime_get_ns() | 1);

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	s->random = x;
	return s->slot + ((cfg_period_ns * (x >> 20 & 0xffffff)) >> 24);
}

/*
 * Whether this tick is one to sample at. The timer runs faster than the sampling rate, at a ratio that has no
 * common measure with it, and each period has its own random moment: the first tick after that moment is taken.
 * So there is one sample a period, and none keeps step with a workload. Time is counted in ticks of those who are
 * sampled: whoever runs for a millisecond out of ten is sampled as often as his share of CPU time says.
 */
static __always_inline bool clock__is_due(struct scratch *s)
{
	s->clock += cfg_tick_ns;
	if (!s->random) /* the first period */
		s->due = clock__moment(s);
	if (s->clock < s->due)
		return false;
	s->slot += cfg_period_ns;
	s->due = clock__moment(s);
	return true;
}

/* The next tick is to be taken in place of this one. */
static __always_inline void clock__put_off(struct scratch *s)
{
	s->slot -= cfg_period_ns;
	s->due = s->clock;
}

/*
 * CLOCK_MONOTONIC, ns, to about a tick of ours: read once a jiffy (some 80 ns, mostly the counter), and carried on with the ticks that
 * have passed since; read anew when others may have run meanwhile, whose ticks are not counted. jiffies are a plain load, inlined
 * by the verifier.
 */
static __always_inline __u64 clock__now(struct scratch *s, const struct task_view *task)
{
	__u64 jiffies = bpf_jiffies64();

	if (jiffies != s->jiffies || task->tid != s->jiffies_tid || task->switches != s->jiffies_switches) {
		s->jiffies = jiffies;
		s->jiffies_tid = task->tid;
		s->jiffies_switches = task->switches;
		s->jiffies_clock = s->clock;
		s->jiffies_ns = bpf_ktime_get_ns();
	}
	return s->jiffies_ns + (s->clock - s->jiffies_clock);
}

/* Even where a program does nothing but call, a walk in ten at the most is to be repeated. */
#define MAX_RETRIES 8

/* Batches keep the verifier's longest path short: it gives up beyond 8192 jumps. */
#define CODE_BATCH 64

/* Tells user space of the code objects of up to CODE_BATCH frames. 0 or -EAGAIN. */
__noinline int tell_codes(__u32 cpu, __u32 from)
{
	struct scratch *s = scratch__of(cpu);

	if (!s)
		return -EAGAIN;
	for (__u32 k = 0; k < CODE_BATCH; k++) {
		__u32 i = from + k;

		if (i >= s->count)
			break;
		if (code_check(cpu, i))
			return -EAGAIN;
	}
	return 0;
}

/* As tell_codes, for all frames in s->frames. */
static __always_inline int stack__tell_codes(const struct scratch *s, __u32 cpu)
{
	for (__u32 i = 0; i < PYBPF_MAX_FRAMES; i += CODE_BATCH) {
		if (i >= s->count)
			break;
		if (tell_codes(cpu, i))
			return -EAGAIN;
	}
	return 0;
}

/* Tells user space the stack in s->frames, whose code objects it knows. 0 or -EAGAIN. */
__noinline int tell_stack(__u32 cpu, __u64 hash)
{
	struct scratch *s = scratch__of(cpu);
	__u32 count, bytes;

	if (!s)
		return -EAGAIN;
	count = s->count;
	if (count > PYBPF_MAX_FRAMES)
		return -EAGAIN;
	s->stack.type = REC_STACK;
	s->stack.pid = s->pid;
	s->stack.identity = s->identity;
	s->stack.stack = hash;
	s->stack.nframes = count;
	s->stack.nnative = s->native_count;
	s->stack.nkernel = s->kernel_count;
	s->stack.outcome = s->outcome;
	s->stack.native_outcome = s->native_outcome;
	count += s->native_count + s->kernel_count;
	if (count > FRAMES_ROOM)
		return -EAGAIN;
	bytes = sizeof(struct rec_stack) + count * sizeof(struct raw_frame);
	if (s->lay.flags & PY_LAYOUT_UNPROVEN && s->count) /* user space looks at the process as long as it is there */
		s->unannounced = cfg_wakeup_bytes;
	if (emit__record(s, &s->stack, bytes))
		return -EAGAIN;
	s->shared.stacks++;
	return 0;
}

/*
 * Whether what was told of this stack still holds: every other time, by looking at one frame's code object. That is the
 * innermost one's by turns, as the likeliest to change, and one of the others'. A process in which one was ever seen to
 * change has all of them looked at each time.
 */
static __always_inline bool stack__is_valid(struct scratch *s)
{
	__u32 turn = s->rotor++, index = turn & 2 ? turn >> 2 : 0;

	if (turn & 1)
		return true;
	if (!s->count)
		return true;
	if (index >= s->count) {
		s->rotor = 0;
		index = 0;
	}
	return code__is_known(s, s->frames[index & (PYBPF_MAX_FRAMES - 1)].code);
}

/* Where addresses of code objects were reused before, every frame is validated: CODE_BATCH of them here. */
__noinline int codes_changed(__u32 cpu, __u32 from)
{
	struct scratch *s = scratch__of(cpu);

	if (!s)
		return 1;
	for (__u32 k = 0; k < CODE_BATCH; k++) {
		__u32 i = from + k;

		if (i >= s->count)
			break;
		if (!code__is_known(s, s->frames[i & (PYBPF_MAX_FRAMES - 1)].code))
			return 1;
	}
	return 0;
}

static __always_inline bool stack__is_fully_valid(struct scratch *s, __u32 cpu)
{
	for (__u32 i = 0; i < PYBPF_MAX_FRAMES; i += CODE_BATCH) {
		if (i >= s->count)
			break;
		if (codes_changed(cpu, i))
			return false;
	}
	return true;
}

/*
 * The name of the stack in s->frames. Where an address of one of the process's code objects was found to be reused, all its
 * stacks get other names: samples that are on their way keep the old ones, and what stands there now is told anew.
 */
static __always_inline __u64 stack__name(const struct scratch *s, const struct proc_info *p)
{
	__u64 end = (__u64)s->native_outcome << 48 | (__u64)s->native_count << 32 | s->count << 8 | s->outcome;

	return mix_final(mix(s->hash + p->reuse, end)) | 1;
}

/* What must stand in the slot of seen_stacks if user space was told of the stack in this epoch. */
static __always_inline __u64 *stack__slot(__u64 hash, __u64 *want)
{
	__u32 index = (hash >> 20) & (SEEN_STACKS - 1);

	*want = hash ^ epoch * MIX_B;
	return bpf_map_lookup_elem(&seen_stacks, &index);
}

/* Interns the stack in s->frames and returns its name, 0 when it could not be told. */
static __always_inline __u64 stack__intern(struct scratch *s, struct proc_info *p, __u32 cpu)
{
	__u64 hash = stack__name(s, p), want;
	__u64 *seen = stack__slot(hash, &want);
	bool rest = cfg_native && rest__is_wanted(s);
	int err;

	/* user space could not tell what comes before the introduction, and it would never be told again */
	if (!seen || !(p->flags & PROC_INTRODUCED)) {
		s->outcome = PYBPF_STACK_MISSING;
		return 0;
	}
	if (*seen == want && !rest) {
		if (proc__is_volatile(p) ? stack__is_fully_valid(s, cpu) : stack__is_valid(s))
			return hash;
	}
	err = stack__tell_codes(s, cpu);
	if (s->proc_flags & PROC_VOLATILE) {
		proc__reused(s, cpu);
		hash = stack__name(s, p);
		seen = stack__slot(hash, &want);
	}
	if (rest) { /* a name of its own; where nothing can be told of it, it stays marked */
		hash = mix_final(mix(hash, bpf_ktime_get_ns() ^ cpu)) | 1;
		want = 0;
		rest_tell(cpu, hash);
	}
	if (err || !seen || tell_stack(cpu, hash)) {
		s->outcome = PYBPF_STACK_MISSING;
		return 0;
	}
	*seen = want;
	return hash;
}

/* The thread's Python frames, if it has any, into s->frames. Returns their outcome. */
static __always_inline int sample__python(struct scratch *s, const __u64 *regs, const struct task_view *task, __u64 id,
					  __u32 cpu)
{
	struct proc_info *p = &s->known;
	__u64 sp = s->lay.tstate_cframe ? task__user_sp(regs) : 0, tp = task->thread_pointer;
	__u64 current = 0, held = 0, tstate, own = 0, differ;
	int outcome = PYBPF_OK;

	if (!p->slot[0]) {
		outcome = tstate__resolve(p, &s->lay, tp);
		if (p->slot[0]) /* user space waits for it */
			proc__remember(s);
	}
	if (p->slot[0])
		held = tstate__holder(s, p, &s->lay, tp, sp, &current);
	tstate = held;
	if (tstate) {
		tstate = tstate__holding(s, regs, task, id, held, cpu);
		own = tstate__last_own(s, id);
		outcome = tstate ? PYBPF_OK : PYBPF_TSTATE_FAULT;
	} else {
		if (outcome == PYBPF_OK)
			outcome = tstate__find(p, tp, &tstate);
		if (!tstate && p->flags & PROC_LISTED)
			outcome = tstate__listed(s, task, id, &tstate);
		if (outcome == PYBPF_OK && !tstate)
			outcome = PYBPF_NO_PYTHON;
		if (outcome == PYBPF_OK && tstate__read(s, &s->lay, tstate))
			outcome = PYBPF_TSTATE_FAULT;
		if (outcome == PYBPF_OK && s->lay.runtime_current && !held) {
			own = tstate;
			tstate = tstate__waiting(s, regs, task, id, tstate, current, sp, cpu);
			outcome = tstate ? PYBPF_OK : PYBPF_TSTATE_FAULT;
		}
	}
	/* own && own != tstate, without a branch, of which the verifier would follow each side */
	asm volatile("" : "+r"(own));
	differ = own ^ tstate;
	s->stack.elsewhere = ((own | -own) & (differ | -differ)) >> 63;
	if (outcome == PYBPF_OK)
		outcome = walk__start(s, &s->lay, tstate);
	if (outcome == PYBPF_OK)
		outcome = walk__python(s, cpu);
	s->hash += s->stack.elsewhere;
	return outcome;
}

/*
 * Whether the tick fell into the few ns in which the frames can't be told (walk__is_torn) and is to be put off. Where that
 * seems to last, as with greenlets, which move C stacks about, frames that do not close are taken as they are from then on.
 */
static __always_inline bool sample__is_early(struct scratch *s, struct proc_info *p, int outcome, __u32 cpu)
{
	if (!walk__is_torn(s, outcome, cpu, p->flags & PROC_UNCHECKED)) {
		s->retries = 0;
		return false;
	}
	if (s->retries++ < MAX_RETRIES) {
		clock__put_off(s);
		return true;
	}
	s->retries = 0;
	if (outcome == PYBPF_OK) { /* else memory is not there, which may pass */
		p->flags |= PROC_UNCHECKED;
		proc__remember(s);
	}
	return false;
}

/* The frames behind the Python ones. ctx: struct bpf_perf_event_data, of which only the registers are read. */
static __always_inline void sample__native(struct scratch *s, void *ctx, bool user, __u32 cpu)
{
	const __u64 *interrupted = ctx;

	if (cfg_native && user && s->native_outcome == PYBPF_OK)
		native__walk(s, cpu);
	if (cfg_kernel && !REGS_FROM_USER(interrupted))
		kernel__append(s, bpf_get_stack(ctx, s->kernel_ips, PYBPF_MAX_KERNEL * 8, 0));
}

/* The process's layout into s->lay. 0 or -ENOENT. */
static __always_inline int sample__layout(struct scratch *s, const struct proc_info *p)
{
	__u32 now = *(volatile __u32 *)&layouts_void;
	const struct py_layout *published;

	if (s->layout == p->layout + 1 && s->layout_void == now)
		return 0;
	published = bpf_map_lookup_elem(&layouts, &p->layout);
	if (!published)
		return -ENOENT;
	s->lay = *published;
	s->layout = p->layout + 1;
	s->layout_void = now;
	return 0;
}

static __always_inline void sample(struct scratch *s, void *ctx, const struct task_view *task, __u32 cpu)
{
	__u64 stack = 0, id = (__u64)task->pid << 32 | task->tid;
	struct proc_info *p = &s->known;
	bool user; /* whether it has frames of user space */
	int outcome;

	s->pid = task->pid;
	s->cpu = cpu;
	s->identity = p->identity;
	s->proc_flags = 0;
	s->count = 0;
	s->leaf = 0;
	s->hash = s->identity;
	s->native_count = s->kernel_count = 0;
	s->stack.elsewhere = 0;
	s->native_outcome = PYBPF_OK;
	s->native_leaf = 0;
	s->entry_count = 0;
	s->open = s->linked = 0;
	s->native.sp = 0;
	if (p->state == PROC_PENDING) {
		/* whether this is a Python process is for user space to say; it does the counting, too */
		emit__sample(s, clock__now(s, task), 0, id, cpu, PYBPF_LAYOUT_PENDING);
		return;
	}
	if (!(p->flags & PROC_NATIVE_ONLY) && sample__layout(s, p))
		return;
	if ((p->flags & (PROC_INTRODUCED | PROC_NAMELESS)) != PROC_INTRODUCED && !proc__introduce(s, p, s->pid))
		proc__remember(s);
	if (p->flags & PROC_LISTED) /* user space looks for new threads' states at once */
		s->unannounced = cfg_wakeup_bytes;
	emit__thread(s, id);
	user = task->mm && !task__is_worker((const __u64 *)ctx);
	if (cfg_native && user) {
		/* also for the walk of Python's frames, which tells by the stack pointer what lies on the stack */
		if (task__user_regs((const __u64 *)ctx, s->regs))
			s->native_outcome = PYBPF_NATIVE_FAULT;
		else
			native__begin(s);
	}
	if (!task->mm)
		outcome = PYBPF_EXITING;
	else if (p->flags & PROC_UNSUPPORTED)
		outcome = PYBPF_UNSUPPORTED;
	else if (p->flags & PROC_NATIVE_ONLY || !user)
		outcome = PYBPF_NO_PYTHON;
	else
		outcome = sample__python(s, (const __u64 *)ctx, task, id, cpu);
	if (sample__is_early(s, p, outcome, cpu))
		return;
	s->shared.taken++;
	if ((cfg_native || cfg_kernel) && task->mm)
		sample__native(s, ctx, user, cpu);
	s->outcome = outcome;
	if (s->count || s->native_count || s->kernel_count || s->native_outcome != PYBPF_OK) {
		stack = stack__intern(s, p, cpu);
		outcome = s->outcome;
	}
	emit__sample(s, clock__now(s, task), stack, id, cpu, outcome);
}

static __noinline int tick(struct bpf_perf_event_data *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct scratch *s = scratch__of(cpu);
	struct task_view task;

	if (!s)
		return 0;
	task_view__current(&task);
	if (proc__is_wanted(s, &task, cpu) && clock__is_due(s)) {
		task_view__find_thread(&task);
		sample(s, ctx, &task, cpu);
	}
	return 0;
}

/*
 * Whoever else runs, while a few processes are recorded, should not notice: at a low rate nothing of ours is in the caches, and
 * each line of them costs some 80 ns. So this looks at the task alone, and lies apart from the rest of the code.
 */
SEC("perf_event")
int on_tick(struct bpf_perf_event_data *ctx)
{
	return target__is_possible(task__pid()) ? tick(ctx) : 0;
}
