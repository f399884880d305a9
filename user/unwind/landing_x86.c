// SPDX-License-Identifier: Apache-2.0
#include "unwind/landing_x86.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "unwind/insn_x86.h"

#define MAX_BETWEEN 12 /* instructions between the two calls; GCC 4 to 15 have 4 to 6 */

static bool is_call(const struct insn_x86 *i)
{
	return !i->map && !i->vex && i->op == 0xe8;
}

/* mov disp(%rbp), register */
static bool is_variable(const struct insn_x86 *i)
{
	return !i->map && !i->vex && i->op == 0x8b && i->rex_w && i->plain && !i->has_sib && i->rm == X86_RBP;
}

/* Where else an instruction leads to, from its end; 0: nowhere. */
static int64_t branch(const struct insn_x86 *i)
{
	if (i->vex)
		return 0;
	if (i->map == 1)
		return (i->op & 0xf0) == 0x80 ? i->imm : 0;
	return !i->map && ((i->op & 0xf0) == 0x70 || (i->op & 0xfc) == 0xe0 || i->op == 0xe9 || i->op == 0xeb) ? i->imm
													       : 0;
}

/*
 * Behind uw_install_context_1 comes _Unwind_DebugHook(context.cfa, context.ra), and nothing but its arguments in
 * between. True and the context's place from rbp when that is what begins at `at`, behind a call.
 */
static bool find_context(const uint8_t *code, size_t n, size_t at, int64_t *context)
{
	int64_t cfa = 0, seen[MAX_BETWEEN];
	size_t count = 0;
	struct insn_x86 i;

	for (int k = 0; k < MAX_BETWEEN && insn_x86__read(code + at, n - at, &i); k++) {
		at += i.length;
		if (is_call(&i)) {
			*context = cfa - UNWIND_CONTEXT_CFA;
			for (size_t j = 0; j < count; j++)
				if (cfa && seen[j] == *context + UNWIND_CONTEXT_RA)
					return true;
			return false;
		}
		if (branch(&i))
			return false;
		if (is_variable(&i) && i.reg == X86_RDI)
			cfa = i.disp;
		else if (is_variable(&i))
			seen[count++] = i.disp;
	}
	return false;
}

/* Does nothing in [from, to) lead out of it, and does an instruction end at `to`? */
static bool is_closed(const uint8_t *code, size_t from, size_t to)
{
	size_t at = from;
	struct insn_x86 i;

	while (at < to && insn_x86__read(code + at, to - at, &i)) {
		int64_t by = branch(&i), target;

		at += i.length;
		target = (int64_t)at + by;
		if (by && (target < (int64_t)from || target >= (int64_t)to))
			return false;
	}
	return at == to;
}

int landing_x86(const uint8_t *code, size_t n, uint64_t start, uint64_t leaves, filler_list *out)
{
	static const uint8_t move[] = {0x48, 0x89, 0xcc}, pop_jump[] = {0x59, 0xff, 0xe1}, ret = 0xc3;
	struct unwind_rule rule = {.cfa = UNWIND_LANDING}, end = {.flags = UNWIND_SIGNAL_FRAME, .ra_off = -8};
	size_t leave = leaves - start, install = SIZE_MAX, at = 0;
	int64_t context = 0, found;
	struct insn_x86 i;
	bool pops;

	if (leave >= n || n - leave < sizeof(move) + 1 || memcmp(code + leave, move, sizeof(move)) != 0)
		return -ENOTSUP;
	pops = n - leave >= sizeof(move) + sizeof(pop_jump) &&
	       !memcmp(code + leave + sizeof(move), pop_jump, sizeof(pop_jump));
	if (!pops && code[leave + sizeof(move)] != ret)
		return -ENOTSUP;
	for (; at < leave && insn_x86__read(code + at, leave - at, &i); at += i.length) {
		if (is_call(&i) && find_context(code, leave, at + i.length, &found)) {
			install = at;
			context = found;
		}
	}
	if (at != leave || install == SIZE_MAX || context != (int32_t)context || !is_closed(code, install, leave))
		return -ENOTSUP;
	if (vec__reserve(out, out->len + 4))
		return -ENOMEM;
	rule.cfa_off = (int32_t)context;
	vec__push(out, (struct filler){start + install, leaves, rule});
	/* mov %rcx, %rsp, and what is reckoned from rcx and rsp there is right, but for the address being none of a
	 * call */
	end.cfa = UNWIND_REG;
	end.reg = 2;
	end.cfa_off = 8;
	vec__push(out, (struct filler){leaves, leaves + sizeof(move), end});
	leaves += sizeof(move);
	end.cfa = UNWIND_SP;
	end.reg = 0;
	vec__push(out, (struct filler){leaves, leaves + 1, end});
	if (pops) {
		end.cfa_off = 0;
		end.ra_off = UNWIND_RA_SAME;
		vec__push(out, (struct filler){leaves + 1, leaves + sizeof(pop_jump), end});
	}
	return 0;
}
