// SPDX-License-Identifier: Apache-2.0
/* Raw captures: what is written is read back, and a file that is cut, damaged or made up is an error or a shorter
 * profile. */
#include "test_export_fixture.h"

#include <zlib.h>

#include "store/capture.h"
#include "store/view.h"

/* ---- files in memory */

static unsigned char *written(const struct profile *p, size_t *n)
{
	char *data = NULL;
	FILE *out = open_memstream(&data, n);
	struct err e = {0};

	assert_non_null(out);
	assert_int_equal(export__by_name("pybpf")->write(p, &(struct export_opts){0}, out, &e), 0);
	assert_int_equal(fclose(out), 0);
	return (unsigned char *)data;
}

static int read_back(const void *bytes, size_t n, struct profile **p, bool *truncated)
{
	/* fmemopen knows no empty files */
	FILE *in = n ? fmemopen((void *)bytes, n, "r") : fopen("/dev/null", "r");
	struct err e = {0};
	int err;

	assert_non_null(in);
	*p = NULL;
	err = capture__read(in, p, truncated, &e);
	fclose(in);
	assert_int_equal(e.code, err);
	assert_true(!err == (*p != NULL));
	assert_true(!err || (e.text[0] && !strchr(e.text, '\n')));
	return err;
}

/* Everything that later steps do with a profile: it must be whole in itself. */
static void use(const struct profile *p)
{
	static const char *const formats[] = {"raw", "pybpf"};
	struct export_opts o = {.view = {.process_frames = true, .thread_frames = true}};
	struct hot_function hot[4];
	size_t count;

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		FILE *out = fopen("/dev/null", "w");

		assert_non_null(out);
		assert_int_equal(export__by_name(formats[i])->write(p, &o, out, NULL), 0);
		fclose(out);
	}
	assert_int_equal(view__hottest(p, hot, 4, &count), 0);
	for (size_t i = 0; i < count; i++)
		free(hot[i].label);
}

/* ---- round trip */

static void check_same(const struct profile *a)
{
	size_t n, m;
	unsigned char *bytes = written(a, &n), *again;
	struct profile *b;
	bool truncated = true;

	assert_int_equal(read_back(bytes, n, &b, &truncated), 0);
	assert_false(truncated);
	assert_int_equal(profile__ordered(b), profile__ordered(a));
	assert_int_equal(profile__meta(b)->by_process, profile__meta(a)->by_process);
	assert_int_equal(profile__string_count(b), profile__string_count(a));
	assert_int_equal(profile__sample_count(b), profile__sample_count(a));
	assert_memory_equal(profile__accounts(b), profile__accounts(a), sizeof(struct profile_accounts));
	/* the same file again: nothing was lost on the way */
	again = written(b, &m);
	assert_int_equal(m, n);
	assert_memory_equal(again, bytes, n);
	use(b);
	profile__free(b);
	free(again);
	free(bytes);
}

static void test_round_trip(void **state)
{
	struct profile *p = fixture_usual(), *hostile = fixture_hostile(), *empty = profile__new(false);
	struct profile_accounts a = {.taken = 21, .written = 20, .processes = 2, .threads = UINT64_MAX};

	(void)state;
	a.lost[PYBPF_RING_FULL] = 1;
	a.truncated[PYBPF_FRAME_FAULT] = 3;
	profile__set_accounts(p, &a);
	check_same(p);
	check_same(hostile);
	check_same(empty);
	profile__free(p);
	profile__free(hostile);
	profile__free(empty);
}

/* More entries than one block takes, with times that go back and forth, and a name of a megabyte. */
static void test_many_blocks(void **state)
{
	struct profile *p = profile__new(true);
	uint32_t process = fixture_process(p, 1, 1, "x"), thread = fixture_thread(p, process, 1, "t"), stack = 0;
	char *name = calloc(1, 1 << 20);

	(void)state;
	memset(name, 'n', (1 << 20) - 1);
	fixture_string(p, name);
	for (uint32_t i = 0; i < 10000; i++) {
		struct profile_sample s = {
			.time = i % 2 ? UINT64_MAX - i : i, .thread = thread, .count = i, .weight = UINT64_MAX};
		char text[32];

		snprintf(text, sizeof(text), "f%u", i);
		stack = fixture_id(profile__add_stack(p, stack, fixture_frame(p, FRAME_NATIVE, text, "m")));
		s.stack = stack;
		assert_int_equal(profile__add_sample(p, &s), 0);
	}
	check_same(p);
	profile__free(p);
	free(name);
}

/* ---- damage */

