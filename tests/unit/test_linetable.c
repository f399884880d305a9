// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pyrt/linetable.h"

#define NONE (-ENODATA)

/* The table is copied to memory of exactly its size, so that ASan sees each byte too far. */
static int lookup(enum linetable_kind kind, const void *table, size_t n, int first_line,
		  uint32_t offset, struct py_location *out)
{
	struct linetable_index *x;
	struct py_location other;
	uint8_t *copy = n ? malloc(n) : NULL;
	int err;

	if (n) {
		assert_non_null(copy);
		memcpy(copy, table, n);
	}
	memset(out, 0xaa, sizeof(*out));
	memset(&other, 0xaa, sizeof(other));
	err = linetable__lookup(kind, copy, n, first_line, offset, out);
	assert_int_equal(linetable_index__new(kind, copy, n, first_line, &x), 0);
	assert_int_equal(linetable_index__lookup(x, offset, &other), err);
	assert_memory_equal(out, &other, sizeof(other)); /* also: untouched on failure */
	linetable_index__free(x);
	free(copy);
	return err;
}

/* The line, or the error. */
static int line_at(enum linetable_kind kind, const void *table, size_t n, int first_line,
		   uint32_t offset)
{
	struct py_location l;
	int err = lookup(kind, table, n, first_line, offset, &l);

	return err ? err : l.line;
}

static int nearest(enum linetable_kind kind, const void *table, size_t n, int first_line,
		   int64_t offset, struct py_location *out)
{
	struct linetable_index *x;
	int substituted;

	assert_int_equal(linetable_index__new(kind, table, n, first_line, &x), 0);
	substituted = linetable_index__nearest(x, offset, out);
	linetable_index__free(x);
	return substituted;
}

static void assert_location(const struct py_location *l, int line, int end_line, int column,
			    int end_column)
{
	assert_int_equal(l->line, line);
	assert_int_equal(l->end_line, end_line);
	assert_int_equal(l->column, column);
	assert_int_equal(l->end_column, end_column);
}

static void test_kind_for(void **state)
{
	static const struct {
		uint32_t hex;
		int kind;
	} cases[] = {
		{0x02071200, -ENOTSUP},
		{0x030510f0, -ENOTSUP},
		{0x03060ff0, LINETABLE_LNOTAB},
		{0x030912f0, LINETABLE_LNOTAB},
		{0x030a0df0, LINETABLE_310},
		{0x030b00f0, LINETABLE_LOCATION},
		{0x030d00f0, LINETABLE_LOCATION},
		{0x030f00b4, LINETABLE_LOCATION},
		{0x031000a1, LINETABLE_LOCATION}, /* newer than this program */
		{0x04060000, -ENOTSUP},
		{0, -ENOTSUP},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(linetable__kind_for(cases[i].hex), cases[i].kind);
}

static void test_lnotab(void **state)
{
	/* 0: 10, 6: 11, 8: 8 (backwards), 264: 8 still, then +200 in two steps */
	static const uint8_t t[] = {6, 1, 2, (uint8_t)-3, 255, 0, 1, 127, 0, 73, 99};
	struct py_location l;

	(void)state;
	assert_int_equal(line_at(LINETABLE_LNOTAB, NULL, 0, 10, 0), 10);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 0), 10);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 4), 10);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 6), 11);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 8), 8);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 262), 8);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 264), 208);
	assert_int_equal(line_at(LINETABLE_LNOTAB, t, sizeof(t), 10, 1000000), 208);
	/* a step before any instruction counts for the first one */
	assert_int_equal(line_at(LINETABLE_LNOTAB, "\0\5\2\1", 4, 10, 0), 15);
	assert_int_equal(lookup(LINETABLE_LNOTAB, t, sizeof(t), 10, 6, &l), 0);
	assert_location(&l, 11, 0, 0, 0);
}

static void test_310(void **state)
{
	/* [0, 4) 10, [4, 6) none, [6, 8) 11, an empty entry +100, [8, 12) 61 */
	static const uint8_t t[] = {4, 0, 2, 0x80, 2, 1, 0, 100, 4, (uint8_t)-50, 77};
	struct py_location l;

	(void)state;
	assert_int_equal(line_at(LINETABLE_310, NULL, 0, 10, 0), NONE);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 2), 10);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 4), NONE);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 6), 11);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 8), 61);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 11), 61);
	assert_int_equal(line_at(LINETABLE_310, t, sizeof(t), 10, 12), NONE);
	assert_int_equal(lookup(LINETABLE_310, t, sizeof(t), 10, 8, &l), 0);
	assert_location(&l, 61, 0, 0, 0);
}

#define ENTRY(form, units) (0x80 | (form) << 3 | ((units)-1))

