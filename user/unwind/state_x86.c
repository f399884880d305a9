// SPDX-License-Identifier: Apache-2.0
#include "unwind/state_x86.h"

#include <stddef.h>

#define UNKNOWN  STATE_UNKNOWN
#define AT_START STATE_AT_START
#define FAR      STATE_FAR
#define KEPT     STATE_KEPT
/* Linux arch/x86/entry/syscalls/syscall_64.tbl */
#define SYS_CLONE  56
#define SYS_CLONE3 435

/* Registers whose values in the callers their rules may need. */
static const uint8_t kept[KEPT] = {X86_RBP, X86_RBX};

static int32_t moved(int32_t value, int64_t by)
{
	if (!state_x86__is_distance(value) || by > FAR || by < -FAR || value + by > FAR || value + by < -FAR)
		return UNKNOWN;
	return value + (int32_t)by;
}

struct state_x86 state_x86__start(void)
{
	struct state_x86 s = {.saved = {UNKNOWN, UNKNOWN}, .is_callers = {true, true}, .has_return = true, .certain = true};

	for (size_t r = 0; r < X86_REGS; r++)
		s.regs[r] = r == X86_RSP ? AT_START : UNKNOWN;
	return s;
}

bool state_x86__can_leave(const struct state_x86 *s)
{
	return s->regs[X86_RSP] == AT_START && s->has_return && s->is_callers[0];
}