static void test_cut_anywhere(void **state)
{
	struct profile *p = fixture_usual(), *q;
	size_t n, before = 0;
	unsigned char *bytes = written(p, &n);

	(void)state;
	for (size_t cut = 0; cut < n; cut++) {
		bool truncated = false;
		int err = read_back(bytes, cut, &q, &truncated);

		if (err) {
			assert_int_equal(err, -EBADMSG);
			assert_int_equal(before,
					 0); /* once there is something to show, more bytes never take it away */
			continue;
		}
		assert_true(truncated);
		assert_true(profile__sample_count(q) >= before && profile__sample_count(q) <= profile__sample_count(p));
		before = profile__sample_count(q);
		use(q);
		profile__free(q);
	}
	profile__free(p);
	free(bytes);
}

/* Puts the checksums right, so that what is in the blocks is looked at. */
static void mend(unsigned char *bytes, size_t n)
{
	for (size_t at = 12; at + 9 <= n;) {
		uint32_t length = bytes[at + 1] | (uint32_t)bytes[at + 2] << 8 | (uint32_t)bytes[at + 3] << 16 |
				  (uint32_t)bytes[at + 4] << 24;
		uLong crc;

		if (length > n - at - 9)
			return;
		crc = crc32(0, bytes + at, 5 + length);
		for (int i = 0; i < 4; i++)
			bytes[at + 5 + length + i] = (unsigned char)(crc >> 8 * i);
		at += 9 + length;
	}
}

static void test_damage_anywhere(void **state)
{
	static const unsigned char flips[] = {0x01, 0x80};
	struct profile *p = fixture_usual(), *q;
	size_t n;
	unsigned char *bytes = written(p, &n), *copy = malloc(n);
	bool truncated;

	(void)state;
	assert_non_null(copy);
	for (size_t at = 0; at < n; at++) {
		for (size_t f = 0; f < sizeof(flips); f++) {
			memcpy(copy, bytes, n);
			copy[at] ^= flips[f];
			/* as it is: nothing gets past the checksums, but a shorter file may look like one that was cut
			 */
			if (!read_back(copy, n, &q, &truncated)) {
				assert_true(truncated);
				use(q);
				profile__free(q);
			}
			mend(copy, n);
			if (!read_back(copy, n, &q, &truncated)) {
				use(q);
				profile__free(q);
			}
		}
	}
	free(copy);
	free(bytes);
	profile__free(p);
}

/* ---- made up */

struct made {
	unsigned char bytes[4096];
	size_t n;
};

static void make_head(struct made *m, uint32_t version)
{
	m->n = 0;
	memcpy(m->bytes, CAPTURE_MAGIC, 8);
	memcpy(m->bytes + 8, &version, 4);
	m->n = 12;
}

static void make_block(struct made *m, unsigned int type, const void *payload, size_t n)
{
	m->bytes[m->n] = (unsigned char)type;
	for (int i = 0; i < 4; i++)
		m->bytes[m->n + 1 + i] = (unsigned char)(n >> 8 * i);
	if (n)
		memcpy(m->bytes + m->n + 5, payload, n);
	m->n += 9 + n;
}

#define MAKE(m, type, ...)                                                                                             \
	make_block(m, type, (const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}))

/* A capture with everything that samples need: one process, thread, frame (named by `name`) and stack. */
static void make_usual(struct made *m, unsigned char name)
{
	make_head(m, CAPTURE_VERSION);
	MAKE(m, CAPTURE_META, 0, 0, 0, 0, 0, 1, 1, 100, 1, 1);
	MAKE(m, CAPTURE_OUTCOMES, 2, 2, 'o', 'k', 3, 'n', 'e', 'w');
	MAKE(m, CAPTURE_STRINGS, 1, 1, 'a');
	MAKE(m, CAPTURE_FRAMES, 1, FRAME_NATIVE, name, 0, 0, 0, 0, 0, 0, 0, 0);
	MAKE(m, CAPTURE_STACKS, 1, 0, 0);
	MAKE(m, CAPTURE_PROCESSES, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1);
	MAKE(m, CAPTURE_THREADS, 1, 0, 1, 1, 1);
	MAKE(m, CAPTURE_SAMPLES, 1, 2, 0, 1, 0, 1, 0, 1, 10);
}

static int made(struct made *m, struct profile **p, bool *truncated)
{
	mend(m->bytes, m->n);
	return read_back(m->bytes, m->n, p, truncated);
}

