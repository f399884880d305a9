// SPDX-License-Identifier: Apache-2.0
/*
 * The BPF program's walk over the memory of real interpreters, recorded as it is read: each blocks in a chain of calls
 * that it has told before. Then the same memory with damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "subject.h"

#define HIDDEN 0x2000000 /* CO_NO_MONITORING_EVENTS: trampolines, which Python does not show (symbolize/codes.c) */

static int walk(struct subject *t)
{
	struct scratch *s = scratch__of(0);
	int outcome;

	s->lay = *t->lay;
	s->identity = 1;
	t->image.reads = 0;
	outcome = walk__begin(s, t->lay, t->tstate);
	return outcome == PYBPF_OK ? walk__python(s, 0) : outcome;
}

/* Bytes from the first instruction on, or -1 for the frame that has gone on since it told. */
static int64_t lasti_of(const struct py_layout *l, const struct raw_frame *f)
{
	if (l->flags & PY_LAYOUT_INSTR_INDEX)
		return (int64_t)(int32_t)f->instr * (l->version_hex >= 0x030a0000 ? 2 : 1);
	return (int64_t)(f->instr - f->code - l->code_bytecode);
}

static bool is_hidden(struct subject *t, uint64_t code)
{
	uint32_t flags = 0;

	image__copy(&t->image, code + t->lay->code_flags, &flags, sizeof(flags), false);
	return t->lay->version_hex >= 0x030c0000 && (flags & HIDDEN);
}

/* Compares the walk's frames with those told; returns how many told ones were met. */
static size_t compare(struct subject *t)
{
	const struct scratch *s = scratch__of(0);
	size_t told = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct raw_frame *f = &s->frames[i];
		const struct told_frame *want;
		bool moved = told == 0; /* the innermost frame has gone on since it told */

		if (is_hidden(t, f->code))
			continue;
		if (told >= t->blocked.frames.len)
			fail_msg("%s: more frames than were told", t->interp->id);
		want = &t->blocked.frames.data[told];
		if (f->code != want->code || (!moved && lasti_of(t->lay, f) != want->lasti))
			fail_msg("%s: frame %u is code %#llx at %lld; told: %s, code %#llx at %lld", t->interp->id, i,
				 f->code, (long long)lasti_of(t->lay, f), want->name, (unsigned long long)want->code,
				 (long long)want->lasti);
		told++;
	}
	return told;
}

static void test_whole_chains(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		struct subject t;
		int outcome;

		subject__start(&t, interp, "30");
		outcome = t.tstate ? walk(&t) : PYBPF_OK;
		if (t.tstate && (outcome != PYBPF_OK || compare(&t) != t.blocked.frames.len))
			fail_msg("%s: outcome %d, %u frames of %zu", interp->id, outcome, scratch__of(0)->count,
				 t.blocked.frames.len);
		subject__end(&t);
	}
}

static void test_the_threads_own_state(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		struct subject t;
		uint64_t found, by_list;

		subject__start(&t, interp, "0");
		by_list = tstate_by_list(&t);
		if (find_tstate(&t, &found) && by_list)
			assert_int_equal(found, by_list);
		subject__end(&t);
	}
}

/* The limit is on frames: one more and the outermost is missing, which is said. */
static void test_depth(void **state)
{
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "0")) {
		uint32_t base = (walk(&t), scratch__of(0)->count);
		const struct interpreter *interp = t.interp;

		subject__end(&t);
		for (uint32_t depth = PYBPF_MAX_FRAMES; depth <= 5000; depth += depth == PYBPF_MAX_FRAMES ? 1 : 903) {
			char text[16];
			int outcome;

			snprintf(text, sizeof(text), "%u", depth - base);
			subject__start(&t, interp, text);
			outcome = walk(&t);
			assert_int_equal(outcome, depth == PYBPF_MAX_FRAMES ? PYBPF_OK : PYBPF_DEPTH_LIMIT);
			assert_int_equal(scratch__of(0)->count, PYBPF_MAX_FRAMES);
			compare(&t);
			/* about 4 KB a read where frames lie in the data stack */
			if (t.lay->tstate_chunk != PYBPF_NO_OFFSET)
				assert_true(t.image.reads < PYBPF_MAX_FRAMES / 8);
			subject__end(&t);
		}
	}
}

/* Addresses of the frames, innermost first, entry frames too. */
static size_t chain_of(struct subject *t, uint64_t *frames, size_t max)
{
	uint64_t stop = t->lay->base_frame == PYBPF_NO_OFFSET ? 0 : t->tstate + t->lay->base_frame;
	uint64_t frame = image__u64(&t->image, t->tstate + t->lay->tstate_frame);
	size_t n = 0;

	if (t->lay->flags & PY_LAYOUT_CFRAME)
		frame = image__u64(&t->image, frame + t->lay->cframe_frame);
	for (; frame && frame != stop && n < max; frame = image__u64(&t->image, frame + t->lay->frame_previous))
		frames[n++] = frame;
	return n;
}

