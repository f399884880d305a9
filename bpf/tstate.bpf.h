/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The running thread's PyThreadState: where it is, and what a walk needs of it in one read.
 *
 * A thread's own state hangs on its thread pointer, as pthread-specific data or in a thread-local variable. Where exactly is
 * known once the interpreter has made its key, or the dynamic linker has filled the GOT: that is found out at the first sample.
 *
 * Compiled on the host as well, against the helpers of tests/unit/bpf_host.h.
 */
#ifndef PYBPF_TSTATE_BPF_H
#define PYBPF_TSTATE_BPF_H

/* The C library's vector of TLS blocks by module (glibc sysdeps/x86_64/nptl/tls.h and sysdeps/aarch64/nptl/tls.h, dtv_t;
 * musl src/internal/pthread_impl.h). */
#if defined(__TARGET_ARCH_arm64)
#define TP_DTV      0
#define TP_DTV_MUSL -8
#else
#define TP_DTV      8
#define TP_DTV_MUSL 8
#endif
#define DTV_ENTRY      16 /* glibc: the block, and what to free: 0 if it is at a fixed distance from the thread pointer */
#define DTV_ENTRY_MUSL 8

/* The pthread key of the gilstate has its place from the moment that the interpreter makes it. */
static __always_inline int tstate__resolve_key(struct proc_info *proc, const struct py_layout *lay)
{
	struct {
		__u32 ready, key;
	} tss;

	/* a page that nobody has touched yet: the interpreter has not begun to set itself up */
	if (bpf_probe_read_user(&tss, sizeof(tss), (void *)(proc->runtime + lay->runtime_tss_key)))
		return PYBPF_OK;
	if (lay->flags & PY_LAYOUT_BARE_KEY ? tss.key == ~0u : !tss.ready)
		return PYBPF_OK;
	if (tss.key >= 1024)
		return PYBPF_TSTATE_FAULT;
	if (proc->flags & PROC_MUSL) {
		proc->flags |= PROC_TSS_LEVEL2;
		proc->slot[1] = tss.key * proc->tss_stride;
		proc->slot[0] = proc->tss_base;
	} else if (tss.key < 32) {
		proc->slot[0] = proc->tss_base + tss.key * proc->tss_stride;
	} else {
		/* glibc nptl/descr.h: specific[] follows the first block of 32 keys */
		proc->flags |= PROC_TSS_LEVEL2;
		proc->slot[1] = (tss.key & 31) * proc->tss_stride + 8;
		proc->slot[0] = proc->tss_base - 8 + 32 * proc->tss_stride + tss.key / 32 * 8;
	}
	return PYBPF_OK;
}

/* The words in the GOT have their meaning from the moment that the dynamic linker has relocated the library. */
static __always_inline int tstate__resolve_got(struct proc_info *proc, __u64 tp)
{
	__s64 add = (__s32)proc->tss_base;
	bool musl = proc->flags & PROC_MUSL;
	__u64 words[2] = {}, block[2] = {}, dtv = 0, entry;

	if (bpf_probe_read_user(words, proc->tss_stride == PY_GOT_OFFSET ? 8 : 16, (void *)proc->slot[1]) ||
	    !(words[0] | words[1]))
		return PYBPF_OK;
	if (proc->tss_stride == PY_GOT_DESCRIPTOR) {
		words[0] = words[1];
		/* x86-64: an offset is negative; elsewhere positive, but smaller than any address */
		if ((__s64)words[1] >= 1 << 16 && bpf_probe_read_user(words, sizeof(words), (void *)words[1]))
			return PYBPF_OK;
		if ((__s64)words[1] < 1 << 16 && words[0] == words[1])
			proc->tss_stride = PY_GOT_OFFSET;
	}
	if (proc->tss_stride == PY_GOT_OFFSET) {
		proc->source = PY_TSTATE_TLS;
		proc->slot[0] = words[0] + add;
		proc->slot[1] = 0;
		return PYBPF_OK;
	}
	if (!words[0] || words[0] >= 4096) /* not relocated yet */
		return PYBPF_OK;
	entry = words[0] * (musl ? DTV_ENTRY_MUSL : DTV_ENTRY);
	/* where the block is at a fixed distance from the thread pointer, that is all that needs to be known */
	if (!musl && !bpf_probe_read_user(&dtv, sizeof(dtv), (void *)(tp + TP_DTV)) &&
	    !bpf_probe_read_user(block, sizeof(block), (void *)(dtv + entry)) && block[0] + 1 > 1 && !block[1]) {
		proc->source = PY_TSTATE_TLS;
		proc->slot[0] = block[0] - tp + words[1] + add;
		proc->slot[1] = 0;
		return PYBPF_OK;
	}
	proc->source = PY_TSTATE_DTV;
	proc->slot[0] = entry;
	proc->slot[1] = words[1] + add;
	return PYBPF_OK;
}

