// SPDX-License-Identifier: Apache-2.0
/*
 * Files: sections, entries, encodings of addresses, errors. Instructions: test_unwind.c; what comes of many functions:
 * test_unwind_table.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "unwind_frame.h"

#define ENTRY  RULE(.cfa = UNWIND_SP, .cfa_off = 8)
#define PUSHED RULE(.cfa = UNWIND_SP, .cfa_off = 16)
#define PUSH   BYTES(0x44, 0x0e, 16) /* at function + 4 */

static void expect_error(struct frame *f, int want, const char *text)
{
	struct unwind_table *t = (void *)&want;
	struct err e = {0};

	assert_int_equal(frame__build(f, &t, &e), want);
	assert_ptr_equal(t, &want); /* untouched */
	assert_non_null(strstr(e.text, text));
}

/* [TEXT + 0x100, + 0x20) with a push. */
static void expect_function(struct frame *f)
{
	struct unwind_table *t = frame__table(f);

	assert_int_equal(t->nfunctions, 1);
	assert_int_equal(t->nbad, 0);
	assert_int_equal(t->text_start, TEXT);
	table__expect(t, TEXT, NO_RULE);
	table__expect(t, TEXT + 0xff, NO_RULE);
	table__expect(t, TEXT + 0x100, ENTRY);
	table__expect(t, TEXT + 0x103, ENTRY);
	table__expect(t, TEXT + 0x104, PUSHED);
	table__expect(t, TEXT + 0x11f, PUSHED);
	table__expect(t, TEXT + 0x120, NO_RULE);
	unwind_table__free(t);
}

static void usual(struct frame *f)
{
	frame__usual_cie(f);
	frame__function(f, TEXT + 0x100, 0x20, PUSH);
	frame__number(f, 0, 4);
}

static void test_sections(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct frame f = {.image.kind = i ? IMAGE_HDR : IMAGE_EH};

		usual(&f);
		expect_function(&f);
	}
}

static void test_terminators(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	usual(&f); /* ends with one */
	frame__usual_cie(&f);
	frame__function(&f, TEXT + 0x200, 0x20, PUSH);
	t = frame__table(&f);
	assert_int_equal(t->nfunctions, 2);
	unwind_table__free(t);
	f.image.kind = IMAGE_HDR; /* where only it says where the end is */
	expect_function(&f);
}

static void test_split(void **state)
{
	struct frame f = {.image.kind = IMAGE_SPLIT};
	struct unwind_table *t;
	size_t half;

	(void)state;
	usual(&f);
	f.n = (f.n + 7) & ~(size_t)7;
	half = f.n;
	frame__usual_cie(&f);
	frame__function(&f, TEXT + 0x200, 0x20, PUSH);
	while (f.n < 2 * half)
		f.bytes[f.n++] = 0;
	t = frame__table(&f);
	assert_int_equal(t->nfunctions, 2);
	table__expect(t, TEXT + 0x104, PUSHED);
	table__expect(t, TEXT + 0x204, PUSHED);
	unwind_table__free(t);
}

/* A .debug_frame of [TEXT + 0x100, + 0x20): version 3 or 4, of 32 or 64 bits. */
static void debug_frame(struct frame *f, int version, bool wide)
{
	size_t id = wide ? 8 : 4, body;

	for (int entry = 0; entry < 2; entry++) {
		if (wide)
			frame__number(f, UINT32_MAX, 4);
		frame__number(f, 40, id);
		body = f->n;
		frame__number(f, entry ? 0 : UINT64_MAX, id);
		if (entry) {
			if (version == 4)
				frame__number(f, 0, 2); /* a segment */
			frame__number(f, TEXT + 0x100, 8);
			frame__number(f, 0x20, 8);
			frame__put(f, PUSH);
		} else {
			frame__number(f, (uint64_t)version, 1);
			frame__number(f, 0, 1);
			if (version == 4)
				frame__put(f, BYTES(8, 2));
			frame__put(f, BYTES(1, 0x78, 16, 0x0c, 7, 8, 0x90, 1));
		}
		while (f->n < body + 40)
			f->bytes[f->n++] = 0;
	}
}

