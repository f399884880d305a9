/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64 instructions, as far as following a stack pointer through them needs: how long one is, what its operands are, and
 * whether it may change a register. Encodings: Intel SDM volume 2, chapters 2 and appendix A.
 */
#ifndef PYBPF_UNWIND_INSN_X86_H
#define PYBPF_UNWIND_INSN_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI, X86_REGS = 16 };

struct insn_x86 {
	uint8_t length;
	uint8_t map; /* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a; VEX and EVEX have the same maps, and 5 and 6 */
	uint8_t op;
	bool vex;      /* or EVEX */
	bool rex;      /* there is a REX prefix */
	bool rex_w;    /* operands of 64 bits */
	bool op_size;  /* prefix 66 */
	bool has_modrm;
	uint8_t mod;
	uint8_t reg;   /* of ModRM: a register's number, with REX.R */
	uint8_t group; /* the same bits as an extension of the opcode */
	uint8_t rm;    /* mod 3: a register; or with REX.B the base of a memory operand */
	bool has_sib;  /* memory: an index register, or no base, may be part of its address */
	uint8_t scale; /* memory: of the index register; 0: none */
	bool no_base;  /* memory: at disp, with an index or without */
	bool plain;    /* memory at register rm + disp, and nothing else */
	uint8_t vvvv;  /* VEX and EVEX: one more register */
	uint8_t embedded; /* the register in the opcode's low bits, with REX.B */
	int64_t disp, imm;
};

/* Reads the instruction that n bytes begin with. False when it is none, or one that no compiler would use. */
bool insn_x86__read(const uint8_t *code, size_t n, struct insn_x86 *out);

/*
 * May it change general register `reg`? Also true where we do not know. The stack pointer of push, pop, call and ret does not
 * count.
 */
bool insn_x86__may_change(const struct insn_x86 *i, unsigned int reg);

#endif
