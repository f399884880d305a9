// SPDX-License-Identifier: Apache-2.0
/* Following code that has no call frame information: what is known at each instruction, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwind/follow_x86.h"
#include "unwind/insn_x86.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define START      0x1000

/* The rule at an offset, which must have one. */
static struct unwind_rule rule_at(filler_list *list, uint64_t offset)
{
	vec__foreach(list, f)
		if (f->start <= START + offset && START + offset < f->end)
			return f->rule;
	fail_msg("nothing at %#lx", (unsigned long)offset);
	return (struct unwind_rule){0};
}

static void expect(filler_list *list, uint64_t offset, uint8_t cfa, int32_t cfa_off, uint8_t fp, int16_t fp_off)
{
	struct unwind_rule r = rule_at(list, offset);

	assert_int_equal(r.cfa, cfa);
	assert_int_equal(r.cfa_off, cfa_off);
	assert_int_equal(r.ra_off, -8);
	assert_int_equal(r.fp, fp);
	assert_int_equal(r.fp_off, fp_off);
}

static void expect_refused(const uint8_t *code, size_t n)
{
	filler_list list = {0};

	assert_int_equal(follow_x86(code, n, START, &list), -ENOTSUP);
	assert_int_equal(list.len, 0);
	vec__free(&list);
}

