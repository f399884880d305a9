/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Threads whose state is not where it should be: those of an interpreter whose own list only tells, and until 3.11 those that run
 * in another state than their first, as subinterpreters do. (From 3.12 on what tstate__find reads follows them.)
 */
#ifndef PYBPF_STATES_BPF_H
#define PYBPF_STATES_BPF_H

#define STACK_BYTES 8192 /* of a thread's stack that are looked at: two pages */
#define REGS_ROOM   64   /* words */
#define ANSWER_NS   300000000 /* user space reads lists of threads ten times a second, and when it is asked */

/*
 * A thread that user space has told nothing of may be new to it, or have no state: it is asked, by the thread's record, and until
 * it has had the time for an answer the state is pending. Returns an outcome.
 */
static __always_inline int tstate__await(__u64 id)
{
	__u64 now = bpf_ktime_get_ns(), since = now | 1, *asked = bpf_map_lookup_elem(&states, &id);

	if (asked && *asked & 1)
		return now - *asked < ANSWER_NS ? PYBPF_TSTATE_PENDING : PYBPF_NO_PYTHON;
	bpf_map_update_elem(&states, &id, &since, BPF_ANY);
	return PYBPF_TSTATE_PENDING;
}

/*
 * The state of a thread that only user space can find, in *out, 0: none. It may be another thread's by now: where a state names
 * its thread, it is asked. Returns an outcome.
 */
static __always_inline int tstate__listed(struct scratch *s, const struct task_view *task, __u64 id, __u64 *out)
{
	bool named = s->lay.tstate_native_id != PYBPF_NO_OFFSET;
	struct tstate_key key = {.pid = task->pid, .thread = named ? task__ns_tid() : task->thread_pointer};
	__u64 *tstate = bpf_map_lookup_elem(&tstates, &key), found;
	__u32 owner = 0;

	if (!tstate)
		return tstate__await(id);
	found = *tstate;
	if (named && (bpf_probe_read_user(&owner, sizeof(owner), (void *)(found + s->lay.tstate_native_id)) ||
		      owner != key.thread))
		return tstate__await(id);
	*out = found;
	return PYBPF_OK;
}

/*
 * Is the word in the first pages of the thread's stack, or one of its registers, which are at the beginning of s->frames? 1 or 0.
 * 1 us, in processes with several interpreters only.
 */
__noinline int stack_has(__u32 cpu, __u64 word)
{
	struct scratch *s = scratch__of(cpu);
	__u64 *regs, *words, sp, n;

	if (!s)
		return 0;
	regs = (__u64 *)s->frames;
	words = regs + REGS_ROOM;
	for (int i = 0; i < REGS_WORDS; i++) {
		if (regs[i] == word)
			return 1;
	}
	sp = regs[REGS_SP] & ~7ull;
	n = STACK_BYTES - (sp & (STACK_BYTES / 2 - 1));
	if (n > STACK_BYTES)
		return 0;
	if (bpf_probe_read_user(words, n, (void *)sp)) { /* the stack may end with the first page */
		n = STACK_BYTES / 2 - (sp & (STACK_BYTES / 2 - 1));
		if (n > STACK_BYTES / 2 || bpf_probe_read_user(words, n, (void *)sp))
			return 0;
	}
	for (__u32 i = 0; i < STACK_BYTES / 8; i++) {
		if (i * 8 >= n)
			break;
		if (words[i] == word)
			return 1;
	}
	return 0;
}

/*
 * Does this thread evaluate in the state whose beginning is in s->buf, which is not its first one? From 3.10 on its mark tells,
 * which tstate__is_here has looked at; before it, the evaluator's own variable with the innermost frame.
 */
static __always_inline bool tstate__runs(struct scratch *s, const __u64 *regs, __u32 cpu)
{
	__u64 frame = tstate__u64(s, &s->lay, s->lay.tstate_frame);

	if (s->lay.tstate_cframe)
		return true;
	return frame && !task__user_regs(regs, (__u64 *)s->frames) && stack_has(cpu, frame);
}

/* The first state of the thread that the CPU has sampled last, 0 if that is another one. */
static __always_inline __u64 tstate__last_own(const struct scratch *s, __u64 id)
{
	return s->own_thread == id && s->own_program == s->identity ? s->own_state : 0;
}

