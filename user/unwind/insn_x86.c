// SPDX-License-Identifier: Apache-2.0
#include "unwind/insn_x86.h"

#include <string.h>

#define MAX_LENGTH 15 /* SDM 2.3.11 */

struct reader {
	const uint8_t *code;
	size_t n, at;
	uint8_t rex_x, rex_b; /* 0 or 8 */
	bool address_size;    /* prefix 67 */
};

/* Sets of opcodes, a bit each. */
typedef uint32_t opcodes[8];
#define HAS(set, op) ((set)[(op) >> 5] >> ((op) & 31) & 1)

/* SDM tables: those with a ModRM byte. */
static const opcodes modrm_one = {0x0f0f0f0f, 0x0f0f0f0f, 0, 0x00000a08, 0x0000ffff, 0, 0xff0f00c3, 0xc0c00000};
/* and those that do not exist in 64-bit mode, that belong to the kernel, or that no compiler would use */
static const opcodes none_one = {0xc0c0c0c0, 0x80808080, 0, 0x0000f007, 0x04004004, 0, 0x0070ed30, 0x0c02f4f0};
static const opcodes modrm_two = {0xffffb41f, 0xff00ffff, 0xffffffff, 0xff7fffff, 0xffff0000, 0xfffff8f8, 0xffff00ff,
				  0xffffffff};
static const opcodes none_two = {0x0000d7dd, 0xfffd00ff, 0, 0x0f000000, 0, 0x000007c3, 0, 0};

static bool take(struct reader *r, uint8_t *out)
{
	if (r->at >= r->n || r->at >= MAX_LENGTH)
		return false;
	*out = r->code[r->at++];
	return true;
}

/* A signed number of 0, 1, 2, 4 or 8 bytes. */
static bool take_number(struct reader *r, unsigned int bytes, int64_t *out)
{
	uint64_t v = 0;

	if (bytes > r->n - r->at)
		return false;
	memcpy(&v, r->code + r->at, bytes);
	r->at += bytes;
	*out = bytes ? (int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes) : 0;
	return true;
}

/* ModRM, SIB, displacement: SDM 2.1.5 and 2.2.1. */
static bool take_operands(struct reader *r, struct insn_x86 *i, uint8_t rex_r)
{
	uint8_t modrm, sib, low;
	unsigned int bytes;

	if (!take(r, &modrm))
		return false;
	i->has_modrm = true;
	i->mod = modrm >> 6;
	i->group = modrm >> 3 & 7;
	i->reg = i->group | rex_r;
	low = modrm & 7;
	i->rm = low | r->rex_b;
	if (i->mod == 3)
		return true;
	bytes = i->mod == 1 ? 1 : i->mod == 2 ? 4 : 0;
	i->plain = !r->address_size;
	if (low == 4) {
		if (!take(r, &sib))
			return false;
		i->has_sib = true;
		i->rm = (sib & 7) | r->rex_b;
		if (((sib >> 3 & 7) | r->rex_x) != 4) {
			i->plain = false;
			i->scale = 1 << (sib >> 6);
		}
		low = sib & 7;
		i->no_base = low == 5 && i->mod == 0;
	}
	if (low == 5 && i->mod == 0) { /* no base, or rip */
		i->plain = false;
		bytes = 4;
	}
	return take_number(r, bytes, &i->disp);
}

static unsigned int immediate_one(const struct insn_x86 *i)
{
	uint8_t op = i->op;
	unsigned int full = i->op_size ? 2 : 4;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? full : 0;
	switch (op) {
	case 0x6a: case 0x6b: case 0x80: case 0x83: case 0xa8: case 0xc0: case 0xc1: case 0xc6: case 0xcd: case 0xe4:
	case 0xe5: case 0xe6: case 0xe7: case 0xeb:
		return 1;
	case 0x68: case 0x69: case 0x81: case 0xa9: case 0xc7:
		return full;
	case 0xe8: case 0xe9:
		return 4;
	case 0xc2: case 0xca:
		return 2;
	case 0xc8:
		return 3;
	case 0xf6:
		return i->group < 2 ? 1 : 0;
	case 0xf7:
		return i->group < 2 ? full : 0;
	}
	if ((op & 0xf0) == 0x70 || (op & 0xfc) == 0xe0 || (op & 0xf8) == 0xb0)
		return 1;
	if ((op & 0xf8) == 0xb8)
		return i->rex_w ? 8 : full;
	return (op & 0xfc) == 0xa0 ? 8 : 0;
}

