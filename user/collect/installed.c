/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/installed.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/str.h"

#define MAX_INSTALLED 256
#define MAX_HOMES     1024
#define MAX_LINE      8192

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

/* One more home, unless it is none, or known. 0 or -ENOMEM. */
static int add_one_home(const char *home, struct installed_paths *out)
{
	char *copy;
	int err;

	if (!home || home[0] != '/' || !home[1] || out->len >= MAX_HOMES)
		return 0;
	vec__foreach(out, it) {
		if (!strcmp(*it, home))
			return 0;
	}
	copy = strdup(home);
	err = copy ? vec__push(out, copy) : -ENOMEM;
	if (err)
		free(copy);
	return err;
}

int installed__homes(const char *passwd, struct installed_paths *out)
{
	_cleanup_fclose_ FILE *in = fopen(passwd, "re");
	struct passwd user, *found;
	char line[MAX_LINE];
	int err = 0;

	while (in && !err && !fgetpwent_r(in, &user, line, sizeof(line), &found))
		err = add_one_home(user.pw_dir, out);
	return err;
}

int installed__find_all(struct installed_paths *out)
{
	const char *sudo = getenv("SUDO_UID");
	const struct passwd *caller = sudo ? getpwuid((uid_t)strtoul(sudo, NULL, 10)) : NULL;
	struct installed_paths homes = {0};
	int err = caller ? add_one_home(caller->pw_dir, &homes) : 0;

	if (!err)
		err = installed__homes("/etc/passwd", &homes);
	if (!err)
		err = installed__find((const char *const *)homes.data, homes.len, out);
	installed__free(&homes);
	return err;
}

void installed__free(struct installed_paths *paths)
{
	vec__foreach(paths, path)
		free(*path);
	vec__free(paths);
}
