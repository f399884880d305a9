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

/* What is known of other functions here: there is one at these addresses. */
#define RETURNING 0x900
#define ENDING    0xa00

static enum follow_function others(void *context, uint64_t addr)
{
	(void)context;
	return addr == RETURNING ? FOLLOW_RETURNS : addr == ENDING ? FOLLOW_ENDS : FOLLOW_NONE;
}

#define TABLE 0x4000

/* A table of a switch: three entries within the function, 16 bytes apart, and no more. */
static size_t read_table(void *context, uint64_t addr, void *buf, size_t n)
{
	const int32_t *entries = context;

	assert_int_equal(addr, TABLE);
	if (n > 12)
		n = 12;
	memcpy(buf, entries, n);
	return n;
}

/* Displacement to an address, behind an instruction that ends at `at`. */
#define TO(addr, at) \
	(uint8_t)((addr) - START - (at)), (uint8_t)(((addr) - START - (at)) >> 8), (uint8_t)(((addr) - START - (at)) >> 16), \
		(uint8_t)(((addr) - START - (at)) >> 24)

static struct follow_x86 one_of(const uint8_t *code, size_t n)
{
	return (struct follow_x86){.code = code, .n = n, .start = START, .proven = true, .function = others};
}

/* How many bytes something is said of, from the start on without a gap. */
static size_t said(filler_list *list)
{
	uint64_t at = START;

	vec__foreach(list, f) {
		assert_int_equal(f->start, at);
		at = f->end;
	}
	return at - START;
}

static void expect_said(struct follow_x86 what, int err, enum follow_function is, size_t bytes)
{
	struct follow_found found = {0};
	filler_list list = {0};

	assert_int_equal(follow_x86__run(&what, &found, &list), err);
	assert_int_equal(said(&list), bytes);
	if (!err)
		assert_int_equal(found.is, is);
	vec__free(&found.called);
	vec__free(&found.taken);
	vec__free(&found.tables);
	vec__free(&list);
}

/* A function that never returns is followed as far as it is certain to go; behind a call that may not return may be another one. */
static void test_never_returns(void **state)
{
	(void)state;
	/* xor edi, edi; mov $60, eax; syscall; and what may be anything */
	expect_said(one_of(BYTES(0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0x06)), 0, FOLLOW_ENDS, 9);
	/* xor eax, eax; mov $231, al; syscall */
	expect_said(one_of(BYTES(0x31, 0xc0, 0xb0, 231, 0x0f, 0x05)), 0, FOLLOW_ENDS, 6);
	/* mov $61, eax; syscall; hlt */
	expect_said(one_of(BYTES(0xb8, 61, 0, 0, 0, 0x0f, 0x05, 0xf4)), 0, FOLLOW_ENDS, 8);
	expect_said(one_of(BYTES(0xeb, 0xfe)), 0, FOLLOW_ENDS, 2); /* 1: jmp 1b */
	/* push rax; call ENDING; and what may be anything */
	expect_said(one_of(BYTES(0x50, 0xe8, TO(ENDING, 6), 0x06)), 0, FOLLOW_ENDS, 6);
	/* push rax; call *rax; push rbx; call ENDING: the second push may be a function's start */
	expect_said(one_of(BYTES(0x50, 0xff, 0xd0, 0x53, 0xe8, TO(ENDING, 9))), 0, FOLLOW_ENDS, 3);
	/* of one function, it is not; nor where what was called returns, or its result is used (mov eax, edi) */
	struct follow_x86 whole = one_of(BYTES(0x50, 0xff, 0xd0, 0x53, 0xe8, TO(ENDING, 9)));

	whole.whole = true;
	expect_said(whole, 0, FOLLOW_ENDS, 9);
	expect_said(one_of(BYTES(0x50, 0xe8, TO(RETURNING, 6), 0x53, 0xe8, TO(ENDING, 12))), 0, FOLLOW_ENDS, 12);
	expect_said(one_of(BYTES(0x50, 0xff, 0xd0, 0x89, 0xc7, 0xe8, TO(ENDING, 10))), 0, FOLLOW_ENDS, 10);
	/* push rax; call *rax; push rbx; pop rbx; ret: another function's end gives it away */
	expect_said(one_of(BYTES(0x50, 0xff, 0xd0, 0x53, 0x5b, 0xc3)), -ENOTSUP, 0, 0);
	/* push rax; call *rax; pop rax; ret: its own end */
	expect_said(one_of(BYTES(0x50, 0xff, 0xd0, 0x58, 0xc3)), 0, FOLLOW_UNKNOWN, 5);
	expect_said(one_of(BYTES(0x50, 0xe8, TO(RETURNING, 6), 0x58, 0xc3)), 0, FOLLOW_RETURNS, 8);
	/* jmp: as what it jumps to */
	expect_said(one_of(BYTES(0xe9, TO(RETURNING, 5))), 0, FOLLOW_RETURNS, 5);
	expect_said(one_of(BYTES(0xe9, TO(ENDING, 5))), 0, FOLLOW_ENDS, 5);
	expect_said(one_of(BYTES(0x50, 0xe9, TO(ENDING, 6))), -ENOTSUP, 0, 0);
}

