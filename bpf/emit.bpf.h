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
	s->counters.records_lost++;
	return -EAGAIN;
}

/* The sample itself, about 70 ns. */
static __always_inline void emit__sample(struct scratch *s, __u64 time, __u64 stack, __u64 id, __u32 cpu,
					 int outcome)
{
	struct rec_sample *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		s->counters.lost[PYBPF_RING_FULL]++;
		return;
	}
	r->type = REC_SAMPLE;
	r->cpu = cpu;
	r->outcome = outcome;
	r->kind = SAMPLE_ON_CPU;
	r->time = time;
	r->stack = stack;
	r->leaf = s->leaf;
	r->pid = id >> 32;
	r->tid = (__u32)id;
	bpf_ringbuf_submit(r, emit__flags(s, sizeof(*r)));
}

/* The first sample of a thread within an epoch tells its name (which may change while it runs). */
static __always_inline void emit__thread(struct scratch *s, __u64 id)
{
	__u64 want = mix_final(mix(mix(s->identity, id), epoch)) | 1;
	__u32 index = (want >> 32) & (SEEN_THREADS - 1);
	__u64 *seen = bpf_map_lookup_elem(&seen_threads, &index);
	struct rec_thread r = {.type = REC_THREAD, .pid = id >> 32, .tid = (__u32)id};

	if (!seen || *seen == want)
		return;
	bpf_get_current_comm(r.comm, sizeof(r.comm));
	r.ns_tid = task__ns_tid();
	if (!emit__record(s, &r, sizeof(r)))
		*seen = want;
}

#endif