/* How many frames are shown when the walk ends before chain[end]. */
static uint32_t kept(struct subject *t, const uint64_t *chain, size_t end)
{
	uint32_t n = 0;

	for (size_t i = 0; i < end; i++) {
		unsigned char owner = 0;

		image__copy(&t->image, chain[i] + t->lay->frame_owner, &owner, 1, false);
		n += t->lay->owner_entry == PYBPF_NO_OFFSET || owner < t->lay->owner_entry;
	}
	return n;
}

static void check_end(struct subject *t, int outcome, const uint64_t *chain, size_t end)
{
	uint32_t want = kept(t, chain, end);
	int got = walk(t);

	if (got != outcome || scratch__of(0)->count != want)
		fail_msg("%s: outcome %d, not %d; %u frames, not %u", t->interp->id, got, outcome,
			 scratch__of(0)->count, want);
	compare(t);
}

/* One frame after the other points somewhere it should not. */
static void test_bad_previous(void **state)
{
	static const uint64_t nowhere[] = {1, 0x1001, 0x7ffffffffff8, 0xffff888000000000, UINT64_MAX - 7};
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "10")) {
		uint64_t chain[64];
		size_t n = chain_of(&t, chain, 64);

		check_end(&t, PYBPF_OK, chain, n);
		for (size_t i = 0; i < n; i++) {
			uint64_t link = chain[i] + t.lay->frame_previous, previous = image__u64(&t.image, link);

			for (size_t bad = 0; bad < sizeof(nowhere) / sizeof(*nowhere); bad++) {
				image__write_u64(&t.image, link, nowhere[bad]);
				check_end(&t, PYBPF_FRAME_FAULT, chain, i + 1);
			}
			image__write_u64(&t.image, link, chain[i]);
			check_end(&t, PYBPF_FRAME_BAD, chain, i + 1);
			image__write_u64(&t.image, link, 0);
			check_end(&t, scratch__of(0)->count ? PYBPF_OK : PYBPF_NO_PYTHON, chain, i + 1);
			if (i) { /* a ring of frames: found out when it has come round */
				image__write_u64(&t.image, link, chain[0]);
				assert_int_equal(walk(&t), PYBPF_FRAME_BAD);
				assert_true(t.image.reads <= 3 * PYBPF_MAX_FRAMES);
			}
			image__write_u64(&t.image, link, previous);
		}
		check_end(&t, PYBPF_OK, chain, n);
		subject__end(&t);
	}
}

/* Each page that a frame lies in is not there, as after a fork or when it was swapped out. */
static void test_missing_pages(void **state)
{
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "200")) {
		uint64_t chain[1024];
		size_t n = chain_of(&t, chain, 1024);

		for (size_t i = 0; i < n; i += 1 + n / 16) {
			uint64_t page = chain[i] & ~(HOST_PAGE - 1);
			unsigned char saved[HOST_PAGE];
			size_t end = 0;

			while (end < n && (chain[end] >= page + HOST_PAGE || chain[end] + t.lay->frame_size <= page))
				end++;
			/* not one that the way to the frames leads through (3.11, 3.12: a _PyCFrame on the C stack) */
			if (t.tstate + HOST_PAGE - page < 2 * HOST_PAGE ||
			    (t.lay->flags & PY_LAYOUT_CFRAME &&
			     image__u64(&t.image, t.tstate + t.lay->tstate_frame) - page < HOST_PAGE))
				continue;
			memcpy(saved, image__page(&t.image, page), HOST_PAGE);
			image__unmap(&t.image, page);
			check_end(&t, PYBPF_FRAME_FAULT, chain, end);
			image__put(&t.image, page, saved);
		}
		check_end(&t, PYBPF_OK, chain, n);
		subject__end(&t);
	}
}

/* Any damage at all: the walk ends, within its bounds. */
static void test_random_damage(void **state)
{
	struct subject t;
	size_t at = 0;

	(void)state;
	srand(1);
	while (next_version(&t, &at, "20")) {
		uint64_t chain[64];
		size_t n = chain_of(&t, chain, 64);

		for (int round = 0; round < 3000; round++) {
			uint64_t where = rand() % 8 ? chain[(size_t)rand() % n] + (uint64_t)rand() % t.lay->frame_size
						    : t.tstate + (uint64_t)rand() % 320;
			uint64_t old = image__u64(&t.image, where);
			int outcome;

			image__write_u64(&t.image, where, old ^ 1ull << rand() % 64);
			outcome = walk(&t);
			assert_true(outcome >= 0 && outcome < PYBPF_OUTCOME_COUNT);
			assert_true(scratch__of(0)->count <= PYBPF_MAX_FRAMES);
			assert_true(t.image.reads <= 3 * PYBPF_MAX_FRAMES);
			image__write_u64(&t.image, where, old);
		}
		check_end(&t, PYBPF_OK, chain, n);
		subject__end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_chains),  cmocka_unit_test(test_the_threads_own_state),
		cmocka_unit_test(test_depth),         cmocka_unit_test(test_bad_previous),
		cmocka_unit_test(test_missing_pages), cmocka_unit_test(test_random_damage),
	};

	return cmocka_run_group_tests(tests, find_all, forget_all);
}
