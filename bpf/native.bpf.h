/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The walk of the native stack by tables, innermost frame first, and the kernel's own frames.
 *
 * Each step finds the mapping that holds the program counter (the last one again, or a binary search of the process's
 * mappings), in it the row of the unwind table (a binary search within 64 KiB of code) and does what the row's rule says. The
 * stack is copied 2 KB at a time, so that most steps read no user memory. Cost: some 60-100 ns a frame.
 *
 * Python frames are placed by stack address: the evaluator that runs a chain of Python frames keeps an entry frame
 * (3.12+) or a _PyCFrame (3.11) in its own native frame. The native frame that holds one is marked with how
 * many Python frames lie inwards of it; user space merges.
 */
#ifndef PYBPF_NATIVE_BPF_H
#define PYBPF_NATIVE_BPF_H

#define NATIVE_BATCH     16   /* steps for each call of native_batch */
#define STACK_WINDOW     2048 /* bytes of stack copied at once */
#define NR_RT_SIGRETURN  15   /* x86-64: arch/x86/entry/syscalls/syscall_64.tbl */
#define SEARCH_STEPS     16   /* halvings: of up to 65535 mappings, and of the rows of a page */

/* Copies the stack from `addr` on into s->buf, less of it near its end. 0 or -EFAULT. */
__noinline int native_refill(__u32 cpu, __u64 addr)
{
	struct scratch *s = scratch__of(cpu);
	__u64 len = STACK_WINDOW;

	if (!s)
		return -EFAULT;
	if (bpf_probe_read_user(s->buf, STACK_WINDOW, (void *)addr)) {
		len = PAGE_BYTES - (addr & (PAGE_BYTES - 1));
		if (len < 8)
			len = 8;
		if (len > STACK_WINDOW)
			len = STACK_WINDOW;
		if (bpf_probe_read_user(s->buf, len, (void *)addr))
			return -EFAULT;
	}
	s->buf_addr = addr;
	s->buf_last = len - 8;
	return 0;
}

/* The word of the stack at `addr`, for the header below. 0 or -EFAULT. */
static __always_inline int unwind__word(struct scratch *s, __u64 addr, __u64 *out)
{
	__u64 at = addr - s->buf_addr;

	if (at > s->buf_last) {
		if (native_refill(s->cpu, addr))
			return -EFAULT;
		at = 0;
	}
	*out = *(__u64 *)(s->buf + (at & (STACK_WINDOW - 1)));
	return 0;
}

#define UNWIND_MEMORY struct scratch
#include "pybpf/unwind_step.h"

#if defined(__TARGET_ARCH_x86)
#define SYSCALL_CODE 0x050f /* the instruction */

/*
 * The SYSCALL instruction leaves its return address in rcx: in a system call, and on the way back from it, the address is
 * one, which may be the end of its function (__restore_rt) or of what is described of it (clone3). Elsewhere, where orig_ax is
 * negative, it may be a function's, called by `call *%rcx`. 1 or 0.
 *
 * rt_sigreturn, which __restore_rt calls, puts back rcx, then the stack pointer, then the address (Linux arch/x86/kernel/signal_64.c,
 * restore_sigcontext). Where rcx has gone and the address is still the call's, the registers may be those of two frames: a fault.
 *
 * A function of its own, as the verifier goes through what follows once for each way through this.
 */
__noinline int native_is_system_call(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	bool same, returns;
	__u16 code = 0;

	if (!s)
		return 0;
	same = s->regs[11] == s->regs[16];
	returns = s->regs[15] == NR_RT_SIGRETURN;
	if ((__s64)s->regs[15] >= 0 && !returns)
		return same;
	if ((!same && !returns) ||
	    bpf_probe_read_user(&code, sizeof(code), (void *)(s->regs[16] - sizeof(code))) || code != SYSCALL_CODE)
		return 0;
	if (!same)
		s->native_outcome = PYBPF_NATIVE_FAULT;
	return same;
}
#endif

/* Registers out of the words of struct pt_regs in s->regs, which then holds them by their DWARF numbers. */
static __always_inline void native__begin(struct scratch *s)
{
#if defined(__TARGET_ARCH_x86)
	/* psABI x86-64, figure 3.36: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 ... r15 */
	static const __u8 order[] = {10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0};
	__u64 by_dwarf[sizeof(order)];

	unwind__begin(&s->native, s->regs[16], s->regs[19], s->regs[4], s->regs[11]);
	s->native.inexact = native_is_system_call(s->cpu);
#pragma unroll
	for (unsigned int i = 0; i < sizeof(order); i++)
		by_dwarf[i] = s->regs[order[i]];
#pragma unroll
	for (unsigned int i = 0; i < sizeof(order); i++)
		s->regs[i] = by_dwarf[i];
#else
	/* AArch64 DWARF: x0 ... x30 are 0 ... 30, as in struct user_pt_regs */
	unwind__begin(&s->native, s->regs[32], s->regs[31], s->regs[29], s->regs[30] & UNWIND_PC_MASK);
	s->native.inexact = 0;
#endif
}

