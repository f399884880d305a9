/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tells the tables of unwind/cache.h apart: hashes, by a secret key, of all that a table is made of. Nobody who
 * does not know the key can make a file that gets another file's table.
 */
#ifndef PYBPF_CACHE_HASH_H
#define PYBPF_CACHE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unwind/source.h"

#define CACHE_NAME_MAX 32 /* with its NUL */

/*
 * An entry's name: of version and all that the table is made of but code, of which it is only known once the table has
 * been made. s is one that unwind_source__open has read.
 */
void cache_hash__name(const uint64_t key[2], uint32_t version, const struct unwind_source *s,
		      char name[CACHE_NAME_MAX]);

/* Sorts ranges, and makes one of those that overlap: one read several times is hashed once. */
void cache_hash__sort(code_ranges *ranges);

/*
 * Of the bytes in n ranges of link-time addresses. False, and *out untouched, when the file does not have them, or
 * *stop becomes true (NULL: it is never looked at).
 */
bool cache_hash__code(const uint64_t key[2], struct elf *elf, const struct code_range *ranges, size_t n,
		      const atomic_bool *stop, uint64_t *out);

#endif
