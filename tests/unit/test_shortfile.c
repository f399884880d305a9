// SPDX-License-Identifier: Apache-2.0
/* Short names and look-ups below a root, in a small tree of files made for each test. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "symbolize/shortfile.h"
#include "sys/inroot.h"

/* base/root is the root, base/outside is what nobody may reach. */
struct place {
	char base[64];
	int root, outside;
	struct shortfile *names;
};

static void make_dirs(int at, const char *path)
{
	char part[PATH_MAX];

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		assert_true(!mkdirat(at, part, 0755) || errno == EEXIST);
	}
}

static void make_file(int at, const char *path)
{
	int fd;

	make_dirs(at, path);
	fd = openat(at, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static void make_link(int at, const char *target, const char *path)
{
	make_dirs(at, path);
	assert_int_equal(symlinkat(target, at, path), 0);
}

static int open_below(const struct place *p, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", p->base, name);
	assert_int_equal(mkdir(path, 0755), 0);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	static const char *const files[] = {
		"usr/lib/python3.11/json/__init__.py",
		"usr/lib/python3.11/json/decoder.py",
		"srv/a/b/c/__init__.py",
		"srv/a/b/__init__.py",
		"srv/a/x/y/__init__.py",
		"srv/script.py",
		"srv/app.zip",
		"srv/lib.egg/pkg/__init__.py",
		"srv/a/b/plain/mod.py",
		"srv/na\xefve/pkg/__init__.py",
	};
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->base, "/tmp/test_shortfile.XXXXXX");
	assert_non_null(mkdtemp(p->base));
	p->root = open_below(p, "root");
	p->outside = open_below(p, "outside");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		make_file(p->root, files[i]);
	make_file(p->outside, "pkg/__init__.py");
	p->names = shortfile__new(0);
	assert_non_null(p->names);
	*state = p;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct place *p = *state;

	shortfile__free(p->names);
	close(p->root);
	close(p->outside);
	nftw(p->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

static void check_at(struct place *p, int root, const char *path, const char *want, int want_status)
{
	/* the second answer comes out of the cache */
	for (int i = 0; i < 2; i++) {
		struct str s = {0};

		assert_int_equal(shortfile__name(p->names, root, path, strlen(path), &s),
				 want_status);
		assert_string_equal(str__cstr(&s), want);
		str__free(&s);
	}
}

static void check(struct place *p, const char *path, const char *want)
{
	check_at(p, p->root, path, want, 0);
}

static void test_packages(void **state)
{
	struct place *p = *state;

	check(p, "/usr/lib/python3.11/json/decoder.py", "json/decoder.py");
	check(p, "/usr/lib/python3.11/json/__init__.py", "json/__init__.py");
	check(p, "/usr/lib/python3.11/os.py", "os.py");
	check(p, "/srv/a/b/c/d.py", "b/c/d.py");
	check(p, "/srv/a/b/mod.py", "b/mod.py");
	check(p, "/srv/a/x/y/mod.py", "y/mod.py");
	check(p, "/srv/a/b/plain/mod.py", "mod.py");
	check(p, "/srv/script.py", "script.py");
	check(p, "/script.py", "script.py");
	check(p, "/srv/lib.egg/pkg/mod.py", "pkg/mod.py");
	make_file(p->root, "__init__.py");
	make_file(p->root, "top/__init__.py");
	check(p, "/top/mod.py", "top/mod.py");
}

static void test_odd_paths(void **state)
{
	struct place *p = *state;

	check(p, "//usr/lib//python3.11///json//decoder.py", "json//decoder.py");
	check(p, "/srv/./a/b/../b/c/d.py", "b/c/d.py");
	check(p, "/srv/a/b/c/../d.py", "d.py"); /* sys.path was /srv/a/b/c/.. */
	check(p, "/srv/a/b/c/./d.py", "d.py");
	check(p, "/srv/na\xed\xb3\xafve/pkg/mod.py", "pkg/mod.py"); /* os.fsdecode(b"na\xefve") */
	check(p, "/srv/a/b/c/", "/srv/a/b/c/");
	check(p, "/", "/");
	check(p, "", "");
}

static void test_no_path(void **state)
{
	static const char *const same[] = {
		"<string>",
		"<frozen importlib._bootstrap>",
		"<attrs generated init a/b.C>",
		"<stdin>",
		"script.py",
		"app/mod.py",
		"./mod.py",
		"../mod.py",
		"app.zip/pkg/mod.py",
		".",
		"..",
	};

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		check(*state, same[i], same[i]);
		check_at(*state, -1, same[i], same[i], 0);
	}
}

static void test_archives(void **state)
{
	struct place *p = *state;

	check(p, "/srv/app.zip/pkg/sub/mod.py", "pkg/sub/mod.py");
	check(p, "/srv/app.zip//pkg/mod.py", "pkg/mod.py");
	check(p, "/srv/app.zip/__main__.py", "__main__.py");
	check(p, "/srv/script.py/pkg/mod.py", "pkg/mod.py"); /* whatever it is called */
	check_at(p, p->root, "/gone/app.pyz/pkg/mod.py", "pkg/mod.py", 1);
	check_at(p, p->root, "/gone/lib.egg/pkg/mod.py", "mod.py", 1);
	check_at(p, -1, "/x/a.whl/pkg/mod.py", "pkg/mod.py", 1);
	check_at(p, -1, "/x/.zip/pkg/mod.py", "mod.py", 1);
}

static void test_nothing_there(void **state)
{
	struct place *p = *state;
	struct str s = {0};
	char *path;

	check_at(p, p->root, "/no/such/dir/mod.py", "mod.py", 1);
	check_at(p, -1, "/usr/lib/python3.11/json/decoder.py", "decoder.py", 1);
	check_at(p, 9999, "/usr/lib/python3.11/json/decoder.py", "decoder.py", 1);
	assert_int_equal(shortfile__name(p->names, p->root, "/srv/a\0/b.py", 12, &s), 1);
	assert_int_equal(s.len, 4);
	str__free(&s);
	path = malloc(100001);
	assert_non_null(path);
	for (size_t n = 300; n <= 100000; n = n * 3 + 1) {
		memset(path, 'x', n);
		path[0] = '/';
		strcpy(path + n - 5, "/a.py");
		check_at(p, p->root, path, "a.py", 1);
		for (size_t i = 0; i < n - 5; i += 2)
			path[i] = '/';
		check_at(p, p->root, path, "a.py", 1);
	}
	free(path);
}

static void test_never_out_of_the_root(void **state)
{
	struct place *p = *state;
	char outside[128];

	snprintf(outside, sizeof(outside), "%s/outside", p->base);
	make_link(p->root, outside, "absolute");
	make_link(p->root, "../outside", "relative");
	make_link(p->root, "../../../../../../../../../../", "up");
	make_link(p->root, "/proc/self/root", "magic");
	check_at(p, p->root, "/absolute/pkg/mod.py", "mod.py", 1);
	check_at(p, p->root, "/relative/pkg/mod.py", "mod.py", 1);
	check_at(p, p->root, "/../outside/pkg/mod.py", "mod.py", 1);
	check_at(p, p->root, "/magic/usr/lib/python3.11/json/decoder.py", "decoder.py", 1);
	/* but up there is the root itself, and what lies below it is found */
	check(p, "/up/usr/lib/python3.11/json/decoder.py", "json/decoder.py");
	make_link(p->root, "/srv/a/b", "inside");
	check(p, "/inside/c/mod.py", "inside/c/mod.py");
	/* the same places are packages where one may look */
	check_at(p, p->outside, "/pkg/mod.py", "pkg/mod.py", 0);
}

static void test_odd_files(void **state)
{
	struct place *p = *state;

	make_dirs(p->root, "f/pkg/x");
	assert_int_equal(mkfifoat(p->root, "f/pkg/__init__.py", 0600), 0);
	assert_int_equal(mkfifoat(p->root, "f/fifo", 0600), 0);
	check(p, "/f/pkg/mod.py", "mod.py");
	check_at(p, p->root, "/f/fifo/pkg/mod.py", "mod.py", 1);
	make_dirs(p->root, "g/__init__.py/x");
	check(p, "/g/mod.py", "mod.py");
	make_link(p->root, "/nowhere", "h/__init__.py");
	check(p, "/h/mod.py", "h/mod.py");
	make_link(p->root, "loop", "loop");
	check_at(p, p->root, "/loop/mod.py", "mod.py", 1);
}

static void test_cache(void **state)
{
	struct place *p = *state;
	struct shortfile *small = shortfile__new(16);
	size_t most;
	char path[64];

	check(p, "/srv/a/b/c/d.py", "b/c/d.py");
	assert_int_equal(unlinkat(p->root, "srv/a/b/__init__.py", 0), 0);
	check(p, "/srv/a/b/c/e.py", "b/c/e.py"); /* remembered */
	shortfile__free(p->names);
	p->names = shortfile__new(0);
	check(p, "/srv/a/b/c/d.py", "c/d.py"); /* looked at */

	assert_non_null(small);
	most = shortfile__memory(small) + 16 * 128;
	for (int i = 0; i < 2000; i++) {
		struct str s = {0};

		snprintf(path, sizeof(path), "/srv/a/x/y%s/%d/mod.py", i & 1 ? "" : "z", i);
		assert_int_equal(shortfile__name(small, p->root, path, strlen(path), &s), 1);
		assert_string_equal(str__cstr(&s), "mod.py");
		assert_true(shortfile__memory(small) <= most);
		str__free(&s);
	}
	shortfile__free(small);
	shortfile__free(NULL);
}

/* The same inode as root, but other mounts below: 0, or 77 where that may not be tried. */
static int in_other_namespace(struct place *p)
{
	struct str s = {0};
	char path[128], dir[128];
	int root, same;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 77;
	snprintf(dir, sizeof(dir), "%s/root/srv", p->base);
	if (mount("none", dir, "tmpfs", 0, NULL))
		return 77;
	snprintf(path, sizeof(path), "%s/root/srv/a/b/c/mod.py", p->base);
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	same = shortfile__name(p->names, root, path, strlen(path), &s) == 1 &&
	       !strcmp(str__cstr(&s), "mod.py");
	str__free(&s);
	close(root);
	return !same;
}

static void test_mount_namespaces(void **state)
{
	struct place *p = *state;
	char path[128];
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), status;
	pid_t child;

	snprintf(path, sizeof(path), "%s/root/srv/a/b/c/mod.py", p->base);
	check_at(p, root, path, "b/c/mod.py", 0);
	close(root);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(in_other_namespace(p));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The stepwise walk gives what the kernel's own gives. */
static void test_stepwise(void **state)
{
	static const char *const paths[] = {
		"/",
		"",
		".",
		"..",
		"/..",
		"//",
		"srv",
		"/srv/",
		"/srv/../usr/./lib",
		"/srv/script.py",
		"/none",
		"/srv/script.py/x",
		"/srv/script.py/..",
		"/up",
		"/up/srv",
		"/relative",
		"/rel2/c",
		"/abs/c/__init__.py",
		"/abs/../x",
		"/abs/../../../srv/a",
		"/loop",
		"/loop/x",
		"/chain20",
		"/chain20/b",
		"/dangling",
		"/magic/srv",
		"/srv/a/b/c/../../x/y/__init__.py",
		"/self/self/self/srv/a",
		"/srv/a/deep/python3.11",
		"/srv/a/deep/..",
	};
	struct place *p = *state;
	char name[300], target[300];

	make_link(p->root, "../../../../../../../../", "up");
	make_link(p->root, "../outside", "relative");
	make_link(p->root, "./srv//a/../a/b", "rel2");
	make_link(p->root, "/srv/a/b", "abs");
	make_link(p->root, "loop", "loop");
	make_link(p->root, "nowhere", "dangling");
	make_link(p->root, ".", "self");
	make_link(p->root, "/usr/lib", "srv/a/deep");
	make_link(p->root, "/srv/a", "chain0");
	make_link(p->root, "/proc/self/root", "magic");
	for (int i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "chain%d", i);
		snprintf(target, sizeof(target), "/chain%d", i - 1);
		make_link(p->root, target, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int a = inroot__open(p->root, paths[i]),
		    b = inroot__open_stepwise(p->root, paths[i]);
		struct stat sa, sb;

		if (a < 0 || b < 0) {
			if (a != b)
				fail_msg("%s: %d and %d", paths[i], a, b);
			continue;
		}
		assert_int_equal(fstat(a, &sa), 0);
		assert_int_equal(fstat(b, &sb), 0);
		assert_int_equal(sa.st_ino, sb.st_ino);
		assert_int_equal(sa.st_dev, sb.st_dev);
		close(a);
		close(b);
	}
	memset(name, 'n', 299);
	name[299] = '\0';
	assert_int_equal(inroot__open_stepwise(p->root, name), -ENAMETOOLONG);
	assert_int_equal(inroot__open(p->root, name), -ENAMETOOLONG);
	assert_int_equal(inroot__open_stepwise(-1, "/srv"), -EBADF);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_packages),  TEST(test_odd_paths),     TEST(test_no_path),
		TEST(test_archives),  TEST(test_nothing_there), TEST(test_never_out_of_the_root),
		TEST(test_odd_files), TEST(test_cache),         TEST(test_mount_namespaces),
		TEST(test_stepwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
