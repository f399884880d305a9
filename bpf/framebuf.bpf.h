/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* s->buf: a copy of memory that holds a frame, and others as a rule. Compiled on the host as well. */
#ifndef PYBPF_FRAMEBUF_BPF_H
#define PYBPF_FRAMEBUF_BPF_H

/*
 * Fills s->buf, with the frame alone where that is all that there is. 0 or -EFAULT. 5.10 forgets the limits of what is spilled: no
 * length is used but right behind its limit.
 */
static __always_inline int buf__fill(struct scratch *s, __u64 frame, __u64 start, __u64 len, __u64 size)
{
	asm volatile("" : "+r"(len), "+r"(start));
	if (len > PAGE_BYTES + FRAME_MAX)
		return -EFAULT;
	if (bpf_probe_read_user(s->buf, len, (void *)start)) {
		start = frame;
		len = size;
		asm volatile("" : "+r"(len), "+r"(start));
		if (len > FRAME_MAX)
			return -EFAULT;
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

#endif
