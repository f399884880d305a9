// SPDX-License-Identifier: Apache-2.0
/* Names from jitdumps, which others write. */
#include <stdio.h>

#include "jitdumps.h"

/* A file of these bytes knows this about 0x1000. */
static void expect_in(struct str *bytes, const char *want)
{
	struct file f = open_file(bytes->data, bytes->len);

	expect(&f, 0x1000, want);
	close_file(&f);
	str__free(bytes);
}

static void test_names(void **state)
{
	(void)state;
	assert_true(jitdump__is_name("/tmp/jit-1.dump"));
	assert_true(jitdump__is_name("/home/a/.debug/jit/x/jit-123456.dump"));
	assert_true(jitdump__is_name("jit-0.dump"));
	assert_false(jitdump__is_name(""));
	assert_false(jitdump__is_name("/tmp/jit-.dump"));
	assert_false(jitdump__is_name("/tmp/jit-1.dumps"));
	assert_false(jitdump__is_name("/tmp/jit-1a.dump"));
	assert_false(jitdump__is_name("/tmp/xjit-1.dump"));
	assert_false(jitdump__is_name("/tmp/jit-1.dump/libpython3.13.so"));
}

static const struct {
	uint64_t addr;
	const char *name;
} functions[] = {{0x1000, "first"}, {0x2000, "py::f:/a b.py"}, {0x3000, "bad?name"}, {0x4000, "last"}};

/* Functions among records of other kinds. ends[i]: where the record of a function does. */
static void put_functions(struct str *to, size_t *ends)
{
	put_header(to, MAGIC, 1, HEAD);
	for (size_t i = 0; i < 4; i++) {
		put_other(to, UNWINDING_INFO, 101);
		put_load(to, functions[i].addr, 0x20 + i, i + 1, i == 2 ? "bad\nname" : functions[i].name);
		ends[i] = to->len;
		put_other(to, DEBUG_INFO, 33);
		put_other(to, 20, 0); /* what later versions may bring */
	}
	put_other(to, CLOSE, 0);
}

static void expect_functions(struct file *f, const size_t *ends, size_t len)
{
	for (size_t i = 0; i < 4; i++) {
		const char *want = len >= ends[i] ? functions[i].name : NULL;

		expect(f, functions[i].addr - 1, NULL);
		expect(f, functions[i].addr, want);
		expect(f, functions[i].addr + 0x1f + i, want);
		expect(f, functions[i].addr + 0x20 + i, NULL);
	}
}

/* Cut off anywhere it is read up to there; as it grows byte by byte it is read in the end. */
static void test_cut_and_growing(void **state)
{
	struct str bytes = {0};
	struct file growing = open_file("", 0);
	size_t ends[4];

	(void)state;
	put_functions(&bytes, ends);
	for (size_t len = 0; len <= bytes.len; len++) {
		struct file cut = open_file(bytes.data, len);

		expect_functions(&cut, ends, len);
		close_file(&cut);
		if (len)
			assert_int_equal(pwrite(growing.fd, bytes.data + len - 1, 1, (off_t)len - 1), 1);
		expect_functions(&growing, ends, len);
	}
	close_file(&growing);
	str__free(&bytes);
}

/* Records that are longer than what is read at once, and many of them. */
static void test_long(void **state)
{
	struct str bytes = {0};
	char name[64];
	struct file f;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD + 8);
	put(&bytes, 0, 8); /* of a longer header */
	for (uint32_t i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "function %u", i);
		put_load(&bytes, 0x100000 + 0x100000ull * i, i % 50 ? 100 + i : 70000 + 1000 * i, i, name);
		put_other(&bytes, UNWINDING_INFO, i * 7);
	}
	f = open_file(bytes.data, bytes.len);
	for (uint32_t i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "function %u", i);
		expect(&f, 0x100000 + 0x100000ull * i + 99, name);
	}
	close_file(&f);
	str__free(&bytes);
}

static void test_later_counts(void **state)
{
	struct str bytes = {0};
	struct file f;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load(&bytes, 0x1000, 0x100, 1, "first");
	put_load(&bytes, 0x1080, 0x10, 2, "inside");
	put_load(&bytes, 0x2000, 0x100, 3, "other");
	put_load(&bytes, 0x1000, 0x20, 4, "again");
	f = open_file(bytes.data, bytes.len);
	expect(&f, 0x101f, "again");
	expect(&f, 0x1020, "first");
	expect(&f, 0x1080, "inside");
	expect(&f, 0x1090, "first");
	close_file(&f);
	str__free(&bytes);
}

static void test_moves(void **state)
{
	struct str bytes = {0};
	struct file f;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	put_move(&bytes, 0x1000, 0x6000, 0x10, 1); /* of what is not there yet */
	put_load(&bytes, 0x1000, 0x10, 1, "moves");
	put_load(&bytes, 0x2000, 0x10, 2, "stays");
	put_move(&bytes, 0x1000, 0x3000, 0x10, 1);
	put_move(&bytes, 0x1000, 0x4000, 0x10, 99);
	put_move(&bytes, 0x1000, UINT64_MAX - 4, 0x10, 1);
	put_load(&bytes, 0x1000, 0x10, 3, "in its place");
	put_move(&bytes, 0x3000, 0x5000, 0x10, 1);
	f = open_file(bytes.data, bytes.len);
	expect(&f, 0x1000, "in its place");
	expect(&f, 0x2000, "stays");
	expect(&f, 0x300f, "moves");
	expect(&f, 0x3010, NULL);
	expect(&f, 0x4000, NULL);
	expect(&f, 0x5000, "moves");
	expect(&f, 0x6000, NULL);
	expect(&f, UINT64_MAX - 1, NULL);
	close_file(&f);
	str__free(&bytes);
}

