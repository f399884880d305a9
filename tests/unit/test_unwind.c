// SPDX-License-Identifier: Apache-2.0
/* Call frame instructions: what each does to the rules of a table. Files and encodings: test_unwind_file.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwind_frame.h"

#define ENTRY RULE(.cfa = UNWIND_SP, .cfa_off = 8)

/* The rule at TEXT + 4 of a function whose instructions these are, TEXT + 1 being where advances usually lead. */
static void expect(const uint8_t *code, size_t n, struct unwind_rule want)
{
	struct frame f = {0};
	struct unwind_table *t;

	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x20, code, n);
	t = frame__table(&f);
	assert_int_equal(t->nbad, 0);
	table__expect(t, TEXT + 4, want);
	table__expect(t, TEXT - 1, NO_RULE);
	table__expect(t, TEXT + 0x20, NO_RULE);
	unwind_table__free(t);
}

static void expect_bad(const uint8_t *code, size_t n)
{
	struct frame f = {0};
	struct unwind_table *t;

	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x20, code, n);
	frame__function(&f, TEXT + 0x20, 0x20, NOTHING);
	t = frame__table(&f);
	assert_int_equal(t->nfunctions, 2);
	assert_int_equal(t->nbad, 1);
	for (unsigned int i = 0; i < 0x20; i++)
		table__expect(t, TEXT + i, UNKNOWN_RULE);
	table__expect(t, TEXT + 0x20, ENTRY);
	unwind_table__free(t);
}

static void test_advance(void **state)
{
	(void)state;
	expect(NOTHING, ENTRY);
	expect(BYTES(0x00, 0x00), ENTRY);
	/* up to and beyond TEXT + 4, by each way to advance */
	expect(BYTES(0x44, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x45, 0x0e, 16), ENTRY);
	expect(BYTES(0x02, 4, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x02, 5, 0x0e, 16), ENTRY);
	expect(BYTES(0x03, 4, 0, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x03, 4, 1, 0x0e, 16), ENTRY);
	expect(BYTES(0x04, 4, 0, 0, 0, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x04, 4, 0, 0, 1, 0x0e, 16), ENTRY);
	expect(BYTES(0x1d, 4, 0, 0, 0, 0, 0, 0, 0, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x1d, 4, 0, 0, 0, 0, 0, 0, 0xff, 0x0e, 16), ENTRY);
	expect(BYTES(0x40, 0x0e, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16)); /* by nothing */
	expect(BYTES(0x42, 0x0e, 16, 0x41, 0x0e, 24, 0x42, 0x0e, 32), RULE(.cfa = UNWIND_SP, .cfa_off = 24));
}

static void test_rows(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x20, BYTES(0x41, 0x0e, 16, 0x42, 0x8c, 3, 0x43, 0x0e, 8, 0x44, 0x0e, 16));
	frame__function(&f, TEXT + 0x20, 0x10, BYTES(0x0e, 16));
	t = frame__table(&f);
	for (unsigned int i = 0; i < 0x30;
	     i++) /* rows at 0, 1, 6 and 10: r12 is not followed, equal neighbours merge */
		table__expect(t, TEXT + i, RULE(.cfa = UNWIND_SP, .cfa_off = i < 1 || (i >= 6 && i < 10) ? 8 : 16));
	assert_int_equal(t->nrows, 5); /* and the end */
	assert_int_equal(t->nrules, 3);
	assert_int_equal(t->npages, 1);
	assert_true(unwind_table__memory(t) >= 5 * 4 + 3 * 16 + 2 * 4);
	unwind_table__free(t);
}

