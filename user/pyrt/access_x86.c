/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getters in x86-64 code: followed instruction by instruction, with what is known of each register, along the path on
 * which no conditional branch is taken. Encodings: Intel SDM volume 2.
 */
#include "pyrt/access.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define KEY_OFFSET 4 /* Include/cpython/pythread.h, Py_tss_t: the flag, then the key */

enum register_number { RAX = 0, RSP = 4, RDI = 7 };

enum what {
	UNKNOWN,
	ADDRESS,   /* a link-time address */
	CONSTANT,
	WORD,      /* what the word at `address` holds, plus offset */
	FIELD,     /* what the memory at (the word at `address`) + offset holds */
	THREAD,    /* thread pointer + offset */
	THREAD_WORD, /* thread pointer + the word at `address` + offset */
	BLOCK,     /* what a function returned for `address`, plus offset: if __tls_get_addr, a TLS block */
	RESULT,    /* what a function returned for WORD */
	DESCRIPTOR, /* what the TLS descriptor at `address` gives, plus offset */
	THREAD_DESCRIPTOR, /* thread pointer + that */
};

/* What adding the thread pointer makes of a value. */
static enum what plus_thread(enum what w)
{
	switch (w) {
	case CONSTANT:
		return THREAD;
	case WORD:
		return THREAD_WORD;
	case DESCRIPTOR:
		return THREAD_DESCRIPTOR;
	default:
		return UNKNOWN;
	}
}

struct value {
	enum what what;
	uint64_t address;
	int64_t offset;
};

struct machine {
	const uint8_t *code;
	size_t n, at;
	uint64_t address; /* of code[0] */
	struct value regs[16];
	struct pyrt_access *out;
	uint64_t next;
	bool found;
};

struct operand {
	bool is_register;
	unsigned int reg;    /* the other operand, or an extension of the opcode */
	unsigned int number; /* a register */
	struct value place;  /* or memory: its address */
};

struct prefixes {
	bool rex_w, fs;
	unsigned int rex_r, rex_x, rex_b; /* 0 or 8 */
};

static bool take(struct machine *m, void *to, size_t n)
{
	if (n > m->n - m->at)
		return false;
	memcpy(to, m->code + m->at, n);
	m->at += n;
	return true;
}

static bool take_signed(struct machine *m, size_t n, int64_t *out)
{
	int8_t one;
	int32_t four;

	if (n == 1 ? !take(m, &one, 1) : !take(m, &four, 4))
		return false;
	*out = n == 1 ? one : four;
	return true;
}

static struct value moved(struct value v, int64_t by)
{
	if (v.what == ADDRESS)
		v.address += (uint64_t)by;
	else if (v.what != UNKNOWN)
		v.offset += by;
	if (v.what == FIELD || v.what == RESULT)
		v.what = UNKNOWN;
	return v;
}

/* ModRM, SIB and displacement (SDM 2.1.5); `behind` are the bytes of an immediate that follows. */
static bool take_operand(struct machine *m, const struct prefixes *p, size_t behind, struct operand *o)
{
	struct value base = {0};
	int64_t displacement = 0;
	uint8_t modrm, sib;
	unsigned int mod, rm;

	if (!take(m, &modrm, 1))
		return false;
	mod = modrm >> 6;
	rm = modrm & 7;
	o->reg = (modrm >> 3 & 7) | p->rex_r;
	o->is_register = mod == 3;
	o->number = rm | p->rex_b;
	if (o->is_register)
		return true;
	if (rm == 4) {
		if (!take(m, &sib, 1))
			return false;
		if (((sib >> 3 & 7) | p->rex_x) != 4) {
			base.what = UNKNOWN; /* an index: of no getter */
			if ((sib & 7) == 5 && mod == 0 && !take_signed(m, 4, &displacement))
				return false;
		} else if ((sib & 7) == 5 && mod == 0) {
			base.what = CONSTANT;
			if (!take_signed(m, 4, &displacement))
				return false;
		} else {
			base = m->regs[(sib & 7) | p->rex_b];
		}
	} else if (rm == 5 && mod == 0) {
		if (!take_signed(m, 4, &displacement))
			return false;
		base.what = ADDRESS;
		base.address = m->address + m->at + behind;
	} else {
		base = m->regs[o->number];
	}
	if (mod && !take_signed(m, mod == 1 ? 1 : 4, &displacement))
		return false;
	o->place = moved(base, displacement);
	if (p->fs) /* the segment begins at the thread pointer */
		o->place.what = plus_thread(o->place.what);
	return true;
}

static void found(struct machine *m, enum pyrt_access_kind kind, struct value v)
{
	*m->out = (struct pyrt_access){kind, v.address, v.offset};
	m->found = true;
}