static void test_begins_anew(void **state)
{
	struct str bytes = {0};
	struct file f;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load(&bytes, 0x1000, 0x10, 1, "before");
	put_load(&bytes, 0x2000, 0x10, 2, "before");
	f = open_file(bytes.data, bytes.len);
	expect(&f, 0x2000, "before");
	str__reset(&bytes);
	assert_int_equal(ftruncate(f.fd, 0), 0);
	expect(&f, 0x2000, NULL);
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load(&bytes, 0x2000, 0x10, 1, "now");
	assert_int_equal(pwrite(f.fd, bytes.data, bytes.len, 0), bytes.len);
	expect(&f, 0x1000, NULL);
	expect(&f, 0x2000, "now");
	close_file(&f);
	str__free(&bytes);
}

/* What a child that was forked wrote out of its parent's buffer is there again, from the middle of a record on. */
static void test_written_twice(void **state)
{
	struct str bytes = {0};
	size_t ends[4];

	(void)state;
	put_functions(&bytes, ends);
	for (size_t from = HEAD; from < ends[1]; from++) {
		struct str twice = {0};
		struct file f;

		assert_int_equal(str__add(&twice, bytes.data, ends[1]), 0);
		assert_int_equal(str__add(&twice, bytes.data + from, bytes.len - from), 0);
		put_load(&twice, 0x5000, 0x20, 5, "behind");
		f = open_file(twice.data, twice.len);
		expect(&f, 0x1000, "first");
		expect(&f, 0x2000, "py::f:/a b.py");
		expect(&f, 0x5000, "behind");
		close_file(&f);
		str__free(&twice);
	}
	str__free(&bytes);
}

static void test_headers(void **state)
{
	static const uint32_t bad[][3] = {
		{0x4454694a, 1, HEAD}, /* of the other byte order */
		{MAGIC + 1, 1, HEAD}, {MAGIC, 2, HEAD}, {MAGIC, 0, HEAD},
		{MAGIC, 1, 0}, {MAGIC, 1, HEAD - 1}, {MAGIC, 1, 1u << 20}, {MAGIC, 1, UINT32_MAX},
	};
	struct str bytes = {0};

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load(&bytes, 0x1000, 0x10, 1, "f");
	expect_in(&bytes, "f");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_header(&bytes, bad[i][0], bad[i][1], bad[i][2]);
		put_load(&bytes, 0x1000, 0x10, 1, "f");
		expect_in(&bytes, NULL);
	}
}

/* Loads that are none are passed over, and what comes behind them is found. */
static void test_bad_loads(void **state)
{
	char name[3000], want[1025];
	struct str bytes = {0};

	(void)state;
	memset(name, 'n', sizeof(name));
	memset(want, 'n', 1024);
	want[1024] = '\0';
	for (int i = 0; i < 7; i++) {
		put_header(&bytes, MAGIC, 1, HEAD);
		if (i == 0)
			put_load_bytes(&bytes, 0x1000, 0x10, 1, "no end", 6, 0);
		else if (i == 1)
			put_load_bytes(&bytes, 0x1000, 0x10, 1, "", 0, 0); /* no name */
		else if (i == 2)
			put_load(&bytes, 0x1000, 0x10, 1, ""); /* an empty one */
		else if (i == 3)
			put_load_bytes(&bytes, 0x1000, 0, 1, "f", 2, 0);
		else if (i == 4)
			put_load_bytes(&bytes, 0x1000, UINT64_MAX, 1, "f", 2, 0);
		else if (i == 5)
			put_other(&bytes, LOAD, 4);
		else
			put_other(&bytes, MOVE, 47);
		put_load(&bytes, 0x2000, 0x10, 2, "behind");
		{
			struct file f = open_file(bytes.data, bytes.len);

			expect(&f, 0x1000, NULL);
			expect(&f, 0x2000, "behind");
			close_file(&f);
			str__reset(&bytes);
		}
	}
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load_bytes(&bytes, 0x1000, 0x10, 1, name, sizeof(name), 0);
	expect_in(&bytes, want);
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load_bytes(&bytes, 0x1000, 0x10, 1, "f", 2, 0); /* without the code */
	expect_in(&bytes, "f");
}

/* Sizes that no record has: nothing hangs, and no more is read than there is. */
static void test_hostile_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 17, 55, 56, 64u << 20, (64u << 20) + 1, 0x7fffffff, 0xfffffff0, UINT32_MAX};
	struct str bytes = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (uint32_t type = LOAD; type <= UNWINDING_INFO; type++) {
			struct file f;

			put_header(&bytes, MAGIC, 1, HEAD);
			put_record(&bytes, type, sizes[i]);
			put(&bytes, 0, 8);
			f = open_file(bytes.data, bytes.len);
			expect(&f, 0, NULL);
			/* far more than there is memory, all zero */
			assert_int_equal(ftruncate(f.fd, 1ll << 40), 0);
			if (!i)
				expect(&f, 0, NULL);
			close_file(&f);
			str__free(&bytes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),           cmocka_unit_test(test_cut_and_growing),
		cmocka_unit_test(test_long),            cmocka_unit_test(test_later_counts),
		cmocka_unit_test(test_moves),           cmocka_unit_test(test_begins_anew),
		cmocka_unit_test(test_written_twice),   cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bad_loads),       cmocka_unit_test(test_hostile_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
