/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The walk of CPython's frame chain, innermost frame first.
 *
 * From 3.11 on frames lie one behind the other in chunks of the data stack, so one read of up to 4 KB that ends
 * just above a frame holds the next 20-40 of them, and `previous` is followed inside that copy. Cost: about
 * 80 ns a read and a few ns a frame. Frames in generators lie in the heap: a read for one; and all of 3.10 and before
 * (objects.bpf.h).
 *
 * walk_batch and walk_objects are global functions: the verifier checks them once, and the caller's loop over them stays small
 * on every kernel. (bpf_loop would need 5.17 and a second shape of the loop for kernels without it.)
 *
 * Compiled on the host as well, against the helpers of tests/unit/bpf_host.h.
 */
#ifndef PYBPF_WALK_BPF_H
#define PYBPF_WALK_BPF_H

#include "framebuf.bpf.h"
#include "objects.bpf.h"

#define WALK_BATCHES (2 * PYBPF_MAX_FRAMES / WALK_BATCH) /* entry frames take a step and are not kept */

/*
 * Copies memory that holds `frame`, and as much below it as one page may, into s->buf: from the start of the data stack
 * chunk on where the frame lies in the current chunk; else from the start of the frame's page on, which is there if the
 * frame is, but only where the one before was near, too: generators and entry frames lie alone. 0 or -EFAULT.
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
	if (below < 4 * PAGE_BYTES) {
		start = below > PAGE_BYTES - FRAME_MAX ? frame + size - PAGE_BYTES : s->chunk;
		len = frame + size - start;
	} else if (s->buf_addr - start > PAGE_BYTES) { /* neither in this page nor in the next one */
		start = frame;
		len = size;
	}
	return buf__fill(s, frame, start, len, size);
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
	__u64 frame, hash, base, last, tag, inner, met, unmet, shown, sp, top;
	__u16 code_at, previous_at, instr_at, entry_at, tlbc_at;
	__u32 count, entries, tlbc_mask;
	__s64 entry;

	if (!s)
		return 1;
	frame = s->frame;
	hash = s->hash;
	count = s->count;
	inner = s->inner;
	met = s->met;
	unmet = s->unmet;
	base = s->buf_addr;
	last = s->buf_last;
	tag = ~(__u64)s->lay.pointer_tag;
	code_at = s->lay.frame_code;
	previous_at = s->lay.frame_previous;
	instr_at = s->lay.frame_instr;
	shown = s->entries_shown;
	entry_at = s->entry_at;
	entry = s->entry_from;
	entries = s->entry_count;
	sp = s->native.sp;
	top = s->entry;
	tlbc_at = s->lay.frame_tlbc;
	tlbc_mask = tlbc_at == PYBPF_NO_OFFSET ? 0 : TLBC_MAX;

	for (int i = 0; i < WALK_BATCH; i++) {
		__u64 at = frame - base, code, instr, previous, inlined, kept;
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
		instr = buf__u64(s, at, instr_at);
		/* which copy of the bytecode it points into: in the bits that no user address has, see tlbc__resolve */
		instr |= (__u64)(buf__u32(s, at, tlbc_at) & tlbc_mask) << TLBC_SHIFT;
		/* all ones unless it is an entry frame: no branch, or the verifier would follow both ways at each frame */
		below = s->buf[(at & (PAGE_BYTES - 1)) + (entry_at & 0xff)];
		below -= entry;
		asm volatile("" : "+r"(below)); /* or the compiler makes it a branch again */
		inlined = (__u64)(below >> 63);
		kept = inlined | shown;
		/* nothing may come between the limit and its use: 5.10 forgets the limits of what is spilled */
		asm volatile("" : "+r"(code), "+r"(instr));
		out = &s->frames[count & (2 * PYBPF_MAX_FRAMES - 1)];
		if (count >= PYBPF_MAX_FRAMES + WALK_BATCH)
			goto done;
		out->code = code;
		out->instr = instr;
		/* the innermost instruction changes all the time: it travels in the sample instead */
		hash ^= (mix(hash, mix2(code, instr & inner)) ^ hash) & kept;
		inner |= kept;
		count -= (__u32)kept;
		if (cfg_native) {
			/*
			 * 3.12+: the frame itself is an entry if it lies on the C stack. 3.14+ has others: the thread's base frame
			 * and the frames around specialized calls of __init__, in memory that may be below that stack or above
			 * it; there, the next true one is not.
			 */
			__u64 on_stack = ~(inlined | shown | (__u64)((__s64)(frame - sp) >> 63));
			__u64 above = on_stack & (__u64)((__s64)(frame - top) >> 63);
			struct py_entry *e;

			entries += (__u32)above;
			top ^= (top ^ frame) & on_stack;
			e = &s->entries[entries & (MAX_ENTRIES - 1)];
			e->addr = frame;
			e->count = count;
			/* 3.11: the _PyCFrame that is to be met with it is */
			entries += (__u32)(on_stack | (~inlined & shown)) & 1;
		}
		/* stays with what the first entry frame goes on to, see walk__enter */
		met ^= (met ^ previous) & unmet;
		unmet &= inlined;
		if (!previous || previous == s->stop) {
			/* 3.11: a generator that waits keeps its mark, but nobody has called it */
			below = s->buf[(at & (PAGE_BYTES - 1)) + (s->lay.frame_owner & 0xff)] ^ OWNER_GENERATOR;
			s->open = (inlined | (shown & (__u64)((below - 1) >> 63))) & s->entered;
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
	s->met = met;
	s->unmet = unmet;
	s->count = count;
	s->entry_count = entries;
	s->entry = top;
	return 0;
done:
	s->hash = hash;
	s->met = met;
	s->unmet = unmet;
	s->count = count;
	s->entry_count = entries;
	s->done = 1;
	return 1;
}

/*
 * For 3.11 and 3.12. The evaluator publishes its _PyCFrame before it fills it in (Python/ceval.c, _PyEval_EvalFrameDefault:
 * compilers put some 20 instructions in between): for a few ns whatever was on the C stack before stands in it, an
 * earlier call's frame as a rule. In a true one the frames of this evaluator end in an entry frame, and that goes on to the
 * innermost frame of the evaluator before; before the first there is the root in the thread state, which has no
 * frame. And in 3.11 a frame is popped before it is unlinked: none may lie at the top of the data stack or above. Sets
 * s->outer and s->linked; one read more, unless there is no evaluator before: the root is in s->buf. Returns the innermost frame.
 */
static __always_inline __u64 walk__enter(struct scratch *s, __u64 tstate, const __u64 cframe[2], const __u64 chunk[3])
{
	__u64 frame = cframe[0], before = cframe[1], at = before + s->lay.cframe_frame;
	__u64 in = at - (tstate + s->lay.tstate_frame);

	s->linked = s->cframe - tstate >= PAGE_BYTES; /* the root itself has no evaluator */
	if (in + 8 <= s->lay.tstate_size)
		s->outer = *(const __u64 *)(s->buf + (in & (PYBPF_TSTATE_MAX - 1))); /* the root's */
	else if (!before || bpf_probe_read_user(&s->outer, sizeof(s->outer), (void *)at))
		s->outer = NO_FRAME;
	if ((!s->outer && before - tstate >= PAGE_BYTES) ||
	    frame - chunk[1] < chunk[2] - chunk[1]) /* datastack_top, datastack_limit */
		s->outer = NO_FRAME;
	return frame;
}

/* What walk__is_linked reads of a code object: int co_stacksize, co_firstlineno, co_nlocalsplus (3.11, 3.12: cpython/code.h). */
struct code_sizes {
	__u32 stack, line, locals;
};

#define FRAME_SPECIALS 9 /* words of a frame before its localsplus (3.11, 3.12: internal/pycore_frame.h) */
#define RETURN_OFFSET  2 /* bytes from return_offset to owner (3.12) */
#define LINKS          8 /* entry frames and generators between two frames of the data stack; of more nothing is known */

/*
 * For 3.11 and 3.12. A call that stays in the evaluator publishes the new frame before its `previous` is written (some 10
 * instructions): it is that of a frame which lay there before. The new one has not begun then. Whether what it names did call
 * it: frames of the data stack lie one behind the other, so the nearest one outwards must end where this one begins; and a
 * frame that waits for a generator of the same evaluator has called nothing else: its return_offset says so (3.12). Four
 * reads as a rule, for the few percent of samples that meet such a frame.
 */
__noinline int walk_is_linked(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u64 at, newest;
	__u32 size;

	if (!s)
		return 0;
	newest = at = s->innermost;
	size = s->lay.frame_size & 0xff;
	for (int i = 0; i <= LINKS; i++) {
		const __u8 *frame = s->object;
		__u8 owner;

		if (bpf_probe_read_user(s->object, size, (void *)at))
			return 0;
		owner = frame[s->lay.frame_owner & 0x7f];
		if (i == 1 && !s->lay.frame_entry && owner < s->lay.owner_entry &&
		    *(const __u16 *)(frame + ((s->lay.frame_owner - RETURN_OFFSET) & 0x7e)))
			return 0;
		if (i && owner == OWNER_THREAD) {
			__u64 code = *(const __u64 *)(frame + (s->lay.frame_code & 0x78));
			struct code_sizes sizes;

			if (bpf_probe_read_user(&sizes, sizeof(sizes), (void *)(code + s->lay.code_firstlineno - 4)))
				return 0;
			return at + 8ull * (sizes.stack + sizes.locals + FRAME_SPECIALS) == newest;
		}
		at = *(const __u64 *)(frame + (s->lay.frame_previous & 0x78));
		if (!at) /* a thread's first frame is its evaluator's entry (3.11), or called from one (3.12) */
			return i || (s->lay.frame_entry && frame[s->lay.frame_entry & 0x7f]);
	}
	return 0;
}

/* Whether the innermost frame has not begun its first instruction. */
static __always_inline bool walk__is_new(const struct scratch *s)
{
	return s->frames[0].instr == s->frames[0].code + s->lay.code_bytecode - 2;
}

/*
 * Whether the walk fell into the few ns in which the frames can't be told, because the evaluator is linking or unlinking one
 * right now. may_be_open: those of greenlets do not close (PROC_UNCHECKED).
 */
static __always_inline bool walk__is_torn(struct scratch *s, int outcome, __u32 cpu, bool may_be_open)
{
	/* of frames that go on beyond the limit the end has not been seen */
	if (!may_be_open && outcome != PYBPF_DEPTH_LIMIT && (s->open || (s->linked && (s->unmet || s->met != s->outer))))
		return true;
	return s->count && s->lay.flags & PY_LAYOUT_CFRAME && walk__is_new(s) && !walk_is_linked(cpu);
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
	s->linked = 0;
	s->met = 0;
	s->unmet = NO_FRAME;
	/* entry frames: those that a mark is set in (3.11), which are shown; or those of an owner that has them */
	s->entries_shown = lay->frame_entry ? ~0ull : 0;
	s->entry_at = lay->frame_entry ? lay->frame_entry : lay->frame_owner;
	s->entry_from = lay->frame_entry ? 1 : lay->owner_entry;
	/* where there are any, the outermost frame is one, or else a generator's frame is being unlinked */
	s->entered = lay->owner_entry == PYBPF_NO_OFFSET && !lay->frame_entry ? 0 : NO_FRAME;
	s->inner = 0;
	s->entry_count = 0;
	s->entry = 0;
	s->cframe = 0;
	s->stop = lay->base_frame == PYBPF_NO_OFFSET ? 0 : tstate + lay->base_frame;
	s->hash = s->identity;
	frame = tstate__u64(s, lay, lay->tstate_frame);
	if (lay->tstate_chunk != PYBPF_NO_OFFSET)
		chunk[0] = tstate__u64(s, lay, lay->tstate_chunk);
	if (cframes) {
		if (lay->tstate_chunk != PYBPF_NO_OFFSET) {
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
	s->frame = s->innermost = frame;
	s->buf_addr = 0;
	s->buf_last = 0;
	s->refilled = 0;
	s->objects_below = 0;
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
	bool objects = s->lay.flags & PY_LAYOUT_FRAME_OBJECTS;
	__u64 lap = 0;

	for (int i = 0; i < WALK_BATCHES; i++) {
		if (s->count > PYBPF_MAX_FRAMES || (objects ? walk_objects(cpu) : walk_batch(cpu)))
			break;
		if (s->frame == lap) { /* a ring: it has come by here before */
			s->outcome = PYBPF_FRAME_BAD;
			s->done = 1;
			break;
		}
		if (!i)
			lap = s->frame;
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