/* Finds the mapping that holds `pc`: s->map_index and a copy in s->map. 0 or -ENOENT. */
__noinline int native_find_mapping(__u32 cpu, __u64 pc)
{
	struct scratch *s = scratch__of(cpu);
	struct unwind_mapping *m;
	__u32 low, high, i;

	if (!s)
		return -ENOENT;
	/* the first one whose start is above pc; the one before it may hold it */
	low = s->space.first;
	high = low + s->space.count;
	for (int step = 0; step < SEARCH_STEPS; step++) {
		__u32 middle = (low + high) / 2;
		__u64 above;

		if (low >= high)
			break;
		m = bpf_map_lookup_elem(&mappings, &middle);
		if (!m)
			return -ENOENT;
		above = (__u64)((__s64)(pc - m->start) >> 63);
		asm volatile("" : "+r"(above));
		low += (middle + 1 - low) & ~(__u32)above;
		high -= (high - middle) & (__u32)above;
	}
	if (low == s->space.first)
		return -ENOENT;
	i = low - 1;
	m = bpf_map_lookup_elem(&mappings, &i);
	if (!m || pc - m->start >= m->length)
		return -ENOENT;
	s->map = *m;
	return 0;
}

/*
 * Finds the rule for the instruction at s->native.pc, into s->rule. PYBPF_OK, or what stands in the way: NATIVE_UNMAPPED,
 * NATIVE_PENDING (the table is being made), NATIVE_NO_TABLE (there is nothing to make one of), NATIVE_REFUSED (what there is
 * is malformed: code that came with it keeps no frame pointers, so that nothing is guessed).
 */
__noinline int native_find_rule(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	struct unwind_page *page;
	struct unwind_block *block;
	struct unwind_table_info *t;
	struct unwind_rule *rule;
	__u32 low, high, index, table, row;
	__u64 pc, addr;

	if (!s)
		return PYBPF_NATIVE_FAULT;
	pc = s->native.pc - s->native.inexact; /* a call may be its function's last instruction */
	if (pc - s->map.start >= s->map.length && native_find_mapping(cpu, pc))
		return PYBPF_NATIVE_UNMAPPED;
	table = s->map.table;
	t = bpf_map_lookup_elem(&unwind_tables, &table);
	if (!t || t->state == UNWIND_TABLE_NONE)
		return PYBPF_NATIVE_NO_TABLE;
	if (t->state != UNWIND_TABLE_READY)
		return t->state == UNWIND_TABLE_PENDING ? PYBPF_NATIVE_PENDING : PYBPF_NATIVE_REFUSED;
	addr = pc - s->map.bias - t->text_start;
	index = addr >> 16;
	if (addr >> 48 || index >= t->page_count)
		return PYBPF_NATIVE_NO_TABLE;
	index += t->page_base;
	page = bpf_map_lookup_elem(&unwind_pages, &index);
	if (!page)
		return PYBPF_NATIVE_NO_TABLE;
	low = page->first;
	high = low + page->count;
	index = page->block;
	block = bpf_map_lookup_elem(&unwind_blocks, &index);
	if (!block)
		return PYBPF_NATIVE_PENDING;
	index = 0;
	block = bpf_map_lookup_elem(block, &index);
	if (!block)
		return PYBPF_NATIVE_PENDING;
	addr &= 0xffff;
	/* the last row that does not begin behind addr; a page begins with one at 0 */
	for (int step = 0; step < SEARCH_STEPS; step++) {
		__u32 middle = (low + high) / 2;
		__u64 above;

		if (low + 1 >= high)
			break;
		row = block->rows[middle & (UNWIND_BLOCK_ROWS - 1)];
		above = (__u64)((__s64)(addr - UNWIND_ROW_OFFSET(row)) >> 63);
		asm volatile("" : "+r"(above));
		low += (middle - low) & ~(__u32)above;
		high -= (high - middle) & (__u32)above;
	}
	row = block->rows[low & (UNWIND_BLOCK_ROWS - 1)];
	index = t->rule_base + UNWIND_ROW_RULE(row);
	rule = bpf_map_lookup_elem(&unwind_rules, &index);
	if (!rule)
		return PYBPF_NATIVE_NO_TABLE;
	s->rule = *rule;
	return PYBPF_OK;
}

/* s->rule for code without a table, if it leads to code. PYBPF_OK or NATIVE_NO_TABLE. */
static __always_inline int native__rule_without_table(struct scratch *s, __u32 cpu)
{
	struct unwind_mapping here = s->map;
	__u64 pc;

	if (!unwind__without_table(&s->native, s, &pc, &s->rule) || native_find_mapping(cpu, pc - 1))
		return PYBPF_NATIVE_NO_TABLE;
	s->map = here;
	return PYBPF_OK;
}