static void test_set_loc(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	f.image.kind = IMAGE_DEBUG;
	frame__cie(&f, "", NOTHING, NOTHING);
	size_t start = frame__fde_head(&f);

	frame__number(&f, TEXT, 8);
	frame__number(&f, 0x20, 8);
	frame__put(&f, BYTES(0x01, 0x04, 0, 1, 0, 0, 0, 0, 0, 0x0e, 16)); /* to TEXT + 4 */
	frame__put(&f, BYTES(0x01, 0x40, 0, 1, 0, 0, 0, 0, 0, 0x0e, 24)); /* beyond the end */
	frame__end(&f, start);
	t = frame__table(&f);
	table__expect(t, TEXT + 3, ENTRY);
	table__expect(t, TEXT + 4, RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	table__expect(t, TEXT + 0x1f, RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	unwind_table__free(t);
	expect_bad(BYTES(0x01, 0, 0, 0xf0, 0xff)); /* relative, and to before the function */
}

static void test_cfa(void **state)
{
	(void)state;
	expect(BYTES(0x0c, 6, 16), RULE(.cfa = UNWIND_FP, .cfa_off = 16));
	expect(BYTES(0x0d, 6), RULE(.cfa = UNWIND_FP, .cfa_off = 8));
	expect(BYTES(0x0c, 10, 0), RULE(.cfa = UNWIND_REG, .reg = 10));
	expect(BYTES(0x0c, 3, 0x90, 0x01), RULE(.cfa = UNWIND_REG, .reg = 3, .cfa_off = 144));
	expect(BYTES(0x12, 7, 0x7e), RULE(.cfa = UNWIND_SP, .cfa_off = 16)); /* -2 * -8 */
	expect(BYTES(0x13, 0x7d), RULE(.cfa = UNWIND_SP, .cfa_off = 24));
	expect(BYTES(0x13, 1), RULE(.cfa = UNWIND_SP, .cfa_off = -8));
	expect(BYTES(0x0e, 0xff, 0xff, 0xff, 0xff, 0x07), RULE(.cfa = UNWIND_SP, .cfa_off = INT32_MAX));
	expect(BYTES(0x0e, 0x80, 0x80, 0x80, 0x80, 0x08), UNKNOWN_RULE);
	expect(BYTES(0x0c, 15, 8), RULE(.cfa = UNWIND_REG, .reg = 15, .cfa_off = 8));
	expect(BYTES(0x0c, 17, 8), UNKNOWN_RULE); /* xmm0 */
	expect(BYTES(0x0c, 0xc6, 0x00, 8), UNKNOWN_RULE); /* 70 is not rbp, which is 6 */
	expect(BYTES(0x0c, 0x80, 0x02, 8), UNKNOWN_RULE); /* register 256 */
}

static void test_cfa_expression(void **state)
{
	(void)state;
	/* breg7 16; breg6 -8, deref; breg7 8, deref, + 8 in each way of writing it */
	expect(BYTES(0x0f, 2, 0x77, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x0f, 3, 0x92, 7, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect(BYTES(0x0f, 3, 0x76, 0x78, 0x06), RULE(.cfa = UNWIND_FP_DEREF, .cfa_off = -8));
	expect(BYTES(0x0f, 5, 0x77, 8, 0x06, 0x23, 8), RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = 8));
	expect(BYTES(0x0f, 5, 0x77, 8, 0x06, 0x38, 0x22), RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = 8));
	expect(BYTES(0x0f, 5, 0x77, 8, 0x06, 0x38, 0x1c), RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = -8));
	expect(BYTES(0x0f, 6, 0x77, 8, 0x06, 0x09, 0xf8, 0x22),
	       RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = -8));
	expect(BYTES(0x0f, 7, 0x77, 8, 0x06, 0x0a, 0x00, 0x01, 0x22),
	       RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = 256));
	expect(BYTES(0x0f, 9, 0x77, 8, 0x06, 0x0d, 0xff, 0xff, 0xff, 0xff, 0x22),
	       RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = -1));
	expect(BYTES(0x0f, 6, 0x77, 8, 0x96, 0x06, 0x10, 8), UNKNOWN_RULE); /* cut short */
	expect(BYTES(0x0f, 7, 0x77, 8, 0x96, 0x06, 0x10, 8, 0x22),
	       RULE(.cfa = UNWIND_SP_DEREF, .cfa_off = 8, .deref_off = 8));
	/* OpenSSL's: breg7 8, breg9 0 * 8, +, deref, + 8; then of another size, with an offset, without what follows */
	expect(BYTES(0x0f, 10, 0x77, 8, 0x79, 0, 0x38, 0x1e, 0x22, 0x06, 0x23, 8),
	       RULE(.cfa = UNWIND_INDEXED, .cfa_off = 8, .deref_off = 8, .reg = 9));
	expect(BYTES(0x0f, 10, 0x77, 8, 0x79, 0, 0x34, 0x1e, 0x22, 0x06, 0x23, 8), UNKNOWN_RULE);
	expect(BYTES(0x0f, 10, 0x77, 8, 0x79, 1, 0x38, 0x1e, 0x22, 0x06, 0x23, 8), UNKNOWN_RULE);
	expect(BYTES(0x0f, 7, 0x77, 8, 0x79, 0, 0x38, 0x1e, 0x22), UNKNOWN_RULE);
	/* ld's expressions for .plt */
	expect(BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22),
	       RULE(.cfa = UNWIND_PLT, .cfa_off = 8, .reg = 11));
	expect(BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3a, 0x2a, 0x33, 0x24, 0x22),
	       RULE(.cfa = UNWIND_PLT, .cfa_off = 8, .reg = 10));
	expect(BYTES(0x0f, 11, 0x76, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22), UNKNOWN_RULE);
	expect(BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3e, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22), UNKNOWN_RULE);
	expect(BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x32, 0x24, 0x22), UNKNOWN_RULE);
	/* none of these */
	expect(BYTES(0x0f, 0), UNKNOWN_RULE);
	expect(BYTES(0x0f, 1, 0x9c), UNKNOWN_RULE);
	expect(BYTES(0x0f, 3, 0x73, 0, 0x06), UNKNOWN_RULE);       /* *(rbx) */
	expect(BYTES(0x0f, 4, 0x77, 0, 0x06, 0x06), UNKNOWN_RULE); /* **(rsp) */
	expect(BYTES(0x0f, 4, 0x77, 0, 0x38, 0x1e), UNKNOWN_RULE); /* rsp * 8 */
	/* afterwards a register again */
	expect(BYTES(0x0f, 3, 0x76, 0x78, 0x06, 0x0c, 7, 8), ENTRY);
	expect(BYTES(0x0f, 3, 0x76, 0x78, 0x06, 0x0d, 6), RULE(.cfa = UNWIND_FP, .cfa_off = 8));
	expect_bad(BYTES(0x0f, 9, 0x77, 8));
}