/* A load: thread-local memory ends the search, everything else makes a value. */
static void load(struct machine *m, const struct operand *o)
{
	struct value *to = &m->regs[o->reg], v = o->place;

	*to = (struct value){0};
	switch (v.what) {
	case THREAD:
		if (v.offset == 0) /* the word at the thread pointer is the thread pointer (ABI) */
			*to = (struct value){THREAD, 0, 0};
		else if (v.offset < 0) /* the C library's own are above the thread pointer */
			found(m, PYRT_ACCESS_LOCAL_EXEC, v);
		break;
	case THREAD_WORD:
		found(m, PYRT_ACCESS_INITIAL_EXEC, v);
		break;
	case BLOCK:
		found(m, PYRT_ACCESS_DYNAMIC, v);
		break;
	case THREAD_DESCRIPTOR:
		found(m, PYRT_ACCESS_DESCRIPTOR, v);
		break;
	case ADDRESS:
		*to = (struct value){WORD, v.address, 0};
		break;
	case WORD:
		*to = (struct value){FIELD, v.address, v.offset};
		break;
	default:
		break;
	}
}

/* A call or a jump to somebody else: the argument may be the key. */
static void leave(struct machine *m)
{
	struct value argument = m->regs[RDI];

	if (argument.what == WORD && argument.offset == 0) /* an int in memory */
		found(m, PYRT_ACCESS_MEMORY, argument);
	else if (argument.what == FIELD)
		found(m, PYRT_ACCESS_INDIRECT, argument);
	for (unsigned int r = 0; r < 12; r++) /* those that a call may change: System V ABI, 3.2.1 */
		if (r != 3 && r != 4 && r != 5)
			m->regs[r] = (struct value){0};
	if (argument.what == ADDRESS)
		m->regs[RAX] = (struct value){BLOCK, argument.address, 0};
	else if (argument.what == WORD && argument.offset)
		m->regs[RAX] = (struct value){RESULT, argument.address, argument.offset};
}

/*
 * &autoTSSkey in the first argument of a function that is not __tls_get_addr: told by the instruction behind, which would
 * read what that returned.
 */
static bool is_key_address(struct machine *m, struct value argument)
{
	struct value key = moved(argument, KEY_OFFSET);

	if (argument.what == ADDRESS)
		found(m, PYRT_ACCESS_MEMORY, key);
	else if (argument.what == WORD && argument.offset)
		found(m, PYRT_ACCESS_INDIRECT, key);
	return m->found;
}

/* Does the code at hand use the result of a call as a truth value? */
static bool tests_result(const struct machine *m)
{
	static const uint8_t test[] = {0x85, 0xc0};

	return m->n - m->at >= sizeof(test) && !memcmp(m->code + m->at, test, sizeof(test));
}

static bool arithmetic(struct machine *m, const struct prefixes *p, uint8_t op)
{
	struct operand o;
	int64_t immediate = 0;
	size_t size = op == 0x83 ? 1 : 4;

	if (!take_operand(m, p, size, &o) || !take_signed(m, size, &immediate))
		return false;
	if ((o.reg & 7) == 7) /* a comparison */
		return true;
	if (!o.is_register)
		return false;
	if ((o.reg & 7) == 0 || (o.reg & 7) == 5)
		m->regs[o.number] = moved(m->regs[o.number], (o.reg & 7) == 0 ? immediate : -immediate);
	else
		m->regs[o.number] = (struct value){0};
	return true;
}

static bool two_bytes(struct machine *m, const struct prefixes *p)
{
	struct operand o;
	int64_t unused;
	uint8_t op;

	if (!take(m, &op, 1))
		return false;
	if (op >= 0x80 && op <= 0x8f) /* a conditional branch: not taken */
		return take_signed(m, 4, &unused);
	if (op == 0x1e || op == 0x1f) /* endbr64, nop */
		return take_operand(m, p, 0, &o);
	return false;
}

/* Is it a call of a TLS descriptor: of the function that the word at rax names? */
static bool calls_descriptor(const struct machine *m, const struct operand *o)
{
	return o->reg == 2 && !o->is_register && o->number == RAX && o->place.what == ADDRESS &&
	       m->regs[RAX].what == ADDRESS && m->regs[RAX].address == o->place.address;
}

static bool branch(struct machine *m, const struct prefixes *p, uint8_t op)
{
	struct value argument = m->regs[RDI];
	struct operand o;
	int64_t by = 0;
	bool is_call = op == 0xe8;

	if (op == 0xff) {
		if (!take_operand(m, p, 0, &o) || (o.reg != 2 && o.reg != 4))
			return false;
		is_call = o.reg == 2;
		if (calls_descriptor(m, &o)) {
			m->regs[RAX].what = DESCRIPTOR; /* such a function keeps all other registers */
			return true;
		}
	} else {
		if (!take_signed(m, op == 0xeb ? 1 : 4, &by))
			return false;
		if (!is_call)
			m->next = m->address + m->at + (uint64_t)by;
	}
	if ((is_call ? tests_result(m) : true) && is_key_address(m, argument))
		return true;
	if (op != 0xff && !is_call && argument.what == UNKNOWN && by >= 0 && (uint64_t)by < m->n - m->at) {
		m->at += (size_t)by; /* on to the end of the function */
		return true;
	}
	leave(m);
	return is_call;
}

