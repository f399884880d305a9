/* SPDX-License-Identifier: Apache-2.0 */
/* Small profiles for the exporters' tests, and what compares their output with tests/golden/. */
#ifndef PYBPF_TEST_EXPORT_FIXTURE_H
#define PYBPF_TEST_EXPORT_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "export/export.h"
#include "store/profile.h"

#define FIXTURE_PERIOD_NS 10000000 /* 100 Hz */

static inline uint32_t fixture_id(int64_t id)
{
	assert_true(id >= 0);
	return (uint32_t)id;
}

static inline uint32_t fixture_string(struct profile *p, const char *s)
{
	return fixture_id(profile__add_string(p, s, strlen(s)));
}

static inline uint32_t fixture_process(struct profile *p, uint32_t pid, uint64_t start,
				       const char *cmdline)
{
	struct profile_process process = {.pid = pid, .start_time = start};

	process.cmdline = fixture_string(p, cmdline);
	return fixture_id(profile__add_process(p, &process));
}

static inline uint32_t fixture_thread(struct profile *p, uint32_t process, uint32_t tid,
				      const char *name)
{
	struct profile_thread thread = {.process = process, .tid = tid};

	thread.name = fixture_string(p, name);
	return fixture_id(profile__add_thread(p, &thread));
}

/* A function of /srv/app/FILE, which is short for app/FILE, that begins at line `first`. */
static inline uint32_t fixture_python(struct profile *p, const char *name, const char *file,
				      uint32_t first, uint32_t line)
{
	struct frame f = {.kind = FRAME_PYTHON, .first_line = first, .line = line};
	char full[128];

	snprintf(full, sizeof(full), "/srv/%s", file);
	f.name = fixture_string(p, name);
	f.file = fixture_string(p, full);
	f.short_file = fixture_string(p, file);
	f.column = line ? 5 : 0;
	return fixture_id(profile__add_frame(p, &f));
}

static inline uint32_t fixture_frame(struct profile *p, enum frame_kind kind, const char *name,
				     const char *module)
{
	struct frame f = {.kind = kind};

	f.name = fixture_string(p, name);
	f.module = fixture_string(p, module);
	return fixture_id(profile__add_frame(p, &f));
}

static inline uint32_t fixture_stack(struct profile *p, const uint32_t *frames, size_t n)
{
	uint32_t stack = 0;

	for (size_t i = 0; i < n; i++)
		stack = fixture_id(profile__add_stack(p, stack, frames[i]));
	return stack;
}