static void test_frame_pointer(void **state)
{
	(void)state;
	expect(BYTES(0x86, 2), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = -16));
	expect(BYTES(0x05, 6, 2), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = -16));
	expect(BYTES(0x11, 6, 0x7e), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = 16));
	expect(BYTES(0x2f, 6, 2), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = 16));
	expect(BYTES(0x86, 2, 0xc6), ENTRY);
	expect(BYTES(0x86, 2, 0x06, 6), ENTRY);
	expect(BYTES(0x86, 2, 0x08, 6), ENTRY);
	expect(BYTES(0x07, 6), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	expect(BYTES(0x09, 6, 3), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	expect(BYTES(0x14, 6, 3), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	expect(BYTES(0x15, 6, 0x83, 0x7f), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	expect(BYTES(0x16, 6, 2, 0x76, 0), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	expect(BYTES(0x10, 6, 2, 0x76, 0), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_AT_FP));
	expect(BYTES(0x10, 6, 2, 0x77, 16), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_AT_SP, .fp_off = 16));
	expect(BYTES(0x10, 6, 2, 0x73, 0), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_UNKNOWN));
	/* 40000 below the CFA: no 16 bits, but from SP it has; from FP it has not */
	expect(BYTES(0x0e, 0xc0, 0xb8, 0x02, 0x86, 0x88, 0x27),
	       RULE(.cfa = UNWIND_SP, .cfa_off = 40000, .fp = UNWIND_FP_AT_SP));
	expect(BYTES(0x0c, 6, 16, 0x86, 0x88, 0x27), RULE(.cfa = UNWIND_FP, .cfa_off = 16, .fp = UNWIND_FP_UNKNOWN));
	/* other registers are read over */
	expect(BYTES(0x8d, 2, 0x05, 12, 3, 0x07, 1, 0x08, 2, 0x09, 4, 5, 0x10, 13, 2, 0x76, 0, 0xcd, 0x2e, 0x90, 0x01),
	       ENTRY);
}

static void test_rbx(void **state)
{
	const struct unwind_rule lost = RULE(.cfa = UNWIND_SP, .cfa_off = 8, .flags = UNWIND_BX_UNKNOWN);

	(void)state;
	expect(BYTES(0x83, 2), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .flags = UNWIND_BX_SAVED, .bx_off = -16));
	expect(BYTES(0x11, 3, 0x7e), RULE(.cfa = UNWIND_SP, .cfa_off = 8, .flags = UNWIND_BX_SAVED, .bx_off = 16));
	expect(BYTES(0x83, 2, 0xc3), ENTRY);
	expect(BYTES(0x83, 2, 0x08, 3), ENTRY);
	expect(BYTES(0x07, 3), lost);
	expect(BYTES(0x09, 3, 12), lost);
	expect(BYTES(0x10, 3, 2, 0x76, 0), lost);
	expect(BYTES(0x83, 0x88, 0x27), lost); /* 40000 away */
}

