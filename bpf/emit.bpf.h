/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Records into the ring. A record that finds no room is counted, and what it announced stays unannounced. */
#ifndef PYBPF_EMIT_BPF_H
#define PYBPF_EMIT_BPF_H

/*
 * Whether to wake user space: not for every record (it looks by itself ten times a second), only when this CPU
 * has put in a good part of the ring since the last time.
 */
static __always_inline __u64 emit__flags(struct scratch *s, __u64 bytes)
{
	s->unannounced += bytes + 8;
	if (s->unannounced < cfg_wakeup_bytes)
		return BPF_RB_NO_WAKEUP;
	s->unannounced = 0;
	return BPF_RB_FORCE_WAKEUP;
}

/* One record of up to the size of the scratch memory behind `data`. 0 or -EAGAIN, counted. */
static __always_inline int emit__record(struct scratch *s, void *data, __u64 size)
{
	if (!bpf_ringbuf_output(&ring, data, size, emit__flags(s, size)))
		return 0;
	s->shared.records_lost++;
	return -EAGAIN;
}

/* The sample itself, a few ns: see struct rec_sample. */
static __always_inline void emit__sample(struct scratch *s, __u64 time, __u64 stack, __u64 id, __u32 cpu,
					 int outcome)
{
	__u64 head = s->shared.head;
	__u32 room = cfg_cpu_samples, at = cpu * room + (head & (room - 1));
	struct rec_sample *r = bpf_map_lookup_elem(&samples, &at);

	if (head - s->tail >= room) {
		__u64 *tail = bpf_map_lookup_elem(&tails, &cpu);

		if (tail)
			s->tail = *(volatile __u64 *)tail;
	}
	if (!r || head - s->tail >= room) {
		s->shared.lost[PYBPF_RING_FULL]++;
		if (outcome == PYBPF_LAYOUT_PENDING) /* user space will not count this one */
			s->shared.taken++;
		return;
	}
	r->time = time;
	r->stack = stack;
	r->leaf = s->leaf;
	r->pc = s->native_leaf;
	r->identity = s->identity;
	r->pid = id >> 32;
	r->tid = (__u32)id;
	r->cpu = cpu;
	r->outcome = outcome;
	r->kind = SAMPLE_ON_CPU;
	/* x86 stores in order; elsewhere user space makes every CPU pass a barrier before it reads (user/collect/cpubufs.c) */
	asm volatile("" ::: "memory");
	*(volatile __u64 *)&s->shared.head = head + 1;
}

/* The first sample of a thread within an epoch tells its name (which may change while it runs), once its process is introduced. */
static __always_inline void emit__thread(struct scratch *s, __u64 id)
{
	struct rec_thread r = {.type = REC_THREAD, .pid = id >> 32, .identity = s->identity, .tid = (__u32)id};
	__u64 want, *seen;
	__u32 index;

	if ((s->last_thread == id && s->last_epoch == epoch) || !(s->known.flags & PROC_INTRODUCED))
		return;
	s->last_thread = id;
	s->last_epoch = epoch;
	want = mix_final(mix(mix(s->identity, id), epoch)) | 1;
	index = (want >> 32) & (SEEN_THREADS - 1);
	seen = bpf_map_lookup_elem(&seen_threads, &index);
	if (!seen || *seen == want)
		return;
	bpf_get_current_comm(r.comm, sizeof(r.comm));
	r.ns_tid = task__ns_tid();
	if (!emit__record(s, &r, sizeof(r)))
		*seen = want;
}

#endif
