// SPDX-License-Identifier: Apache-2.0
/* Names from text that others write: perf maps of JIT compilers, and kallsyms. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "symbolize/kallsyms.h"
#include "symbolize/perfmap.h"

#define PID 41

/* A root directory with an empty /tmp. */
struct root {
	char path[64], map[96];
	int fd;
	struct jitbudget budget;
	uint64_t now;
};

static int set_up(void **state)
{
	struct root *r = calloc(1, sizeof(*r));
	char tmp[80];

	r->budget = jitbudget__whole(1 << 30);
	strcpy(r->path, "/tmp/pybpf-jitnames-XXXXXX");
	if (!mkdtemp(r->path))
		return -1;
	snprintf(tmp, sizeof(tmp), "%s/tmp", r->path);
	snprintf(r->map, sizeof(r->map), "%s/tmp/perf-%d.map", r->path, PID);
	if (mkdir(tmp, 0700))
		return -1;
	r->fd = open(r->path, O_PATH | O_DIRECTORY);
	*state = r;
	return r->fd < 0;
}

static int tear_down(void **state)
{
	struct root *r = *state;
	char tmp[80];

	unlink(r->map);
	snprintf(tmp, sizeof(tmp), "%s/tmp/outside", r->path);
	unlink(tmp);
	snprintf(tmp, sizeof(tmp), "%s/tmp", r->path);
	rmdir(tmp);
	rmdir(r->path);
	close(r->fd);
	free(r);
	return 0;
}

static void append(const char *path, const char *text)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* An hour later than the last time: what has come may have been looked at. */
static void expect(struct root *r, struct perfmap *m, uint64_t addr, const char *want)
{
	const char *name = "untouched";
	int err = perfmap__find(m, addr, r->now += 3600000000000, &name);

	assert_int_equal(err, want ? 0 : -ENOENT);
	assert_string_equal(name, want ? want : "untouched");
}

static void test_finds_and_grows(void **state)
{
	struct root *r = *state;
	struct perfmap *m = perfmap__new(r->fd, PID, geteuid(), 0, &r->budget);

	expect(r, m, 0x1000, NULL); /* there is no file yet */
	append(r->map, "1000 10 py::f:/a b.py\n0x2000 0x20 second\nnonsense\n3000 0 empty\n4000 ffffffffffffffff wraps\n5000 10");
	expect(r, m, 0x0fff, NULL);
	expect(r, m, 0x1000, "py::f:/a b.py");
	expect(r, m, 0x100f, "py::f:/a b.py");
	expect(r, m, 0x1010, NULL);
	expect(r, m, 0x201f, "second");
	expect(r, m, 0x3000, NULL);
	expect(r, m, 0x4000, NULL);
	expect(r, m, 0x5000, NULL);
	append(r->map, " half\n");
	expect(r, m, 0x5000, "half");
	append(r->map, "1008 10 later\n");
	expect(r, m, 0x1007, "py::f:/a b.py");
	expect(r, m, 0x1008, "later");
	append(r->map, "1000 100 whole\n6000 4 bad\xff\tname\n");
	expect(r, m, 0x1008, "whole");
	expect(r, m, 0x10ff, "whole");
	expect(r, m, 0x6000, "bad??name");
	perfmap__free(m);
}

/* A process that had the pid before has left its map. */
static void test_stale(void **state)
{
	const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct root *r = *state;
	struct perfmap *m = perfmap__new(r->fd, PID, geteuid(), 2000, &r->budget);

	append(r->map, "1000 10 before\n");
	assert_int_equal(utimensat(AT_FDCWD, r->map, then, 0), 0);
	expect(r, m, 0x1000, NULL);
	unlink(r->map); /* our process begins to write */
	append(r->map, "1000 10 now\n");
	expect(r, m, 0x1000, "now");
	perfmap__free(m);
	m = perfmap__new(r->fd, PID, geteuid(), 1000, &r->budget);
	assert_int_equal(utimensat(AT_FDCWD, r->map, then, 0), 0);
	expect(r, m, 0x1000, "now");
	perfmap__free(m);
}

static void test_outer_outlives_inner(void **state)
{
	struct root *r = *state;
	struct perfmap *m = perfmap__new(r->fd, PID, geteuid(), 0, &r->budget);

	append(r->map, "50 96 first\n3c a second\n0 64 third\n");
	expect(r, m, 0x3d, "third");
	expect(r, m, 0x64, "first");
	expect(r, m, 0xe5, "first");
	expect(r, m, 0xe6, NULL);
	perfmap__free(m);
}

