// SPDX-License-Identifier: Apache-2.0
#include "unwind/follow_x86.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "unwind/insn_x86.h"

#define UNKNOWN    INT32_MIN
#define AT_START   (-8) /* the stack pointer at a function's start, from CFA */
#define FAR        (1 << 24) /* offsets from CFA beyond this are none of a stack */
#define NOWHERE    UINT32_MAX
#define KEPT       2
/*
 * How many instructions are looked at, with those that are met in another state again. OpenBLAS's need 0.25 for each byte of code;
 * what is made to need more could take 80 times as long.
 */
#define MAX_STEPS(n) ((n) + 1000)

/* What is known in front of an instruction. Only ever less is known of it, when another path leads to it. */
struct state {
	int32_t regs[X86_REGS]; /* register = CFA + this; UNKNOWN */
	/* for each of kept[]: where the caller's is saved, from CFA (UNKNOWN), and is the register the caller's still, or again? */
	int32_t saved[KEPT];
	bool is_callers[KEPT];
};

/* Registers whose values in the callers their rules may need. */
static const uint8_t kept[KEPT] = {X86_RBP, X86_RBX};

struct follow {
	const uint8_t *code;
	size_t n;
	uint32_t *at; /* for each byte of code, the index of its state; NOWHERE: no instruction that is reached begins here */
	struct vec(struct state) states;
	struct vec(uint32_t) todo; /* offsets of instructions */
	size_t steps;
	bool returns;
	bool bx_lost; /* somewhere the caller's is not in rbx again when the function is left */
};

static int32_t moved(int32_t value, int64_t by)
{
	if (value == UNKNOWN || by > FAR || by < -FAR || value + by > FAR || value + by < -FAR)
		return UNKNOWN;
	return value + (int32_t)by;
}

/* Two paths meet: what both know. True when that is less than was known. */
static bool meet(struct state *known, const struct state *other)
{
	bool less = false;

	for (size_t i = 0; i < X86_REGS; i++) {
		if (known->regs[i] != other->regs[i] && known->regs[i] != UNKNOWN) {
			known->regs[i] = UNKNOWN;
			less = true;
		}
	}
	for (size_t k = 0; k < KEPT; k++) {
		if (known->saved[k] != other->saved[k] && known->saved[k] != UNKNOWN) {
			known->saved[k] = UNKNOWN;
			less = true;
		}
		if (known->is_callers[k] && !other->is_callers[k]) {
			known->is_callers[k] = false;
			less = true;
		}
	}
	return less;
}

/* Control comes to the instruction at `to` with a state. */
static int reach(struct follow *f, size_t to, const struct state *s)
{
	if (to >= f->n)
		return -ENOTSUP;
	if (f->at[to] != NOWHERE)
		return meet(&f->states.data[f->at[to]], s) ? vec__push(&f->todo, (uint32_t)to) : 0;
	f->at[to] = (uint32_t)f->states.len;
	return vec__push(&f->states, *s) || vec__push(&f->todo, (uint32_t)to) ? -ENOMEM : 0;
}

/* The function is left: by a return, or by a jump to another one, which returns in its place. */
static int leave(struct follow *f, const struct state *s)
{
	if (s->regs[X86_RSP] != AT_START || !s->is_callers[0])
		return -ENOTSUP;
	f->bx_lost |= !s->is_callers[1];
	f->returns = true;
	return 0;
}

static int jump(struct follow *f, size_t next, int64_t by, const struct state *s)
{
	int64_t to = (int64_t)next + by;

	return to >= 0 && to < (int64_t)f->n ? reach(f, (size_t)to, s) : leave(f, s);
}

static void set(struct state *s, unsigned int reg, int32_t value)
{
	s->regs[reg] = value;
	for (size_t k = 0; k < KEPT; k++)
		s->is_callers[k] &= reg != kept[k];
}

/* The register is written to CFA + `to`. */
static void store(struct state *s, unsigned int reg, int32_t to)
{
	for (size_t k = 0; k < KEPT; k++) {
		if (reg == kept[k] && s->is_callers[k])
			s->saved[k] = to;
		else if (to == s->saved[k])
			s->saved[k] = UNKNOWN;
	}
}

static void push(struct state *s, unsigned int reg)
{
	s->regs[X86_RSP] = moved(s->regs[X86_RSP], -8);
	store(s, reg, s->regs[X86_RSP]);
}

/* The register becomes what is at CFA + `from`. */
static void load(struct state *s, unsigned int reg, int32_t from)
{
	set(s, reg, UNKNOWN);
	for (size_t k = 0; k < KEPT; k++)
		s->is_callers[k] |= reg == kept[k] && from != UNKNOWN && from == s->saved[k];
}

