// SPDX-License-Identifier: Apache-2.0
/* From functions to tables: gaps, overlaps, pages, limits, what is filled in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "unwind_frame.h"

#define ENTRY  RULE(.cfa = UNWIND_SP, .cfa_off = 8)
#define PUSHED RULE(.cfa = UNWIND_SP, .cfa_off = 16)
#define PUSH   BYTES(0x44, 0x0e, 16) /* at function + 4 */

static void test_gaps_and_overlaps(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT + 0x400, 0x10, PUSH); /* out of order */
	frame__function(&f, TEXT + 0x100, 0x40, PUSH);
	frame__function(&f, TEXT + 0x110, 0x10, BYTES(0x0e, 32)); /* within it */
	frame__function(&f, TEXT + 0x100, 0x20, BYTES(0x0e, 48)); /* the first of two has it */
	frame__function(&f, TEXT + 0x200, 0, PUSH);
	frame__function(&f, 0, 0x10, PUSH); /* discarded by the linker */
	frame__function(&f, TEXT + IMAGE_TEXT_SIZE, 0x10, PUSH);
	frame__function(&f, TEXT + IMAGE_TEXT_SIZE - 0x10, 0x100, PUSH); /* reaches out */
	t = frame__table(&f);
	table__expect(t, TEXT + 0x10f, PUSHED);
	table__expect(t, TEXT + 0x110, RULE(.cfa = UNWIND_SP, .cfa_off = 32));
	table__expect(t, TEXT + 0x11f, RULE(.cfa = UNWIND_SP, .cfa_off = 32));
	table__expect(t, TEXT + 0x120, NO_RULE);
	table__expect(t, TEXT + 0x200, NO_RULE);
	table__expect(t, TEXT + 0x400, ENTRY);
	table__expect(t, TEXT + 0x404, PUSHED);
	table__expect(t, TEXT + 0x410, NO_RULE);
	table__expect(t, TEXT + IMAGE_TEXT_SIZE - 1, PUSHED);
	table__expect(t, TEXT + IMAGE_TEXT_SIZE, NO_RULE);
	table__expect(t, 0, NO_RULE);
	unwind_table__free(t);
}

static void test_pages(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT + 0xfff0, 0x20010, PUSH); /* pages 0, 1, 2; its last byte is the last one of page 2 */
	frame__function(&f, TEXT + 0x30000, 0x10, PUSH);
	t = frame__table(&f);
	assert_int_equal(t->npages, 4);
	for (uint32_t p = 0; p < t->npages; p++)
		assert_int_equal(UNWIND_ROW_OFFSET(t->rows[t->pages[p]]), 0);
	assert_int_equal(t->pages[2] - t->pages[1], 1);
	assert_int_equal(t->pages[3] - t->pages[2], 1);
	assert_int_equal(t->pages[4] - t->pages[3], 3);
	table__expect(t, TEXT + 0x10000, PUSHED);
	table__expect(t, TEXT + 0x2ffff, PUSHED);
	table__expect(t, TEXT + 0x30000, ENTRY);
	table__expect(t, TEXT + 0x3ffff, NO_RULE);
	table__expect(t, TEXT + 0x40000, NO_RULE);
	unwind_table__free(t);
}

/* 65536 different rules, the one of gaps among them, are as many as there may be. */
static void test_too_many_rules(void **state)
{
	struct unwind_table *t = NULL;
	uint8_t *bytes = calloc(65536, 8);
	struct err e = {0};

	(void)state;
	for (unsigned int n = 65535; n <= 65536; n++) {
		struct frame f = {0};
		struct elf *elf = NULL;
		uint32_t length;
		size_t at;
		int fd;

		frame__usual_cie(&f);
		frame__function(&f, TEXT, n, NOTHING);
		f.n -= 3; /* padding */
		memcpy(bytes, f.bytes, f.n);
		at = f.n;
		for (unsigned int i = 0; i < n; i++) /* advance by 1, CFA = rsp + i */
			memcpy(bytes + at + i * 5,
			       (uint8_t[]){0x0e, 0x80 | (i & 0x7f), 0x80 | (i >> 7 & 0x7f), (uint8_t)(i >> 14), 0x41},
			       5);
		length = (uint32_t)(at + n * 5 - f.cie - 28);
		memcpy(bytes + 24, &length, 4);
		f.image.frame = bytes;
		f.image.size = at + n * 5;
		fd = image__make(&f.image);
		assert_int_equal(elf__open(fd, &elf, &e), 0);
		if (n == 65535) {
			assert_int_equal(unwind_table__build(elf, &t, &e), 0);
			assert_int_equal(t->nbad, 0);
			assert_int_equal(t->nrules, 65536);
			table__expect(t, TEXT + 65534, RULE(.cfa = UNWIND_SP, .cfa_off = 65534));
			unwind_table__free(t);
			t = NULL;
		} else {
			assert_int_equal(unwind_table__build(elf, &t, &e), -E2BIG);
			assert_null(t);
			assert_non_null(strstr(e.text, "more unwind rules"));
		}
		elf__close(elf);
		close(fd);
	}
	free(bytes);
}

