// SPDX-License-Identifier: Apache-2.0
/* The BPF program's walk over memory made for each case: where frames may lie, how chains may end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf_host.h"
#include "pyrt/layout.h"

#define TSTATE       0x10000000ull
#define CFRAME       0x7ffe00001000ull
#define CHUNK        0x7f0000010000ull /* the current chunk of the data stack */
#define HEAP         0x7f5500000000ull
#define CODE(n)      (0x7f6600000000ull + 256 * (uint64_t)(n))
#define OWNER_ENTRY  3

static struct image memory;
static struct py_layout lay;

/* Empty memory with a thread whose innermost frame lies at `frame`. */
static void begin(unsigned int minor, uint64_t frame)
{
	image__free(&memory);
	host_forget_maps();
	host_image = &memory;
	lay = pyrt_layout__row(minor)->abi;
	if (lay.tstate_chunk != PYBPF_NO_OFFSET)
		image__write_u64(&memory, TSTATE + lay.tstate_chunk, CHUNK);
	if (lay.flags & PY_LAYOUT_CFRAME) {
		image__write_u64(&memory, TSTATE + lay.tstate_frame, CFRAME);
		image__write_u64(&memory, CFRAME + lay.cframe_frame, frame);
		image__write_u64(&memory, CFRAME + lay.cframe_frame + 8, 0);
	} else {
		image__write_u64(&memory, TSTATE + lay.tstate_frame, frame);
	}
}

static void put_frame(uint64_t at, uint64_t code, uint64_t previous, uint64_t instr, unsigned char owner)
{
	image__write_u64(&memory, at + lay.frame_code, code | (lay.pointer_tag & 1));
	image__write_u64(&memory, at + lay.frame_previous, previous);
	if (lay.flags & PY_LAYOUT_INSTR_INDEX)
		image__write(&memory, at + lay.frame_instr, &(uint32_t){(uint32_t)instr}, 4);
	else
		image__write_u64(&memory, at + lay.frame_instr, instr);
	if (lay.frame_owner != PYBPF_NO_OFFSET)
		image__write(&memory, at + lay.frame_owner, &owner, 1);
}

static int walk(void)
{
	struct scratch *s = scratch__of(0);
	int outcome;

	s->lay = lay;
	s->identity = 7;
	memory.reads = 0;
	outcome = walk__begin(s, &lay, TSTATE);
	return outcome == PYBPF_OK ? walk__python(s, 0) : outcome;
}

