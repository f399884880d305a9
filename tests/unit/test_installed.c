// SPDX-License-Identifier: Apache-2.0
/* Interpreters that are installed: also in homes that are elsewhere than in /home. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "collect/installed.h"

static const char *const made[] = {
	"",
	"/.pyenv",
	"/.pyenv/versions",
	"/.pyenv/versions/3.12.1",
	"/.pyenv/versions/3.12.1/bin",
	"/.pyenv/versions/3.12.1/bin/python3.12",
};

static void path_of(const char *home, size_t i, char out[256])
{
	snprintf(out, 256, "%s%s", home, made[i]);
}

static bool has(struct installed_paths *paths, const char *path)
{
	vec__foreach(paths, it) {
		if (!strcmp(*it, path))
			return true;
	}
	return false;
}

static void test_homes(void **state)
{
	char folder[] = "/tmp/pybpf-installed-XXXXXX", path[256], home[64], odd[64];
	const char *const homes[] = {home, odd, "/nowhere"};
	struct installed_paths paths = {0};

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(home, sizeof(home), "%s/root", folder);
	snprintf(odd, sizeof(odd), "%s/*", folder);
	for (size_t i = 0; i < ARRAY_SIZE(made) - 1; i++) {
		path_of(home, i, path);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	path_of(home, ARRAY_SIZE(made) - 1, path);
	assert_int_equal(symlink("/usr/bin/python3", path), 0);

	assert_int_equal(installed__find(homes, 1, &paths), 0);
	assert_true(has(&paths, path));
	installed__free(&paths);
	assert_int_equal(installed__find(homes + 1, 2, &paths), 0); /* a name is no pattern */
	assert_false(has(&paths, path));
	installed__free(&paths);

	for (size_t i = ARRAY_SIZE(made); i--;) {
		path_of(home, i, path);
		assert_int_equal(remove(path), 0);
	}
	assert_int_equal(rmdir(folder), 0);
}

/* Every user's home counts, not root's alone: once, in the order of the file, and only what can be one. */
static void test_users(void **state)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/bash\n"
				   "daemon:x:1:1::/:/bin/false\n"
				   "ci:x:990:990:,,,:/var/lib/ci:/bin/sh\n"
				   "# nobody\n"
				   "ci2:x:991:990::/var/lib/ci:/bin/sh\n"
				   "none:x:992:990:::/bin/sh\n"
				   "cut short:x\n"
				   "relative:x:993:990::srv:/bin/sh\n"
				   "data:x:994:990::/srv/data:/bin/sh";
	static const char *const want[] = {"/root", "/var/lib/ci", "/srv/data"};
	char path[] = "/tmp/pybpf-passwd-XXXXXX";
	struct installed_paths homes = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(installed__homes(path, &homes), 0);
	assert_int_equal(homes.len, ARRAY_SIZE(want));
	for (size_t i = 0; i < homes.len; i++)
		assert_string_equal(homes.data[i], want[i]);
	unlink(path);
	assert_int_equal(installed__homes(path, &homes), 0);
	assert_int_equal(homes.len, ARRAY_SIZE(want));
	installed__free(&homes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_homes),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
