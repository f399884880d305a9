/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables on disk, so that a file's table is compiled once on a machine rather than once a run.
 *
 * Entries are found by what a table is made of, hashed with a key that only the owner of the folder knows: nobody can
 * make a file that gets another file's table, as by a build id one could. Of code that a table depends on (gaps.h,
 * landing_x86.h) an entry has a hash, made with the same key. The folder and what is in it must belong to the user that
 * we are and be writable by no other; what is damaged or of another version is made anew.
 *
 * Loading takes an eighth of the CPU time of compiling (measured: python3.11 0.5 ms and 3.7 ms, libLLVM 7 and 48 ms).
 */
#ifndef PYBPF_UNWIND_CACHE_H
#define PYBPF_UNWIND_CACHE_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/err.h"
#include "sys/elf.h"
#include "unwind/table.h"

#define UNWIND_CACHE_DIR "/var/cache/pybpf/unwind"
#define UNWIND_CACHE_MAX ((size_t)256 << 20) /* bytes; a table has a few hundred KB, the largest 7 MB */

struct unwind_cache;

/*
 * Opens the folder, which is made (0700, with the folders above it) where it is missing. Keeps its files below
 * max_bytes by removing those that were not used for longest. 0; -EPERM when the folder is another user's or writable
 * by others, -ENOTDIR, another -errno; *e says why. One goes on without a cache then.
 */
int unwind_cache__open(const char *dir, size_t max_bytes, struct unwind_cache **out, struct err *e);
void unwind_cache__close(struct unwind_cache *c); /* NULL is fine */

/*
 * As unwind_table__build, by way of the cache (NULL: none). Trouble with the cache is no error: the table is compiled.
 * Threads and processes may use the same folder at the same time. -ECANCELED soon after *stop becomes true (NULL: it is
 * never looked at).
 */
int unwind_cache__build(struct unwind_cache *c, struct elf *elf, const atomic_bool *stop, struct unwind_table **out,
			struct err *e);

/* Since it was opened. */
struct unwind_cache_stats {
	size_t hits, misses, bytes_written;
};
struct unwind_cache_stats unwind_cache__stats(const struct unwind_cache *c);

#endif