/* Where in what is read at once of a thread state, from its frame on, a member lies. */
static __always_inline __u32 tstate__at(const struct py_layout *lay, __u32 member)
{
	return member - lay->tstate_frame;
}

/* Reads what a walk needs of a thread state to the start of s->buf. 0 or -EFAULT. */
static __always_inline int tstate__read(struct scratch *s, const struct py_layout *lay, __u64 tstate)
{
	__u64 span = lay->tstate_size, from = tstate + lay->tstate_frame;

	/* for the verifier, which in 5.10 forgets the limits of what is spilled */
	asm volatile("" : "+r"(span), "+r"(from));
	if (span > PYBPF_TSTATE_MAX)
		return -EFAULT;
	return bpf_probe_read_user(s->buf, span, (void *)from) ? -EFAULT : 0;
}

/* A word of the thread state whose beginning is in s->buf. */
static __always_inline __u64 tstate__u64(const struct scratch *s, const struct py_layout *lay, __u32 member)
{
	return *(const __u64 *)(s->buf + (tstate__at(lay, member) & (PYBPF_TSTATE_MAX - 1)));
}

/*
 * Does this thread evaluate in the state whose beginning is in s->buf? In 3.10 and 3.11 its innermost evaluator has left a mark
 * on the C stack: this thread's, between its stack pointer and, but in the first thread, its thread pointer. Others just name a
 * thread: the one that made them, whoever runs them.
 */
static __always_inline bool tstate__is_here(const struct scratch *s, const struct py_layout *lay, __u64 tp, __u64 sp)
{
	__u64 mark;

	if (!lay->tstate_cframe || !sp)
		return tstate__u64(s, lay, lay->tstate_thread_id) == tp;
	mark = tstate__u64(s, lay, lay->tstate_cframe);
	return mark >= sp && (tp <= sp || mark < tp);
}

/*
 * Until 3.11 the key stays with the first state that a thread had, also while it runs in another interpreter. The state
 * that holds the GIL is the one it runs in, if it is here: this one or 0, and it is in s->buf then as tstate__read has
 * it. Two reads. sp: the thread's stack pointer, or 0. *holder: whichever it is.
 */
static __always_inline __u64 tstate__holder(struct scratch *s, const struct proc_info *proc,
					    const struct py_layout *lay, __u64 tp, __u64 sp,
					    __u64 *holder)
{
	__u64 current = 0;

	/* pthread_self() is the thread pointer on x86-64; where it is not, none is the holder */
	if (!lay->runtime_current || !tp ||
	    bpf_probe_read_user(&current, sizeof(current), (void *)(proc->runtime + lay->runtime_current)) ||
	    !current)
		return 0;
	*holder = current;
	return !tstate__read(s, lay, current) && tstate__is_here(s, lay, tp, sp) ? current : 0;
}

/*
 * Finds out where the states of the process's threads are, which is once for a process, when the interpreter and the dynamic linker
 * have told: slot[0] is set then. PYBPF_OK or PYBPF_TSTATE_FAULT. tp: 0 so early that not even the C library is up.
 */
static __always_inline int tstate__resolve(struct proc_info *proc, const struct py_layout *lay, __u64 tp)
{
	if (tp && proc->source == PY_TSTATE_TSS)
		return tstate__resolve_key(proc, lay);
	if (tp && proc->source == PY_TSTATE_GOT)
		return tstate__resolve_got(proc, tp);
	return PYBPF_OK;
}

/*
 * The address of the running thread's PyThreadState, or until 3.11 of its first one. Returns PYBPF_OK with *out set (0: the thread
 * has none, or it is not known where), or PYBPF_TSTATE_FAULT. One read, 80 ns; two behind a pointer.
 */
static __always_inline int tstate__find(const struct proc_info *proc, __u64 tp, __u64 *out)
{
	__u64 value = 0, at = tp;

	*out = 0;
	if (!tp || !proc->slot[0])
		return PYBPF_OK;
	if (proc->source == PY_TSTATE_DTV) {
		if (bpf_probe_read_user(&at, sizeof(at), (void *)(tp + (proc->flags & PROC_MUSL ? TP_DTV_MUSL : TP_DTV))))
			return PYBPF_TSTATE_FAULT;
	}
	if (bpf_probe_read_user(&value, sizeof(value), (void *)(at + proc->slot[0])))
		return PYBPF_TSTATE_FAULT;
	if (proc->source == PY_TSTATE_DTV || proc->flags & PROC_TSS_LEVEL2) {
		/* a block that the thread has not got yet: 0, or -1 in glibc's vector */
		if (value + 1 > 1 && bpf_probe_read_user(&value, sizeof(value), (void *)(value + proc->slot[1])))
			return PYBPF_TSTATE_FAULT;
		if (value == ~0ull)
			value = 0;
	}
	*out = value;
	return PYBPF_OK;
}

#endif