static void test_debug_frame(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct frame f = {.image.kind = IMAGE_DEBUG};

		debug_frame(&f, i & 1 ? 3 : 4, i & 2);
		expect_function(&f);
	}
}

static void test_compressed(void **state)
{
	struct frame plain = {0}, f;
	uLongf size;

	(void)state;
	debug_frame(&plain, 4, false);
	for (int old = 0; old < 2; old++) {
		f = (struct frame){.image.kind = old ? IMAGE_ZDEBUG : IMAGE_COMPRESSED};
		if (old) {
			frame__put(&f, "ZLIB", 4);
			frame__number(&f, __builtin_bswap64(plain.n), 8);
		} else {
			frame__number(&f, ELFCOMPRESS_ZLIB, 8);
			frame__number(&f, plain.n, 8);
			frame__number(&f, 8, 8);
		}
		size = sizeof(f.bytes) - f.n;
		assert_int_equal(compress(f.bytes + f.n, &size, plain.bytes, plain.n), Z_OK);
		f.n += size;
		expect_function(&f);
		f.bytes[f.n - 1] ^= 1;
		expect_error(&f, -EBADMSG, "damaged");
		f.bytes[f.n - 1] ^= 1;
		if (old)
			f.bytes[4] = 1; /* 2^56 bytes */
		else
			f.bytes[15] = 1;
		expect_error(&f, -EBADMSG, "impossible size");
		f.n = 8;
		expect_error(&f, -EBADMSG, "no header");
	}
	f = (struct frame){.image.kind = IMAGE_COMPRESSED};
	frame__number(&f, 99, 8);
	frame__number(&f, 1, 8);
	frame__number(&f, 8, 8);
	expect_error(&f, -ENOENT, "no call frame information");
}

/* A function with "zR" whose two addresses take n bytes each. */
static void expect_encoding(uint8_t encoding, size_t n, uint64_t (*start)(uint64_t place))
{
	struct frame f = {0};
	size_t at;

	frame__cie(&f, "zR", &encoding, 1, NOTHING);
	at = frame__fde_head(&f);
	frame__number(&f, start(IMAGE_FRAME + f.n), n);
	frame__number(&f, 0x20, n);
	frame__number(&f, 0, 1);
	frame__put(&f, PUSH);
	frame__end(&f, at);
	expect_function(&f);
}

static uint64_t absolute(uint64_t place)
{
	(void)place;
	return TEXT + 0x100;
}

static uint64_t relative(uint64_t place)
{
	return TEXT + 0x100 - place;
}

static void test_encodings(void **state)
{
	static const uint8_t uleb[] = {0x80, 0x82, 0x04, 0xa0, 0x00}; /* TEXT + 0x100, 0x20 */
	static const uint8_t sleb[] = {0x80, 0x82, 0x04, 0x20};
	struct frame f;
	size_t at;

	(void)state;
	expect_encoding(0x00, 8, absolute);
	expect_encoding(0x03, 4, absolute);
	expect_encoding(0x04, 8, absolute);
	expect_encoding(0x08, 8, absolute);
	expect_encoding(0x0b, 4, absolute);
	expect_encoding(0x0c, 8, absolute);
	expect_encoding(0x10, 8, relative);
	expect_encoding(0x1b, 4, relative);
	expect_encoding(0x1c, 8, relative);
	for (int i = 0; i < 2; i++) {
		f = (struct frame){0};
		frame__cie(&f, "zR", i ? "\x09" : "\x01", 1, NOTHING);
		at = frame__fde_head(&f);
		frame__put(&f, i ? sleb : uleb, i ? sizeof(sleb) : sizeof(uleb));
		frame__number(&f, 0, 1);
		frame__put(&f, PUSH);
		frame__end(&f, at);
		expect_function(&f);
	}
}

