// SPDX-License-Identifier: Apache-2.0
/*
 * What is told of real interpreters by their files, against what they say of themselves; and tables of offsets with
 * damage: refused, or harmless to whoever walks by them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "subject.h"

#include "pyrt/debugoffsets.h"

static bool is_kind(const struct interpreter *i, const char *kind)
{
	const char *at = strstr(i->kinds, kind);
	size_t n = strlen(kind);

	return at && (at == i->kinds || at[-1] == ' ') && (at[n] == '\0' || at[n] == ',');
}

static void test_version_and_build(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		const struct pyrt_binary *b;
		struct str text = {0}, want = {0};
		struct subject t;

		subject__start(&t, interp, "0");
		b = &t.proc.file->binary;
		/* without Py_Version (before 3.11) only "3.10.13" is found: of its last byte nothing is known */
		if (b->version_hex != t.blocked.hex &&
		    (b->version_hex & 0xff || b->version_hex != (t.blocked.hex & ~0xffu)) &&
		    b->version_hex != ((t.blocked.hex & ~0xffu) | 0xf0))
			fail_msg("%s: version %#x, not %#x", interp->id, b->version_hex, t.blocked.hex);
		if (b->free_threaded != is_kind(interp, "free-threaded") ||
		    (b->libc == PYRT_MUSL) != is_kind(interp, "musl") || (is_kind(interp, "debug") && !b->debug))
			fail_msg("%s: free-threaded %d, debug %d, libc %d; kinds: %s", interp->id, b->free_threaded,
				 b->debug, b->libc, interp->kinds);
		assert_int_equal(pyrt_version__format(t.blocked.hex, &want), 0);
		assert_int_equal(pyrt_binary__describe(b, &text), 0);
		assert_int_equal(strncmp(str__cstr(&text), str__cstr(&want), want.len), 0);
		str__free(&want);
		str__free(&text);
		assert_true(t.proc.started);
		assert_int_equal(b->debug_offsets, t.blocked.hex >= 0x030d0000);
		subject__end(&t);
	}
}

static void test_formats(void **state)
{
	static const struct {
		uint32_t hex;
		const char *text;
	} versions[] = {{0x030d00f0, "3.13.0"},
			{0x030f00b4, "3.15.0b4"},
			{0x030e00a1, "3.14.0a1"},
			{0x030c01c2, "3.12.1rc2"},
			{0x030a0d00, "3.10.13"}};
	struct str s = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		str__reset(&s);
		assert_int_equal(pyrt_version__format(versions[i].hex, &s), 0);
		assert_string_equal(str__cstr(&s), versions[i].text);
	}
	str__free(&s);
}

/* What the kernel side takes for granted of a layout: include/pybpf/abi.h. */
static void check_bounds(const struct py_layout *l)
{
	assert_true(l->frame_size <= 160 && l->code_size <= 248 && l->tstate_frame < 256);
	assert_true(l->frame_code + 8 <= l->frame_size && l->frame_previous + 8 <= l->frame_size);
	assert_true(l->frame_instr + 4 <= l->frame_size);
	assert_true(l->frame_owner == PYBPF_NO_OFFSET || l->frame_owner < l->frame_size);
	assert_true(l->code_name + 8 <= l->code_size && l->code_filename + 8 <= l->code_size);
	assert_true(l->code_linetable + 8 <= l->code_size && l->code_firstlineno + 4 <= l->code_size);
}

static void test_rows(void **state)
{
	(void)state;
	for (unsigned int minor = PYRT_OLDEST_MINOR; minor <= PYRT_NEWEST_MINOR; minor++) {
		const struct pyrt_layout *row = pyrt_layout__row(minor);

		assert_int_equal(PYRT_MINOR(row->abi.version_hex), minor);
		check_bounds(&row->abi);
		/* and as it is used, with its sizes worked out: they must be those of the row */
		if (minor < 13) {
			struct pyrt_binary b = {
				.kind = PYRT_CPYTHON, .version_hex = row->abi.version_hex | 0xf0, .runtime = 4096};
			struct pyrt_layout l;
			struct err e = {0};

			if (pyrt_layout__from_runtime(&b, NULL, 0, &l, &e))
				fail_msg("3.%u: %s", minor, e.text);
			check_bounds(&l.abi);
			assert_int_equal(l.abi.code_size, row->abi.code_size);
			assert_int_equal(l.abi.tstate_size, row->abi.tstate_size);
		}
	}
	assert_null(pyrt_layout__row(PYRT_OLDEST_MINOR - 1));
	assert_null(pyrt_layout__row(PYRT_NEWEST_MINOR + 1));
}

static int walk_with(struct subject *t, const struct py_layout *l)
{
	struct scratch *s = scratch__of(0);
	int outcome;

	s->lay = *l;
	s->identity = 1;
	t->image.reads = 0;
	outcome = walk__begin(s, l, t->tstate);
	return outcome == PYBPF_OK ? walk__python(s, 0) : outcome;
}

/* One word of a live interpreter's table is wrong. */
static void test_each_word_damaged(void **state)
{
	static const uint64_t wrong[] = {0, 1, 8, 40, 160, 4096, 65534, 65536, 1ull << 40, UINT64_MAX, UINT64_MAX - 7};
	unsigned int refused = 0, read = 0;

	(void)state;
	vec__foreach(&interps, interp) {
		uint64_t words[PYRT_DEBUG_MAX / 8];
		struct pyrt_layout l, whole;
		struct subject t;
		struct err e = {0};

		if (interp->hex < 0x030d0000)
			continue;
		subject__start(&t, interp, "3");
		assert_true(image__copy(&t.image, t.proc.runtime, words, sizeof(words), false));
		/* the live table is the file's */
		assert_int_equal(pyrt_layout__from_runtime(&t.proc.file->binary, words, sizeof(words), &whole, &e), 0);
		assert_memory_equal(&whole.abi, t.lay, sizeof(whole.abi));
		assert_memory_equal(&whole.lists, &t.proc.file->layout.lists, sizeof(whole.lists));
		for (size_t w = 0; w < sizeof(words) / 8; w++) {
			uint64_t old = words[w];

			for (size_t k = 0; k < sizeof(wrong) / 8 + 2; k++) {
				int err;

				words[w] = k < sizeof(wrong) / 8 ? wrong[k] : old + (k & 1 ? 8 : -8);
				e = (struct err){0};
				err = pyrt_layout__from_runtime(&t.proc.file->binary, words, sizeof(words), &l, &e);
				words[w] = old;
				if (err) {
					assert_true(err == -ENOTSUP && e.text[0]);
					refused++;
					continue;
				}
				check_bounds(&l.abi);
				assert_true(walk_with(&t, &l.abi) < PYBPF_OUTCOME_COUNT);
				assert_true(scratch__of(0)->count <= PYBPF_MAX_FRAMES);
				/* a release's offsets are known: whatever changes one of them is refused */
				assert_memory_equal(&l.abi, &whole.abi, sizeof(l.abi));
				read++;
			}
		}
		/* cut off anywhere */
		for (size_t n = 0; n < 73 * 8; n++)
			assert_int_equal(pyrt_layout__from_runtime(&t.proc.file->binary, words, n, &l, &e), -ENOTSUP);
		subject__end(&t);
	}
	assert_true(refused > read / 100); /* most words are of no interest, but these are not all */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_and_build),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_each_word_damaged),
	};

	return cmocka_run_group_tests(tests, find_all, forget_all);
}
