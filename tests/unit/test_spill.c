// SPDX-License-Identifier: Apache-2.0
/* What goes to a file comes back whole: in parts, with a disk that is full, or where no file can be had at all. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "collect/spill.h"

static uint32_t text(struct profile *p, const char *words)
{
	return (uint32_t)profile__add_string(p, words, strlen(words));
}

/* A process with one thread and `samples` stacks of its own; the thread's id. */
static uint32_t add_process(struct profile *p, uint32_t pid, int samples)
{
	struct profile_process process = {.pid = pid, .cmdline = text(p, "python3 x.py")};
	int64_t id = profile__add_process(p, &process);
	int64_t thread = profile__add_thread(p, &(struct profile_thread){.process = (uint32_t)id, .tid = pid});

	assert_true(id >= 0 && thread >= 0);
	for (int i = 0; i < samples; i++) {
		struct frame frame = {.kind = FRAME_PYTHON, .line = (uint32_t)i + 1};
		struct profile_sample s = {.thread = (uint32_t)thread, .count = 1, .weight = 10, .time = (uint64_t)i};
		char name[32];

		snprintf(name, sizeof(name), "f%u_%d", pid, i);
		frame.name = text(p, name);
		s.stack = (uint32_t)profile__add_stack(p, 0, (uint32_t)profile__add_frame(p, &frame));
		assert_int_equal(profile__add_sample(p, &s), 0);
	}
	return (uint32_t)thread;
}

/* Each sample's function says whose it is: so many of them, each under its own process. */
static void expect(const struct profile *p, size_t samples)
{
	uint64_t count = 0;

	assert_int_equal(profile__sample_count(p), samples);
	for (size_t i = 0; i < samples; i++) {
		const struct profile_sample *s = profile__sample(p, i);
		const struct profile_thread *t = profile__thread(p, s->thread);
		const struct frame *f = profile__frame(p, profile__stack(p, s->stack)->frame);
		char name[32];

		count += s->count;
		snprintf(name, sizeof(name), "f%u_%u", profile__process(p, t->process)->pid, f->line - 1);
		assert_string_equal(profile__string(p, f->name, NULL), name);
		assert_string_equal(profile__string(p, profile__process(p, t->process)->cmdline, NULL), "python3 x.py");
	}
	assert_int_equal(count, samples);
}

static void expect_all(struct spill *s, const struct profile *p, size_t samples)
{
	struct profile *whole;
	struct err e = {0};

	assert_int_equal(spill__read_back(s, p, &whole, &e), 0);
	expect(whole, samples);
	profile__free(whole);
}

static void test_parts(void **state)
{
	struct profile *p = profile__new(false);
	struct spill *s = spill__new();
	uint32_t lasting;

	(void)state;
	profile__set_meta(p, &(struct profile_meta){0});
	lasting = add_process(p, 1, 5);
	expect_all(s, p, 5); /* nothing was written */
	assert_false(spill__is_used(s));
	for (uint32_t part = 1; part <= 3; part++) {
		add_process(p, 10 * part, 4);
		assert_int_equal(profile__end_process(p, 1), 0);
		assert_int_equal(spill__step(s, p, NULL), 0);
		assert_true(spill__is_used(s));
		assert_int_equal(profile__ended_count(p), 0);
		assert_int_equal(profile__process_count(p), 1); /* that goes on */
		assert_int_equal(profile__sample_count(p), 5);
		assert_int_equal(profile__frame_count(p), 5);
		assert_int_equal(profile__string_count(p), 1 + 1 + 5);
		expect_all(s, p, 5 + 4 * part);
	}
	/* what comes later still adds to what is there */
	assert_int_equal(profile__add_sample(p, &(struct profile_sample){.thread = lasting, .stack = 1, .count = 1}), 0);
	assert_int_equal(profile__sample_count(p), 5);
	spill__restart(s);
	assert_false(spill__is_used(s));
	profile__drop_samples(p);
	add_process(p, 99, 2);
	expect_all(s, p, 2);
	spill__free(s);
	profile__free(p);
}

/* Not worth it: nothing is written. */
static void test_little(void **state)
{
	struct profile *p = profile__new(false);
	struct spill *s = spill__new();

	(void)state;
	add_process(p, 1, 5);
	profile__end_process(p, 0);
	assert_false(spill__is_due(s, p));
	expect(p, 5);
	spill__free(s);
	profile__free(p);
}

static rlim_t limit_files(rlim_t bytes)
{
	struct rlimit r;
	rlim_t before;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	before = r.rlim_cur;
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
	return before;
}

/* The disk is full in the middle of the `full`th part: what was there before and what comes after is all there. */
static void fill_disk(uint32_t full, int samples_each, rlim_t limit)
{
	struct profile *p = profile__new(false);
	struct spill *s = spill__new();
	rlim_t before = RLIM_INFINITY;
	size_t samples = 0;

	profile__set_meta(p, &(struct profile_meta){0});
	for (uint32_t part = 1; part <= 4; part++) {
		int err;

		add_process(p, part, samples_each);
		samples += (size_t)samples_each;
		profile__end_process(p, profile__process_count(p) - 1);
		if (part == full)
			before = limit_files(limit);
		err = spill__step(s, p, NULL);
		if (part == full) {
			assert_true(err < 0);
			limit_files(before);
		} else {
			assert_int_equal(err, 0);
		}
		assert_int_equal(spill__is_used(s), full > 1);
		expect_all(s, p, samples);
	}
	spill__free(s);
	profile__free(p);
}

static void test_full_disk(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	for (uint32_t full = 1; full <= 3; full++) {
		fill_disk(full, 2000, 65536 * full - 30000);
		fill_disk(full, 2000, 0);
		fill_disk(full, 10, 0); /* less than a stream holds back */
	}
}

/* No descriptor is left, or no folder may be written: it all stays in memory. */
static void test_no_file(void **state)
{
	struct profile *p = profile__new(false);
	struct spill *s = spill__new();
	struct rlimit r, none;

	(void)state;
	profile__set_meta(p, &(struct profile_meta){0});
	add_process(p, 1, 10);
	profile__end_process(p, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	none = r;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_true(spill__step(s, p, NULL) < 0);
	expect_all(s, p, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
	spill__free(s);
	profile__free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_little),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
