// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pyrt/pyname.h"

static void check(const void *data, size_t n, unsigned int kind, const char *want, size_t want_len)
{
	struct str s = {0};

	assert_int_equal(pyname__decode(&s, data, n, kind), 0);
	assert_int_equal(s.len, want_len);
	assert_memory_equal(str__cstr(&s), want, want_len + 1);
	str__free(&s);
}

#define CHECK(data, kind, want)                                                                    \
	check(data, sizeof(data) - sizeof((data)[0]), kind, want, sizeof(want) - 1)

static void test_kind1(void **state)
{
	(void)state;
	CHECK("", 1, "");
	CHECK("Outer.method.<locals>.<lambda>", 1, "Outer.method.<locals>.<lambda>");
	CHECK("\xe9t\xe9\x7f\x80\xff", 1, "\xc3\xa9t\xc3\xa9\x7f\xc2\x80\xc3\xbf");
	CHECK("ab\xe9", 1, "ab\xc3\xa9");
	CHECK("a\0b", 1, "a\0b");
}

static void test_kind2(void **state)
{
	(void)state;
	CHECK(u"a\u07ff\u0800\uffff", 2, "a\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf");
	/* What Python holds in two bytes a character is never UTF-16: two surrogates stay two
	 * characters. */
	static const uint16_t surrogates[] = {0xd83d, 0xde00, 0xdc80, 0};
	CHECK(surrogates, 2, "\xed\xa0\xbd\xed\xb8\x80\xed\xb2\x80");
}

static void test_kind4(void **state)
{
	static const uint32_t odd[] = {0xdfff, 0x10ffff, 0x110000, 0xffffffff, 'z', 0};

	(void)state;
	CHECK(U"f\u4e2d\U0001f600", 4, "f\xe4\xb8\xad\xf0\x9f\x98\x80");
	CHECK(odd, 4, "\xed\xbf\xbf\xf4\x8f\xbf\xbf\xef\xbf\xbd\xef\xbf\xbdz");
}

static void test_unaligned(void **state)
{
	uint8_t room[1 + 8];
	static const uint32_t text[] = {0x4e2d, 'x'};

	(void)state;
	memcpy(room + 1, text, 8);
	check(room + 1, 8, 4, "\xe4\xb8\xadx", 4);
	check(room + 1, 2, 2, "\xe4\xb8\xad", 3);
}

static void test_adds(void **state)
{
	struct str s = {0};

	(void)state;
	assert_int_equal(str__adds(&s, "module:"), 0);
	assert_int_equal(pyname__decode(&s, "f\xfc", 2, 1), 0);
	assert_string_equal(str__cstr(&s), "module:f\xc3\xbc");
	str__free(&s);
}

static void test_refused(void **state)
{
	static const struct {
		size_t n;
		unsigned int kind;
	} cases[] = {{1, 2}, {3, 2}, {1, 4}, {2, 4},         {6, 4},
		     {4, 0}, {3, 3}, {8, 8}, {4, UINT32_MAX}};
	struct str s = {0};

	(void)state;
	assert_int_equal(str__adds(&s, "kept"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(pyname__decode(&s, "12345678", cases[i].n, cases[i].kind),
				 -EINVAL);
		assert_string_equal(str__cstr(&s), "kept");
	}
	str__free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kind1), cmocka_unit_test(test_kind2),
		cmocka_unit_test(test_kind4), cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_adds),  cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
