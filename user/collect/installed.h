/* SPDX-License-Identifier: Apache-2.0 */
/* Where interpreters are installed: by the system, beside it, and by pyenv and uv in the homes of its users. */
#ifndef PYBPF_INSTALLED_H
#define PYBPF_INSTALLED_H

#include <stddef.h>

#include "base/vec.h"

struct installed_paths vec(char *);

/*
 * Adds the paths of files that may hold an interpreter, at most 256 in all. `homes` are looked into beside those in /home. 0 or
 * -ENOMEM; installed__free in any case.
 */
int installed__find(const char *const *homes, size_t count, struct installed_paths *out);

/*
 * Adds the homes of users, each once and at most 1024 in all: those that a file like /etc/passwd (passwd(5)) lists; that a
 * directory service lists all of them is not waited for. 0, also without such a file, or -ENOMEM; installed__free in any case.
 */
int installed__homes(const char *passwd, struct installed_paths *out);

/* As installed__find, with the homes of /etc/passwd and of the user who called sudo. */
int installed__find_all(struct installed_paths *out);
void installed__free(struct installed_paths *paths);

#endif
