/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * One step of the walk of a native stack: from a frame's registers to its caller's, by the rule of an unwind table. The BPF
 * program walks the stack itself (bpf/native.bpf.h), user space copies of stacks that it could not walk to the end
 * (user/collect/rests.c).
 *
 * The includer says what memory is: UNWIND_MEMORY, a type, and
 *	static int unwind__word(UNWIND_MEMORY *m, __u64 addr, __u64 *out); reads a word, 0 or -EFAULT
 */
#ifndef PYBPF_UNWIND_STEP_H
#define PYBPF_UNWIND_STEP_H

#include "pybpf/abi.h"
#include "pybpf/unwind.h"

/* The registers of the innermost frame by their DWARF numbers; r->innermost is set while nothing was unwound. */
static __always_inline void unwind__begin(struct unwind_regs *r, __u64 pc, __u64 sp, __u64 fp, __u64 lr)
{
	r->pc = pc;
	r->sp = sp;
	r->fp = fp;
	r->lr = lr;
	r->cfa = 0;
	r->bx_at = UNWIND_IN_REGISTER;
	r->innermost = 1;
}

/* The value of a register other than SP and FP. 0 or -EFAULT. */
static __always_inline int unwind__register(const struct unwind_regs *r, const __u64 *words, UNWIND_MEMORY *m, __u32 reg,
					    __u64 *out)
{
	if (reg == UNWIND_BX && r->bx_at != UNWIND_IN_REGISTER)
		return r->bx_at == UNWIND_LOST ? -EFAULT : unwind__word(m, r->bx_at, out);
	/* others are known in the innermost frame only, where nothing has been unwound */
	if (reg != UNWIND_BX && !r->innermost)
		return -EFAULT;
	*out = words[reg & (UNWIND_REGS - 1)];
	return 0;
}

/* The canonical frame address. 0 or -EFAULT. */
static __always_inline int unwind__cfa(const struct unwind_regs *r, const __u64 *words, const struct unwind_rule *rule,
				       UNWIND_MEMORY *m, __u64 *cfa)
{
	__u64 base = r->sp, index;

	switch (rule->cfa) {
	case UNWIND_FP:
	case UNWIND_FP_DEREF:
		base = r->fp;
		break;
	case UNWIND_REG:
		if (unwind__register(r, words, m, rule->reg, &base))
			return -EFAULT;
		break;
	case UNWIND_INDEXED:
		if (unwind__register(r, words, m, rule->reg, &index))
			return -EFAULT;
		base += 8 * index;
		break;
	case UNWIND_NONE:
		return -EFAULT;
	case UNWIND_PLT:
		/* a PLT slot pushes its index before it jumps: at its last instructions there is one word more */
		*cfa = base + rule->cfa_off + ((r->pc & 15) >= rule->reg ? 8 : 0);
		return 0;
	}
	*cfa = base + rule->cfa_off;
	if (rule->cfa == UNWIND_SP_DEREF || rule->cfa == UNWIND_FP_DEREF || rule->cfa == UNWIND_INDEXED ||
	    rule->cfa == UNWIND_SIGNAL) {
		if (unwind__word(m, *cfa, cfa))
			return -EFAULT;
		*cfa += rule->deref_off;
	}
	return 0;
}

/* The frame in which libgcc is about to go on, out of its context. An outcome. */
static __always_inline int unwind__land(struct unwind_regs *r, const struct unwind_rule *rule, UNWIND_MEMORY *m)
{
	__u64 context = r->fp + rule->cfa_off, cfa = 0, pc = 0, args = 0, fp = 0;

	if (unwind__word(m, context + UNWIND_CONTEXT_FP, &fp) || unwind__word(m, context + UNWIND_CONTEXT_CFA, &cfa) ||
	    unwind__word(m, context + UNWIND_CONTEXT_RA, &pc) || unwind__word(m, context + UNWIND_CONTEXT_ARGS, &args))
		return PYBPF_NATIVE_FAULT;
	cfa += args;
	if (cfa <= r->sp || cfa & 7)
		return PYBPF_NATIVE_BAD;
	if (unwind__word(m, fp, &fp))
		return PYBPF_NATIVE_FAULT;
	r->pc = pc;
	r->sp = r->cfa = cfa;
	r->fp = fp;
	r->bx_at = UNWIND_LOST;
	r->inexact = 0;
	r->innermost = 0;
	return pc ? PYBPF_OK : PYBPF_NATIVE_BAD;
}

/*
 * Applies the rule. words: the innermost frame's registers. A pybpf_outcome: OK, NATIVE_FAULT, NATIVE_BAD or NATIVE_REFUSED, with
 * NO_PYTHON standing for the end of the stack. r->cfa is then that of the frame that was left, unless the end is what the rule says.
 */