static void test_made_up(void **state)
{
	struct made m;
	struct profile *p;
	bool truncated;

	(void)state;
	/* an outcome that this version does not know; a frame without a name; a block type of a newer version */
	for (unsigned char name = 0; name < 2; name++) {
		make_usual(&m, name);
		MAKE(&m, 200, 1, 2, 3);
		make_block(&m, CAPTURE_END, NULL, 0);
		assert_int_equal(made(&m, &p, &truncated), 0);
		assert_false(truncated);
		assert_int_equal(profile__sample_count(p), 1);
		assert_int_equal(profile__sample(p, 0)->time, 1);
		use(p);
		profile__free(p);
	}
	/* what is there already comes again, under other ids */
	make_usual(&m, 1);
	MAKE(&m, CAPTURE_STRINGS, 2, 1, 'b', 1, 'a');
	MAKE(&m, CAPTURE_FRAMES, 1, FRAME_NATIVE, 3, 0, 0, 0, 0, 0, 0, 0, 0);
	MAKE(&m, CAPTURE_STACKS, 2, 0, 1, 2, 1);
	MAKE(&m, CAPTURE_SAMPLES, 2, 2, 0, 2, 0, 1, 0, 1, 10, 2, 0, 3, 0, 1, 0, 1, 10);
	make_block(&m, CAPTURE_END, NULL, 0);
	assert_int_equal(made(&m, &p, &truncated), 0);
	assert_int_equal(profile__string_count(p), 3);
	assert_int_equal(profile__frame_count(p), 1);
	assert_int_equal(profile__stack_count(p), 3);
	assert_int_equal(profile__sample(p, 1)->stack, 1);
	assert_int_equal(profile__sample(p, 2)->stack, 2);
	assert_int_equal(profile__stack(p, 2)->parent, 1);
	profile__free(p);
	make_head(&m, CAPTURE_VERSION + 1);
	make_block(&m, CAPTURE_END, NULL, 0);
	assert_int_equal(made(&m, &p, &truncated), -ENOTSUP);
	make_usual(&m, 1);
	m.bytes[8] = 0;
	assert_int_equal(made(&m, &p, &truncated), -EBADMSG);
	make_head(&m, CAPTURE_VERSION);
	make_block(&m, CAPTURE_END, NULL, 0);
	assert_int_equal(made(&m, &p, &truncated), -EBADMSG);
	/* samples before any table */
	make_head(&m, CAPTURE_VERSION);
	MAKE(&m, CAPTURE_SAMPLES, 1, 2, 0, 1, 0, 1, 0, 1, 10);
	assert_int_equal(made(&m, &p, &truncated), -EBADMSG);
}

/* Each is a block behind a good capture that must be refused. */
static void test_what_is_refused(void **state)
{
	static const struct {
		unsigned char type, n, payload[16];
	} bad[] = {
		{CAPTURE_STRINGS, 3, {1, 2, 'b'}},  /* longer than the block */
		{CAPTURE_STRINGS, 1, {1}},          /* fewer than it says */
		{CAPTURE_STRINGS, 2, {0x80, 0x80}}, /* a number without an end */
		{CAPTURE_FRAMES, 11, {1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}},       /* a name that is not there */
		{CAPTURE_STACKS, 3, {1, 7, 0}},                                /* parent */
		{CAPTURE_STACKS, 3, {1, 0, 7}},                                /* frame */
		{CAPTURE_THREADS, 5, {1, 7, 1, 1, 1}},                         /* process */
		{CAPTURE_THREADS, 5, {1, 0, 1, 1, 7}},                         /* name */
		{CAPTURE_PROCESSES, 12, {1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 7}}, /* the last string */
		{CAPTURE_SAMPLES, 9, {1, 2, 7, 1, 0, 0, 0, 1, 1}},             /* thread */
		{CAPTURE_SAMPLES, 9, {1, 2, 0, 7, 0, 0, 0, 1, 1}},             /* stack */
		{CAPTURE_SAMPLES, 9, {1, 2, 0, 1, 0, 7, 0, 1, 1}},             /* outcome */
		{CAPTURE_ACCOUNTS, 5, {1, 1, 1, 9, 0}},                        /* outcome */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct made m;
		struct profile *p;
		bool truncated;

		make_usual(&m, 1);
		make_block(&m, bad[i].type, bad[i].payload, bad[i].n);
		make_block(&m, CAPTURE_END, NULL, 0);
		if (made(&m, &p, &truncated) != -EBADMSG)
			fail_msg("block %zu was accepted", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_many_blocks),
		cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_damage_anywhere),
		cmocka_unit_test(test_made_up),      cmocka_unit_test(test_what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
