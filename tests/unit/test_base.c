// SPDX-License-Identifier: Apache-2.0
/* Tables, strings, errors: what everything else stands on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"

static void test_vec(void **state)
{
	struct vec(uint32_t) v = {0};
	void *data = NULL;
	size_t cap = 0;

	(void)state;
	vec__foreach(&v, it)
		fail();
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(vec__push(&v, i), 0);
	assert_int_equal(v.len, 100000);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(v.data[i], i);
	/* an element may be the one that moves */
	assert_int_equal(vec__push(&v, v.data[5]), 0);
	assert_int_equal(v.data[100000], 5);
	vec__free(&v);
	assert_int_equal(v.cap, 0);
	/* what no memory suffices for changes nothing */
	assert_int_equal(vec__grow(&data, &cap, SIZE_MAX, 1), -ENOMEM);
	assert_int_equal(vec__grow(&data, &cap, SIZE_MAX / 4, 16), -ENOMEM);
	assert_null(data);
	assert_int_equal(cap, 0);
}

/* Against a plain array: random puts, deletes and look-ups of few keys, so that slots are used again and again. */
static void test_hmap(void **state)
{
	enum { KEYS = 512 };
	struct hmap m = {0};
	uint64_t values[KEYS], key, *value;
	bool there[KEYS] = {false};
	size_t count = 0, pos = 0, met = 0;

	(void)state;
	assert_null(hmap__get(&m, 0));
	assert_false(hmap__del(&m, 0));
	srand(3);
	for (int i = 0; i < 200000; i++) {
		uint64_t k = (uint64_t)rand() % KEYS, spread = k << 32 | (k & 1 ? UINT32_MAX : 0);

		switch (rand() % 3) {
		case 0:
			values[k] = (uint64_t)i;
			assert_int_equal(hmap__put(&m, spread, values[k]), 0);
			count += !there[k];
			there[k] = true;
			break;
		case 1:
			assert_int_equal(hmap__del(&m, spread), there[k]);
			count -= there[k];
			there[k] = false;
			break;
		default:
			value = hmap__get(&m, spread);
			assert_int_equal(value != NULL, there[k]);
			if (value)
				assert_int_equal(*value, values[k]);
		}
		assert_int_equal(m.len, count);
	}
	assert_true(m.cap <= 4 * KEYS);              /* it does not grow by what is gone */
	while (hmap__next(&m, &pos, &key, &value)) { /* deleting meanwhile is allowed */
		assert_true(there[key >> 32]);
		assert_int_equal(*value, values[key >> 32]);
		assert_true(hmap__del(&m, key));
		met++;
	}
	assert_int_equal(met, count);
	assert_int_equal(m.len, 0);
	hmap__free(&m);
}

static void test_hash(void **state)
{
	char bytes[64] = {0};
	uint64_t before[65];

	(void)state;
	/* zeros of different lengths, and every single bit, give different hashes */
	for (size_t n = 0; n <= 64; n++) {
		before[n] = hash__bytes(bytes, n);
		for (size_t m = 0; m < n; m++)
			assert_int_not_equal(before[n], before[m]);
	}
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] = (char)(1 << bit % 8);
		assert_int_not_equal(hash__bytes(bytes, sizeof(bytes)), before[64]);
		bytes[bit / 8] = 0;
	}
	assert_int_not_equal(hash__combine(1, 2), hash__combine(2, 1));
}

static void test_strtab(void **state)
{
	struct strtab *t = strtab__new();
	const char *first;
	size_t n;

	(void)state;
	assert_int_equal(strtab__add(t, "", 0), 0);
	assert_int_equal(strtab__count(t), 1);
	assert_int_equal(strtab__add(t, "a\0b", 3), 1);
	assert_int_equal(strtab__add(t, "a", 1), 2);
	assert_int_equal(strtab__add(t, "a\0b", 3), 1);
	first = strtab__get(t, 1, &n);
	assert_int_equal(n, 3);
	for (int i = 0; i < 50000; i++) {
		char text[32];
		int len = snprintf(text, sizeof(text), "string %d", i);

		assert_int_equal(strtab__add(t, text, (size_t)len), 3 + i);
		assert_int_equal(strtab__add(t, text, (size_t)len), 3 + i);
	}
	assert_ptr_equal(strtab__get(t, 1, NULL), first); /* addresses last */
	assert_memory_equal(first, "a\0b", 4);
	assert_string_equal(strtab__get(t, 3 + 777, &n), "string 777");
	assert_true(strtab__memory(t) > 50000 * 10);
	strtab__free(t);
	strtab__free(NULL);
}

static void test_str(void **state)
{
	struct str s = {0};

	(void)state;
	assert_string_equal(str__cstr(&s), "");
	str__reset(&s);
	assert_int_equal(str__add(&s, NULL, 0), 0);
	assert_int_equal(str__add(&s, "a\0b", 3), 0);
	assert_int_equal(str__addf(&s, "%d-%s", 42, "x"), 0);
	assert_int_equal(str__addc(&s, '!'), 0);
	assert_int_equal(s.len, 8);
	assert_memory_equal(s.data, "a\0b42-x!", 9);
	assert_int_equal(str__add(&s, "x", SIZE_MAX - 2), -ENOMEM);
	assert_int_equal(s.len, 8);
	str__reset(&s);
	assert_string_equal(str__cstr(&s), "");
	for (int i = 0; i < 3000; i++)
		assert_int_equal(str__addf(&s, "%d,", i), 0);
	assert_int_equal(strncmp(s.data, "0,1,2,3", 7), 0);
	str__free(&s);
	for (const uint32_t *c = (const uint32_t[]){0x7f, 0x80, 0x7ff, 0x800, 0xd800, 0xffff, 0x10000, 0x10ffff,
						    0x110000, UINT32_MAX, 0};
	     *c; c++)
		assert_int_equal(str__add_utf8(&s, *c), 0);
	assert_string_equal(s.data,
			    "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"
			    "\xef\xbf\xbd\xef\xbf\xbd");
	str__free(&s);
}

static void test_err(void **state)
{
	struct err e = {0};
	char long_text[2000];

	(void)state;
	assert_int_equal(err__set(NULL, -EINVAL, "x"), -EINVAL);
	assert_int_equal(err__errno(NULL, -EIO, "x"), -EIO);
	assert_true(err__wrap(NULL, "x") < 0);
	assert_int_equal(err__errno(&e, -ENOENT, "opening %s", "f"), -ENOENT);
	assert_string_equal(e.text, "opening f: No such file or directory");
	assert_int_equal(err__wrap(&e, "process %d", 7), -ENOENT);
	assert_string_equal(e.text, "process 7: opening f: No such file or directory");
	assert_int_equal(e.code, -ENOENT);
	/* too long a text is cut and stays one */
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	err__set(&e, -EIO, "%s", long_text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	err__errno(&e, -EIO, "%s", long_text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	err__wrap(&e, "before");
	assert_int_equal(strncmp(e.text, "before: xxx", 11), 0);
	err__wrap(&e, "%s", long_text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vec),    cmocka_unit_test(test_hmap), cmocka_unit_test(test_hash),
		cmocka_unit_test(test_strtab), cmocka_unit_test(test_str),  cmocka_unit_test(test_err),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