static void test_return_address(void **state)
{
	(void)state;
	expect(BYTES(0x90, 2), ((struct unwind_rule){.cfa = UNWIND_SP, .cfa_off = 8, .ra_off = -16}));
	expect(BYTES(0x07, 16), (struct unwind_rule){.cfa = UNWIND_END});
	expect(BYTES(0x86, 2, 0x07, 16), (struct unwind_rule){.cfa = UNWIND_END});
	expect(BYTES(0x07, 16, 0xd0), ENTRY);
	expect(BYTES(0x08, 16), UNKNOWN_RULE); /* there is no link register */
	expect(BYTES(0x09, 16, 1), UNKNOWN_RULE);
	expect(BYTES(0x16, 16, 2, 0x77, 0), UNKNOWN_RULE);
	expect(BYTES(0x10, 16, 2, 0x77, 0), UNKNOWN_RULE); /* by SP, but the CFA is none of a signal frame */
}

static void test_signal_frame(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	frame__cie(&f, "zRS", BYTES(0x1b), NOTHING);
	/* glibc's __restore_rt: *(rsp + 160), rip at rsp + 168, rbp at rsp + 120 */
	frame__function(&f, TEXT, 9,
			BYTES(0x0f, 4, 0x77, 0xa0, 1, 0x06, 0x10, 16, 3, 0x77, 0xa8, 1, 0x10, 6, 3, 0x77, 0xf8, 0));
	frame__function(&f, TEXT + 0x10, 9, BYTES(0x0c, 6, 16)); /* arm64's kernel keeps a frame record */
	frame__function(&f, TEXT + 0x20, 9, BYTES(0x0f, 4, 0x77, 0xa0, 1, 0x06, 0x10, 16, 3, 0x77, 0xa8, 1));
	t = frame__table(&f);
	table__expect(t, TEXT,
		      (struct unwind_rule){.cfa = UNWIND_SIGNAL,
					   .cfa_off = 160,
					   .ra_off = 168,
					   .fp = UNWIND_FP_AT_SP,
					   .fp_off = 120,
					   .flags = UNWIND_SIGNAL_FRAME | UNWIND_RA_AT_SP});
	table__expect(t, TEXT + 0x10, RULE(.cfa = UNWIND_FP, .cfa_off = 16, .flags = UNWIND_SIGNAL_FRAME));
	table__expect(t, TEXT + 0x20, UNKNOWN_RULE); /* without FP it is none that we know */
	unwind_table__free(t);
}

static void test_remember(void **state)
{
	uint8_t deep[200];

	(void)state;
	expect(BYTES(0x0a, 0x0e, 16, 0x86, 2, 0x41, 0x0b), ENTRY);
	expect(BYTES(0x0e, 16, 0x0a, 0x0c, 6, 16, 0x0a, 0x0e, 32, 0x0b, 0x41), RULE(.cfa = UNWIND_FP, .cfa_off = 16));
	expect(BYTES(0x0e, 16, 0x0a, 0x0c, 6, 16, 0x0a, 0x0e, 32, 0x0b, 0x0b), RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	expect_bad(BYTES(0x0b));
	expect_bad(BYTES(0x0a, 0x0b, 0x0b));
	memset(deep, 0x0a, 64);
	memset(deep + 64, 0x0b, 64);
	expect(deep, 128, ENTRY);
	memset(deep, 0x0a, sizeof(deep));
	expect_bad(deep, sizeof(deep));
}

static void test_restore_means_the_cie(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	frame__cie(&f, "zR", BYTES(0x1b), BYTES(0x86, 4));
	frame__function(&f, TEXT, 0x10, BYTES(0x86, 2, 0x44, 0xc6));
	t = frame__table(&f);
	table__expect(t, TEXT, RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = -16));
	table__expect(t, TEXT + 4, RULE(.cfa = UNWIND_SP, .cfa_off = 8, .fp = UNWIND_FP_SAVED, .fp_off = -32));
	unwind_table__free(t);
}