static __always_inline int unwind__step(struct unwind_regs *r, const __u64 *words, const struct unwind_rule *rule,
					UNWIND_MEMORY *m)
{
	__u64 cfa = 0, pc = 0, fp = r->fp, saved;

	if (rule->cfa == UNWIND_END)
		return PYBPF_NO_PYTHON;
	if (rule->cfa == UNWIND_UNKNOWN)
		return PYBPF_NATIVE_REFUSED;
	if (rule->cfa == UNWIND_LANDING)
		return unwind__land(r, rule, m);
	if (rule->flags & UNWIND_FORKS && r->innermost && !words[0])
		return PYBPF_NO_PYTHON;
	if (unwind__cfa(r, words, rule, m, &cfa))
		return PYBPF_NATIVE_FAULT;
	/*
	 * A signal's handler may have a stack of its own; otherwise frames only go up, or are empty (arm64, where a call pushes
	 * nothing).
	 */
	if (rule->cfa != UNWIND_SIGNAL && (cfa < r->sp || cfa & 7 || (cfa == r->sp && rule->ra_off != UNWIND_RA_SAME)))
		return PYBPF_NATIVE_BAD;
	if (rule->ra_off == UNWIND_RA_SAME) { /* in a register, which is known in the innermost frame only */
		if (!r->innermost)
			return PYBPF_NATIVE_FAULT;
		pc = r->lr;
	} else {
		saved = (rule->flags & UNWIND_RA_AT_SP ? r->sp : cfa) + rule->ra_off;
		if (unwind__word(m, saved, &pc))
			return PYBPF_NATIVE_FAULT;
	}
	if (rule->fp == UNWIND_FP_SAVED || rule->fp == UNWIND_FP_AT_FP || rule->fp == UNWIND_FP_AT_SP) {
		saved = rule->fp == UNWIND_FP_SAVED ? cfa : rule->fp == UNWIND_FP_AT_FP ? r->fp : r->sp;
		if (unwind__word(m, saved + rule->fp_off, &fp))
			return PYBPF_NATIVE_FAULT;
	}
	if (rule->fp == UNWIND_FP_UNKNOWN)
		fp = 0; /* no frame's: what needs it is not well formed */
	if (rule->flags & UNWIND_BX_SAVED)
		r->bx_at = cfa + rule->bx_off;
	if (rule->flags & UNWIND_BX_UNKNOWN)
		r->bx_at = UNWIND_LOST;
	r->inexact = !(rule->flags & UNWIND_SIGNAL_FRAME);
	r->pc = pc & UNWIND_PC_MASK;
	r->sp = r->cfa = cfa;
	r->fp = fp;
	r->innermost = 0;
	if (!pc && rule->flags & UNWIND_SIGNAL_FRAME) /* nobody was interrupted there */
		return PYBPF_NATIVE_BAD;
	return pc ? PYBPF_OK : PYBPF_NO_PYTHON;
}

/* CPython 3.12 and 3.13 with -X perf (Python/asm_trampoline.S, x86-64), behind `sub $8, %rsp`: call *%rcx; add $8, %rsp; ret */
#define UNWIND_TRAMPOLINE      0x00c308c48348d1ffull
#define UNWIND_TRAMPOLINE_MASK 0x00ffffffffffffffull

/*
 * libffi's closures, by which C calls Python functions of ctypes (3.4, src/x86/ffi64.c, `trampoline`): endbr64;
 * lea -11(%rip), %r10; jmp *7(%rip); nopl. The eight bytes at each of the three: none of them touches the stack.
 */
#define UNWIND_CLOSURE_ENDBR 0xf5158d4cfa1e0ff3ull
#define UNWIND_CLOSURE_LEA   0xfffffffff5158d4cull
#define UNWIND_CLOSURE_JMP   0x1f0f0000000725ffull

#if defined(__TARGET_ARCH_x86) || defined(__x86_64__)
#define UNWIND_RET 0xc3 /* ret, which takes its address from the top of the stack */
#else
#define UNWIND_RET 0x100 /* no byte */
#endif

/*
 * Code without a table may be about to return, or be a known trampoline or closure, or keep frame pointers, as that of
 * JIT compilers does: that is an educated guess. True with the return address, which must lie in code, when the frame
 * pointer points a little way up the stack.
 */
static __always_inline bool unwind__without_table(const struct unwind_regs *r, UNWIND_MEMORY *m, __u64 *pc,
						     struct unwind_rule *rule)
{
	__u64 code;

	if (!r->inexact && !unwind__word(m, r->pc, &code) &&
	    ((code & 0xff) == UNWIND_RET || code == UNWIND_CLOSURE_ENDBR || code == UNWIND_CLOSURE_LEA ||
	     code == UNWIND_CLOSURE_JMP)) {
		*rule = (struct unwind_rule){.cfa = UNWIND_SP, .cfa_off = 8, .ra_off = -8};
		return !unwind__word(m, r->sp, pc);
	}
	if (r->inexact && !unwind__word(m, r->pc - 2, &code) && (code & UNWIND_TRAMPOLINE_MASK) == UNWIND_TRAMPOLINE) {
		*rule = (struct unwind_rule){.cfa = UNWIND_SP, .cfa_off = 16, .ra_off = -8};
		return !unwind__word(m, r->sp + 8, pc);
	}
	if (r->fp - r->sp > UNWIND_FP_SPAN_MAX || unwind__word(m, r->fp + 8, pc))
		return false;
	*rule = (struct unwind_rule){
		.cfa = UNWIND_FP, .cfa_off = 16, .ra_off = -8, .fp = UNWIND_FP_SAVED, .fp_off = -16, .flags = UNWIND_BX_UNKNOWN,
	};
	return true;
}

#endif