static void test_believes_only_the_owner(void **state)
{
	struct root *r = *state;
	struct perfmap *m;
	char outside[96];

	append(r->map, "1000 10 f\n");
	if (geteuid() == 0) {
		assert_int_equal(chown(r->map, 12345, 12345), 0);
		m = perfmap__new(r->fd, PID, 54321, 0, &r->budget);
		expect(r, m, 0x1000, NULL);
		perfmap__free(m);
		m = perfmap__new(r->fd, PID, 12345, 0, &r->budget);
		expect(r, m, 0x1000, "f");
		perfmap__free(m);
	}
	snprintf(outside, sizeof(outside), "%s/tmp/outside", r->path);
	assert_int_equal(rename(r->map, outside), 0);
	assert_int_equal(symlink("outside", r->map), 0);
	m = perfmap__new(r->fd, PID, 12345, 0, &r->budget);
	expect(r, m, 0x1000, NULL);
	perfmap__free(m);
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(mkfifo(r->map, 0600), 0);
	m = perfmap__new(r->fd, PID, geteuid(), 0, &r->budget);
	expect(r, m, 0x1000, NULL); /* and does not wait for a writer */
	perfmap__free(m);
}

static void expect_kernel(struct kallsyms *k, uint64_t addr, bool is_return, const char *want, const char *want_module)
{
	const char *name = "untouched", *module = "untouched";

	assert_int_equal(kallsyms__find(k, addr, is_return, &name, &module), want ? 0 : -ENOENT);
	assert_string_equal(name, want ? want : "untouched");
	assert_string_equal(module, want_module ? want_module : "untouched");
}

static void test_kallsyms(void **state)
{
	struct root *r = *state;
	struct kallsyms *k = kallsyms__new(r->map);

	append(r->map, "ffffffff81000000 t local\nffffffff81000000 T global\nffffffff81000100 T next\n"
		       "ffffffff81000180 D data\nnonsense\nffffffffc0000000 t in_module\t[ext4]\n"
		       "ffffffffc0001000 t bpf_prog_0123_on_tick\t[bpf]\n");
	expect_kernel(k, 0xffffffff80ffffff, false, NULL, NULL);
	expect_kernel(k, 0xffffffff81000000, false, "global", "");
	expect_kernel(k, 0xffffffff81000100, false, "next", "");
	expect_kernel(k, 0xffffffff81000100, true, "global", "");
	expect_kernel(k, 0xffffffffc0000010, false, "in_module", "ext4");
	expect_kernel(k, 0xffffffffc0001010, false, "bpf_prog_0123_on_tick", "bpf");
	expect_kernel(k, 0xffffffff90000000, false, NULL, NULL); /* far behind the last one before it */
	expect_kernel(k, 0, true, NULL, NULL);
	append(r->map, "ffffffffc0002000 t late\t[bpf]\n");
	expect_kernel(k, 0xffffffffc0002010, false, "bpf_prog_0123_on_tick", "bpf");
	assert_int_equal(kallsyms__load(k, true, NULL), 0);
	expect_kernel(k, 0xffffffffc0002010, false, "late", "bpf");
	kallsyms__free(k);
}

static void test_hidden_addresses(void **state)
{
	struct root *r = *state;
	struct kallsyms *k = kallsyms__new(r->map);
	struct err e = {0};
	int err;

	append(r->map, "0000000000000000 T _stext\n0000000000000000 t other\t[ext4]\n");
	err = kallsyms__load(k, false, &e);
	assert_int_equal(err, -EPERM);
	assert_non_null(strstr(e.text, "kptr_restrict"));
	expect_kernel(k, 0xffffffff81000000, false, NULL, NULL);
	kallsyms__free(k);
}

/* The running kernel's own. */
static void test_this_kernel(void **state)
{
	struct kallsyms *k = kallsyms__new(NULL);
	struct err e = {0};
	size_t checked = 0;
	char line[1024];
	FILE *f;

	(void)state;
	if (kallsyms__load(k, false, &e)) {
		kallsyms__free(k);
		skip();
	}
	f = fopen("/proc/kallsyms", "r");
	while (f && fgets(line, sizeof(line), f)) {
		char symbol[600] = "";
		const char *name, *module;
		unsigned long long addr;
		char type;

		if (sscanf(line, "%llx %c %599s", &addr, &type, symbol) != 3 || type != 'T' || strchr(line, '['))
			continue;
		assert_int_equal(kallsyms__find(k, addr, false, &name, &module), 0);
		assert_string_equal(module, "");
		checked += !strcmp(name, symbol); /* others are aliases */
	}
	fclose(f);
	assert_true(checked > 1000);
	assert_true(kallsyms__memory(k) < 32u << 20);
	kallsyms__free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finds_and_grows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_outer_outlives_inner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_believes_only_the_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kallsyms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hidden_addresses, set_up, tear_down),
		cmocka_unit_test(test_this_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
