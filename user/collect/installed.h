/* SPDX-License-Identifier: Apache-2.0 */
/* Where interpreters are installed: by the system, beside it, and by pyenv and uv in people's homes. */
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

/* As above, with the homes of root and of the user who called sudo. */
int installed__find_all(struct installed_paths *out);
void installed__free(struct installed_paths *paths);

#endif