static void test_fillers(void **state)
{
	static const uint64_t plt = IMAGE_PLT;
	struct frame f = {.image = {.plt = 0x40, .interp = 1, .entry = TEXT + 0x1000}};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT + 0x1020, 0x10, PUSH);
	t = frame__table(&f);
	table__expect(t, plt - 1, NO_RULE);
	table__expect(t, plt, PUSHED); /* the stub's push is there already */
	table__expect(t, plt + 5, PUSHED);
	table__expect(t, plt + 6, RULE(.cfa = UNWIND_SP, .cfa_off = 24));
	table__expect(t, plt + 16, RULE(.cfa = UNWIND_PLT, .cfa_off = 8, .reg = 11));
	table__expect(t, plt + 0x3f, RULE(.cfa = UNWIND_PLT, .cfa_off = 8, .reg = 11));
	table__expect(t, plt + 0x40, NO_RULE);
	table__expect(t, TEXT + 0xfff, NO_RULE);
	table__expect(t, TEXT + 0x1000, (struct unwind_rule){.cfa = UNWIND_END});
	table__expect(t, TEXT + 0x101f, (struct unwind_rule){.cfa = UNWIND_END});
	table__expect(t, TEXT + 0x1020, ENTRY); /* what is known goes first */
	table__expect(t, TEXT + 0x1030, (struct unwind_rule){.cfa = UNWIND_END});
	table__expect(t, TEXT + 0x1040, NO_RULE);
	unwind_table__free(t);
	f.image.interp = 0; /* a library */
	t = frame__table(&f);
	table__expect(t, TEXT + 0x1000, NO_RULE);
	unwind_table__free(t);
}

/* A _fini that does nothing. */
static void test_fini(void **state)
{
	static const uint8_t code[] = {0x48, 0x83, 0xec, 8, 0x48, 0x83, 0xc4, 8, 0xc3};
	struct frame f = {.image = {.init = code, .init_size = sizeof(code)}};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x10, PUSH);
	t = frame__table(&f);
	for (size_t i = 0; i < sizeof(code); i++)
		table__expect(t, IMAGE_INIT + i, i >= 4 && i < 8 ? PUSHED : ENTRY);
	unwind_table__free(t);
}

static void test_init(void **state)
{
	uint8_t code[32] = {0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 8, [27] = 0x48, 0x83, 0xc4, 8, 0xc3};

	(void)state;
	for (int tracked = 0; tracked < 2; tracked++) {
		const uint8_t *init = code + (tracked ? 0 : 4);
		size_t size = sizeof(code) - (tracked ? 0 : 4), pushed = tracked ? 8 : 4;
		struct frame f = {.image = {.init = init, .init_size = size}};
		struct unwind_table *t;

		frame__usual_cie(&f);
		frame__function(&f, TEXT, 0x10, PUSH);
		t = frame__table(&f);
		table__expect(t, IMAGE_INIT - 1, NO_RULE);
		for (size_t i = 0; i < size; i++)
			table__expect(t, IMAGE_INIT + i, i >= pushed && i < size - 1 ? PUSHED : ENTRY);
		table__expect(t, IMAGE_INIT + size, NO_RULE);
		unwind_table__free(t);
		/* anything else that is called so */
		f.image.init_size--;
		t = frame__table(&f);
		table__expect(t, IMAGE_INIT, NO_RULE);
		unwind_table__free(t);
	}
}