static void test_indirect_and_aligned(void **state)
{
	struct frame f = {0};
	size_t at;

	(void)state;
	/* a pointer to the address, which is among the FDE's augmentation data */
	frame__cie(&f, "zR", BYTES(0x9b), NOTHING);
	at = frame__fde_head(&f);
	frame__number(&f, 9, 4);
	frame__number(&f, 0x20, 4);
	frame__number(&f, 8, 1);
	frame__number(&f, TEXT + 0x100, 8);
	frame__put(&f, PUSH);
	frame__end(&f, at);
	expect_function(&f);

	f = (struct frame){0};
	frame__cie(&f, "zR", BYTES(0x50), NOTHING);
	at = frame__fde_head(&f);
	while (f.n % 8)
		f.bytes[f.n++] = 0xff;
	frame__number(&f, TEXT + 0x100, 8);
	frame__number(&f, 0x20, 8);
	frame__number(&f, 0, 1);
	frame__put(&f, PUSH);
	frame__end(&f, at);
	expect_function(&f);
}

static void test_unknown_encodings(void **state)
{
	static const uint8_t bad[] = {0x05, 0x0f, 0x20, 0x30, 0x40, 0x60, 0xff}; /* 0x30: without DT_PLTGOT */

	(void)state;
	for (size_t i = 0; i < sizeof(bad); i++) {
		struct frame f = {0};

		frame__cie(&f, "zR", &bad[i], 1, NOTHING);
		frame__function(&f, TEXT, 0x20, PUSH);
		expect_error(&f, -EBADMSG, "malformed .eh_frame");
	}
}

static void test_augmentations(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;
	size_t at;

	(void)state;
	frame__cie(&f, "zPLR", BYTES(0x9b, 1, 2, 3, 4, 0x1b, 0x1b), NOTHING);
	frame__function(&f, TEXT, 0x10, PUSH);
	frame__cie(&f, "zRB", BYTES(0x1b), NOTHING);
	frame__function(&f, TEXT + 0x10, 0x10, PUSH);
	frame__cie(&f, "zRQ", BYTES(0x1b, 7), NOTHING); /* unknown, but its size is not */
	frame__function(&f, TEXT + 0x20, 0x10, PUSH);
	frame__cie(&f, "", NOTHING, NOTHING);
	at = frame__fde_head(&f);
	frame__number(&f, TEXT + 0x30, 8);
	frame__number(&f, 0x10, 8);
	frame__put(&f, PUSH);
	frame__end(&f, at);
	t = frame__table(&f);
	assert_int_equal(t->nfunctions, 4);
	assert_int_equal(t->nbad, 0);
	for (unsigned int i = 0; i < 4; i++)
		table__expect(t, TEXT + i * 0x10 + 4, PUSHED);
	unwind_table__free(t);
}

/* CIEs that are not understood make unknown functions, where these can be told at all. */
static void test_bad_cie(void **state)
{
	struct frame f = {0};
	struct unwind_table *t;

	(void)state;
	usual(&f);
	frame__cie(&f, "zR", BYTES(0x1b), BYTES(0x0b));
	frame__function(&f, TEXT + 0x200, 0x20, PUSH);
	frame__cie(&f, "zR", BYTES(0x1b), BYTES(0x41)); /* an advance, with nowhere to go */
	frame__function(&f, TEXT + 0x300, 0x20, PUSH);
	t = frame__table(&f);
	assert_int_equal(t->nfunctions, 3);
	assert_int_equal(t->nbad, 2);
	table__expect(t, TEXT + 0x104, PUSHED);
	table__expect(t, TEXT + 0x200, UNKNOWN_RULE);
	table__expect(t, TEXT + 0x300, UNKNOWN_RULE);
	unwind_table__free(t);
	f.bytes[8] = 2; /* the first one's version */
	t = frame__table(&f);
	assert_int_equal(t->nbad, 2); /* of it, no address can be told */
	table__expect(t, TEXT + 0x104, NO_RULE);
	unwind_table__free(t);
}