static void pop(struct state *s, unsigned int reg)
{
	int32_t from = s->regs[X86_RSP];

	load(s, reg, from);
	if (reg != X86_RSP)
		s->regs[X86_RSP] = moved(from, 8);
}

/* Where a memory operand is, from CFA. */
static int32_t place(const struct insn_x86 *i, const struct state *s)
{
	return i->plain ? moved(s->regs[i->rm], i->disp) : UNKNOWN;
}

/* add and sub of a constant. */
static bool step_sum(const struct insn_x86 *i, struct state *s)
{
	if ((i->op != 0x81 && i->op != 0x83) || i->mod != 3 || !i->rex_w || (i->group != 0 && i->group != 5))
		return false;
	set(s, i->rm, moved(s->regs[i->rm], i->group ? -i->imm : i->imm));
	return true;
}

/* mov and lea of 64 bits. */
static bool step_move(const struct insn_x86 *i, struct state *s)
{
	if (!i->rex_w)
		return false;
	if (i->op == 0x8d) {
		set(s, i->reg, place(i, s));
	} else if (i->op == 0x89 && i->mod == 3) {
		set(s, i->rm, s->regs[i->reg]);
	} else if (i->op == 0x8b && i->mod == 3) {
		set(s, i->reg, s->regs[i->rm]);
	} else if (i->op == 0x8b) {
		load(s, i->reg, place(i, s));
	} else if (i->op == 0x89) {
		if (place(i, s) != UNKNOWN)
			store(s, i->reg, place(i, s));
	} else {
		return false;
	}
	return true;
}

/* Instructions that move the stack pointer by themselves. */
static bool step_stack(const struct insn_x86 *i, struct state *s)
{
	uint8_t op = i->op;

	if ((op & 0xf8) == 0x50) {
		push(s, i->embedded);
	} else if ((op & 0xf8) == 0x58) {
		pop(s, i->embedded);
	} else if (op == 0x68 || op == 0x6a || op == 0x9c || (op == 0xff && i->group == 6)) {
		push(s, X86_RAX);
	} else if (op == 0x9d) {
		s->regs[X86_RSP] = moved(s->regs[X86_RSP], 8);
	} else if (op == 0xc9) {
		s->regs[X86_RSP] = s->regs[X86_RBP];
		pop(s, X86_RBP);
	} else {
		return false;
	}
	if (i->op_size) /* 2 bytes rather than 8 */
		s->regs[X86_RSP] = UNKNOWN;
	return true;
}

/* A function was called, and has returned: System V ABI x86-64, figure 3.4. */
static void step_call(struct state *s)
{
	static const uint8_t changed[] = {X86_RAX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, 8, 9, 10, 11};

	for (size_t k = 0; k < sizeof(changed); k++)
		s->regs[changed[k]] = UNKNOWN;
}

/* What the instruction makes of the state. */
static void step(const struct insn_x86 *i, struct state *s)
{
	if (!i->map && !i->vex && (step_sum(i, s) || step_move(i, s) || step_stack(i, s)))
		return;
	for (unsigned int r = 0; r < X86_REGS; r++)
		if (insn_x86__may_change(i, r))
			set(s, r, UNKNOWN);
}

static int follow_one(struct follow *f, size_t at)
{
	struct state s = f->states.data[f->at[at]];
	struct insn_x86 i;
	size_t next;
	int err;

	if (!insn_x86__read(f->code + at, f->n - at, &i))
		return -ENOTSUP;
	next = at + i.length;
	if (!i.vex && i.map == 0) {
		switch (i.op) {
		case 0xc3: /* ret */
			return leave(f, &s);
		case 0xe9: /* jmp */
		case 0xeb:
			return jump(f, next, i.imm, &s);
		case 0xe8: /* call; of what follows, where it only asks for its address */
			if (!i.imm)
				return -ENOTSUP;
			step_call(&s);
			return reach(f, next, &s);
		case 0xcc: /* int3 */
			return 0;
		case 0xc2:
			return -ENOTSUP;
		case 0xff:
			if (i.group == 4)
				return leave(f, &s);
			if (i.group == 3 || i.group == 5)
				return -ENOTSUP;
			if (i.group == 2) {
				step_call(&s);
				return reach(f, next, &s);
			}
		}
		if ((i.op & 0xf0) == 0x70 || (i.op & 0xfc) == 0xe0) {
			step(&i, &s);
			err = jump(f, next, i.imm, &s);
			return err ? err : reach(f, next, &s);
		}
	}
	if (!i.vex && i.map == 1 && (i.op & 0xf0) == 0x80) {
		err = jump(f, next, i.imm, &s);
		return err ? err : reach(f, next, &s);
	}
	if (!i.vex && i.map == 1 && i.op == 0x0b) /* ud2 */
		return 0;
	step(&i, &s);
	return reach(f, next, &s);
}