/* The end: returned is a word of memory, or what PyThread_tss_get has returned. */
static void ret(struct machine *m)
{
	struct value v = m->regs[RAX];

	if (v.what == WORD && v.offset == 0)
		found(m, PYRT_ACCESS_MEMORY, v);
	else if (v.what == BLOCK && v.offset == 0)
		found(m, PYRT_ACCESS_MEMORY, (struct value){ADDRESS, v.address + KEY_OFFSET, 0});
	else if (v.what == RESULT)
		found(m, PYRT_ACCESS_INDIRECT, (struct value){WORD, v.address, v.offset + KEY_OFFSET});
}

/* add: the thread pointer, or a distance from it, or &object and a member's offset in it. */
static bool add(struct machine *m, const struct operand *o)
{
	struct value *to = &m->regs[o->reg];

	if (o->is_register)
		return false;
	if (o->place.what == THREAD && o->place.offset == 0)
		to->what = plus_thread(to->what);
	else if (to->what == THREAD && o->place.what == ADDRESS)
		*to = (struct value){THREAD_WORD, o->place.address, to->offset};
	else if (to->what == CONSTANT && o->place.what == ADDRESS)
		*to = (struct value){WORD, o->place.address, to->offset};
	else
		return false;
	return true;
}

/* Instructions of a register and an operand of any kind. */
static bool two_operands(struct machine *m, const struct prefixes *p, uint8_t op)
{
	struct operand o;

	switch (op) {
	case 0x03: /* add */
		return take_operand(m, p, 0, &o) && add(m, &o);
	case 0x31: /* xor, with itself */
	case 0x33:
		if (!take_operand(m, p, 0, &o))
			return false;
		m->regs[op == 0x31 ? o.number : o.reg] = (struct value){0};
		return true;
	case 0x39: /* cmp, test */
	case 0x3b:
	case 0x85:
		return take_operand(m, p, 0, &o);
	case 0x89: /* mov */
		if (!take_operand(m, p, 0, &o))
			return false;
		if (o.is_register)
			m->regs[o.number] = m->regs[o.reg];
		return true;
	case 0x8b:
		if (!take_operand(m, p, 0, &o))
			return false;
		if (o.is_register)
			m->regs[o.reg] = m->regs[o.number];
		else
			load(m, &o);
		return true;
	case 0x8d: /* lea */
		if (!take_operand(m, p, 0, &o) || o.is_register)
			return false;
		m->regs[o.reg] = p->fs ? (struct value){0} : o.place;
		return true;
	default:
		return false;
	}
}

/* Prefixes and the opcode behind them. */
static bool take_opcode(struct machine *m, struct prefixes *p, uint8_t *op)
{
	do {
		if (!take(m, op, 1))
			return false;
		p->fs |= *op == 0x64;
	} while (*op == 0x64 || *op == 0x66 || *op == 0x67 || *op == 0xf2 || *op == 0xf3 || *op == 0x2e);
	if ((*op & 0xf0) != 0x40)
		return true;
	p->rex_w = *op & 8;
	p->rex_r = *op & 4 ? 8 : 0;
	p->rex_x = *op & 2 ? 8 : 0;
	p->rex_b = *op & 1 ? 8 : 0;
	return take(m, op, 1);
}

/* One instruction. False when the code ends, or what follows is not understood. */
static bool step(struct machine *m)
{
	struct prefixes p = {0};
	struct operand o;
	int64_t immediate;
	uint8_t op;

	if (!take_opcode(m, &p, &op))
		return false;
	switch (op) {
	case 0x0f:
		return two_bytes(m, &p);
	case 0x50 ... 0x57: /* push */
	case 0x90:
		return true;
	case 0x58 ... 0x5f: /* pop */
		m->regs[(op & 7) | p.rex_b] = (struct value){0};
		return true;
	case 0x70 ... 0x7f: /* a conditional branch: not taken */
		return take_signed(m, 1, &immediate);
	case 0x81:
	case 0x83:
		return arithmetic(m, &p, op);
	case 0xb8 ... 0xbf: /* mov immediate */
		if (p.rex_w || !take_signed(m, 4, &immediate))
			return false;
		m->regs[(op & 7) | p.rex_b] = (struct value){CONSTANT, 0, (uint32_t)immediate};
		return true;
	case 0xc3:
		ret(m);
		return false;
	case 0xc7: /* mov immediate: what linkers make of initial-exec in an executable */
		if (!take_operand(m, &p, 4, &o) || !take_signed(m, 4, &immediate) || !o.is_register)
			return false;
		m->regs[o.number] = (struct value){CONSTANT, 0, immediate};
		return true;
	case 0xe8:
	case 0xe9:
	case 0xeb:
	case 0xff:
		return branch(m, &p, op);
	default:
		return two_operands(m, &p, op);
	}
}

int pyrt_access__decode_x86(const uint8_t *code, size_t n, uint64_t address, struct pyrt_access *out,
			    uint64_t *next)
{
	struct pyrt_access access = {0};
	struct machine m = {.code = code, .n = n, .address = address, .out = &access};

	while (!m.found && step(&m))
		;
	*next = m.next;
	if (!m.found)
		return -ENOENT;
	*out = access;
	return 0;
}