/* What is only known to have its address taken has to show that it is a function. */
static void test_shown(void **state)
{
	struct follow_x86 what;

	(void)state;
#define EXPECT(err, is, bytes, ...) \
	do { \
		what = one_of(BYTES(__VA_ARGS__)); \
		what.proven = false; \
		expect_said(what, err, is, bytes); \
	} while (0)
	EXPECT(0, FOLLOW_RETURNS, 1, 0xc3);
	EXPECT(0, FOLLOW_RETURNS, 5, 0xe9, TO(RETURNING, 5));
	EXPECT(-ENOTSUP, 0, 0, 0xe9, TO(0x950, 5));    /* a jump into the middle of something */
	EXPECT(-ENOTSUP, 0, 0, 0xff, 0xe2);            /* jmp *rdx, as in the middle of a function */
	EXPECT(-ENOTSUP, 0, 0, 0x5b, 0xc3);            /* pop rbx; ret: a function's end */
	EXPECT(-ENOTSUP, 0, 0, 0xff, 0xd0, 0xf4);      /* call *rax; hlt: the stack pointer is as within a function */
	EXPECT(0, FOLLOW_ENDS, 3, 0x50, 0xff, 0xd0, 0xf4); /* push rax, in front of them */
#undef EXPECT
}

/* The start of a thread, as in musl's src/thread/x86_64/clone.s: its end of the stack. */
static void test_outermost(void **state)
{
	/* mov $56, eax; syscall; test eax, eax; jnz 1f; xor ebp, ebp; pop rdi; call *r9; mov eax, edi; xor eax, eax; mov $60, al; syscall; 1: ret */
	struct follow_x86 what = one_of(BYTES(0xb8, 56, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x75, 0x0f, 0x31, 0xed, 0x5f, 0x41, 0xff, 0xd1, 0x89, 0xc7,
					      0x31, 0xc0, 0xb0, 60, 0x0f, 0x05, 0x90, 0xc3));
	struct follow_found found = {0};
	filler_list list = {0};

	(void)state;
	assert_int_equal(follow_x86__run(&what, &found, &list), 0);
	expect(&list, 0, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	assert_int_equal(rule_at(&list, 4).flags, 0);
	for (uint64_t at = 5; at < 14; at++)
		assert_int_equal(rule_at(&list, at).flags, UNWIND_FORKS);
	for (uint64_t at = 14; at < 25; at++)
		assert_int_equal(rule_at(&list, at).cfa, UNWIND_END);
	expect(&list, 26, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	assert_int_equal(rule_at(&list, 26).flags, UNWIND_FORKS);
	vec__free(&list);
	/* where rbp is not 0, or it goes on, nothing is known */
	what = one_of(BYTES(0x5f, 0xff, 0xd1, 0xf4));
	assert_int_equal(follow_x86__run(&what, &found, &list), 0);
	assert_int_equal(rule_at(&list, 1).cfa, UNWIND_UNKNOWN);
	vec__free(&list);
	vec__free(&found.called);
	vec__free(&found.taken);
	vec__free(&found.tables);
}

static void test_return_address(void **state)
{
	filler_list list = {0};

	(void)state;
	expect_refused(BYTES(0x48, 0x89, 0x04, 0x24, 0xc3));    /* mov rax, (rsp); ret: jumps */
	expect_refused(BYTES(0x59, 0x50, 0xc3));                /* pop rcx; push rax; ret: likewise */
	expect_refused(BYTES(0x8f, 0x07, 0xc3));                /* pop (rdi); ret */
	expect_refused(BYTES(0x8f, 0x07, 0xff, 0x37, 0xc3));    /* pop (rdi); push (rdi); ret: who knows */
	/* mov 8(rdi), rsp; jmp *rax: a longjmp; with ret it would be no better known */
	expect_said(one_of(BYTES(0x48, 0x8b, 0x67, 0x08, 0xff, 0xe0)), 0, FOLLOW_UNKNOWN, 6);
	expect_said(one_of(BYTES(0x48, 0x8b, 0x67, 0x08, 0xc3)), -ENOTSUP, 0, 0);
	/* pop rdx; syscall; push rdx; ret: musl's vfork */
	assert_int_equal(follow_x86(BYTES(0x5a, 0x0f, 0x05, 0x52, 0xc3), START, &list), 0);
	assert_int_equal(rule_at(&list, 1).cfa, UNWIND_UNKNOWN);
	assert_int_equal(rule_at(&list, 3).cfa, UNWIND_UNKNOWN);
	expect(&list, 4, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	vec__free(&list);
}

/* A switch: each of what its table has is come to with the same stack pointer. */
static void test_table(void **state)
{
	/* push rbx; cmp $2, edi; ja 1f; lea TABLE(rip), rdx; movslq (rdx, rdi, 4), rax; add rdx, rax; jmp *rax;
	   0: pop rbx; ret; 2: nop; jmp 0b; 1: pop rbx; ret */
	static const uint8_t code[] = {0x53, 0x83, 0xff, 0x02, 0x77, 0x15, 0x48, 0x8d, 0x15, TO(TABLE, 13), 0x48, 0x63, 0x04, 0xba,
				       0x48, 0x01, 0xd0, 0xff, 0xe0, 0x5b, 0xc3, 0x90, 0xeb, 0xfb, 0x5b, 0xc3};
	int32_t good[3] = {START + 22 - TABLE, START + 24 - TABLE, START + 22 - TABLE};
	int32_t far[3] = {START + 22 - TABLE, START + 24 - TABLE, START - 22 - TABLE};
	int32_t inside[3] = {START + 22 - TABLE, START + 24 - TABLE, START - TABLE};
	struct follow_x86 what = one_of(code, sizeof(code));
	struct follow_found found = {0};
	filler_list list = {0};

	(void)state;
	expect_said(what, -ENOTSUP, 0, 0);
	what.read = read_table;
	what.context = good;
	assert_int_equal(follow_x86__run(&what, &found, &list), 0);
	expect(&list, 22, UNWIND_SP, 16, UNWIND_FP_SAME, 0);
	expect(&list, 23, UNWIND_SP, 8, UNWIND_FP_SAME, 0);
	expect(&list, 24, UNWIND_SP, 16, UNWIND_FP_SAME, 0);
	expect(&list, 25, UNWIND_SP, 16, UNWIND_FP_SAME, 0);
	vec__free(&list);
	vec__free(&found.called);
	vec__free(&found.taken);
	vec__free(&found.tables);
	what.context = far; /* out of the function */
	expect_said(what, -ENOTSUP, 0, 0);
	what.context = inside; /* to where the stack pointer is another one */
	expect_said(what, -ENOTSUP, 0, 0);
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
		cmocka_unit_test(test_never_returns),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_outermost),
		cmocka_unit_test(test_return_address),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
