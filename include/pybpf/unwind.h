/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Unwind tables, as user space compiles them from a file's call frame information and the BPF program looks them up.
 *
 * A row is a u32: in its low 16 bits the address within 64 KiB of code (a page) from which on it holds, in its high 16 bits
 * the index of its rule among the table's rules. Rows of a page are sorted; the first one is at address 0, carrying on
 * what held at the end of the page before. Included after vmlinux.h or <linux/types.h>, as abi.h.
 */
#ifndef PYBPF_UNWIND_H
#define PYBPF_UNWIND_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* How the canonical frame address (CFA) follows from a frame's registers. SP, FP: rsp, rbp; on arm64 sp, x29. */
enum unwind_cfa {
	UNWIND_NONE = 0, /* nothing is known of this code: a gap between functions */
	UNWIND_END,      /* outermost frame: its return address is undefined */
	UNWIND_SP,       /* SP + cfa_off */
	UNWIND_FP,       /* FP + cfa_off */
	UNWIND_REG,      /* register `reg` + cfa_off */
	UNWIND_SP_DEREF, /* *(SP + cfa_off) + deref_off: realigned stacks */
	UNWIND_FP_DEREF, /* *(FP + cfa_off) + deref_off */
	UNWIND_PLT,      /* SP + cfa_off, and 8 more where the low four bits of the address are at least `reg` */
	/* A signal's frame: the CFA is *(SP + cfa_off), the return address *(SP + ra_off), FP *(SP + fp_off); the return address is
	 * the interrupted instruction itself. */
	UNWIND_SIGNAL,
	UNWIND_UNKNOWN, /* by an expression that is none of these */
};

enum unwind_fp {
	UNWIND_FP_SAME = 0, /* as it is */
	UNWIND_FP_SAVED,    /* at CFA + fp_off */
	UNWIND_FP_UNKNOWN,  /* undefined, or by an expression; unwinding goes on without it */
};

#define UNWIND_RA_SAME 0x7fff /* ra_off: the return address is still in the link register (arm64) */

struct unwind_rule {
	__s32 cfa_off;
	__s32 deref_off;
	__s16 fp_off;
	__s16 ra_off; /* the return address is at CFA + ra_off: -8 on x86-64 */
	__u8 cfa;     /* enum unwind_cfa */
	__u8 reg;     /* DWARF number, for UNWIND_REG */
	__u8 fp;      /* enum unwind_fp */
	__u8 flags;   /* 0 */
};

_Static_assert(sizeof(struct unwind_rule) == 16, "struct unwind_rule changed its size");

#endif
