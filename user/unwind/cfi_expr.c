// SPDX-License-Identifier: Apache-2.0
/* DWARF expressions (DWARF 5 section 2.5) in call frame information, told apart by what they compute. */
#include "unwind/cfi.h"

enum {
	OP_DEREF = 0x06,
	OP_CONST1U = 0x08,
	OP_CONST1S = 0x09,
	OP_CONST2U = 0x0a,
	OP_CONST2S = 0x0b,
	OP_CONST4U = 0x0c,
	OP_CONST4S = 0x0d,
	OP_CONST8U = 0x0e,
	OP_CONST8S = 0x0f,
	OP_CONSTU = 0x10,
	OP_CONSTS = 0x11,
	OP_AND = 0x1a,
	OP_MINUS = 0x1c,
	OP_MUL = 0x1e,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_SHL = 0x24,
	OP_GE = 0x2a,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
	OP_BREG31 = 0x8f,
	OP_BREGX = 0x92,
	OP_NOP = 0x96,
};

#define RIP 16 /* x86-64's return address column, in expressions the address itself */

/* True and the number when `op`, already read, is one that pushes a constant. */
static bool constant(uint8_t op, struct cursor *c, int64_t *out)
{
	if (op >= OP_LIT0 && op <= OP_LIT31)
		*out = op - OP_LIT0;
	else if (op >= OP_CONST1U && op <= OP_CONST8S) {
		size_t n = (size_t)1 << (op - OP_CONST1U) / 2;

		*out = op & 1 ? cursor__signed(c, n) : (int64_t)cursor__fixed(c, n);
	} else if (op == OP_CONSTU)
		*out = (int64_t)cursor__uleb(c);
	else if (op == OP_CONSTS)
		*out = cursor__sleb(c);
	else
		return false;
	return true;
}

/*
 * ld's expression for the stubs of .plt, after its "rsp + 8": (rip & 15) >= N, shifted left by 3, added. N is where
 * in a stub of 16 bytes its push has happened.
 */
static bool is_plt(struct cursor c, int64_t *pushed)
{
	int64_t pc_off, mask, shift;
	uint8_t op = cursor__u8(&c);

	if (op != OP_BREG0 + RIP)
		return false;
	pc_off = cursor__sleb(&c);
	if (!constant(cursor__u8(&c), &c, &mask) || cursor__u8(&c) != OP_AND || !constant(cursor__u8(&c), &c, pushed) ||
	    cursor__u8(&c) != OP_GE || !constant(cursor__u8(&c), &c, &shift) || cursor__u8(&c) != OP_SHL ||
	    cursor__u8(&c) != OP_PLUS)
		return false;
	return !c.bad && c.at == c.end && !pc_off && mask == 15 && shift == 3;
}

/*
 * OpenSSL's crypto/bn/asm/x86_64-mont.pl, after its "rsp + n": + r9 * 8, for functions that keep the stack pointer that they began
 * with behind as many words as r9 says. The cursor is then behind it.
 */
static bool take_index(struct cursor *from, uint64_t *reg)
{
	struct cursor c = *from;
	uint8_t op = cursor__u8(&c);
	int64_t size;

	if (op < OP_BREG0 || op >= OP_BREG0 + RIP || cursor__sleb(&c) || !constant(cursor__u8(&c), &c, &size) || size != 8 ||
	    cursor__u8(&c) != OP_MUL || cursor__u8(&c) != OP_PLUS || c.bad)
		return false;
	*reg = op - OP_BREG0;
	*from = c;
	return true;
}

/* "+ n" or "- n" on what the expression has so far. */
static bool add_constant(uint8_t op, struct cursor *c, int64_t *to)
{
	uint64_t sum = (uint64_t)*to;
	int64_t n;

	if (op == OP_PLUS_UCONST) {
		*to = (int64_t)(sum + cursor__uleb(c));
		return true;
	}
	if (!constant(op, c, &n))
		return false;
	op = cursor__u8(c);
	if (op != OP_PLUS && op != OP_MINUS)
		return false;
	*to = (int64_t)(op == OP_PLUS ? sum + (uint64_t)n : sum - (uint64_t)n);
	return true;
}

void cfi_expr__read(const uint8_t *bytes, size_t n, struct cfi_expr *out)
{
	struct cursor c = {.at = bytes, .end = bytes + n};
	struct cfi_expr x = {.form = CFI_FORM_REG};
	uint8_t op = cursor__u8(&c);
	bool indexed;

	*out = (struct cfi_expr){0};
	if (op >= OP_BREG0 && op <= OP_BREG31)
		x.reg = op - OP_BREG0;
	else if (op == OP_BREGX)
		x.reg = cursor__uleb(&c);
	else
		return;
	x.off = cursor__sleb(&c);
	if (is_plt(c, &x.off2)) {
		x.form = CFI_FORM_PLT;
		*out = x;
		return;
	}
	indexed = take_index(&c, &x.index);
	while (!c.bad && c.at < c.end) {
		op = cursor__u8(&c);
		if (op == OP_NOP)
			continue;
		if (op == OP_DEREF && x.form == CFI_FORM_REG)
			x.form = indexed ? CFI_FORM_INDEXED : CFI_FORM_DEREF;
		else if (!add_constant(op, &c, x.form == CFI_FORM_REG ? &x.off : &x.off2))
			return;
	}
	if (!c.bad && (!indexed || x.form == CFI_FORM_INDEXED))
		*out = x;
}
