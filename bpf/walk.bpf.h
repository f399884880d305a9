/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The walk of CPython's frame chain, innermost frame first.
 *
 * From 3.11 on frames lie one behind the other in chunks of the data stack, so one read of up to 4 KB that ends
 * just above a frame holds the next 20-40 of them, and `previous` is followed inside that copy. Cost: about
 * 80 ns a read and a few ns a frame. Frames in generators and of 3.10 and before lie in the heap: a read
 * for one, or for some that lie side by side.
 *
 * walk_batch is a global function: the verifier checks it once, and the caller's loop over it stays small on
 * every kernel. (bpf_loop would need 5.17 and a second shape of the loop for kernels without it.)
 *
 * Compiled on the host as well, against the helpers of tests/unit/bpf_host.h.
 */
#ifndef PYBPF_WALK_BPF_H
#define PYBPF_WALK_BPF_H

#define OBJECTS_BELOW 480 /* about a frame of an ordinary function (<= 3.10) */

#define WALK_BATCHES (2 * PYBPF_MAX_FRAMES / WALK_BATCH) /* entry frames take a step and are not kept */

/*
 * Copies memory that holds `frame`, and as much below it as one page may, into s->buf: from the start of the data stack
 * chunk on where the frame lies in the current chunk, else from the start of the frame's page on, which is
 * there if the frame is. Frames that are objects lie anywhere: a guess. 0 or
 * -EFAULT.
 */
__noinline int walk_refill(__u32 cpu, __u64 frame)
{
	struct scratch *s = scratch__of(cpu);
	__u64 start, below, len, size;

	if (!s)
		return -EFAULT;
	size = s->lay.frame_size & 0xff;
	start = frame & ~(__u64)(PAGE_BYTES - 1);
	below = frame - s->chunk;
	len = frame + size - start;
	if (s->lay.flags & PY_LAYOUT_FRAME_OBJECTS) {
		/* objects made one after the other lie side by side: some room below, more where the one before was near, too */
		bool near = start == (s->buf_addr & ~(__u64)(PAGE_BYTES - 1));

		if (near && frame > s->buf_addr) {
			len = PAGE_BYTES - (frame - start);
			start = frame;
		} else if (!near && frame - start > OBJECTS_BELOW) {
			start = frame - OBJECTS_BELOW;
			len = OBJECTS_BELOW + size;
		}
		if (len < size)
			len = size;
	} else if (below < 4 * PAGE_BYTES) {
		start = below > PAGE_BYTES - FRAME_MAX ? frame + size - PAGE_BYTES : s->chunk;
		len = frame + size - start;
	}
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
	return *(const __u64 *)(s->buf + (at & (PAGE_BYTES - 1)) + (member & 0xff));
}

static __always_inline __u32 buf__u32(const struct scratch *s, __u64 at, __u16 member)
{
	return *(const __u32 *)(s->buf + (at & (PAGE_BYTES - 1)) + (member & 0xff));
}

#define TLBC_SHIFT 48
#define TLBC_MAX   0xffff

/*
 * Free-threaded builds from 3.14 on give each thread a copy of the bytecode (Include/internal/pycore_code.h, _PyCodeArray: the
 * number of copies, then their addresses; the first is the code object's own). The instruction pointer becomes what it
 * would be in the latter. Two reads, for threads other than the main one.
 */
static __always_inline __u64 tlbc__resolve(const struct scratch *s, __u64 code, __u64 instr)
{
	__u64 index = instr >> TLBC_SHIFT, own = code + s->lay.code_bytecode, copies, copy;

	if (!index || s->lay.frame_tlbc == PYBPF_NO_OFFSET)
		return instr;
	instr &= (1ull << TLBC_SHIFT) - 1;
	if (bpf_probe_read_user(&copies, sizeof(copies), (void *)(code + s->lay.code_tlbc)) ||
	    bpf_probe_read_user(&copy, sizeof(copy), (void *)(copies + 8 + index * 8)))
		return own;
	return instr - copy + own;
}

/*
 * Follows up to WALK_BATCH frames from s->frame on, and sets s->done when the chain has ended or can't be
 * followed. Returns s->done.
 */