static __always_inline void tstate__keep_own(struct scratch *s, __u64 id, __u64 state)
{
	s->own_thread = id;
	s->own_program = s->identity;
	s->own_state = state;
}

/* The thread's first state, as tstate__find; a read of 80 ns unless the CPU has sampled the same thread before. */
static __always_inline __u64 tstate__own(struct scratch *s, const struct task_view *task, __u64 id, bool anew)
{
	__u64 own = anew ? 0 : tstate__last_own(s, id);

	if (own)
		return own;
	if (tstate__find(&s->known, task->thread_pointer, &own))
		own = 0;
	tstate__keep_own(s, id, own);
	return own;
}

/* That a thread runs in a state which is not its first is remembered for when it has released the GIL. */
static __always_inline void tstate__note(struct scratch *s, __u64 id, __u64 state)
{
	if (!(s->known.flags & PROC_STATES)) {
		s->known.flags |= PROC_STATES;
		proc__remember(s);
		procs__changed(); /* the thread may release the GIL on another CPU */
	}
	bpf_map_update_elem(&states, &id, &state, BPF_ANY);
}

/*
 * Until 3.11: the thread is in `held`, which holds the GIL, as far as that says; it may be another state than its first. Returns
 * the one that it is in, whose beginning is in s->buf, or 0.
 */
static __always_inline __u64 tstate__holding(struct scratch *s, const __u64 *regs, const struct task_view *task, __u64 id,
					     __u64 held, __u32 cpu)
{
	__u64 own = tstate__own(s, task, id, false);

	if (own == held)
		return held;
	own = tstate__own(s, task, id, true);
	if (!own || own == held)
		return held;
	if (tstate__runs(s, regs, cpu)) {
		tstate__note(s, id, held);
		return held;
	}
	/* another thread runs in it, which this one has made */
	return tstate__read(s, &s->lay, own) ? 0 : own;
}

/* Are these states of different interpreters? Two reads. */
static __always_inline bool tstate__differ(const struct scratch *s, __u64 a, __u64 b)
{
	__u64 of_a = 0, of_b = 0;

	bpf_probe_read_user(&of_a, sizeof(of_a), (void *)(a + s->lay.tstate_interp));
	bpf_probe_read_user(&of_b, sizeof(of_b), (void *)(b + s->lay.tstate_interp));
	return of_a != of_b;
}

/*
 * Until 3.11: the state of a thread that does not hold the GIL, as far as the holder says, `own` being its first one, `current`
 * the holder. Where the holder is of another interpreter it may be this thread that runs in it, whoever made it (before 3.10);
 * and the state that held the GIL the last time may still be the one, as it was entered from the first. Returns the one that it
 * is in, whose beginning is in s->buf, or 0.
 */
static __always_inline __u64 tstate__waiting(struct scratch *s, const __u64 *regs, const struct task_view *task, __u64 id,
					     __u64 own, __u64 current, __u64 sp, __u32 cpu)
{
	__u64 *last, found, mark = 0;

	if (s->lay.tstate_cframe) {
		mark = tstate__u64(s, &s->lay, s->lay.tstate_cframe);
	} else if (current && current != own && tstate__differ(s, current, own)) {
		if (!tstate__read(s, &s->lay, current) && tstate__runs(s, regs, cpu)) {
			tstate__note(s, id, current);
			return current;
		}
		if (tstate__read(s, &s->lay, own))
			return 0;
	}
	if (!(s->known.flags & PROC_STATES))
		return own;
	last = bpf_map_lookup_elem(&states, &id);
	if (!last || *last == own || *last & 1)
		return own;
	found = *last;
	if (!tstate__read(s, &s->lay, found) && tstate__u64(s, &s->lay, s->lay.tstate_frame) &&
	    (!s->lay.tstate_cframe || (tstate__is_here(s, &s->lay, task->thread_pointer, sp) &&
				       (mark < sp || tstate__u64(s, &s->lay, s->lay.tstate_cframe) < mark))) &&
	    tstate__runs(s, regs, cpu))
		return found;
	return tstate__read(s, &s->lay, own) ? 0 : own;
}

#endif