static void expect(int outcome, uint32_t count)
{
	struct scratch *s = scratch__of(0);

	assert_int_equal(walk(), outcome);
	assert_int_equal(s->count, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(s->frames[i].code, CODE(i));
}

static void test_no_state(void **state)
{
	(void)state;
	for (unsigned int minor = PYRT_OLDEST_MINOR; minor <= PYRT_NEWEST_MINOR; minor++) {
		struct scratch *s;

		begin(minor, 0);
		s = scratch__of(0);
		assert_int_equal(walk__begin(s, &lay, 0), PYBPF_NO_PYTHON);
		expect(PYBPF_NO_PYTHON, 0);
		assert_int_equal(walk__begin(s, &lay, 0xdead0000), PYBPF_TSTATE_FAULT);
		if (lay.flags & PY_LAYOUT_CFRAME) {
			image__write_u64(&memory, TSTATE + lay.tstate_frame, 0);
			expect(PYBPF_NO_PYTHON, 0);
			image__write_u64(&memory, TSTATE + lay.tstate_frame, 0xdead0000);
			expect(PYBPF_TSTATE_FAULT, 0);
		}
	}
}

/* A frame at every place around a page's end; the page behind is there, then not. */
static void test_page_ends(void **state)
{
	(void)state;
	for (unsigned int minor = PYRT_OLDEST_MINOR; minor <= PYRT_NEWEST_MINOR; minor++) {
		uint64_t size = pyrt_layout__row(minor)->abi.frame_size;

		for (uint64_t back = 0; back <= size + 16; back += 8) {
			uint64_t frame = HEAP + 2 * HOST_PAGE - back;

			begin(minor, frame);
			image__write(&memory, frame, (char[256]){0}, size); /* all of its pages */
			put_frame(frame, CODE(0), 0, 2, OWNER_THREAD);
			expect(PYBPF_OK, 1);
			image__unmap(&memory, HEAP + 2 * HOST_PAGE);
			image__unmap(&memory, HEAP);
			if (back >= size)
				expect(PYBPF_OK, 1);
			else
				expect(PYBPF_FRAME_FAULT, 0);
		}
	}
}

/*
 * Frames one behind the other, `step` bytes apart, through `chunks` chunks with nothing around them: a read below the
 * current one's start or above the innermost frame would fail.
 */
static uint32_t fill_chunks(unsigned int minor, unsigned int chunks, uint64_t step)
{
	uint64_t per_chunk = (4 * HOST_PAGE - 24) / step, previous = 0;
	uint32_t n = (uint32_t)(chunks * per_chunk);

	begin(minor, CHUNK + 24 + (per_chunk - 1) * step);
	for (unsigned int c = chunks; c-- > 0;) {
		for (uint64_t i = 0; i < per_chunk; i++) {
			/* others than the current one lie anywhere */
			uint64_t at = CHUNK + c * 0x123000ull + 24 + i * step;

			put_frame(at, CODE((chunks - 1 - c) * per_chunk + i), previous, 0, OWNER_THREAD);
			previous = at;
		}
	}
	return n;
}

static void test_chunks(void **state)
{
	(void)state;
	for (unsigned int minor = 11; minor <= PYRT_NEWEST_MINOR; minor++) {
		for (uint64_t step = 88; step < 5000; step = step * 3 / 16 * 8 + 8) {
			uint32_t n = fill_chunks(minor, 3, step);

			assert_int_equal(walk(), PYBPF_OK);
			assert_int_equal(scratch__of(0)->count, n);
			for (uint32_t i = 0; i < n; i++)
				assert_int_equal(scratch__of(0)->frames[i].code, CODE(n - 1 - i));
			/* each read takes what a page holds, and pages of older chunks are read one by one */
			assert_true(memory.reads <= 3 + 3 * 5 + (step > 2000 ? n : 0));
		}
	}
}

/* Generators' frames in the heap between frames of the data stack: each jump costs a read, and nothing is lost. */
static void test_jumps(void **state)
{
	(void)state;
	for (unsigned int minor = PYRT_OLDEST_MINOR; minor <= PYRT_NEWEST_MINOR; minor++) {
		uint64_t at = HEAP, next;

		begin(minor, at);
		for (uint64_t i = 0; i < 300; i++, at = next) {
			next = (i + 1) % 3 ? CHUNK + 24 + (300 - i) * 400 : HEAP + (i + 1) * 7 % 300 * 512;
			put_frame(at, CODE(i), i == 299 ? 0 : next, i * 2, OWNER_THREAD);
		}
		expect(PYBPF_OK, 300);
		for (uint32_t i = 0; i < 300; i++)
			assert_int_equal(scratch__of(0)->frames[i].instr, i * 2);
	}
}

/* `entries` entry frames, `shown` frames, one more entry frame as the outermost. */
static void put_entries(uint32_t entries, uint32_t shown)
{
	uint64_t at = HEAP, next;

	begin(13, at);
	for (uint32_t i = 0; i <= entries + shown; i++, at = next) {
		bool entry = i < entries || i == entries + shown;

		next = at + 96;
		put_frame(at, entry ? 0xbad0 : CODE(i - entries), i == entries + shown ? 0 : next, 0,
			  entry ? OWNER_ENTRY : OWNER_THREAD);
	}
}

static void test_entry_frames(void **state)
{
	(void)state;
	put_entries(1, 0);
	expect(PYBPF_NO_PYTHON, 0);
	put_entries(70, 3);
	expect(PYBPF_OK, 3);
	/* a chain of nothing else ends as well */
	put_entries(3 * PYBPF_MAX_FRAMES, 0);
	expect(PYBPF_DEPTH_LIMIT, 0);
}

/* The limit is exact, wherever in a batch it is reached. */
static void test_exact_depth(void **state)
{
	(void)state;
	for (uint32_t entries = 0; entries <= WALK_BATCH; entries++) {
		put_entries(entries, PYBPF_MAX_FRAMES);
		expect(PYBPF_OK, PYBPF_MAX_FRAMES);
		put_entries(entries, PYBPF_MAX_FRAMES + 1);
		expect(PYBPF_DEPTH_LIMIT, PYBPF_MAX_FRAMES);
	}
}

/* 3.15: the chain ends at a frame inside of the thread's state, which is never shown. */
static void test_base_frame(void **state)
{
	uint64_t base = TSTATE + pyrt_layout__row(15)->abi.base_frame;

	(void)state;
	begin(15, HEAP);
	put_frame(HEAP, CODE(0), HEAP + 160, 0, OWNER_THREAD);
	put_frame(HEAP + 160, CODE(1), base, 0, OWNER_THREAD);
	expect(PYBPF_OK, 2);
	begin(15, base);
	expect(PYBPF_NO_PYTHON, 0);
}

/* What names a stack: every frame's code and place but the innermost place, and their order. */
static void test_hash(void **state)
{
	uint64_t first, leaf;

	(void)state;
	for (unsigned int minor = PYRT_OLDEST_MINOR; minor <= PYRT_NEWEST_MINOR; minor++) {
		begin(minor, HEAP);
		put_frame(HEAP, CODE(0), HEAP + 512, 10, OWNER_THREAD);
		put_frame(HEAP + 512, CODE(1), HEAP + 1024, 20, OWNER_THREAD);
		put_frame(HEAP + 1024, CODE(2), 0, 30, OWNER_THREAD);
		expect(PYBPF_OK, 3);
		first = scratch__of(0)->hash;
		leaf = scratch__of(0)->leaf;
		assert_int_equal(leaf, 10);
		put_frame(HEAP, CODE(0), HEAP + 512, 12, OWNER_THREAD);
		expect(PYBPF_OK, 3);
		assert_int_equal(scratch__of(0)->hash, first);
		assert_int_equal(scratch__of(0)->leaf, 12);
		put_frame(HEAP + 512, CODE(1), HEAP + 1024, 22, OWNER_THREAD);
		expect(PYBPF_OK, 3);
		assert_int_not_equal(scratch__of(0)->hash, first);
		put_frame(HEAP, CODE(1), HEAP + 512, 10, OWNER_THREAD);
		put_frame(HEAP + 512, CODE(0), HEAP + 1024, 20, OWNER_THREAD);
		assert_int_equal(walk(), PYBPF_OK);
		assert_int_not_equal(scratch__of(0)->hash, first);
	}
}

/* ---- 3.11 and 3.12: what stands in memory while the evaluator links a frame */

#define SIZE(words) (8 * ((words) + FRAME_SPECIALS)) /* of a frame with so many locals and temporaries */

/* `code` makes frames of SIZE(words). */
static void put_code(uint64_t code, uint32_t words)
{
	struct code_sizes sizes = {.stack = 1, .line = 1, .locals = words - 1};

	image__write(&memory, code + lay.code_firstlineno - 4, &sizes, sizeof(sizes));
}

static void put_entry(uint64_t at, uint64_t previous)
{
	if (lay.frame_entry)
		image__write(&memory, at + lay.frame_entry, &(unsigned char){1}, 1);
	else
		put_frame(at, 0xbad0, previous, 0, OWNER_ENTRY);
}

static void expect_torn_of(bool may_be_open, bool torn)
{
	int outcome = walk();

	assert_int_equal(walk__is_torn(scratch__of(0), outcome, 0, may_be_open), torn);
}

static void expect_torn(bool torn)
{
	expect_torn_of(false, torn);
}

/*
 * One frame, then C, then one more that calls a third: CODE(2), CODE(1), CODE(0) from the root on. The third lies right
 * behind the second; it has not begun.
 */
static void two_evaluators(unsigned int minor)
{
	uint64_t root = TSTATE + 300, outermost = CHUNK + 24, middle = outermost + SIZE(4), newest = middle + SIZE(6);
	uint64_t shim = CFRAME + 112, first_shim = CFRAME + 0x500 + 112;
	bool marks;

	begin(minor, newest);
	marks = lay.frame_entry != 0;
	image__write(&memory, TSTATE + lay.tstate_frame, (char[PYBPF_TSTATE_MAX]){0}, PYBPF_TSTATE_MAX);
	image__write_u64(&memory, TSTATE + lay.tstate_frame, CFRAME);
	image__write_u64(&memory, TSTATE + lay.tstate_chunk, CHUNK);
	image__write_u64(&memory, TSTATE + lay.tstate_chunk + 8, newest + SIZE(3));
	image__write_u64(&memory, TSTATE + lay.tstate_chunk + 16, CHUNK + 4 * HOST_PAGE);
	image__write_u64(&memory, CFRAME + lay.cframe_frame + 8, CFRAME + 0x500);
	image__write_u64(&memory, CFRAME + 0x500 + lay.cframe_frame, outermost);
	image__write_u64(&memory, CFRAME + 0x500 + lay.cframe_frame + 8, root);
	for (unsigned int i = 0; i < 3; i++)
		put_code(CODE(i), i == 0 ? 3 : i == 1 ? 6 : 4);
	image__write(&memory, outermost, (char[SIZE(4) + SIZE(6) + SIZE(3)]){0}, SIZE(4) + SIZE(6) + SIZE(3));
	put_frame(newest, CODE(0), middle, CODE(0) + lay.code_bytecode - 2, OWNER_THREAD);
	put_frame(middle, CODE(1), marks ? outermost : shim, CODE(1) + lay.code_bytecode + 8, OWNER_THREAD);
	put_frame(outermost, CODE(2), marks ? 0 : first_shim, CODE(2) + lay.code_bytecode + 8, OWNER_THREAD);
	put_entry(marks ? middle : shim, outermost);
	put_entry(marks ? outermost : first_shim, 0);
}

static void test_whole_evaluators(void **state)
{
	(void)state;
	for (unsigned int minor = 11; minor <= 12; minor++) {
		two_evaluators(minor);
		expect(PYBPF_OK, 3);
		expect_torn(false);
	}
}

/* The evaluator has published its _PyCFrame, in which there is what an earlier call has left. */
static void test_an_evaluator_that_begins(void **state)
{
	uint64_t outermost = CHUNK + 24, middle = outermost + SIZE(4);

	(void)state;
	for (unsigned int minor = 11; minor <= 12; minor++) {
		two_evaluators(minor); /* a frame that does not go on to the evaluator before */
		image__write_u64(&memory, CFRAME + 0x500 + lay.cframe_frame, HEAP);
		expect_torn(true);
		two_evaluators(minor); /* nothing at all, as in the root */
		image__write_u64(&memory, CFRAME + lay.cframe_frame, 0);
		image__write_u64(&memory, CFRAME + lay.cframe_frame + 8, 0);
		expect_torn(true);
		two_evaluators(minor); /* a frame above the top of the data stack */
		image__write_u64(&memory, TSTATE + lay.tstate_chunk + 8, middle + SIZE(6));
		expect_torn(true);
		two_evaluators(minor); /* goes on to it, but is no entry frame yet */
		if (lay.frame_entry)
			image__write(&memory, middle + lay.frame_entry, &(unsigned char){0}, 1);
		else
			image__write(&memory, CFRAME + 112 + lay.frame_owner, &(unsigned char){0}, 1);
		expect_torn(true);
		expect_torn_of(true, false);
		two_evaluators(minor); /* frames in a ring */
		image__write_u64(&memory, outermost + lay.frame_previous, middle);
		image__write_u64(&memory, CFRAME + 0x500 + lay.cframe_frame, HEAP);
		expect_torn(true);
	}
}

/* A frame that has not begun still has the `previous` of the frame that lay there before. */
static void test_a_call_that_begins(void **state)
{
	uint64_t outermost = CHUNK + 24, middle = outermost + SIZE(4), newest = middle + SIZE(6);

	(void)state;
	for (unsigned int minor = 11; minor <= 12; minor++) {
		two_evaluators(minor); /* there is a frame between the two */
		put_code(CODE(1), 5);
		expect_torn(true);
		expect_torn_of(true, true);
		image__write_u64(&memory, newest + lay.frame_instr, CODE(0) + lay.code_bytecode); /* it has begun */
		expect_torn(false);
		two_evaluators(minor); /* it leaves the middle out */
		image__write_u64(&memory, newest + lay.frame_previous, outermost);
		expect_torn(true);
		two_evaluators(minor); /* it is the first one, as one that lay there was */
		image__write_u64(&memory, newest + lay.frame_previous, 0);
		expect_torn_of(true, true);
		if (lay.frame_entry) {
			image__write(&memory, newest + lay.frame_entry, &(unsigned char){1}, 1);
			expect_torn_of(true, false);
		}
		two_evaluators(minor); /* where that has called from goes round in a circle by now, or on and on */
		put_frame(HEAP, CODE(3), newest, CODE(3) + lay.code_bytecode + 8, OWNER_THREAD);
		image__write_u64(&memory, newest + lay.frame_previous, HEAP);
		assert_int_equal(walk(), PYBPF_FRAME_BAD);
		expect_torn(true);
		for (uint64_t at = HEAP; at < HEAP + 160ull * PYBPF_MAX_FRAMES; at += 160)
			put_frame(at, CODE(3), at + 160, CODE(3) + lay.code_bytecode + 8, OWNER_THREAD);
		assert_int_equal(walk(), PYBPF_DEPTH_LIMIT);
		expect_torn(true);
		two_evaluators(minor); /* a generator has called it, which lies elsewhere */
		put_frame(HEAP, CODE(3), middle, CODE(3) + lay.code_bytecode + 8, OWNER_GENERATOR);
		if (minor == 12)
			image__write(&memory, HEAP + lay.frame_owner - RETURN_OFFSET, (char[2]){0}, 2);
		else
			image__write(&memory, HEAP + lay.frame_entry, &(unsigned char){0}, 1);
		image__write_u64(&memory, newest + lay.frame_previous, HEAP);
		expect_torn(false);
		if (minor == 12) { /* or the generator's caller seems to have */
			image__write_u64(&memory, newest + lay.frame_previous, middle);
			image__write(&memory, middle + lay.frame_owner - RETURN_OFFSET, (char[2]){4}, 2);
			expect_torn(true);
		}
	}
}

static int end(void **state)
{
	(void)state;
	image__free(&memory);
	host_forget_maps();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_state),     cmocka_unit_test(test_page_ends),
		cmocka_unit_test(test_chunks),       cmocka_unit_test(test_jumps),
		cmocka_unit_test(test_entry_frames), cmocka_unit_test(test_exact_depth),
		cmocka_unit_test(test_base_frame),   cmocka_unit_test(test_hash),
		cmocka_unit_test(test_whole_evaluators),
		cmocka_unit_test(test_an_evaluator_that_begins),
		cmocka_unit_test(test_a_call_that_begins),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