static void test_pushes(void **state)
{
	filler_list list = {0};

	(void)state;
	/* endbr64; push rbp; sub $16, rsp; test eax, eax; je 1f; call +5; 1: add $16, rsp; pop rbp; ret */
	assert_int_equal(follow_x86(BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x83, 0xec, 0x10, 0x85, 0xc0, 0x74, 0x05, 0xe8, 5, 0,
					  0, 0, 0x48, 0x83, 0xc4, 0x10, 0x5d, 0xc3, 0xcc),
				    START, &list),
			 0);
	expect(&list, 0, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	expect(&list, 4, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	expect(&list, 5, UNWIND_SP, 16, UNWIND_FP_SAME, 0);
	expect(&list, 9, UNWIND_SP, 32, UNWIND_FP_SAME, 0);
	expect(&list, 18, UNWIND_SP, 32, UNWIND_FP_SAME, 0);
	expect(&list, 22, UNWIND_SP, 16, UNWIND_FP_SAME, 0);
	expect(&list, 23, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	assert_int_equal(list.data[list.len - 1].end, START + 24); /* padding is nobody's */
	vec__free(&list);
}

static void test_frame_pointer(void **state)
{
	filler_list list = {0};

	(void)state;
	/* push rbp; mov rsp, rbp; and $-64, rsp; xor ecx, ecx; leave; ret */
	assert_int_equal(follow_x86(BYTES(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xc0, 0x31, 0xc9, 0xc9, 0xc3), START, &list), 0);
	expect(&list, 4, UNWIND_SP, 16, UNWIND_FP_SAVED, -16);
	expect(&list, 8, UNWIND_FP, 16, UNWIND_FP_SAVED, -16);
	expect(&list, 11, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	vec__free(&list);
}

static void test_other_register(void **state)
{
	filler_list list = {0};

	(void)state;
	/* push rbx; mov rsp, rbx; and $-64, rsp; 1: addsd xmm3, xmm3; dec edi; jne 1b; mov rbx, rsp; pop rbx; ret */
	assert_int_equal(follow_x86(BYTES(0x53, 0x48, 0x89, 0xe3, 0x48, 0x83, 0xe4, 0xc0, 0xf2, 0x0f, 0x58, 0xdb, 0xff, 0xcf, 0x75,
					  0xf8, 0x48, 0x89, 0xdc, 0x5b, 0xc3),
				    START, &list),
			 0);
	expect(&list, 8, UNWIND_REG, 16, UNWIND_FP_SAME, 0);
	assert_int_equal(rule_at(&list, 8).reg, 3);
	assert_int_equal(rule_at(&list, 8).flags, UNWIND_BX_SAVED);
	assert_int_equal(rule_at(&list, 8).bx_off, -16);
	expect(&list, 20, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	assert_int_equal(rule_at(&list, 20).flags, 0);
	vec__free(&list);
}

/* Of the caller's rbx nothing is known where it is not seen to be restored. */
static void test_lost(void **state)
{
	filler_list list = {0};

	(void)state;
	/* nop; xor ebx, ebx; ret */
	assert_int_equal(follow_x86(BYTES(0x90, 0x31, 0xdb, 0xc3), START, &list), 0);
	for (int at = 0; at < 4; at++) {
		expect(&list, at, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
		assert_int_equal(rule_at(&list, at).flags, UNWIND_BX_UNKNOWN);
	}
	vec__free(&list);
}

static void test_refused(void **state)
{
	(void)state;
	expect_refused(BYTES(0x50, 0xc3));                               /* push rax; ret: jumps */
	expect_refused(BYTES(0x31, 0xed, 0xc3));                         /* xor ebp, ebp; ret */
	expect_refused(BYTES(0x48, 0x89, 0xc4, 0xc3));                   /* mov rax, rsp; ret */
	expect_refused(BYTES(0x74, 0x01, 0x50, 0xc3));                   /* je 1f; push rax; 1: ret */
	expect_refused(BYTES(0x50, 0xff, 0xe0));                         /* push rax; jmp *rax */
	expect_refused(BYTES(0x90));                                     /* runs into what comes next */
	expect_refused(BYTES(0x06, 0xc3));                               /* no instruction */
	expect_refused(BYTES(0x48));                                     /* half of one */
	expect_refused(BYTES(0xe8, 0, 0, 0, 0, 0xc3));                   /* call of what follows: a push */
	expect_refused(BYTES(0x66, 0x50, 0x66, 0x58, 0xc3));             /* push ax; pop ax */
	expect_refused(BYTES(0xeb, 0xfe));                               /* never returns */
	expect_refused(BYTES(0x85, 0xc0, 0x74, 0x01, 0xb8, 0x90, 0x90, 0x90, 0x90, 0xc3)); /* into the middle of another */
	/* mov rsp, rdx; and $-64, rsp; xor edx, edx, or andn, or rdtsc; mov rdx, rsp; ret */
	expect_refused(BYTES(0x48, 0x89, 0xe2, 0x48, 0x83, 0xe4, 0xc0, 0x31, 0xd2, 0x48, 0x89, 0xd4, 0xc3));
	expect_refused(BYTES(0x48, 0x89, 0xe2, 0x48, 0x83, 0xe4, 0xc0, 0xc4, 0xe2, 0xe8, 0xf2, 0xd2, 0x48, 0x89, 0xd4, 0xc3));
	expect_refused(BYTES(0x48, 0x89, 0xe2, 0x48, 0x83, 0xe4, 0xc0, 0x0f, 0x31, 0x48, 0x89, 0xd4, 0xc3));
}

/*
 * A loop that hands "unknown" on by one register each time round: what is made to be looked at again and again is given up. Without
 * the loop's body, in which most is looked at, it is followed.
 */
static void test_steps(void **state)
{
	enum { BODY = 1000 };
	static const uint8_t regs[] = {0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

	(void)state;
	for (int body = 0; body <= BODY; body += BODY) {
		uint8_t code[2 * BODY];
		filler_list list = {0};
		size_t n = 0, loop;
		int32_t back;

		for (size_t i = 0; i < sizeof(regs); i++) { /* mov rsp, each of them */
			const uint8_t mov[] = {0x48 | regs[i] >> 3, 0x89, 0xe0 | (regs[i] & 7)};

			memcpy(code + n, mov, sizeof(mov));
			n += sizeof(mov);
		}
		loop = n;
		memset(code + n, 0x90, (size_t)body);
		n += (size_t)body;
		for (size_t i = sizeof(regs); --i;) { /* mov the one before, each of them */
			const uint8_t mov[] = {0x48 | regs[i - 1] >> 3 << 2 | regs[i] >> 3, 0x89,
					       0xc0 | (regs[i - 1] & 7) << 3 | (regs[i] & 7)};

			memcpy(code + n, mov, sizeof(mov));
			n += sizeof(mov);
		}
		memcpy(code + n, (const uint8_t[]){0x31, 0xc0, 0x0f, 0x85}, 4); /* xor eax, eax; jne loop; ret */
		back = (int32_t)loop - (int32_t)(n + 8);
		memcpy(code + n + 4, &back, 4);
		code[n + 8] = 0xc3;
		n += 9;
		assert_int_equal(follow_x86(code, n, START, &list), body ? -E2BIG : 0);
		assert_int_equal(!list.len, body != 0);
		vec__free(&list);
	}
}

static void length(size_t want, const uint8_t *code, size_t n)
{
	struct insn_x86 i;

	assert_true(insn_x86__read(code, n, &i));
	assert_int_equal(i.length, want);
	if (want == n)
		assert_false(insn_x86__read(code, n - 1, &i));
}

static void test_lengths(void **state)
{
	(void)state;
	length(1, BYTES(0x90));
	length(4, BYTES(0x8b, 0x44, 0x24, 0x08));                              /* SIB, disp8 */
	length(7, BYTES(0x8b, 0x04, 0x25, 1, 2, 3, 4));                        /* no base: disp32 */
	length(6, BYTES(0x8b, 0x05, 1, 2, 3, 4));                              /* rip */
	length(10, BYTES(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8));                 /* movabs */
	length(4, BYTES(0x66, 0xb8, 1, 2));                                    /* mov $, ax */
	length(6, BYTES(0xf7, 0xc0, 1, 2, 3, 4));                              /* test $, eax */
	length(2, BYTES(0xf7, 0xd0));                                          /* not eax */
	length(6, BYTES(0x0f, 0x84, 1, 2, 3, 4));                              /* je */
	length(5, BYTES(0x66, 0x0f, 0x70, 0xc1, 0x1b));                        /* pshufd */
	length(6, BYTES(0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8));                     /* palignr */
	length(3, BYTES(0xc5, 0xf8, 0x77));                                    /* vzeroupper */
	length(5, BYTES(0xc4, 0xe2, 0xf9, 0xf7, 0xc3));                        /* shlx */
	length(7, BYTES(0x62, 0xf1, 0x7c, 0x48, 0x10, 0x47, 0x01));            /* vmovups, disp8 * 64 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pushes),
		cmocka_unit_test(test_frame_pointer),
		cmocka_unit_test(test_other_register),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