static void test_malformed(void **state)
{
	struct frame f = {0}, g;

	(void)state;
	usual(&f);
	for (size_t n = 1; n < f.n - 4; n++) { /* cut at each byte */
		struct unwind_table *t = NULL;
		struct err e = {0};
		int err;

		g = f;
		g.n = n;
		err = frame__build(&g, &t, &e);
		assert_int_equal(err, n == 24 ? -ENOENT : -EBADMSG); /* after the CIE */
		assert_null(t);
	}
	g = f;
	g.bytes[3] = 0x7f; /* length */
	expect_error(&g, -EBADMSG, "malformed .eh_frame");
	g = f;
	memset(g.bytes, 0xff, 12); /* a length of 64 bits */
	expect_error(&g, -EBADMSG, "malformed .eh_frame");
	g = f;
	g.bytes[28] ^= 4; /* where its CIE is */
	expect_error(&g, -EBADMSG, "malformed .eh_frame");
	g = f;
	g.image.kind = IMAGE_DEBUG;
	expect_error(&g, -EBADMSG, "malformed .debug_frame");
	g = (struct frame){0};
	expect_error(&g, -ENOENT, "no call frame information");
	g = f;
	g.image.machine = EM_386;
	expect_error(&g, -ENOTSUP, "machine 3");
}

/* The error of a file of so much frame information: zeros, or these 8 bytes again and again. */
static int build_large(enum image_kind kind, size_t n, const uint8_t entry[8])
{
	struct image image = {.kind = kind, .size = n};
	uint8_t *bytes = calloc(1, n);
	struct unwind_table *t = NULL;
	struct elf *elf = NULL;
	int fd, err;

	for (size_t i = 0; entry && i < n; i += 8)
		memcpy(bytes + i, entry, 8);
	image.frame = bytes;
	fd = image__make(&image);
	assert_int_equal(elf__open(fd, &elf, NULL), 0);
	err = unwind_table__build(elf, &t, NULL);
	elf__close(elf);
	close(fd);
	free(bytes);
	assert_null(t);
	return err;
}

/* What a file claims costs no memory without end, in however many sections and entries it does so. */
static void test_too_much(void **state)
{
	static const uint8_t cie[8] = {4};

	(void)state;
	assert_int_equal(build_large(IMAGE_EH, 33 << 20, NULL), -ENOENT);
	assert_int_equal(build_large(IMAGE_EH, 65 << 20, NULL), -E2BIG);
	assert_int_equal(build_large(IMAGE_SPLIT, 66 << 20, NULL), -E2BIG);
	assert_int_equal(build_large(IMAGE_EH, 8 << 18, cie), -EBADMSG); /* none of them is understood */
	assert_int_equal(build_large(IMAGE_EH, (8 << 18) + 8, cie), -E2BIG);
}

static void test_functions_at(void **state)
{
	const uint64_t addrs[] = {TEXT + 0xff, TEXT + 0x100, TEXT + 0x11f, TEXT + 0x120, TEXT + 0x210, 0};
	uint64_t starts[6] = {1}, ends[6] = {1};
	struct frame f = {0};
	struct elf *elf = NULL;
	struct err e = {0};
	int fd;

	(void)state;
	usual(&f);
	frame__function(&f, TEXT + 0x210, 0x10, NOTHING);
	frame__function(&f, TEXT + 0x200, 0x20, NOTHING);
	f.image.frame = f.bytes;
	f.image.size = f.n;
	fd = image__make(&f.image);
	assert_int_equal(elf__open(fd, &elf, &e), 0);
	assert_int_equal(unwind__functions_at(elf, addrs, 6, starts, ends, &e), 0);
	for (int i = 0; i < 6; i++) {
		bool covered = i == 1 || i == 2 || i == 4;

		assert_int_equal(starts[i], !covered ? 0 : i == 4 ? TEXT + 0x210 : TEXT + 0x100);
		assert_int_equal(ends[i], !covered ? 0 : i == 4 ? TEXT + 0x220 : TEXT + 0x120);
	}
	elf__close(elf);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_terminators),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_debug_frame),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_indirect_and_aligned),
		cmocka_unit_test(test_unknown_encodings),
		cmocka_unit_test(test_augmentations),
		cmocka_unit_test(test_bad_cie),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_functions_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
