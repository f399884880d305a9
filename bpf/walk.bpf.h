/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The walk of CPython's frame chain, innermost frame first.
 *
 * From 3.11 on frames lie one behind the other in chunks of the data stack, so one read of up to 4 KB that ends
 * just above a frame holds the next 20-40 of them, and `previous` is followed inside that copy. Cost: about
 * 80 ns a read and a few ns a frame. Frames in generators and of 3.10 and before lie in the heap: a read
 * each.
 *
 * walk_batch is a global function: the verifier checks it once, and the caller's loop over it stays small on
 * every kernel. (bpf_loop would need 5.17 and a second shape of the loop for kernels without it.)
 *
 * Compiled on the host as well, against the helpers of tests/unit/bpf_host.h.
 */
#ifndef PYBPF_WALK_BPF_H
#define PYBPF_WALK_BPF_H

#define WALK_BATCHES (2 * PYBPF_MAX_FRAMES / WALK_BATCH) /* entry frames take a step and are not kept */

/*
 * Copies memory that holds `frame`, and as much below it as one page may, into s->buf: from the start of the data stack
 * chunk on where the frame lies in the current chunk, else from the start of the frame's page on, which is
 * there if the frame is. 0 or -EFAULT.
 */
__noinline int walk_refill(__u32 cpu, __u64 frame)
{
	struct scratch *s = scratch__of(cpu);
	__u64 start, below, len, size;

	if (!s)
		return -EFAULT;
	size = s->lay.frame_size & 0x7f;
	start = frame & ~(__u64)(PAGE_BYTES - 1);
	below = frame - s->chunk;
	if (s->lay.flags & PY_LAYOUT_FRAME_OBJECTS)
		start = frame;
	else if (below < 4 * PAGE_BYTES)
		start = below > PAGE_BYTES - FRAME_MAX ? frame + size - PAGE_BYTES : s->chunk;
	len = frame + size - start;
	if (len > PAGE_BYTES + FRAME_MAX)
		return -EFAULT;
	if (bpf_probe_read_user(s->buf, len, (void *)start)) {
		start = frame;
		len = size;
		if (bpf_probe_read_user(s->buf, len, (void *)start))
			return -EFAULT;
	}
	s->buf_addr = start;
	s->buf_last = len - size;
	return 0;
}

static __always_inline __u64 buf__u64(const struct scratch *s, __u64 at, __u16 member)
{
	return *(const __u64 *)(s->buf + (at & (PAGE_BYTES - 1)) + (member & 0x7f));
}

/*
 * Follows up to WALK_BATCH frames from s->frame on, and sets s->done when the chain has ended or can't be
 * followed. Returns s->done.
 */
__noinline int walk_batch(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u64 frame, hash, base, last, tag, inner, instr_mask;
	__u16 code_at, previous_at, instr_at, owner_at, entry_at;
	__u32 count, entries, entry_mask;
	__s64 entry;

	if (!s)
		return 1;
	frame = s->frame;
	hash = s->hash;
	count = s->count;
	inner = s->inner;
	instr_mask = s->instr_mask;
	base = s->buf_addr;
	last = s->buf_last;
	tag = ~(__u64)s->lay.pointer_tag;
	code_at = s->lay.frame_code;
	previous_at = s->lay.frame_previous;
	instr_at = s->lay.frame_instr;
	owner_at = s->lay.frame_owner;
	entry = s->lay.owner_entry;
	entry_at = s->lay.frame_entry;
	entry_mask = entry_at ? 1 : 0;
	entries = s->entry_count;

	for (int i = 0; i < WALK_BATCH; i++) {
		__u64 at = frame - base, code, instr, previous, kept;
		struct raw_frame *out;
		__s64 below;

		if (at > last) {
			if (walk_refill(cpu, frame)) {
				s->outcome = PYBPF_FRAME_FAULT;
				goto done;
			}
			base = s->buf_addr;
			last = s->buf_last;
			at = frame - base;
		}
		code = buf__u64(s, at, code_at) & tag;
		previous = buf__u64(s, at, previous_at);
		instr = buf__u64(s, at, instr_at) & instr_mask;
		/* all ones unless it is an entry frame: no branch, or the verifier would follow both ways at each frame */
		below = s->buf[(at & (PAGE_BYTES - 1)) + (owner_at & 0x7f)];
		below -= entry;
		asm volatile("" : "+r"(below)); /* or the compiler makes it a branch again */
		kept = (__u64)(below >> 63);
		out = &s->frames[count & (2 * PYBPF_MAX_FRAMES - 1)];
		if (count >= PYBPF_MAX_FRAMES + WALK_BATCH)
			goto done;
		out->code = code;
		out->instr = instr;
		/* the innermost instruction changes all the time: it travels in the sample instead */
		hash ^= (mix(mix(hash, code), instr & inner) ^ hash) & kept;
		inner |= kept;
		count -= (__u32)kept;
		if (cfg_native) {
			struct py_entry *e = &s->entries[entries & (MAX_ENTRIES - 1)];

			e->addr = frame;
			e->count = count;
			/* 3.12+: the frame itself is an entry; 3.11: one that C has called says so */
			entries += (~(__u32)kept & 1) |
				   (s->buf[(at & (PAGE_BYTES - 1)) + (entry_at & 0x7f)] & entry_mask);
		}
		if (!previous || previous == s->stop)
			goto done;
		if (previous == frame) {
			s->outcome = PYBPF_FRAME_BAD;
			goto done;
		}
		frame = previous;
	}
	s->frame = frame;
	s->hash = hash;
	s->inner = inner;
	s->count = count;
	s->entry_count = entries;
	return 0;
done:
	s->hash = hash;
	s->count = count;
	s->entry_count = entries;
	s->done = 1;
	return 1;
}