static void test_nonsense(void **state)
{
	(void)state;
	expect_bad(BYTES(0x17));
	expect_bad(BYTES(0x3f));
	expect_bad(BYTES(0x2d));                       /* arm64's */
	expect_bad(BYTES(0x41, 0x0e, 16, 0x44, 0x0b)); /* what came before is not kept */
	/* operands that the padding does not complete */
	expect_bad(BYTES(0, 0, 0, 0, 0, 0, 0x04));
	expect_bad(BYTES(0, 0, 0, 0, 0, 0, 0x0e));
	expect_bad(BYTES(0, 0, 0, 0, 0, 0x0c, 7));
	expect_bad(BYTES(0, 0, 0, 0, 0, 0, 0x86));
}

static void test_arm64(void **state)
{
	struct frame f = {.image.machine = EM_AARCH64};
	struct unwind_table *t;
	const struct unwind_rule leaf = {.cfa = UNWIND_SP, .ra_off = UNWIND_RA_SAME};

	(void)state;
	/* code factor 4, data factor -8, RA x30; CFA = sp */
	frame__put(&f, BYTES(20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 4, 0x78, 30, 1, 0x1b, 0x0c, 31, 0, 0, 0, 0, 0));
	/* paciasp; stp x29, x30, [sp, -32]!; mov x29, sp; ... autiasp */
	frame__function(&f, TEXT, 0x40,
			BYTES(0x41, 0x2d, 0x41, 0x0e, 32, 0x9d, 4, 0x9e, 3, 0x41, 0x0d, 29, 0x44, 0x0a, 0x0c, 31, 0,
			      0xdd, 0xde, 0x41, 0x2d, 0x41, 0x0b));
	/* registers at the lower end of 40000 bytes */
	frame__function(&f, TEXT + 0x40, 0x40, BYTES(0x0e, 0xc0, 0xb8, 0x02, 0x9d, 0x88, 0x27, 0x9e, 0x87, 0x27));
	t = frame__table(&f);
	assert_int_equal(t->machine, EM_AARCH64);
	assert_int_equal(t->nbad, 0);
	table__expect(t, TEXT, leaf);
	table__expect(t, TEXT + 4,
		      (struct unwind_rule){.cfa = UNWIND_SP, .ra_off = UNWIND_RA_SAME, .flags = UNWIND_RA_SIGNED});
	for (unsigned int at = 8; at < 0x2c; at += 4)
		if (at < 12 || at >= 28)
			continue;
		else
			table__expect(t, TEXT + at,
				      (struct unwind_rule){.cfa = UNWIND_FP,
							   .cfa_off = 32,
							   .ra_off = -24,
							   .fp = UNWIND_FP_SAVED,
							   .fp_off = -32,
							   .flags = UNWIND_RA_SIGNED});
	table__expect(t, TEXT + 28,
		      (struct unwind_rule){.cfa = UNWIND_SP, .ra_off = UNWIND_RA_SAME, .flags = UNWIND_RA_SIGNED});
	table__expect(t, TEXT + 32, leaf);
	table__expect(t, TEXT + 36,
		      (struct unwind_rule){.cfa = UNWIND_FP,
					   .cfa_off = 32,
					   .ra_off = -24,
					   .fp = UNWIND_FP_SAVED,
					   .fp_off = -32,
					   .flags = UNWIND_RA_SIGNED});
	table__expect(t, TEXT + 0x40,
		      (struct unwind_rule){.cfa = UNWIND_SP,
					   .cfa_off = 40000,
					   .ra_off = 8,
					   .fp = UNWIND_FP_AT_SP,
					   .flags = UNWIND_RA_AT_SP});
	unwind_table__free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_advance),        cmocka_unit_test(test_rows),
		cmocka_unit_test(test_set_loc),        cmocka_unit_test(test_cfa),
		cmocka_unit_test(test_cfa_expression), cmocka_unit_test(test_frame_pointer),
		cmocka_unit_test(test_rbx),
		cmocka_unit_test(test_return_address), cmocka_unit_test(test_signal_frame),
		cmocka_unit_test(test_remember),       cmocka_unit_test(test_restore_means_the_cie),
		cmocka_unit_test(test_nonsense),       cmocka_unit_test(test_arm64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