#define FIXTURE_STACK(p, ...)                                                                      \
	fixture_stack(p, (const uint32_t[]){__VA_ARGS__},                                          \
		      sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static inline void fixture_samples(struct profile *p, uint32_t thread, uint32_t stack,
				   uint64_t time, int n)
{
	for (int i = 0; i < n; i++) {
		struct profile_sample s = {
			.time = time + (uint64_t)i * FIXTURE_PERIOD_NS,
			.thread = thread,
			.stack = stack,
			.outcome = PYBPF_OK,
			.count = 1,
			.weight = FIXTURE_PERIOD_NS,
		};

		assert_int_equal(profile__add_sample(p, &s), 0);
	}
}

static inline void fixture_meta(struct profile *p)
{
	struct profile_meta m = {
		.version = "0.1.0",
		.host = "host",
		.kernel = "6.1.0",
		.machine = "x86_64",
		.command = "pybpf record --all-python",
		.start_unix_ns = 1700000000000000000,
		.duration_ns = 9960000000,
		.rate_hz = 100,
		.by_process = true,
		.cpus = 2,
	};

	assert_int_equal(profile__set_meta(p, &m), 0);
}

/* Two processes and three threads, 20 samples of every kind of frame. */
static inline struct profile *fixture_usual(void)
{
	struct profile *p = profile__new(true);
	uint32_t app, other, main_thread, worker, other_thread;
	uint32_t module, run, burn5, burn6, deflate, kernel, marker;

	assert_non_null(p);
	fixture_meta(p);
	app = fixture_process(p, 100, 1, "python3 -m app");
	other = fixture_process(p, 200, 2, "python3 other.py");
	main_thread = fixture_thread(p, app, 100, "MainThread");
	worker = fixture_thread(p, app, 101, "worker");
	other_thread = fixture_thread(p, other, 200, "");
	module = fixture_python(p, "<module>", "app/__main__.py", 1, 9);
	run = fixture_python(p, "App.run", "app/core.py", 20, 24);
	burn5 = fixture_python(p, "burn", "app/core.py", 4, 5);
	burn6 = fixture_python(p, "burn", "app/core.py", 4, 6);
	deflate = fixture_frame(p, FRAME_NATIVE, "deflate", "libz.so.1");
	kernel = fixture_frame(p, FRAME_KERNEL, "vfs_read", "");
	marker = fixture_frame(p, FRAME_MARKER, "[truncated: frame_fault]", "");
	fixture_samples(p, main_thread, FIXTURE_STACK(p, module, run, burn5), 0, 6);
	fixture_samples(p, main_thread, FIXTURE_STACK(p, module, run, burn6), 90000000, 3);
	fixture_samples(p, main_thread, FIXTURE_STACK(p, module, run), 60000000, 1);
	fixture_samples(p, worker, FIXTURE_STACK(p, run, deflate), 5000000, 4);
	fixture_samples(p, worker, FIXTURE_STACK(p, run, deflate, kernel), 45000000, 2);
	fixture_samples(p, other_thread, FIXTURE_STACK(p, marker, burn5), 7000000, 3);
	fixture_samples(p, other_thread, 0, 100000000, 1);
	return p;
}

/* Names with everything in them that some format gives a meaning to, or that is not text at all. */
#define FIXTURE_HOSTILE_NAME                                                                       \
	"a;b\\c\nd\te\x01\x7f<&>\"' "                                                              \
	"\xff\xed\xb3\xbf\xe2\x80\xae\xc2\x85\xe2\x80\xa8]]>\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80"

static inline struct profile *fixture_hostile(void)
{
	struct profile *p = profile__new(true);
	uint32_t process, thread, frame, cut;

	assert_non_null(p);
	process = fixture_process(p, 7, 1, "sh -c \"x;y\"\n" FIXTURE_HOSTILE_NAME);
	thread = fixture_thread(p, process, 8, FIXTURE_HOSTILE_NAME);
	frame = fixture_python(p, FIXTURE_HOSTILE_NAME, "x;y/\\<z>.py", 1, 2);
	cut = fixture_frame(p, FRAME_NATIVE, "\xe6\xbc", "\xc3");
	fixture_samples(p, thread, FIXTURE_STACK(p, frame, cut, frame), 0, 2);
	fixture_samples(p, thread, FIXTURE_STACK(p, frame), 30000000, 1);
	return p;
}

/* What the format makes of p; the caller frees it. */
static inline char *fixture_export(const char *format, const struct profile *p,
				   const struct export_opts *o)
{
	char *data = NULL, *copy;
	size_t n = 0;
	FILE *out = open_memstream(&data, &n);
	struct err e = {0};

	assert_non_null(out);
	assert_int_equal(export__by_name(format)->write(p, o, out, &e), 0);
	assert_int_equal(e.code, 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(data), n); /* no NUL bytes in a text format */
	copy = strdup(data);
	free(data);
	assert_non_null(copy);
	return copy;
}

/* Compares with tests/golden/NAME (below the working directory); with UPDATE_GOLDEN set, writes it
 * instead. */
static inline void fixture_golden(const char *name, const char *text)
{
	char path[256], *want;
	FILE *f;
	size_t n, cap = 1 << 20;

	snprintf(path, sizeof(path), "tests/golden/%s", name);
	f = fopen(path, getenv("UPDATE_GOLDEN") ? "w" : "r");
	if (!f)
		fail_msg("cannot open %s: run the test from the top of the tree", path);
	if (getenv("UPDATE_GOLDEN")) {
		fputs(text, f);
		fclose(f);
		return;
	}
	want = calloc(1, cap + 1);
	assert_non_null(want);
	n = fread(want, 1, cap, f);
	fclose(f);
	want[n] = 0;
	assert_string_equal(text, want);
	free(want);
}

/* Every write fails in the end: the exporter must say so. */
static inline void fixture_full_disk(const char *format)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {0};
	struct err e = {0};
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	assert_int_equal(export__by_name(format)->write(p, &o, full, &e), -ENOSPC);
	assert_int_equal(e.code, -ENOSPC);
	assert_non_null(strstr(e.text, "No space left"));
	fclose(full);
	profile__free(p);
}

#endif
