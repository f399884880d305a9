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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_homes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