static bool fits16(int32_t offset)
{
	return offset >= INT16_MIN && offset < INT16_MAX;
}

/* Where the caller's registers are. */
static void add_kept(const struct state *s, bool bx_lost, struct unwind_rule *rule)
{
	if (s->is_callers[0]) {
		rule->fp = UNWIND_FP_SAME;
	} else if (s->saved[0] != UNKNOWN && fits16(s->saved[0])) {
		rule->fp = UNWIND_FP_SAVED;
		rule->fp_off = (int16_t)s->saved[0];
	} else {
		rule->fp = UNWIND_FP_UNKNOWN;
	}
	if (s->is_callers[1] && !bx_lost)
		return;
	if (s->saved[1] != UNKNOWN && fits16(s->saved[1]) && !bx_lost) {
		rule->flags |= UNWIND_BX_SAVED;
		rule->bx_off = (int16_t)s->saved[1];
	} else {
		rule->flags |= UNWIND_BX_UNKNOWN;
	}
}

/* The rule that a state makes. */
static struct unwind_rule rule_of(const struct state *s, bool bx_lost)
{
	struct unwind_rule rule = {.ra_off = AT_START};
	/* DWARF's numbers: System V ABI x86-64, figure 3.36 */
	static const uint8_t dwarf[X86_REGS] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};
	unsigned int reg = X86_RSP;

	if (s->regs[reg] == UNKNOWN && s->regs[X86_RBP] != UNKNOWN)
		reg = X86_RBP;
	for (unsigned int r = 0; r < X86_REGS && s->regs[reg] == UNKNOWN; r++)
		if (s->regs[r] != UNKNOWN)
			reg = r;
	if (s->regs[reg] == UNKNOWN)
		return (struct unwind_rule){.cfa = UNWIND_UNKNOWN};
	rule.cfa = reg == X86_RSP ? UNWIND_SP : reg == X86_RBP ? UNWIND_FP : UNWIND_REG;
	rule.reg = rule.cfa == UNWIND_REG ? dwarf[reg] : 0;
	rule.cfa_off = -s->regs[reg];
	add_kept(s, bx_lost, &rule);
	return rule;
}

static int append(const struct follow *f, uint64_t start, filler_list *out)
{
	size_t before = out->len;

	for (size_t at = 0; at < f->n; at++) {
		struct filler one = {.start = start + at};
		struct filler *last = out->len > before ? &out->data[out->len - 1] : NULL;
		struct insn_x86 i;

		if (f->at[at] == NOWHERE || !insn_x86__read(f->code + at, f->n - at, &i))
			continue;
		one.end = one.start + i.length;
		one.rule = rule_of(&f->states.data[f->at[at]], f->bx_lost);
		if (last && last->end == one.start && !memcmp(&last->rule, &one.rule, sizeof(one.rule))) {
			last->end = one.end;
		} else if (last && last->end > one.start) { /* jumped into the middle of an instruction */
			out->len = before;
			return -ENOTSUP;
		} else if (vec__push(out, one)) {
			out->len = before;
			return -ENOMEM;
		}
	}
	return 0;
}

static int run(struct follow *f, uint64_t start, filler_list *out)
{
	struct state first = {.saved = {UNKNOWN, UNKNOWN}, .is_callers = {true, true}};
	int err;

	for (size_t r = 0; r < X86_REGS; r++)
		first.regs[r] = r == X86_RSP ? AT_START : UNKNOWN;
	err = reach(f, 0, &first);
	while (!err && f->todo.len) {
		err = f->steps++ < MAX_STEPS(f->n) ? 0 : -E2BIG;
		f->todo.len--;
		err = err ? err : follow_one(f, f->todo.data[f->todo.len]);
	}
	if (!err && !f->returns)
		err = -ENOTSUP;
	return err ? err : append(f, start, out);
}

int follow_x86(const uint8_t *code, size_t n, uint64_t start, filler_list *out)
{
	struct follow f = {.code = code, .n = n};
	int err = -ENOMEM;

	if (!n)
		return -ENOTSUP;
	if (n > FOLLOW_MAX_CODE)
		return -E2BIG;
	f.at = malloc(n * sizeof(*f.at));
	if (f.at) {
		memset(f.at, 0xff, n * sizeof(*f.at));
		err = run(&f, start, out);
	}
	free(f.at);
	vec__free(&f.states);
	vec__free(&f.todo);
	return err;
}
