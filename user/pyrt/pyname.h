/* SPDX-License-Identifier: Apache-2.0 */
/* Names as CPython stores them (PEP 393: 1, 2 or 4 bytes a character), to UTF-8. */
#ifndef PYBPF_PYNAME_H
#define PYBPF_PYNAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * Adds the name made of `n` bytes at `data` to *out. kind: 1 is ASCII or Latin-1, 2 UCS-2, 4 UCS-4
 * (a legacy string's wchar_t array is the same), in this machine's byte order; data need not be
 * aligned. Lone surrogates come out as "surrogatepass" encodes them, what is above U+10FFFF as
 * U+FFFD, NUL as it is. 0; -EINVAL for another kind or an n that is no multiple of it; -ENOMEM.
 * *out is as it was on failure.
 */
int pyname__decode(struct str *out, const void *data, size_t n, unsigned int kind);

#endif