static unsigned int immediate_of(const struct insn_x86 *i)
{
	switch (i->map) {
	case 0:
		return immediate_one(i);
	case 1:
		if ((i->op & 0xf0) == 0x80 && !i->vex)
			return 4;
		if ((i->op >= 0x70 && i->op <= 0x73) || i->op == 0xc2 || (i->op >= 0xc4 && i->op <= 0xc6))
			return 1;
		return !i->vex && (i->op == 0xa4 || i->op == 0xac || i->op == 0xba) ? 1 : 0;
	case 3:
		return 1;
	default:
		return 0;
	}
}

/* What is behind the opcode. */
static bool finish(struct reader *r, struct insn_x86 *i, uint8_t rex_r)
{
	bool modrm = i->map > 1 || i->vex || (i->map ? HAS(modrm_two, i->op) : HAS(modrm_one, i->op));

	if (i->map == 0 && r->address_size && i->op >= 0xa0 && i->op <= 0xa3)
		return false;
	if (i->vex && i->map == 1 && i->op == 0x77) /* vzeroupper */
		modrm = false;
	if (!i->vex && i->map < 2 && (i->map ? HAS(none_two, i->op) : HAS(none_one, i->op)))
		return false;
	i->embedded = (i->op & 7) | r->rex_b;
	if ((modrm && !take_operands(r, i, rex_r)) || (!i->map && i->op == 0x8f && i->group) /* XOP */ || !take_number(r, immediate_of(i), &i->imm) || r->at > MAX_LENGTH)
		return false;
	i->length = (uint8_t)r->at;
	return true;
}

/* VEX (SDM 2.3.5) of 2 or 3 bytes, and EVEX (2.7.1), behind their first byte. */
static bool read_vex(struct reader *r, struct insn_x86 *i, uint8_t first)
{
	uint8_t a, b = 0, c = 0, rex_r;

	i->vex = true;
	if (!take(r, &a) || (first != 0xc5 && !take(r, &b)) || (first == 0x62 && !take(r, &c)) || !take(r, &i->op))
		return false;
	rex_r = a & 0x80 ? 0 : 8;
	if (first == 0xc5) {
		i->map = 1;
		i->vvvv = ~a >> 3 & 15;
		return finish(r, i, rex_r);
	}
	i->map = a & (first == 0x62 ? 7 : 31);
	r->rex_x = a & 0x40 ? 0 : 8;
	r->rex_b = a & 0x20 ? 0 : 8;
	i->rex_w = b & 0x80;
	i->vvvv = ~b >> 3 & 15;
	if (!i->map || i->map == 4 || i->map > (first == 0x62 ? 6 : 3))
		return false;
	return finish(r, i, rex_r);
}

