/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the registers in front of an instruction of x86-64, and what instructions make of it. */
#ifndef PYBPF_UNWIND_STATE_X86_H
#define PYBPF_UNWIND_STATE_X86_H

#include <stdbool.h>
#include <stdint.h>

#include "pybpf/unwind.h"
#include "unwind/insn_x86.h"

/* A register's value: a distance from CFA, or one of these. */
#define STATE_UNKNOWN    INT32_MIN
#define STATE_FAR        (1 << 24) /* distances beyond this are none of a stack */
#define STATE_RETURN     (STATE_FAR + 1) /* the address that the function returns to */
#define STATE_FORKED     (STATE_FAR + 2) /* what clone has returned: 0 in the child, whose stack may be a new one */
#define STATE_NUMBER(n)  (2 * STATE_FAR + (int32_t)(n))
#define STATE_NUMBERS    0x10000 /* those below this are told apart */
#define STATE_ADDRESS(i) (4 * STATE_FAR + (int32_t)(i)) /* i is the follower's number for it */
#define STATE_ADDRESSES  64 /* likewise */
#define STATE_ENTRY(i)   (5 * STATE_FAR + (int32_t)(i)) /* of the table of 32-bit distances at that address, any of them */
#define STATE_TARGET(i)  (6 * STATE_FAR + (int32_t)(i)) /* that address and such a distance */
#define STATE_AT_START   (-8) /* the stack pointer's distance at a function's start */
#define STATE_KEPT       2

/* Only ever less is known, when another path leads to an instruction. */
struct state_x86 {
	int32_t regs[X86_REGS];
	/* for rbp and rbx: where the caller's is saved, from CFA (UNKNOWN), and is the register the caller's still, or again? */
	int32_t saved[STATE_KEPT];
	bool is_callers[STATE_KEPT];
	bool has_return; /* the return address is where it was at the start */
	bool certain;    /* the instruction is one of this function, whatever the functions that are called do */
};

static inline bool state_x86__is_distance(int32_t value)
{
	return value >= -STATE_FAR && value <= STATE_FAR;
}

static inline bool state_x86__is_address(int32_t value)
{
	return value >= STATE_ADDRESS(0) && value < STATE_ADDRESS(STATE_ADDRESSES);
}

static inline bool state_x86__is_target(int32_t value)
{
	return value >= STATE_TARGET(0) && value < STATE_TARGET(STATE_ADDRESSES);
}

/* At a function's start. */
struct state_x86 state_x86__start(void);

/* As at a function's start, as far as that matters to its callers: those of rbx are told apart by is_callers[1]. */
bool state_x86__can_leave(const struct state_x86 *s);

/* Two paths meet: what both know. True when that is not what was known. */
bool state_x86__meet(struct state_x86 *known, const struct state_x86 *other);

/*
 * What an instruction that goes on behind itself makes of it. `address`: its number for the address that it takes, where it is
 * such a lea; else negative.
 */
void state_x86__step(const struct insn_x86 *i, struct state_x86 *s, int32_t address);
/* A function has been called, and has returned. */
void state_x86__step_call(struct state_x86 *s);

/* Is it a system call that returns in a child as well, with a stack of its own? */
bool state_x86__forks(const struct insn_x86 *i, const struct state_x86 *s);

/* The rule that a state makes. bx_lost: the function returns without its caller's rbx. */
struct unwind_rule state_x86__rule(const struct state_x86 *s, bool bx_lost);

#endif