/* The dynamic linker's entry: up to its jump to the program there is no caller. */
static void test_linker(void **state)
{
	/* mov %rsp, %rdi; call; ... jmp *%r12; ret */
	static const uint8_t code[128] = {0x48, 0x89, 0xe7, 0xe8, 0, 0, 0, 0, 0x49, 0x89, 0xc4, 0x41, 0xff, 0xe4, 0xc3};
	uint8_t other[sizeof(code)];
	struct frame f = {.image = {.init = code, .init_size = sizeof(code), .entry = IMAGE_INIT}};
	struct unwind_table *t;

	(void)state;
	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x10, PUSH);
	t = frame__table(&f);
	for (size_t i = 0; i < 14; i++)
		table__expect(t, IMAGE_INIT + i, (struct unwind_rule){.cfa = UNWIND_END});
	table__expect(t, IMAGE_INIT + 14, NO_RULE);
	unwind_table__free(t);
	memcpy(other, code, sizeof(code));
	other[2] = 0xe6; /* to another register */
	f.image.init = other;
	t = frame__table(&f);
	table__expect(t, IMAGE_INIT, NO_RULE);
	unwind_table__free(t);
}

/* One function of a file, behind the names of others, is followed unless there are more of these than can be true. */
static void test_symbols(void **state)
{
	static const uint8_t code[] = {0x90, 0xc3};
	Elf64_Sym symbol = {.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1, .st_value = IMAGE_CODE};

	(void)state;
	for (size_t many = 0; many < 2; many++) {
		struct frame f = {.image = {.code = code, .code_size = sizeof(code), .symbols = &symbol, .nsymbols = 1}};
		struct unwind_table *t = NULL;
		struct elf *elf = NULL;
		Elf64_Shdr s;
		int fd;

		symbol.st_size = sizeof(code);
		frame__usual_cie(&f);
		frame__function(&f, TEXT, 0x100, NOTHING);
		f.image.frame = f.bytes;
		f.image.size = f.n;
		fd = image__make(&f.image);
		if (many) {
			const off_t at = sizeof(Elf64_Ehdr) + 4 * sizeof(Elf64_Phdr) + 5 * sizeof(s);

			assert_int_equal(pread(fd, &s, sizeof(s), at), sizeof(s));
			s.sh_size = ((4u << 20) + 1) * sizeof(symbol);
			assert_int_equal(pwrite(fd, &s, sizeof(s), at), sizeof(s));
			assert_int_equal(ftruncate(fd, IMAGE_SYMBOLS + (off_t)s.sh_size), 0);
		}
		assert_int_equal(elf__open(fd, &elf, NULL), 0);
		assert_int_equal(unwind_table__build(elf, &t, NULL), 0);
		table__expect(t, IMAGE_CODE, many ? NO_RULE : RULE(.cfa = UNWIND_SP, .cfa_off = 8));
		unwind_table__free(t);
		elf__close(elf);
		close(fd);
	}
}

/* glibc's clone: two entries, and between them what a parent and a child run. */
static void test_forks(void **state)
{
	/* mov %eax; syscall, test %rax, jl, je, ret; xor %ebp, ... */
	static const uint8_t code[] = {0xb8, 0x38, 0,    0,    0,    0x0f, 0x05, 0x48, 0x85,
				       0xc0, 0x7c, 0x18, 0x74, 0x01, 0xc3, 0x31, 0xed};
	static const struct {
		size_t at; /* a byte is another one */
		uint8_t byte, moved, size;
	} other[] = {
		{6, 0x0b, 8, 10},  /* no system call */
		{10, 0x50, 8, 10}, /* a push */
		{0, 0xb8, 16, 10}, /* the return address is elsewhere */
		{15, 0xc3, 8, 11}, /* what comes next is another function's */
	};
	uint8_t changed[sizeof(code)];

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(other); i++) {
		bool is_one = i == ARRAY_SIZE(other);
		struct frame f = {.image = {.code = changed, .code_size = sizeof(code)}};
		uint64_t hole = IMAGE_CODE + 5, next = is_one ? hole + 10 : hole + other[i].size;
		struct unwind_table *t;

		memcpy(changed, code, sizeof(code));
		if (!is_one)
			changed[other[i].at] = other[i].byte;
		frame__usual_cie(&f);
		if (is_one || other[i].moved == 8)
			frame__function(&f, IMAGE_CODE, 5, NOTHING);
		else
			frame__function(&f, IMAGE_CODE, 5, BYTES(0x0e, 16));
		frame__function(&f, next, 2, NOTHING);
		t = frame__table(&f);
		for (uint64_t at = hole; at < next; at++)
			table__expect(t, at,
				      is_one ? RULE(.cfa = UNWIND_SP, .cfa_off = 8, .flags = UNWIND_FORKS) : NO_RULE);
		table__expect(t, next, ENTRY);
		unwind_table__free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gaps_and_overlaps),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_fillers),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_fini),
		cmocka_unit_test(test_linker),
		cmocka_unit_test(test_symbols),
		cmocka_unit_test(test_forks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