bool insn_x86__read(const uint8_t *code, size_t n, struct insn_x86 *out)
{
	struct reader r = {.code = code, .n = n};
	struct insn_x86 i = {0};
	uint8_t byte, rex = 0;

	for (;;) {
		if (!take(&r, &byte))
			return false;
		if (byte == 0x66)
			i.op_size = true;
		else if (byte == 0x67)
			r.address_size = true;
		else if (byte != 0x26 && byte != 0x2e && byte != 0x36 && byte != 0x3e && byte != 0x64 && byte != 0x65 &&
			 byte != 0xf0 && byte != 0xf2 && byte != 0xf3)
			break;
	}
	if ((byte & 0xf0) == 0x40) {
		rex = byte;
		if (!take(&r, &byte))
			return false;
	}
	r.rex_b = rex & 1 ? 8 : 0;
	r.rex_x = rex & 2 ? 8 : 0;
	i.rex_w = rex & 8;
	i.rex = rex;
	if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) {
		if (rex || !read_vex(&r, &i, byte))
			return false;
		*out = i;
		return true;
	}
	if (byte == 0x0f) {
		i.map = 1;
		if (!take(&r, &byte))
			return false;
		if (byte == 0x38 || byte == 0x3a) {
			i.map = byte == 0x38 ? 2 : 3;
			if (!take(&r, &byte))
				return false;
		}
	}
	i.op = byte;
	if (!finish(&r, &i, rex & 4 ? 8 : 0))
		return false;
	*out = i;
	return true;
}

/* Instructions whose operands, but for what they read, are vector or mask registers (SDM appendix A). */
static bool is_vector(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	switch (i->map) {
	case 1:
		if (i->vex && op >= 0x41 && op <= 0x4b)
			return true;
		if (i->vex && op >= 0x78 && op <= 0x7b)
			return false;
		return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2b) || op == 0x2e || op == 0x2f ||
		       (op >= 0x51 && op <= 0x77) || op == 0x7c || op == 0x7d || op == 0x7f || op == 0xc2 || op == 0xc4 ||
		       op == 0xc6 || (op >= 0xd0 && op != 0xd7);
	case 2:
		return op < 0xf0;
	case 3:
		return (op < 0x14 || op > 0x17) && (op < 0x60 || op > 0x63) && op != 0xf0;
	default:
		return false;
	}
}

/* Those that compare, test, store to memory, push, jump or do nothing. */
static bool only_reads(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	if (i->vex)
		return false;
	if (i->map == 1)
		return (op & 0xf0) == 0x80 || (op >= 0x18 && op <= 0x1f) || op == 0x0d || op == 0xa3 || op == 0x0b;
	if (i->map)
		return false;
	if (op < 0x40 && (op & 7) < 6) /* of eight operations the last compares; the others may store */
		return op >> 3 == 7 || ((op & 7) < 2 && i->mod != 3);
	switch (op) {
	case 0x84: case 0x85: case 0xa8: case 0xa9: case 0x90: case 0x68: case 0x6a: case 0xcc: case 0xf4:
		return true;
	case 0x80: case 0x81: case 0x83:
		return i->group == 7 || i->mod != 3;
	case 0x88: case 0x89: case 0xc6: case 0xc7: case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
	case 0xfe:
		return i->mod != 3;
	case 0xf6: case 0xf7:
		return i->group < 2;
	case 0xff:
		return i->mod != 3 || i->group >= 2;
	}
	return (op & 0xf0) == 0x70 || (op & 0xf8) == 0x50 || (op >= 0xd8 && op <= 0xdf && !(op == 0xdf && i->mod == 3)) ||
	       op == 0xeb || op == 0xe8 || op == 0xe9 || op == 0xc2 || op == 0xc3;
}

/* Registers that it changes without naming them. */
static uint32_t implicit(const struct insn_x86 *i)
{
	const uint32_t ax = 1 << X86_RAX, cx = 1 << X86_RCX, dx = 1 << X86_RDX, bx = 1 << X86_RBX;
	const uint32_t si = 1 << X86_RSI, di = 1 << X86_RDI;
	uint8_t op = i->op;

	if (i->map == 3)
		return op >= 0x60 && op <= 0x63 ? cx : 0;
	if (i->map == 2)
		return 0;
	if (i->map == 1 && !i->vex && op == 0x05) /* syscall */
		return ax | cx | 1 << 11;
	if (i->map == 1) /* rdtscp, rdtsc, cpuid, cmpxchg */
		return !i->vex && (op == 0x01 || op == 0x31 || op == 0xa2 || op == 0xb0 || op == 0xb1 || op == 0xc7)
			       ? ax | cx | dx | bx
			       : 0;
	if (op < 0x40)
		return (op & 7) >= 4 ? ax : 0;
	if (op >= 0xa4 && op <= 0xaf)
		return op == 0xa8 || op == 0xa9 ? 0 : ax | cx | si | di;
	if (op >= 0x91 && op <= 0x9f)
		return ax | dx;
	if ((op & 0xfc) == 0xe0)
		return cx;
	if (op == 0xf6 || op == 0xf7)
		return i->group < 4 ? 0 : ax | dx;
	return (op >= 0xa0 && op <= 0xa3) || op == 0xd7 || op == 0xdf ? ax : 0;
}