/* Applies s->rule to the registers in s. As unwind__step. */
__noinline int native_apply(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);

	return s ? unwind__step(&s->native, s->regs, &s->rule, s) : PYBPF_NATIVE_FAULT;
}

/* The stack address of the entry that comes next, 0 when there is none. */
static __always_inline __u64 native__next_entry(struct scratch *s)
{
	__u64 at = 0;

	if (s->entry_next >= s->entry_count)
		return 0;
	if (s->lay.cframe_previous) {
		at = s->cframe;
		if (bpf_probe_read_user(&s->cframe, sizeof(s->cframe), (void *)(at + s->lay.cframe_previous)))
			s->cframe = 0;
		return at;
	}
	return s->entries[s->entry_next & (MAX_ENTRIES - 1)].addr;
}

/* The place behind the Python frames for native frame n; the kernel's follow. */
static __always_inline struct raw_frame *native__frame(struct scratch *s, __u32 n)
{
	__u32 at = s->count + n;

	if (at >= FRAMES_ROOM)
		at = FRAMES_ROOM - 1; /* can't be: every part has its limit */
	return &s->frames[at];
}

/*
 * Follows up to NATIVE_BATCH native frames. Returns 0 to go on; else s->native_outcome tells how it ended: PYBPF_OK with
 * the end of the stack.
 */
__noinline int native_batch(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	int outcome;

	if (!s)
		return 1;
	for (int i = 0; i < NATIVE_BATCH; i++) {
		__u32 n = s->native_count;
		__u64 cut = 0, pc = s->native.pc, sp = s->native.sp;
		struct raw_frame *out = native__frame(s, n);

		if (n >= PYBPF_MAX_NATIVE) {
			s->native_outcome = PYBPF_NATIVE_DEPTH;
			return 1;
		}
		out->code = pc;
		out->instr = s->native.inexact ? 0 : NATIVE_EXACT;
		s->native_count = n + 1;
		outcome = native_find_rule(cpu);
		if (outcome == PYBPF_NATIVE_NO_TABLE || (outcome == PYBPF_OK && s->rule.cfa == UNWIND_NONE))
			outcome = native__rule_without_table(s, cpu);
		if (outcome == PYBPF_OK)
			outcome = native_apply(cpu);
		if (outcome != PYBPF_OK && outcome != PYBPF_NO_PYTHON) {
			s->native_outcome = outcome;
			return 1;
		}
		if (s->entry >= sp && s->entry < s->native.cfa) {
			cut = s->entries[s->entry_next & (MAX_ENTRIES - 1)].count + 1;
			s->entry_next++;
			s->entry = native__next_entry(s);
		}
		native__frame(s, n)->instr |= cut;
		/* the innermost address changes all the time: it travels in the sample instead, as a rule */
		s->hash = mix(mix(s->hash, n || s->map.apart ? pc : 0), cut);
		if (outcome == PYBPF_NO_PYTHON)
			return 1;
	}
	return 0;
}

/* Where the process's executable mappings are, asked again when processes have changed. Some 80 ns then. */
static __always_inline void native__find_space(struct scratch *s, __u32 pid)
{
	__u32 now = *(volatile __u32 *)&generation;
	struct unwind_space *space;

	if (s->space_pid == pid && s->space_generation == now)
		return;
	space = bpf_map_lookup_elem(&spaces, &pid);
	s->space_pid = pid;
	s->space_generation = now;
	s->map.length = 0;
	if (space)
		s->space = *space;
	else
		s->space.count = 0;
}

/* The native stack, behind the Python frames in s->frames, from the registers in s on. Sets s->native_outcome. */
static __always_inline void native__walk(struct scratch *s, __u32 cpu)
{
	/* those that there was no room for, and what comes behind the last, were written over the first: nothing could be placed */
	if (s->entry_count >= MAX_ENTRIES) {
		s->native_outcome = PYBPF_NATIVE_DEPTH;
		return;
	}
	s->entry_next = 0;
	s->entry = native__next_entry(s);
	s->buf_addr = 0;
	s->buf_last = 0;
	native__find_space(s, s->pid);
	for (int i = 0; i < PYBPF_MAX_NATIVE / NATIVE_BATCH + 1; i++) {
		if (native_batch(cpu))
			break;
	}
	s->native_leaf = native__frame(s, 0)->code;
}

/* The kernel's frames, behind all others. `bytes` are in s->kernel_ips. */
static __always_inline void kernel__append(struct scratch *s, __s64 bytes)
{
	__u32 n = bytes > 0 ? (__u64)bytes / 8 : 0;

	for (__u32 i = 0; i < PYBPF_MAX_KERNEL; i++) {
		struct raw_frame *out = native__frame(s, s->native_count + i);

		if (i >= n)
			break;
		out->code = s->kernel_ips[i];
		out->instr = 0;
		s->hash = mix(s->hash, i ? s->kernel_ips[i] : 1);
		s->kernel_count = i + 1;
	}
	if (n)
		s->native_leaf = s->kernel_ips[0];
}

#endif
