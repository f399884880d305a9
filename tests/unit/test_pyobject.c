// SPDX-License-Identifier: Apache-2.0
/* Objects that are none: whatever a process's memory holds, reading it ends, and nothing is made up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pyrt/pyobject.h"
#include "pyrt/threadnames.h"

#define BASE  0x7f0000000000ull
#define WORDS 8192

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Words that look like objects to a reader: pointers into the memory itself, lengths, types' flags. */
static uint64_t likely(uint64_t *state)
{
	uint64_t x = next(state);

	switch (x % 8) {
	case 0:
		return 0;
	case 1:
		return x >> 60;
	case 2:
		return 1u << 24 | 1u << 28 | 1u << 29 | (x >> 32 & 0x14);
	case 3:
		return x;
	default:
		return BASE + (x >> 8) % WORDS * 8;
	}
}

static void test_garbage_has_no_names(void **state)
{
	static uint64_t words[WORDS];
	uint64_t seed = 0x9e3779b97f4a7c15ull;
	unsigned int named = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		unsigned int minor =
			PYRT_OLDEST_MINOR + (unsigned int)round % (PYRT_NEWEST_MINOR - PYRT_OLDEST_MINOR + 1);
		struct pyrt_layout l = *pyrt_layout__row(minor);
		struct pyrt_thread_names names = {0};
		struct memory_reader *mem;

		if (round % 3 == 0)
			l.abi.flags |= PY_LAYOUT_FREE_THREADED;
		for (size_t i = 0; i < WORDS; i++)
			words[i] = likely(&seed);
		mem = memory__from_buffer(BASE, words, sizeof(words));
		assert_non_null(mem);
		assert_int_equal(pyrt_thread_names__read(mem, &l, BASE + next(&seed) % WORDS * 8, NULL, &names), 0);
		for (int i = 0; i < 200; i++) {
			struct pyobject_attribute a = {.name = "threading"};
			uint64_t slot, addr = BASE + next(&seed) % WORDS * 8;

			assert_int_not_equal(pyobject__attribute(mem, &l.abi, addr, &a, &slot), 0);
			assert_true(pyobject__str(mem, &l.abi, addr, 4, &names.text) <= 0);
		}
		named += names.names.len > 0;
		pyrt_thread_names__free(&names);
		memory__close(mem);
	}
	assert_int_equal(named, 0); /* nowhere is there a str that reads "threading" */
}

/* An object and its type in memory, as 3.12 has them. */
struct fake {
	uint64_t words[512];
	struct memory_reader *mem;
	struct py_layout l;
};

#define TYPE     256 /* word */
#define AT(word) (BASE + 8 * (uint64_t)(word))

static void fake__start(struct fake *f, uint64_t flags)
{
	memset(f, 0, sizeof(*f));
	f->l = pyrt_layout__row(12)->abi;
	f->words[1] = AT(TYPE);
	f->words[TYPE + (f->l.type_name + 144) / 8] = flags;
	f->mem = memory__from_buffer(BASE, f->words, sizeof(f->words));
	assert_non_null(f->mem);
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t tag, digits;
		int err;
		uint64_t value;
	} cases[] = {
		{1, 0, 0, 0},
		{1 << 3, 5, 0, 5},
		{2 << 3, 7 | 3ull << 32, 0, 7 | 3ull << 30},
		{1 << 3 | 2, 5, -EFAULT, 99}, /* negative */
		{3 << 3, 5, -EFAULT, 99},     /* three digits */
	};
	struct fake f;

	(void)state;
	fake__start(&f, 1u << 24);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 99;

		f.words[2] = cases[i].tag;
		f.words[3] = cases[i].digits;
		assert_int_equal(pyobject__int(f.mem, &f.l, AT(0), &value), cases[i].err);
		assert_int_equal(value, cases[i].value);
	}
	assert_int_equal(pyobject__int(f.mem, &f.l, AT(0) + 4, &(uint64_t){0}), -EFAULT);
	assert_int_equal(pyobject__int(f.mem, &f.l, 0, &(uint64_t){0}), -EFAULT);
	memory__close(f.mem);
	fake__start(&f, 1u << 28); /* a str */
	assert_int_equal(pyobject__int(f.mem, &f.l, AT(0), &(uint64_t){0}), -EFAULT);
	memory__close(f.mem);
}

static void test_lengths_are_bounded(void **state)
{
	struct pyobject_items items = {0};
	struct str out = {0};
	struct fake f;

	(void)state;
	fake__start(&f, 1u << 28);
	f.words[2] = 200;               /* length */
	f.words[4] = (1 | 8 | 16) << 2; /* one byte a character, compact, ASCII */
	memset(&f.words[5], 'x', 200);
	assert_int_equal(pyobject__str(f.mem, &f.l, AT(0), 199, &out), -E2BIG);
	assert_int_equal(pyobject__str(f.mem, &f.l, AT(0), 200, &out), 0);
	assert_int_equal(out.len, 200);
	f.words[2] = sizeof(f.words);
	assert_int_equal(pyobject__str(f.mem, &f.l, AT(0), 1 << 20, &out),
			 -EFAULT); /* it would end behind what there is */
	assert_int_equal(out.len, 200);
	memory__close(f.mem);
	str__free(&out);

	fake__start(&f, 1u << 29);
	f.words[4] = AT(16); /* ma_keys: kind 1, indices of 8 bytes */
	f.words[17] = 3 | 3 << 8 | 1 << 16;
	f.words[19] = 2;
	f.words[21] = AT(100), f.words[22] = AT(101);
	f.words[23] = AT(102), f.words[24] = 0; /* deleted */
	assert_int_equal(pyobject__items(f.mem, &f.l, AT(0), &items), 0);
	assert_int_equal(items.len, 1);
	assert_int_equal(items.data[0].key, AT(100));
	assert_int_equal(items.data[0].value, AT(101));
	f.words[19] = 1u << 30;
	assert_int_equal(pyobject__items(f.mem, &f.l, AT(0), &items), -E2BIG);
	f.words[19] = 1000;
	assert_int_equal(pyobject__items(f.mem, &f.l, AT(0), &items), -EFAULT);
	assert_int_equal(items.len, 1);
	memory__close(f.mem);
	vec__free(&items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage_has_no_names),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_lengths_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