static void test_location_forms(void **state)
{
	static const uint8_t t[] = {
		ENTRY(9, 1),  0x7f,       /* 0: short: column 79, to 94 */
		ENTRY(10, 1), 0,    127,  /* 2: one line, same line */
		ENTRY(12, 1), 80,   90,   /* 4: two lines on */
		ENTRY(15, 2),             /* 6, 8: none */
		ENTRY(13, 1), 0x48, 0x03, /* 10: +100 */
		ENTRY(14, 1), 0x03, 2,
		0x41,         1,    0, /* 12: -1, two lines long, column 65 (64), no end column */
		ENTRY(0, 8),  0x00,    /* 14 - 29 */
	};
	struct py_location l;

	(void)state;
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 0, &l), 0);
	assert_location(&l, 7, 7, 80, 95);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 2, &l), 0);
	assert_location(&l, 7, 7, 1, 128);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 5, &l), 0);
	assert_location(&l, 9, 9, 81, 91);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 6, &l), NONE);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 8, &l), NONE);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 10, &l), 0);
	assert_location(&l, 109, 109, 0, 0);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 12, &l), 0);
	assert_location(&l, 108, 110, 65, 0);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 28, &l), 0);
	assert_location(&l, 108, 108, 1, 1);
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 7, 30, &l), NONE);
}

static void test_location_line_zero(void **state)
{
	/* a module's RESUME has line 0, one before the first; below 0 there is none */
	static const uint8_t t[] = {ENTRY(14, 1), 3, 1, 1, 1, ENTRY(13, 1), 3, ENTRY(11, 1), 0, 4,
				    ENTRY(11, 1), 0, 4};
	struct py_location l;

	(void)state;
	assert_int_equal(lookup(LINETABLE_LOCATION, t, sizeof(t), 1, 0, &l), 0);
	assert_location(&l, 0, 1, 1, 1);
	assert_int_equal(line_at(LINETABLE_LOCATION, t, sizeof(t), 1, 2), NONE);
	assert_int_equal(line_at(LINETABLE_LOCATION, t, sizeof(t), 1, 4), 0);
	assert_int_equal(line_at(LINETABLE_LOCATION, t, sizeof(t), 1, 6), 1);
}

static void test_location_broken(void **state)
{
	/* each with a good entry before it */
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{"\x80\x11\x01", 3},                         /* does not begin with a start byte */
		{"\x80\x11\x80", 3},                         /* short form without its byte */
		{"\x80\x11\x80\x80", 4},                     /* a start byte instead */
		{"\x80\x11\xd0\x01", 4},                     /* one line form cut off */
		{"\x80\x11\xe8", 3},                         /* no varint */
		{"\x80\x11\xe8\x7f\x7f", 5},                 /* varint without an end */
		{"\x80\x11\xe8\x7f\x7f\x7f\x7f\x7f\x04", 9}, /* 33 bits */
		{"\x80\x11\xe8\x7f\x7f\x7f\x7f\x7f\x7f\x01", 10},
		{"\x80\x11\xf0\x02\x01\x01", 6},                          /* long form cut off */
		{"\x80\x11\xf0\x02\x01\x7f\x7f\x7f\x7f\x7f\x03\x01", 12}, /* a column of 2^32 - 1 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct py_location l;

		assert_int_equal(line_at(LINETABLE_LOCATION, cases[i].bytes, cases[i].n, 5, 0), 5);
		assert_int_equal(line_at(LINETABLE_LOCATION, cases[i].bytes, cases[i].n, 5, 2),
				 -EBADMSG);
		assert_int_equal(line_at(LINETABLE_LOCATION, cases[i].bytes, cases[i].n, 5, 2000),
				 -EBADMSG);
		assert_int_equal(nearest(LINETABLE_LOCATION, cases[i].bytes, cases[i].n, 5, 2, &l),
				 1);
		assert_location(&l, 5, 0, 0, 0);
	}
}

static void test_extremes(void **state)
{
	static const uint8_t far[] = {
		ENTRY(13, 1), 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x03, /* +INT32_MAX */
		ENTRY(13, 1), 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x03,
		ENTRY(13, 1), 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x03}; /* -INT32_MAX */
	struct linetable_index *x = NULL;

	(void)state;
	assert_int_equal(line_at(LINETABLE_LOCATION, far, sizeof(far), 0, 0), INT32_MAX);
	assert_int_equal(line_at(LINETABLE_LOCATION, far, sizeof(far), 0, 2),
			 NONE); /* wrapped to -2 */
	assert_int_equal(line_at(LINETABLE_LOCATION, far, sizeof(far), 0, 4),
			 INT32_MAX); /* and back */
	assert_int_equal(line_at(LINETABLE_LNOTAB, "\2\1", 2, INT32_MAX, 2), INT32_MIN);
	assert_int_equal(line_at(LINETABLE_310, "\2\1", 2, INT32_MAX, 0), NONE);
	assert_int_equal(line_at(LINETABLE_LNOTAB, NULL, 0, 3, UINT32_MAX), 3);
	assert_int_equal(linetable__lookup(LINETABLE_310, far, (size_t)INT32_MAX + 1, 0, 0, NULL),
			 -EBADMSG);
	assert_int_equal(linetable_index__new(LINETABLE_310, far, (size_t)INT32_MAX + 1, 0, &x),
			 -E2BIG);
	assert_null(x);
}

