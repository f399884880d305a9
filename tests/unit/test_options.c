// SPDX-License-Identifier: Apache-2.0
/* Values of options, the command line of `record`, and the small files of the kernel that are parsed. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/record_opts.h"
#include "cli/values.h"
#include "collect/cpus.h"
#include "collect/probe.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* main.c, which is no part of the library, has the real one. */
const struct command *const commands[] = {&command_record, &command_report, &command_list, &command_check, NULL};

static void test_pids(void **state)
{
	static const char *const bad[] = {"",
					  "0",
					  "-1",
					  "x",
					  "0x",
					  "1,",
					  ",1",
					  "1,,2",
					  "1 ",
					  " 1",
					  "+1",
					  "2147483648",
					  "99999999999999999999",
					  "0x80000000",
					  "1.5",
					  "1;2",
					  "0x1g"};
	struct pid_list list = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(values__pids("12,0x1f,2147483647,0X10,007", &list, &e), 0);
	assert_int_equal(values__pids("1", &list, &e), 0);
	assert_int_equal(list.len, 6);
	assert_memory_equal(list.data, ((uint32_t[]){12, 31, 2147483647, 16, 7, 1}), 6 * sizeof(uint32_t));
	for (size_t i = 0; i < COUNT(bad); i++) {
		e = (struct err){0};
		if (values__pids(bad[i], &list, &e) != -EINVAL || e.code != -EINVAL || !strstr(e.text, "-p"))
			fail_msg("'%s' was taken", bad[i]);
	}
	vec__free(&list);
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"unlimited", 0},        {"1", 1000000000},    {"1.5", 1500000000},
		    {"30s", 30000000000},    {"5m", 300000000000}, {"1h", 3600000000000},
		    {"2d", 172800000000000}, {"250ms", 250000000}, {".5", 500000000}};
	static const char *const bad[] = {"",    "0",    "-1",     "1x",     "s",   "1 s",       "1s ", "nan",
					  "inf", "1e99", "0.0001", "1e9999", "5mm", "UNLIMITED", "1,5"};
	uint64_t ns = 7;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(values__duration(good[i].text, &ns, &e), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		ns = 7;
		if (values__duration(bad[i], &ns, &e) != -EINVAL || ns != 7)
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void test_rates_widths_users(void **state)
{
	static const char *const bad_rates[] = {"0", "20001", "-1", "1.5", "", "100hz", "1e3", "99999999999999999999"};
	static const char *const bad_widths[] = {"", "x", "-1", "1%%", "1 %", "nan", "1em", "%"};
	uint32_t n = 7;
	double width;
	bool percent;
	struct err e;

	(void)state;
	assert_int_equal(values__rate("1", &n), 0);
	assert_int_equal(values__rate("20000", &n), 0);
	assert_int_equal(n, 20000);
	for (size_t i = 0; i < COUNT(bad_rates); i++)
		assert_int_equal(values__rate(bad_rates[i], &n), -EINVAL);
	assert_int_equal(n, 20000);
	assert_int_equal(values__width("0.1%", &width, &percent, &e), 0);
	assert_true(percent && fabs(width - 0.1) < 1e-9);
	assert_int_equal(values__width("3px", &width, &percent, &e), 0);
	assert_true(!percent && fabs(width - 3) < 1e-9);
	assert_int_equal(values__width("0", &width, &percent, &e), 0);
	assert_true(width < 0); /* everything is shown */
	for (size_t i = 0; i < COUNT(bad_widths); i++)
		assert_int_equal(values__width(bad_widths[i], &width, &percent, &e), -EINVAL);
	assert_int_equal(values__user("root", &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(values__user("4242424", &n, &e), 0);
	assert_int_equal(n, 4242424);
	assert_int_equal(values__user("no such user", &n, &e), -EINVAL);
	assert_int_equal(values__user("4294967295", &n, &e), -EINVAL); /* (uid_t)-1 is nobody */
}

/* Words separated by spaces; `_` stands for an empty one. */
static int parse(const char *line, struct record_opts *o, struct err *e)
{
	static char words[512];
	static char *argv[32];
	char *save = NULL;
	int argc = 0;

	snprintf(words, sizeof(words), "record %s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "_") ? w : (char *)"";
	argv[argc] = NULL;
	*e = (struct err){0};
	return record_opts__parse(&command_record, argc, argv, o, e);
}

static void test_good_lines(void **state)
{
	struct record_opts o;
	struct err e;

	(void)state;
	assert_int_equal(parse("", &o, &e), 0);
	assert_int_equal(o.rate_hz, 100);
	assert_int_equal(o.duration_ns, 0);
	assert_true(o.show.export.view.process_frames);
	assert_ptr_equal(show_opts__format(&o.show), export__by_name("flamegraph"));
	record_opts__free(&o);

	assert_int_equal(parse("-p 1,2 -p0x3 --pid=4 -r 250 -d 5m -F -t -o x.raw.speedscope.json", &o, &e), 0);
	assert_int_equal(o.pids.len, 4);
	assert_int_equal(o.rate_hz, 250);
	assert_int_equal(o.duration_ns, 300000000000);
	assert_int_equal(o.show.export.view.lines, LINE_FUNCTION);
	assert_true(o.show.export.view.thread_frames && o.show.export.view.process_frames);
	assert_ptr_equal(show_opts__format(&o.show), export__by_name("speedscope"));
	record_opts__free(&o);

	/* one process needs no process frame; -f is above the suffix */
	assert_int_equal(parse("-p 7 -f raw -o x.svg --min-width 1% --json", &o, &e), 0);
	assert_false(o.show.export.view.process_frames);
	assert_ptr_equal(show_opts__format(&o.show), export__by_name("raw"));
	assert_true(o.json && !o.json_file);
	record_opts__free(&o);

	/* what stands behind `--` is not ours */
	assert_int_equal(parse("-r 10 -- cmd -r 5 --help", &o, &e), 0);
	assert_int_equal(o.rate_hz, 10);
	assert_string_equal(o.command[0], "cmd");
	assert_string_equal(o.command[3], "--help");
	assert_null(o.command[4]);
	record_opts__free(&o);

	assert_int_equal(parse("--json=f -o - -s -- cmd", &o, &e), 0);
	assert_string_equal(o.json_file, "f");
	assert_true(o.follow_children && o.show.export.view.process_frames);
	record_opts__free(&o);
}

static void test_combined_targets(void **state)
{
	struct record_opts o;
	struct err e;

	(void)state;
	/* of all processes, this one; process frames as with all */
	assert_int_equal(parse("--all-python -p 7 -f raw -o x.html", &o, &e), 0);
	assert_int_equal(o.pids.len, 1);
	assert_true(o.show.export.view.process_frames);
	record_opts__free(&o);
	/* the children of all are among all */
	assert_int_equal(parse("--all-python -s", &o, &e), 0);
	assert_false(o.follow_children);
	record_opts__free(&o);
	/* a process that is named twice is one */
	assert_int_equal(parse("-p 7,7 -p 0x7", &o, &e), 0);
	assert_int_equal(o.pids.len, 1);
	assert_false(o.show.export.view.process_frames);
	record_opts__free(&o);
}

static void test_bad_lines(void **state)
{
	static const char *const bad[] = {
		"-p",
		"-p x",
		"-r 0",
		"-r",
		"-d",
		"-d x",
		"-f nonsense",
		"--nonsense",
		"-Z",
		"word",
		"-p 1 word",
		"--",
		"-p 1 --",
		"-p 1 -- cmd",
		"--all-python --comm x -s",
		"--all-python -- cmd",
		"-s",
		"--json -o -",
		"--colors nonsense",
		"--width 99",
		"--width x",
		"--min-width x",
		"--user no-such-user-here",
		"--comm _",
		"--cgroup _",
		"--container _",
		"-o _",
		"-o x.html",
		"-o x.pb.gz",
		"-o x.trace.json",
		"-o x.jsonl",
		"--min-width 101%",
		"--quiet=1",
		"--per",
		"--native=some",
		"-p 1,2,",
		"-d5x",
		"--rate=20001",
		"-qZ",
	};
	struct record_opts o;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		int err = parse(bad[i], &o, &e);

		record_opts__free(&o);
		if (!strcmp(bad[i], "--per")) { /* a beginning that only one option has is that option */
			assert_int_equal(err, 0);
			continue;
		}
		if (err != -EINVAL || !e.text[0] || strchr(e.text, '\n'))
			fail_msg("'%s': %d '%s'", bad[i], err, e.text);
	}
}

static void test_output_names(void **state)
{
	struct record_opts o;
	struct err e;
	char *name;

	(void)state;
	assert_int_equal(parse("-p 42 -f raw", &o, &e), 0);
	name = record_opts__output_name(&o);
	assert_int_equal(strncmp(name, "42-", 3), 0);
	assert_string_equal(name + strlen(name) - strlen(export__by_name("raw")->suffixes[0]),
			    export__by_name("raw")->suffixes[0]);
	free(name);
	record_opts__free(&o);
	assert_int_equal(parse("-- /usr/bin/cmd x", &o, &e), 0);
	name = record_opts__output_name(&o);
	assert_int_equal(strncmp(name, "cmd-", 4), 0);
	assert_null(strchr(name, '/'));
	free(name);
	record_opts__free(&o);
}

static void test_cpu_lists(void **state)
{
	static const struct {
		const char *list;
		unsigned int on; /* bits */
	} good[] = {{"", 0},
		    {"\n", 0},
		    {"0\n", 1},
		    {"0-3", 0xf},
		    {"0,2-3\n", 0xd},
		    {"7,8,900", 0x80},
		    {"0-4294967295", 0xff},
		    {"1,1,1-1", 2}};
	static const char *const bad[] = {"x", "1-", "-", ",", "1-2-3", "1 2", "1;2", "1-x", "0x1"};
	bool on[8];

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		memset(on, true, sizeof(on));
		assert_int_equal(cpus__parse(good[i].list, on, 8), 0);
		for (int cpu = 0; cpu < 8; cpu++)
			assert_int_equal(on[cpu], good[i].on >> cpu & 1);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (cpus__parse(bad[i], on, 8) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void test_kernel_releases(void **state)
{
	static const char *const faulty[] = {"5.19",   "5.19.17", "6.0.0", "6.0.19",    "6.1",
					     "6.1.35", "6.2.16",  "6.3.9", "6.1.35-rc1"};
	static const char *const sound[] = {"5.18.19", "5.10.0", "4.19.0", "6.1.36", "6.1.176", "6.3.10", "6.4",
					    "6.18.44", "7.0.0",  "",       "x",      "6",       "10.1.2"};
	static const struct {
		const char *release, *version, *signature, *upstream;
	} named[] = {
		{"6.1.0-18-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)", NULL, "6.1.76"},
		{"6.1.0-9-amd64", "#1 SMP Debian 6.1.27-1 (2023-05-08)", "", "6.1.27"},
		{"6.2.0-39-generic", "#40~22.04.1-Ubuntu SMP", "Ubuntu 6.2.0-39.40~22.04.1-generic 6.2.16", "6.2.16"},
		{"6.18.44", "#1 SMP PREEMPT_DYNAMIC", NULL, "6.18.44"},
		{"5.15.0-1051-azure", "#59-Ubuntu SMP", "nonsense", "5.15.0"},
		{"6.5.0", "#1 SMP Debian nonsense", NULL, "6.5.0"},
		{"6.1.0", "Debian ", " ", "6.1.0"},
	};
	char upstream[80], small[4];

	(void)state;
	for (size_t i = 0; i < COUNT(faulty); i++)
		assert_true(probe__kernel_may_lock_up(faulty[i]));
	for (size_t i = 0; i < COUNT(sound); i++)
		assert_false(probe__kernel_may_lock_up(sound[i]));
	for (size_t i = 0; i < COUNT(named); i++) {
		probe__upstream_release(named[i].release, named[i].version, named[i].signature, upstream,
					sizeof(upstream));
		assert_string_equal(upstream, named[i].upstream);
	}
	probe__upstream_release("6.18.44", "", NULL, small, sizeof(small));
	assert_string_equal(small, "6.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pids),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_rates_widths_users),
		cmocka_unit_test(test_good_lines),
		cmocka_unit_test(test_combined_targets),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_output_names),
		cmocka_unit_test(test_cpu_lists),
		cmocka_unit_test(test_kernel_releases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
