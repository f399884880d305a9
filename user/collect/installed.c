/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/installed.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <string.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/str.h"

#define MAX_INSTALLED 256

static const char *const places[] = {
	"/usr/bin/python3*",
	"/usr/local/bin/python3*",
	"/usr/lib/*/libpython3*.so*",
	"/usr/local/lib/libpython3*.so*",
	"/opt/*/bin/python3*",
	"/opt/*/lib/libpython3*.so*",
};

static const char *const in_homes[] = {
	".pyenv/versions/*/bin/python3*",
	".pyenv/versions/*/lib/libpython3*.so*",
	".local/share/uv/python/*/bin/python3*",
	".local/share/uv/python/*/lib/libpython3*.so*",
};

static int add(const char *pattern, struct installed_paths *out)
{
	glob_t found = {0};
	int err = glob(pattern, 0, NULL, &found) == GLOB_NOSPACE ? -ENOMEM : 0;

	for (size_t i = 0; !err && i < found.gl_pathc && out->len < MAX_INSTALLED; i++) {
		char *path = strdup(found.gl_pathv[i]);

		err = path ? vec__push(out, path) : -ENOMEM;
		if (err)
			free(path);
	}
	globfree(&found);
	return err;
}

static int add_home(const char *home, struct installed_paths *out)
{
	_cleanup_(str__free) struct str pattern = {0};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(in_homes) && !err; i++) {
		str__reset(&pattern);
		err = str__addf(&pattern, "%s/%s", home, in_homes[i]);
		if (!err)
			err = add(str__cstr(&pattern), out);
	}
	return err;
}

int installed__find(const char *const *homes, size_t count, struct installed_paths *out)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(places) && !err; i++)
		err = add(places[i], out);
	for (size_t i = 0; i < count && !err; i++) {
		if (!strncmp(homes[i], "/home/", 6) || strpbrk(homes[i], "*?[\\")) /* among those below; not to be a pattern */
			continue;
		err = add_home(homes[i], out);
	}
	return err ? err : add_home("/home/*", out);
}

/* The home of a user by number, a copy; NULL: there is none. */
static char *home_of(uid_t uid)
{
	const struct passwd *user = getpwuid(uid);

	return user && user->pw_dir && user->pw_dir[0] == '/' ? strdup(user->pw_dir) : NULL;
}

int installed__find_all(struct installed_paths *out)
{
	const char *sudo = getenv("SUDO_UID"), *homes[2];
	_cleanup_free_ char *of_root = home_of(0);
	_cleanup_free_ char *of_caller = sudo ? home_of((uid_t)strtoul(sudo, NULL, 10)) : NULL;
	size_t count = 0;

	if (of_root)
		homes[count++] = of_root;
	if (of_caller && (!of_root || strcmp(of_caller, of_root) != 0))
		homes[count++] = of_caller;
	return installed__find(homes, count, out);
}

void installed__free(struct installed_paths *paths)
{
	vec__foreach(paths, path)
		free(*path);
	vec__free(paths);
}