static void test_nearest(void **state)
{
	static const uint8_t t[] = {
		ENTRY(15, 1),          /* 0: none */
		ENTRY(11, 1), 4,    5, /* 2: 21 */
		ENTRY(15, 8),          /* 4 - 19: none */
		ENTRY(11, 1), 6,    7, /* 20: 22 */
		ENTRY(13, 1), 0x2d,    /* 22: 0 */
	};
	static const uint8_t module[] = {ENTRY(14, 1), 3, 1, 1, 1, ENTRY(11, 1), 4, 5};
	struct py_location l;

	(void)state;
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, 20, &l), 0);
	assert_location(&l, 22, 22, 7, 8);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, 0, &l), 1);
	assert_location(&l, 20, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, 4, &l), 1);
	assert_location(&l, 21, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, 18, &l), 1);
	assert_location(&l, 21, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, 22, &l), 1);
	assert_location(&l, 22, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, INT64_MAX, &l), 1);
	assert_location(&l, 22, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), 20, -2, &l), 1);
	assert_location(&l, 20, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, t, sizeof(t), -20, 0, &l), 1);
	assert_location(&l, 0, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LOCATION, module, sizeof(module), 1, 0, &l), 1);
	assert_location(&l, 1, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_LNOTAB, NULL, 0, 3, 8, &l), 0);
	assert_location(&l, 3, 0, 0, 0);
	assert_int_equal(nearest(LINETABLE_310, NULL, 0, 3, 8, &l), 1);
	assert_location(&l, 3, 0, 0, 0);
}

/* Longer than many waypoints, with stretches without lines longer than several of them. */
static void test_waypoints(void **state)
{
	enum { ENTRIES = 5000 };
	static uint8_t t[ENTRIES * 3];
	static int lines[ENTRIES];
	struct linetable_index *x;
	struct py_location l;
	int line = 100, shown = 100;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < ENTRIES; i++) {
		bool none = i % 700 > 400 || i % 13 == 5;

		lines[i] = none ? NONE : ++line;
		t[n++] = none ? ENTRY(15, 1) : ENTRY(11, 1);
		if (!none) {
			t[n++] = 1;
			t[n++] = 2;
		}
	}
	assert_int_equal(linetable_index__new(LINETABLE_LOCATION, t, n, 100, &x), 0);
	assert_true(linetable_index__memory(x) >= n);
	assert_true(linetable_index__memory(x) < n + ENTRIES / 32 * 16 + 100);
	for (int i = 0; i < ENTRIES; i++) {
		int err = linetable_index__lookup(x, (uint32_t)i * 2, &l);

		assert_int_equal(err ? err : l.line, lines[i]);
		if (lines[i] > 0)
			shown = lines[i];
		assert_int_equal(linetable_index__nearest(x, i * 2 + 1, &l), lines[i] < 0);
		assert_int_equal(l.line, shown);
	}
	assert_int_equal(linetable_index__lookup(x, ENTRIES * 2, &l), NONE);
	assert_int_equal(linetable_index__nearest(x, ENTRIES * 2, &l), 1);
	assert_int_equal(l.line, shown);
	linetable_index__free(x);
	linetable_index__free(NULL);
}

/* The last line of an lnotab has no end, also where a waypoint would fall on the table's. */
static void test_waypoint_at_end(void **state)
{
	uint8_t t[40 * 2];

	(void)state;
	for (size_t i = 0; i < sizeof(t); i++)
		t[i] = 1;
	for (size_t n = 0; n <= 40; n++) {
		assert_int_equal(line_at(LINETABLE_LNOTAB, t, n * 2, 1, (uint32_t)n), n + 1);
		assert_int_equal(line_at(LINETABLE_LNOTAB, t, n * 2, 1, UINT32_MAX), n + 1);
		assert_int_equal(line_at(LINETABLE_310, t, n * 2, 1, (uint32_t)n), NONE);
	}
}

/* Bytes of all sorts, and every cut of them: no step too far, and both look-ups agree. */
static void test_any_bytes(void **state)
{
	uint32_t seed = 12345;
	uint8_t t[300];

	(void)state;
	for (int round = 0; round < 60; round++) {
		size_t n = sizeof(t) - (size_t)round % 7;

		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			t[i] = (uint8_t)(seed >> 24);
			if (round & 1 && t[i] % 3 == 0)
				t[i] |= 0x80;
		}
		for (int kind = LINETABLE_LNOTAB; kind <= LINETABLE_LOCATION; kind++) {
			for (size_t cut = 0; cut <= n; cut += round < 6 ? 1 : 37) {
				struct py_location l;
				int err = lookup(kind, t, cut, (int)seed, (uint32_t)cut * 3, &l);

				assert_true(!err || err == NONE || err == -EBADMSG);
				assert_in_range(nearest(kind, t, cut, (int)seed, (int)cut * 2, &l),
						0, 1);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kind_for),
		cmocka_unit_test(test_lnotab),
		cmocka_unit_test(test_310),
		cmocka_unit_test(test_location_forms),
		cmocka_unit_test(test_location_line_zero),
		cmocka_unit_test(test_location_broken),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_waypoints),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_waypoint_at_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
