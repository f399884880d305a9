/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The rest of a native stack that the walk could not reach the end of because user space was not ready: the table of some code
 * was still being made, or a mapping had not been published yet. Where the walk stood and a copy of the stack from there on go
 * to user space, which finishes the walk (user/collect/rests.c). Some 10 us, for some samples at a program's start.
 */
#ifndef PYBPF_REST_BPF_H
#define PYBPF_REST_BPF_H

/*
 * Whether user space can do better. What it has found to lie in no mapping it does not want to hear of again; and where it comes
 * late, a part of the ring is for the records that others depend on.
 */
static __always_inline bool rest__is_wanted(struct scratch *s)
{
	struct unwind_space *space;

	if (s->native_outcome != PYBPF_NATIVE_PENDING && s->native_outcome != PYBPF_NATIVE_UNMAPPED)
		return false;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > PYBPF_RING_NATIVE - PYBPF_RING_RESERVE)
		return false;
	space = s->native_outcome == PYBPF_NATIVE_UNMAPPED ? bpf_map_lookup_elem(&spaces, &s->pid) : NULL;
	return !space || !space->settled;
}

/* The entries into Python that the walk has not come to. 0, or -E2BIG when they are too many. */
__noinline int rest_entries(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u32 n = 0;

	if (!s)
		return -EFAULT;
	for (; n < PYBPF_REST_ENTRIES; n++) {
		__u32 at = s->entry_next & (MAX_ENTRIES - 1);

		if (!s->entry)
			break;
		s->rest_entries[n & (PYBPF_REST_ENTRIES - 1)].addr = s->entry;
		s->rest_entries[n & (PYBPF_REST_ENTRIES - 1)].count = s->entries[at].count;
		s->entry_next++;
		s->entry = native__next_entry(s);
	}
	s->rest.entries = n;
	return s->entry ? -E2BIG : 0;
}

/* Sends a page of the stack. 0, -EFAULT where there is none, -EAGAIN when the ring is full. */
__noinline int rest_page(__u32 cpu, __u64 addr)
{
	struct scratch *s = scratch__of(cpu);
	struct rec_memory *r;

	if (!s)
		return -EFAULT;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		s->shared.records_lost++;
		return -EAGAIN;
	}
	if (bpf_probe_read_user(r->bytes, sizeof(r->bytes), (void *)addr)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		return -EFAULT;
	}
	r->type = REC_MEMORY;
	r->pid = s->pid;
	r->stack = s->rest.stack;
	r->addr = addr;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Tells all that is left of the stack with this name; its REC_STACK comes next, and wakes user space. */
__noinline int rest_tell(__u32 cpu, __u64 hash)
{
	struct scratch *s = scratch__of(cpu);
	__u64 page;

	if (!s || rest_entries(cpu))
		return -EAGAIN;
	s->rest.type = REC_REST;
	s->rest.pid = s->pid;
	s->rest.identity = s->identity;
	s->rest.start_stack = task__start_stack();
	s->rest.stack = hash;
	s->rest.regs = s->native;
	__builtin_memcpy(s->rest.words, s->regs, sizeof(s->rest.words));
	if (emit__record(s, &s->rest, sizeof(s->rest) + (s->rest.entries & (2 * PYBPF_REST_ENTRIES - 1)) * sizeof(struct py_entry)))
		return -EAGAIN;
	page = PYBPF_REST_START(s->native.sp);
	for (__u32 i = 0; i < PYBPF_REST_PAGES; i++) {
		/* a page in the middle of a large frame may never have been touched */
		if (rest_page(cpu, page) == -EAGAIN)
			break;
		page += PAGE_BYTES;
	}
	s->unannounced = cfg_wakeup_bytes;
	return 0;
}

#endif
