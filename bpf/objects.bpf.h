/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The walk of frames that are objects (3.10 and before), which lie anywhere in the heap: a read for one, or for some that lie side by
 * side. Compiled on the host as well.
 */
#ifndef PYBPF_OBJECTS_BPF_H
#define PYBPF_OBJECTS_BPF_H

#include "framebuf.bpf.h"

#define OBJECTS_BELOW 480 /* about a frame of an ordinary function */

/*
 * Copies memory that holds `frame` into s->buf. Those made one after the other lie side by side: some room below, once two of
 * this stack were found to, and more where the one before was near, too. Those of functions that do not call themselves lie
 * alone. 0 or -EFAULT.
 */
__noinline int walk_refill_objects(__u32 cpu, __u64 frame)
{
	struct scratch *s = scratch__of(cpu);
	__u64 start, len, size, room;

	if (!s)
		return -EFAULT;
	size = s->lay.frame_size & 0xff;
	room = s->objects_below & 511;
	if (s->refilled - frame <= OBJECTS_BELOW)
		s->objects_below = OBJECTS_BELOW;
	s->refilled = frame;
	start = frame & ~(__u64)(PAGE_BYTES - 1);
	len = frame + size - start;
	if (start != (s->buf_addr & ~(__u64)(PAGE_BYTES - 1))) {
		if (frame - start > room) {
			start = frame - room;
			len = room + size;
		}
	} else if (frame > s->buf_addr) {
		len = PAGE_BYTES - (frame - start);
		start = frame;
		if (len < size)
			len = size;
	}
	return buf__fill(s, frame, start, len, size);
}

/*
 * As walk_batch, for frames that are objects: without what these do not have, as they cost a read each. None is an entry frame,
 * none is linked before it is whole.
 */
__noinline int walk_objects(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u64 frame, hash, inner, base, last;
	__u16 code_at, previous_at, instr_at;
	__u32 count;

	if (!s)
		return 1;
	frame = s->frame;
	hash = s->hash;
	count = s->count;
	inner = s->inner;
	base = s->buf_addr;
	last = s->buf_last;
	code_at = s->lay.frame_code;
	previous_at = s->lay.frame_previous;
	instr_at = s->lay.frame_instr;
	for (int i = 0; i < WALK_BATCH; i++) {
		__u64 at = frame - base, code, instr, previous;
		struct raw_frame *out;

		if (at > last) {
			if (walk_refill_objects(cpu, frame)) {
				s->outcome = PYBPF_FRAME_FAULT;
				goto done;
			}
			base = s->buf_addr;
			last = s->buf_last;
			at = frame - base;
		}
		code = buf__u64(s, at, code_at);
		previous = buf__u64(s, at, previous_at);
		instr = buf__u32(s, at, instr_at); /* f_lasti */
		asm volatile("" : "+r"(code), "+r"(instr));
		out = &s->frames[count & (2 * PYBPF_MAX_FRAMES - 1)];
		if (count >= PYBPF_MAX_FRAMES + WALK_BATCH)
			goto done;
		out->code = code;
		out->instr = instr;
		hash = mix(hash, mix2(code, instr & inner));
		inner = ~0ull;
		count++;
		if (!previous)
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
	return 0;
done:
	s->hash = hash;
	s->count = count;
	s->done = 1;
	return 1;
}

#endif