__noinline int walk_batch(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u64 frame, hash, base, last, tag, inner, instr_mask, outer, open, no_entry, sp, top;
	__u16 code_at, previous_at, instr_at, owner_at, entry_at, tlbc_at;
	__u32 count, entries, entry_mask, tlbc_mask;
	__s64 entry;

	if (!s)
		return 1;
	frame = s->frame;
	hash = s->hash;
	count = s->count;
	inner = s->inner;
	instr_mask = s->instr_mask;
	outer = s->outer;
	open = s->open;
	base = s->buf_addr;
	last = s->buf_last;
	tag = ~(__u64)s->lay.pointer_tag;
	code_at = s->lay.frame_code;
	previous_at = s->lay.frame_previous;
	instr_at = s->lay.frame_instr;
	owner_at = s->lay.frame_owner;
	entry = s->lay.owner_entry;
	/* where entry frames are, the outermost one is one: else a generator's frame is being unlinked right now */
	no_entry = entry == PYBPF_NO_OFFSET ? 0 : NO_FRAME;
	entry_at = s->lay.frame_entry;
	entry_mask = entry_at ? 1 : 0;
	entries = s->entry_count;
	sp = s->native.sp;
	top = s->entry;
	tlbc_at = s->lay.frame_tlbc;
	tlbc_mask = tlbc_at == PYBPF_NO_OFFSET ? 0 : TLBC_MAX;

	for (int i = 0; i < WALK_BATCH; i++) {
		__u64 at = frame - base, code, instr, previous, kept, differs;
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
		/* which copy of the bytecode it points into: in the bits that no user address has, see tlbc__resolve */
		instr |= (__u64)(buf__u32(s, at, tlbc_at) & tlbc_mask) << TLBC_SHIFT;
		/* all ones unless it is an entry frame: no branch, or the verifier would follow both ways at each frame */
		below = s->buf[(at & (PAGE_BYTES - 1)) + (owner_at & 0xff)];
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
			/*
			 * 3.12+: the frame itself is an entry if it lies on the C stack. 3.14+ has others: the thread's base frame
			 * and the frames around specialized calls of __init__, in memory that may be below that stack or above
			 * it; there, the next true one is not.
			 */
			__u64 on_stack = ~(kept | (__u64)((__s64)(frame - sp) >> 63));
			__u64 above = on_stack & (__u64)((__s64)(frame - top) >> 63);
			struct py_entry *e;

			entries += (__u32)above;
			top ^= (top ^ frame) & on_stack;
			e = &s->entries[entries & (MAX_ENTRIES - 1)];
			e->addr = frame;
			e->count = count;
			/* 3.11: a frame that C has called says so */
			entries += ((__u32)on_stack & 1) |
				   (s->buf[(at & (PAGE_BYTES - 1)) + (entry_at & 0x7f)] & entry_mask);
		}
		differs = previous ^ outer;
		differs |= -differs; /* the top bit, unless they are equal: no branch either */
		asm volatile("" : "+r"(differs));
		open &= (__u64)((__s64)differs >> 63);
		if (!previous || previous == s->stop) {
			open |= kept & no_entry;
			goto done;
		}
		if (previous == frame) {
			s->outcome = PYBPF_FRAME_BAD;
			goto done;
		}
		frame = previous;
	}
	s->frame = frame;
	s->hash = hash;
	s->inner = inner;
	s->open = open;
	s->count = count;
	s->entry_count = entries;
	s->entry = top;
	return 0;
done:
	s->hash = hash;
	s->open = open;
	s->count = count;
	s->entry_count = entries;
	s->done = 1;
	return 1;
}

/*
 * For 3.11 and 3.12. The evaluator publishes its _PyCFrame before it fills it in (Python/ceval.c, _PyEval_EvalFrameDefault:
 * compilers put some 20 instructions in between): for a few ns whatever was on the C stack before stands in it, an
 * earlier call's frame as a rule. In a true one the chain goes on to the innermost frame of the evaluator before; before the
 * first there is the root in the thread state, which has no frame. And in 3.11 a frame is popped before it is unlinked: none
 * may lie at the top of the data stack or above. Sets s->outer and s->open; one read more, unless there is no evaluator
 * before: the root is in s->buf. Returns the innermost frame.
 */
