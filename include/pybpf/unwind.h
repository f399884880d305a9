/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Compact unwind tables: what user/unwind/ compiles from call frame information (DWARF 5 section 6.4, LSB 5.0
 * core part 10.6) and the BPF program looks up.
 *
 * A table is three arrays. Addresses are link-time ones; page n covers the 64 KiB from text_start + (n << 16).
 *   rules  struct unwind_rule, each different rule once
 *   rows   one u32 each: low 16 bits the address within its page from which a rule holds, high 16 bits
 *          the index of that rule; ascending within a page
 *   pages  u32 index of the first row of each page, and one more behind the last
 * Each page's first row is at offset 0, so the row that holds for an address is in the address's own page:
 * the last one of [pages[n], pages[n + 1]) whose offset is not above the address's.
 *
 * An address that a call returns to belongs to the instruction before it: look up the address minus 1, except in the
 * innermost frame and above a frame that UNWIND_SIGNAL_FRAME marks.
 *
 * Included after vmlinux.h by BPF, after <linux/types.h> by user space.
 */
#ifndef PYBPF_UNWIND_H
#define PYBPF_UNWIND_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define UNWIND_PAGE_SHIFT 16
#define UNWIND_PAGE_SIZE  (1U << UNWIND_PAGE_SHIFT)

/* "SP" and "FP" are rsp and rbp, or sp and x29; all offsets are in bytes. */
enum unwind_cfa {
	UNWIND_NONE,     /* no function known here */
	UNWIND_END,      /* outermost frame: a thread's or program's start */
	UNWIND_SP,       /* CFA = SP + cfa_off */
	UNWIND_FP,       /* CFA = FP + cfa_off */
	UNWIND_REG,      /* CFA = register `reg` (DWARF number) + cfa_off */
	UNWIND_SP_DEREF, /* CFA = *(SP + cfa_off) + deref_off */
	UNWIND_FP_DEREF, /* CFA = *(FP + cfa_off) + deref_off */
	UNWIND_INDEXED, /* CFA = *(SP + cfa_off + 8 * register `reg`) + deref_off: x86-64, behind arrays on the stack */
	UNWIND_PLT,     /* CFA = SP + cfa_off + ((PC & 15) >= reg ? 8 : 0) */
	UNWIND_SIGNAL,  /* CFA = *(SP + cfa_off); UNWIND_FP_AT_SP and UNWIND_RA_AT_SP come with it */
	UNWIND_LANDING, /* libgcc lands behind an exception: its context at FP + cfa_off tells all (x86-64) */
	UNWIND_UNKNOWN, /* there is a rule, but none of these */
};

/* The caller's FP. */
enum unwind_fp {
	UNWIND_FP_SAME,    /* as it is */
	UNWIND_FP_SAVED,   /* *(CFA + fp_off) */
	UNWIND_FP_AT_FP,   /* *(FP + fp_off): realigned stacks */
	UNWIND_FP_AT_SP,   /* *(SP + fp_off): signal frames, and frames of more than 32 KB */
	UNWIND_FP_UNKNOWN, /* lost, or a rule that is none of these */
};

enum unwind_flag {
	/*
	 * A signal handler's caller: the registers found are those of the interrupted instruction, so the
	 * address is looked up as it is.
	 */
	UNWIND_SIGNAL_FRAME = 1 << 0,
	UNWIND_RA_SIGNED = 1 << 1,  /* the return address carries a pointer authentication code (arm64): mask it */
	UNWIND_RA_AT_SP = 1 << 2,   /* RA = *(SP + ra_off): signal frames, and frames of more than 32 KB (arm64) */
	UNWIND_BX_SAVED = 1 << 3,   /* the caller's rbx = *(CFA + bx_off); without it as it is */
	UNWIND_BX_UNKNOWN = 1 << 4, /* the caller's rbx: lost, or elsewhere */
	UNWIND_FORKS = 1 << 5,      /* in a child whose stack is new, with rax 0, the outermost frame (x86-64) */
};

/* ra_off: the return address is still in the link register (arm64), or in rcx (x86-64, where libgcc lands) */
#define UNWIND_RA_SAME 0x7fff

/*
 * libgcc's struct _Unwind_Context on x86-64 (libgcc/unwind-dw2.c, since GCC 4.3): addresses of the registers' values by
 * their DWARF numbers, of which rbp has number 6, then the CFA, the address to go on at, and behind it the bytes of
 * arguments on the stack.
 */
#define UNWIND_CONTEXT_FP   (6 * 8)
#define UNWIND_CONTEXT_CFA  (18 * 8)
#define UNWIND_CONTEXT_RA   (19 * 8)
#define UNWIND_CONTEXT_ARGS (26 * 8)

struct unwind_rule {
	__s32 cfa_off;
	__s16 deref_off;
	__s16 bx_off;
	__s16 fp_off;
	__s16 ra_off; /* RA = *(CFA + ra_off), -8 on x86-64; or UNWIND_RA_SAME, UNWIND_RA_AT_SP */
	__u8 cfa;     /* enum unwind_cfa */
	__u8 reg;     /* UNWIND_REG, UNWIND_INDEXED: DWARF register number; UNWIND_PLT: where in 16 bytes the push has happened */
	__u8 fp;      /* enum unwind_fp */
	__u8 flags;   /* enum unwind_flag */
};
_Static_assert(sizeof(struct unwind_rule) == 16, "struct unwind_rule");

/*
 * rbx is followed, beside FP, because the dynamic linker's trampolines have their CFA by it while they call others (glibc
 * sysdeps/x86_64/dl-trampoline.h). Of the other registers CFAs are by, all are a caller's to save: they tell of the innermost
 * frame alone.
 */
#define UNWIND_BX 3 /* its DWARF number (psABI x86-64, figure 3.36) */

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define UNWIND_PC_MASK ((1ull << 48) - 1) /* without a pointer authentication code */
#else
#define UNWIND_PC_MASK ~0ull
#endif
#define UNWIND_REGS        64 /* room for registers by DWARF number */
#define UNWIND_FP_SPAN_MAX (1 << 20) /* a frame pointer farther from the stack pointer is none */

/* The registers of the frame that a walk stands at. */
struct unwind_regs {
	__u64 pc, sp, fp;
	__u64 lr;        /* arm64; rcx */
	__u64 cfa;       /* of the frame before */
	__u64 bx_at;     /* address that rbx was saved at, UNWIND_IN_REGISTER or UNWIND_LOST */
	__u64 inexact;   /* 1: pc is a return address */
	__u64 innermost; /* 1: nothing has been unwound */
};
#define UNWIND_IN_REGISTER 0
#define UNWIND_LOST        1

#define UNWIND_ROW(offset, rule)  ((__u32)(rule) << 16 | (__u32)(offset))
#define UNWIND_ROW_OFFSET(row)    ((row) & 0xffff)
#define UNWIND_ROW_RULE(row)      ((row) >> 16)

#endif