bool state_x86__meet(struct state_x86 *known, const struct state_x86 *other)
{
	bool less = (known->has_return && !other->has_return) || (!known->certain && other->certain);

	known->has_return &= other->has_return;
	known->certain |= other->certain;
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

static void set(struct state_x86 *s, unsigned int reg, int32_t value)
{
	s->regs[reg] = value;
	for (size_t k = 0; k < KEPT; k++)
		s->is_callers[k] &= reg != kept[k];
}

/* The register is written to CFA + `to`. */
static void store(struct state_x86 *s, unsigned int reg, int32_t to)
{
	if (to > 2 * AT_START && to < 0)
		s->has_return = to == AT_START && s->regs[reg] == STATE_RETURN;
	for (size_t k = 0; k < KEPT; k++) {
		if (reg == kept[k] && s->is_callers[k])
			s->saved[k] = to;
		else if (to == s->saved[k])
			s->saved[k] = UNKNOWN;
	}
}

static void push(struct state_x86 *s, unsigned int reg)
{
	s->regs[X86_RSP] = moved(s->regs[X86_RSP], -8);
	store(s, reg, s->regs[X86_RSP]);
}

/* Something else is pushed. */
static void push_other(struct state_x86 *s)
{
	int32_t to = moved(s->regs[X86_RSP], -8);

	s->regs[X86_RSP] = to;
	for (size_t k = 0; k < KEPT; k++)
		if (to == s->saved[k])
			s->saved[k] = UNKNOWN;
	if (to > 2 * AT_START && to < 0)
		s->has_return = false;
}

/* The register becomes what is at CFA + `from`. */
static void load(struct state_x86 *s, unsigned int reg, int32_t from)
{
	set(s, reg, from == AT_START && s->has_return ? STATE_RETURN : UNKNOWN);
	for (size_t k = 0; k < KEPT; k++)
		s->is_callers[k] |= reg == kept[k] && from != UNKNOWN && from == s->saved[k];
}

static void pop(struct state_x86 *s, unsigned int reg)
{
	int32_t from = s->regs[X86_RSP];

	load(s, reg, from);
	if (reg != X86_RSP)
		s->regs[X86_RSP] = moved(from, 8);
}

/* Where a memory operand is, from CFA. */
static int32_t place(const struct insn_x86 *i, const struct state_x86 *s)
{
	return i->plain ? moved(s->regs[i->rm], i->disp) : UNKNOWN;
}

/* add and sub of a constant. */
static bool step_sum(const struct insn_x86 *i, struct state_x86 *s)
{
	if ((i->op != 0x81 && i->op != 0x83) || i->mod != 3 || !i->rex_w || (i->group != 0 && i->group != 5))
		return false;
	set(s, i->rm, moved(s->regs[i->rm], i->group ? -i->imm : i->imm));
	return true;
}

/* xor of a register with itself, and mov of a constant. */
static bool step_number(const struct insn_x86 *i, struct state_x86 *s)
{
	bool is_xor = (i->op == 0x31 || i->op == 0x33) && i->mod == 3 && i->rm == i->reg;
	bool is_mov = (i->op & 0xf8) == 0xb8 || (i->op == 0xc7 && i->mod == 3 && !i->group);
	bool known = is_xor || (i->imm >= 0 && i->imm < STATE_NUMBERS);

	if (i->op == 0xb0 && i->embedded == X86_RAX && s->regs[X86_RAX] >= STATE_NUMBER(0) &&
	    s->regs[X86_RAX] < STATE_NUMBER(STATE_NUMBERS)) { /* al */
		s->regs[X86_RAX] = (s->regs[X86_RAX] & ~0xff) | (int32_t)(i->imm & 0xff);
		return true;
	}
	if ((!is_xor && !is_mov) || i->op_size)
		return false;
	set(s, i->op >= 0xb8 && i->op < 0xc0 ? i->embedded : i->rm, known ? STATE_NUMBER(is_xor ? 0 : i->imm) : UNKNOWN);
	return true;
}

/* movslq (table, index, 4), register; add table, register: what a switch jumps to. */
static bool step_table(const struct insn_x86 *i, struct state_x86 *s)
{
	int32_t a = s->regs[i->rm], b = s->regs[i->reg];

	if (!i->rex_w)
		return false;
	if (i->op == 0x63 && i->scale == 4 && !i->no_base && !i->disp && state_x86__is_address(a)) {
		set(s, i->reg, a + (STATE_ENTRY(0) - STATE_ADDRESS(0)));
		return true;
	}
	if ((i->op != 0x01 && i->op != 0x03) || i->mod != 3)
		return false;
	if (state_x86__is_address(b)) {
		int32_t other = a;

		a = b;
		b = other;
	}
	if (!state_x86__is_address(a) || (int64_t)b - a != STATE_ENTRY(0) - STATE_ADDRESS(0))
		return false;
	set(s, i->op == 0x01 ? i->rm : i->reg, a + (STATE_TARGET(0) - STATE_ADDRESS(0)));
	return true;
}

/* mov and lea of 64 bits. */
static bool step_move(const struct insn_x86 *i, struct state_x86 *s)
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
static bool step_stack(const struct insn_x86 *i, struct state_x86 *s)
{
	uint8_t op = i->op;

	if ((op & 0xf8) == 0x50) {
		push(s, i->embedded);
	} else if ((op & 0xf8) == 0x58) {
		pop(s, i->embedded);
	} else if (op == 0x8f) {
		s->regs[X86_RSP] = moved(s->regs[X86_RSP], 8);
		if (i->mod == 3)
			set(s, i->rm, UNKNOWN);
	} else if (op == 0x68 || op == 0x6a || op == 0x9c || (op == 0xff && i->group == 6)) {
		push_other(s);
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

/* System V ABI x86-64, figure 3.4. */
void state_x86__step_call(struct state_x86 *s)
{
	static const uint8_t changed[] = {X86_RAX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, 8, 9, 10, 11};

	for (size_t k = 0; k < sizeof(changed); k++)
		s->regs[changed[k]] = UNKNOWN;
	if (s->regs[X86_RSP] > AT_START) /* the call has pushed over it */
		s->has_return = false;
}

bool state_x86__forks(const struct insn_x86 *i, const struct state_x86 *s)
{
	return i->map == 1 && !i->vex && i->op == 0x05 &&
	       (s->regs[X86_RAX] == STATE_NUMBER(SYS_CLONE) || s->regs[X86_RAX] == STATE_NUMBER(SYS_CLONE3));
}

void state_x86__step(const struct insn_x86 *i, struct state_x86 *s, int32_t address)
{
	bool forks = state_x86__forks(i, s);

	if (address >= 0) {
		set(s, i->reg, address < STATE_ADDRESSES ? STATE_ADDRESS(address) : UNKNOWN);
		return;
	}
	if (!i->map && !i->vex && (step_sum(i, s) || step_number(i, s) || step_table(i, s) || step_move(i, s) || step_stack(i, s)))
		return;
	for (unsigned int r = 0; r < X86_REGS; r++)
		if (insn_x86__may_change(i, r))
			set(s, r, UNKNOWN);
	if (forks)
		s->regs[X86_RAX] = STATE_FORKED;
}

static bool fits16(int32_t offset)
{
	return offset >= INT16_MIN && offset < INT16_MAX;
}

/* Where the caller's registers are. */
static void add_kept(const struct state_x86 *s, bool bx_lost, struct unwind_rule *rule)
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

struct unwind_rule state_x86__rule(const struct state_x86 *s, bool bx_lost)
{
	struct unwind_rule rule = {.ra_off = AT_START};
	/* DWARF's numbers: System V ABI x86-64, figure 3.36 */
	static const uint8_t dwarf[X86_REGS] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};
	unsigned int reg = X86_RSP;

	if (!state_x86__is_distance(s->regs[reg]) && state_x86__is_distance(s->regs[X86_RBP]))
		reg = X86_RBP;
	for (unsigned int r = 0; r < X86_REGS && !state_x86__is_distance(s->regs[reg]); r++)
		if (state_x86__is_distance(s->regs[r]))
			reg = r;
	/* gone, or below the stack, where a signal may write */
	if (!s->has_return || !state_x86__is_distance(s->regs[reg]) || (reg == X86_RSP && s->regs[reg] > AT_START))
		return (struct unwind_rule){.cfa = UNWIND_UNKNOWN};
	rule.cfa = reg == X86_RSP ? UNWIND_SP : reg == X86_RBP ? UNWIND_FP : UNWIND_REG;
	rule.reg = rule.cfa == UNWIND_REG ? dwarf[reg] : 0;
	rule.cfa_off = -s->regs[reg];
	if (s->regs[X86_RAX] == STATE_FORKED)
		rule.flags |= UNWIND_FORKS;
	add_kept(s, bx_lost, &rule);
	return rule;
}