static __always_inline __u64 walk__enter(struct scratch *s, __u64 tstate, const __u64 cframe[2], const __u64 chunk[3])
{
	__u64 frame = cframe[0], before = cframe[1], at = before + s->lay.cframe_frame;
	__u64 in = at - (tstate + s->lay.tstate_frame);

	if (!frame && !before) /* the root itself */
		return frame;
	s->open = NO_FRAME;
	if (in <= tstate__span(&s->lay) - 8)
		s->outer = *(const __u64 *)(s->buf + (in & (TSTATE_WINDOW - 1))); /* the root's */
	else if (!before || bpf_probe_read_user(&s->outer, sizeof(s->outer), (void *)at))
		s->outer = NO_FRAME;
	if ((!s->outer && before - tstate >= PAGE_BYTES) ||
	    frame - chunk[1] < chunk[2] - chunk[1]) /* datastack_top, datastack_limit */
		s->outer = NO_FRAME;
	return frame;
}

/*
 * Sets up s for the walk of the thread whose state lies at `tstate` and is in s->buf: s->frame is its innermost frame, 0
 * when no Python code runs. Returns a pybpf_outcome. One read from 3.11 to 3.12.
 */
static __always_inline int walk__start(struct scratch *s, const struct py_layout *lay, __u64 tstate)
{
	bool cframes = lay->flags & PY_LAYOUT_CFRAME;
	__u64 frame, chunk[3] = {}, cframe[2];

	s->count = 0;
	s->done = 0;
	s->outcome = PYBPF_OK;
	s->leaf = 0;
	s->outer = 0;
	s->open = 0;
	s->inner = 0;
	s->entry_count = 0;
	s->entry = 0;
	s->cframe = 0;
	s->instr_mask = lay->flags & PY_LAYOUT_INSTR_INDEX ? 0xffffffffull : ~0ull;
	s->stop = lay->base_frame == PYBPF_NO_OFFSET ? 0 : tstate + lay->base_frame;
	s->hash = s->identity;
	frame = tstate__u64(s, lay, lay->tstate_frame);
	if (tstate__has_chunk(lay))
		chunk[0] = tstate__u64(s, lay, lay->tstate_chunk);
	if (cframes) {
		if (tstate__has_chunk(lay)) {
			chunk[1] = tstate__u64(s, lay, lay->tstate_chunk + 8);
			chunk[2] = tstate__u64(s, lay, lay->tstate_chunk + 16);
		}
		if (!frame)
			return PYBPF_NO_PYTHON;
		s->cframe = frame;
		/* current_frame, previous (Include/cpython/pystate.h, _PyCFrame) */
		if (bpf_probe_read_user(cframe, sizeof(cframe), (void *)(frame + lay->cframe_frame)))
			return PYBPF_TSTATE_FAULT;
		frame = walk__enter(s, tstate, cframe, chunk);
	}
	s->chunk = chunk[0];
	s->frame = frame;
	s->buf_addr = 0;
	s->buf_last = 0;
	return frame && frame != s->stop ? PYBPF_OK : PYBPF_NO_PYTHON;
}

/* As walk__start, for a state that is not in s->buf yet: one read more. */
static __always_inline int walk__begin(struct scratch *s, const struct py_layout *lay, __u64 tstate)
{
	if (!tstate)
		return PYBPF_NO_PYTHON;
	return tstate__read(s, lay, tstate) ? PYBPF_TSTATE_FAULT : walk__start(s, lay, tstate);
}

/* Walks the whole chain into s->frames. Returns a pybpf_outcome. */
static __always_inline int walk__python(struct scratch *s, __u32 cpu)
{
	for (int i = 0; i < WALK_BATCHES; i++) {
		if (s->count > PYBPF_MAX_FRAMES || walk_batch(cpu))
			break;
	}
	if (s->count > PYBPF_MAX_FRAMES || !s->done) {
		if (s->count > PYBPF_MAX_FRAMES)
			s->count = PYBPF_MAX_FRAMES;
		s->outcome = PYBPF_DEPTH_LIMIT;
	}
	if (!s->count && s->outcome == PYBPF_OK)
		return PYBPF_NO_PYTHON;
	s->leaf = tlbc__resolve(s, s->frames[0].code, s->frames[0].instr);
	return s->outcome;
}

#endif