/* Does ModRM's reg extend the opcode (SDM table A-6)? */
static bool is_group(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	if (i->map == 1 && op == 0x7e) /* movd, movq: of a vector register */
		return true;
	if (i->vex || i->map > 1)
		return false;
	if (i->map == 1)
		return (op & 0xf0) == 0x90 || op == 0x01 || op == 0xae || op == 0xba || op == 0xc7;
	return (op >= 0x80 && op <= 0x83) || op == 0x8f || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 ||
	       (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 || op == 0xf7 || op == 0xfe || op == 0xff;
}

/* Is ModRM's rm but read, and reg written? Some of those that do so (SDM tables ). */
static bool is_load(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	/* cvttss2si and the like, movmskps, pextrw, pmovmskb */
	if (i->map == 1 && (op == 0x2c || op == 0x2d || op == 0x50 || op == 0xc5 || op == 0xd7))
		return true;
	if (i->vex || i->map > 1)
		return false;
	if (i->map == 1)
		return (op & 0xf0) == 0x40 || op == 0xaf || op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf;
	return (op < 0x40 && ((op & 7) == 2 || (op & 7) == 3)) || op == 0x63 || op == 0x69 || op == 0x6b || op == 0x8a || op == 0x8b;
}

/* Are its operands of 8 bits (SDM tables, Eb, Gb)? What they say of the source alone does not matter. */
static bool is_byte(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	if (i->vex || i->map > 1)
		return false;
	if (i->map == 1)
		return (op & 0xf0) == 0x90 || op == 0xb0 || op == 0xc0;
	if (op < 0x40)
		return (op & 7) == 0 || (op & 7) == 2;
	return (op & 0xf8) == 0xb0 ||
	       (!(op & 1) && (op == 0x80 || op == 0x86 || op == 0x88 || op == 0x8a || op == 0xc0 || op == 0xc6 || op == 0xd0 ||
			      op == 0xd2 || op == 0xf6 || op == 0xfe));
}

/* Is a register in the opcode's low bits (SDM tables )? */
static bool has_embedded(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	if (i->map == 1)
		return (op & 0xf8) == 0xc8; /* bswap */
	return !i->map && ((op & 0xf0) == 0x50 || (op & 0xf8) == 0x90 || (op & 0xf0) == 0xb0);
}

bool insn_x86__may_change(const struct insn_x86 *i, unsigned int reg)
{
	/* without REX, 4 to 7 are ah, ch, dh and bh: SDM 2.2.1.2 */
	unsigned int high = !i->rex && is_byte(i) ? 4 : 0;
	bool other = high && reg >= 4 && reg < 8;

	if (implicit(i) >> reg & 1)
		return true;
	if (is_vector(i) || only_reads(i))
		return false;
	if (i->vex && i->vvvv == reg)
		return true;
#define NAMES(number) (!other && ((number) == reg || (high && (number) == reg + high && reg < 4)))
	if (i->has_modrm)
		return (!is_group(i) && NAMES(i->reg)) || (i->mod == 3 && !is_load(i) && NAMES(i->rm));
	return (has_embedded(i) && NAMES(i->embedded)) || (!i->map && i->op == 0xc9 && (reg == X86_RSP || reg == X86_RBP));
#undef NAMES
}