/*
 * The address of the running thread's PyThreadState. The slots are tried in order; the first is found out
 * here when the interpreter keeps it under a pthread key. Returns PYBPF_OK with *out set (0: the thread has none),
 * or PYBPF_TSTATE_FAULT.
 */
static __always_inline int walk__find_tstate(struct proc_info *proc, const struct py_layout *lay, __u64 tp,
					     __u64 *out)
{
	__u64 value = 0;

	*out = 0;
	if (!tp) /* so early in its life that not even the C library is up */
		return PYBPF_OK;
	if (proc->source == PY_TSTATE_TSS && !proc->slot[0]) {
		struct {
			__u32 ready, key;
		} tss;

		/* a page that nobody has touched yet: the interpreter has not begun to set itself up */
		if (bpf_probe_read_user(&tss, sizeof(tss), (void *)(proc->runtime + lay->runtime_tss_key)) ||
		    !tss.ready)
			return PYBPF_OK;
		if (tss.key < 32) {
			proc->slot[0] = proc->tss_base + tss.key * proc->tss_stride;
		} else if (tss.key < 1024) {
			/* glibc nptl/descr.h: specific[] follows the first block of 32 keys */
			proc->flags |= PROC_TSS_LEVEL2;
			proc->slot[1] = (tss.key & 31) * proc->tss_stride + 8;
			proc->slot[0] = proc->tss_base - 8 + 32 * proc->tss_stride + tss.key / 32 * 8;
		} else {
			return PYBPF_TSTATE_FAULT;
		}
	}
	if (proc->slot[0] && bpf_probe_read_user(&value, sizeof(value), (void *)(tp + proc->slot[0])))
		return PYBPF_TSTATE_FAULT;
	if (proc->flags & PROC_TSS_LEVEL2) {
		if (value && bpf_probe_read_user(&value, sizeof(value), (void *)(value + proc->slot[1])))
			return PYBPF_TSTATE_FAULT;
	} else if (!value && proc->slot[1] &&
		   bpf_probe_read_user(&value, sizeof(value), (void *)(tp + proc->slot[1]))) {
		return PYBPF_TSTATE_FAULT;
	}
	*out = value;
	return PYBPF_OK;
}

/*
 * Sets up s for the walk of the thread whose state lies at `tstate`: s->frame is its innermost frame, 0 when no
 * Python code runs. Returns a pybpf_outcome.
 */
static __always_inline int walk__begin(struct scratch *s, const struct py_layout *lay, __u64 tstate)
{
	__u16 at = lay->tstate_frame & (TSTATE_WINDOW / 2 - 1);
	__u64 frame = 0, chunk = 0;
	__u32 span = lay->tstate_chunk - at + 8;

	s->frame = 0;
	s->count = 0;
	s->done = 0;
	s->outcome = PYBPF_OK;
	s->leaf = 0;
	s->chunk = 0;
	s->inner = 0;
	s->entry_count = 0;
	s->cframe = 0;
	s->instr_mask = lay->flags & PY_LAYOUT_INSTR_INDEX ? 0xffffffffull : ~0ull;
	s->buf_addr = 0;
	s->buf_last = 0;
	s->stop = lay->base_frame == PYBPF_NO_OFFSET ? 0 : tstate + lay->base_frame;
	s->hash = s->identity;
	if (!tstate)
		return PYBPF_NO_PYTHON;
	if (lay->tstate_chunk != PYBPF_NO_OFFSET && span <= TSTATE_WINDOW) {
		if (bpf_probe_read_user(s->buf, span, (void *)(tstate + at)))
			return PYBPF_TSTATE_FAULT;
		frame = *(__u64 *)s->buf;
		chunk = *(__u64 *)(s->buf + ((span - 8) & (TSTATE_WINDOW - 1)));
	} else if (bpf_probe_read_user(&frame, sizeof(frame), (void *)(tstate + at))) {
		return PYBPF_TSTATE_FAULT;
	}
	if (lay->flags & PY_LAYOUT_CFRAME) {
		if (!frame)
			return PYBPF_NO_PYTHON;
		s->cframe = frame;
		if (bpf_probe_read_user(&frame, sizeof(frame), (void *)(frame + lay->cframe_frame)))
			return PYBPF_TSTATE_FAULT;
	}
	s->chunk = chunk;
	s->frame = frame;
	return frame && frame != s->stop ? PYBPF_OK : PYBPF_NO_PYTHON;
}

/* Walks the whole chain into s->frames. Returns a pybpf_outcome. */
static __always_inline int walk__python(struct scratch *s, __u32 cpu)
{
	for (int i = 0; i < WALK_BATCHES; i++) {
		if (s->count >= PYBPF_MAX_FRAMES || walk_batch(cpu))
			break;
	}
	if (s->count > PYBPF_MAX_FRAMES || !s->done) {
		if (s->count > PYBPF_MAX_FRAMES)
			s->count = PYBPF_MAX_FRAMES;
		s->outcome = PYBPF_DEPTH_LIMIT;
	}
	if (!s->count && s->outcome == PYBPF_OK)
		return PYBPF_NO_PYTHON;
	s->leaf = s->frames[0].instr;
	return s->outcome;
}

#endif
