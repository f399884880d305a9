/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names as bytes: reading UTF-8 that may be broken, and writing names where a format has rules of
 * its own. Names in a profile are UTF-8 with surrogates as "surrogatepass" gives them, but a cut
 * `comm` or a file name of any bytes is found there, too.
 */
#ifndef PYBPF_TEXT_H
#define PYBPF_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

#define TEXT_BAD 0x80000000u /* set: not UTF-8, the low 8 bits are the byte */

/* The code point at *at (below end), surrogates included, and *at moves behind it; or TEXT_BAD |
 * byte. */
uint32_t text__next(const char **at, const char *end);

/* Adds the n bytes as text in which nothing is hidden: controls, line breaks, changes of direction,
 * surrogates and broken bytes become \n, \t, \xHH or \uHHHH. What is added is valid UTF-8. 0 or
 * -ENOMEM. */
int text__visible(struct str *out, const char *bytes, size_t n);

/* Columns that valid UTF-8 takes in a font of fixed width: wide characters count as two. */
size_t text__columns(const char *bytes, size_t n);

/* Adds the text when it has at most `columns` columns, else its beginning and "..", or nothing when
 * there is room for less than one character and "..". The bytes are valid UTF-8. 0 or -ENOMEM. */
int text__fit(struct str *out, const char *bytes, size_t n, size_t columns);

/* Writes valid UTF-8 as XML character data, good for attribute values as well. */
void text__write_xml(FILE *out, const char *bytes, size_t n);

#endif
