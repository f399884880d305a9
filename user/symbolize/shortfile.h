/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short file names: from the topmost package directory on, as a Python programmer would name a
 *file.
 *
 *	/usr/lib/python3.11/json/decoder.py  json/decoder.py  (json/ has an __init__.py, python3.11/
 *has not) /srv/app/script.py                   script.py        (in no package: the base name)
 *	/srv/app.zip/pkg/mod.py              pkg/mod.py       (app.zip is a file: what is behind it)
 *	app/mod.py, <string>                 as they are      (relative, or no file at all)
 */
#ifndef PYBPF_SHORTFILE_H
#define PYBPF_SHORTFILE_H

#include <stddef.h>

#include "base/str.h"

/* Remembers what it found out about directories, for each root. Not for several threads at once. */
struct shortfile;

/* Remembers at most about `max_dirs` directories (0: 4096). NULL when out of memory. */
struct shortfile *shortfile__new(size_t max_dirs);
void shortfile__free(struct shortfile *s);           /* NULL is fine */
size_t shortfile__memory(const struct shortfile *s); /* bytes held */

/*
 * Adds the short form of the n bytes at `path` to *out: a tail of path, never more. path is
 * co_filename in UTF-8, with surrogates as "surrogatepass" gives them (os.fsdecode's for the bytes
 * that are no UTF-8: U+DC80 - U+DCFF). root_fd: the root directory of the process that has the file
 * (open /proc/PID/root with O_PATH | O_DIRECTORY), or -1: then the answer is made from the text
 * alone. Only looks at directories, in that root, and opens nothing for reading. Roots are told
 * apart by their mount and inode, not by the descriptor. 0. 1: the directory is not there or not
 * accessible, so that the answer was made from the text alone (the base name; the part behind a
 * component that ends in .zip, .whl, .pyz or .pex). -ENOMEM.
 */
int shortfile__name(struct shortfile *s, int root_fd, const char *path, size_t n, struct str *out);

#endif
