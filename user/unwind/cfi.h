/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call frame information as the file has it: sections, their entries (CIE: what functions have in common; FDE: one
 * function), and the rules that an entry's instructions make. Formats: DWARF 5 sections 6.4 and 7.24;
 * LSB 5.0 core part 10.6 for .eh_frame; the ABI supplements for x86-64 and for the Arm 64-bit architecture
 * ("DWARF for the Arm 64-bit Architecture", 4.1 and 5) for registers and the instructions of their own.
 */
#ifndef PYBPF_UNWIND_CFI_H
#define PYBPF_UNWIND_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "pybpf/unwind.h"
#include "sys/elf.h"
#include "unwind/cursor.h"
#include "unwind/work.h"

struct cfi_arch {
	uint16_t machine; /* EM_* */
	uint8_t sp, fp;   /* DWARF register numbers */
	uint8_t regs;     /* general registers: those numbered below */
	int16_t plt0;     /* bytes of the first entry of .plt */
	uint8_t bx;       /* that of rbx, 0xff: not followed */
	int16_t ra_off;   /* the return address's place at a function's start, from CFA; UNWIND_RA_SAME */
};

/* NULL for a machine that we do not know. */
const struct cfi_arch *cfi_arch__of(uint16_t machine);

struct cfi_section {
	struct elf *elf;
	struct unwind_work *work; /* struct cfi */
	uint8_t *data; /* owned */
	size_t size;
	uint64_t addr;    /* link-time address of data[0] */
	uint64_t datarel; /* what DW_EH_PE_datarel is relative to: DT_PLTGOT; 0: unknown */
	bool eh;          /* .eh_frame, else .debug_frame */
	bool endless;     /* its size is not known: it ends with the terminator */
};

typedef struct vec(struct cfi_section) cfi_sections;

/*
 * All sections of the file that have call frame information, .eh_frame first. 0, -ENOENT when there are none, -EBADMSG
 * when one of them is not what it should be, -E2BIG when they are too large to be true, -EIO, -EINVAL, -ENOMEM,
 * -ECANCELED.
 */
int cfi_sections__read(struct elf *elf, struct unwind_work *work, cfi_sections *out, struct err *e);
void cfi_sections__free(cfi_sections *s);

/*
 * Reads a pointer in the encoding (DW_EH_PE_*, LSB 5.0 core part 10.5.1) from within the section's data. Pointers to
 * the pointer are followed, in the file as it is before relocation. False when it cannot be read.
 */
bool cfi_section__pointer(const struct cfi_section *s, struct cursor *c, uint8_t encoding, uint8_t address_size,
			  uint64_t *out);

enum cfi_cfa {
	CFI_CFA_NONE, /* not defined yet */
	CFI_CFA_REG,  /* register + offset */
	CFI_CFA_EXPR, /* what `expr` says */
};

enum cfi_how {
	CFI_UNSPECIFIED, /* as the ABI has it: the same */
	CFI_UNDEFINED,
	CFI_SAME,
	CFI_OFFSET, /* at CFA + value */
	CFI_EXPR,   /* at the address that `expr` computes */
	CFI_OTHER,  /* another register, a value rather than a place: nothing that a table has */
};

enum cfi_form {
	CFI_FORM_OTHER,
	CFI_FORM_REG,   /* reg + off */
	CFI_FORM_DEREF, /* *(reg + off) + off2 */
	CFI_FORM_PLT,   /* reg + off + ((pc & 15) >= off2 ? 8 : 0) */
	CFI_FORM_INDEXED, /* *(reg + off + 8 * index) + off2 */
};

/* What an expression computes, as far as we tell expressions apart. */
struct cfi_expr {
	uint8_t form; /* enum cfi_form */
	uint64_t reg, index; /* registers */
	int64_t off, off2;
};

/* Reads the n bytes of an expression; one that is none of these is CFI_FORM_OTHER. */
void cfi_expr__read(const uint8_t *bytes, size_t n, struct cfi_expr *out);

struct cfi_where {
	uint8_t how; /* enum cfi_how */
	int64_t value;
	struct cfi_expr expr;
};

/* The rules at one address, for the registers that we follow. */
struct cfi_state {
	uint8_t cfa; /* enum cfi_cfa */
	bool ra_signed;
	uint64_t cfa_reg;
	int64_t cfa_off;
	struct cfi_expr cfa_expr;
	struct cfi_where fp, ra, bx;
};

struct cfi_cie {
	size_t offset; /* in its section */
	const struct cfi_section *section;
	uint64_t code_align, ra_reg;
	int64_t data_align;
	uint8_t encoding; /* DW_EH_PE_* of an FDE's addresses */
	uint8_t address_size, segment_size;
	bool augmented; /* augmentation starts with "z": FDEs have a length of such data */
	bool signal;    /* its functions are signal frames */
	bool bad;       /* not understood: its functions have unknown rules */
	struct cfi_state start;
};

/* A function, or rather its FDE. */
struct cfi_fde {
	uint64_t start, end;         /* link-time addresses; start < end */
	uint32_t cie;                /* index into cies */
	uint32_t length;             /* of its instructions */
	const uint8_t *instructions; /* in its section's data */
	uint32_t order;              /* among all */
	bool untold;                 /* what it says is not to be believed: untold.h */
};

/* All functions of a file. */
struct cfi {
	const struct cfi_arch *arch;
	struct unwind_work *work; /* the caller's: what may be done with it */
	cfi_sections sections;
	struct vec(struct cfi_cie) cies;
	struct vec(struct cfi_fde) fdes;
};

/* Reads the sections; work outlives cfi. 0, or an error as unwind_source__open has it. The caller calls cfi__free either way. */
int cfi__read(struct elf *elf, struct unwind_work *work, struct cfi *cfi, struct err *e);
/* Finds the functions of executable code in the sections, in their order. Likewise. */
int cfi__parse(struct elf *elf, struct cfi *cfi, struct err *e);
/* Does a function's entry say that CFA is where it was at its start, throughout? (x86-64) */
bool cfi__moves_nothing(const struct cfi *cfi, const struct cfi_fde *f);
void cfi__free(struct cfi *cfi);

/* Runs the instructions of a CIE, for c->start. True when they make sense. */
bool cfi__start_state(const struct cfi_arch *arch, struct cfi_cie *c, const uint8_t *bytes, size_t n);

/* Where the rules of a function go. */
struct cfi_sink {
	/* From `from` on, and up to the next call's, `rule` holds. 0, or an error that ends the run. */
	int (*rule)(struct cfi_sink *sink, uint64_t from, const struct unwind_rule *rule);
	/*
	 * Set by a run: registers 0 and 1, a bit each, that the function saves. On x86-64 these are rax and rdx, a
	 * caller's to save: only a function that ends in a frame of its choice does (GCC, __builtin_eh_return).
	 */
	uint8_t saves;
};

/*
 * Runs a function's instructions. Rules for [f->start, end) go to sink, ascending. 0, -EBADMSG when the
 * instructions make no sense (sink then has what came before), -ECANCELED, or what sink returned.
 */
int cfi__run(const struct cfi_arch *arch, const struct cfi_cie *c, const struct cfi_fde *f, uint64_t end,
	     struct cfi_sink *sink);

#endif
