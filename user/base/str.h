/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing, NUL-terminated byte string. `struct str s = {0}` is empty; s.data may be NULL while s.len is 0
 * (str__cstr never is). Adders return 0 or -ENOMEM and leave the string as it was on failure.
 */
#ifndef PYBPF_STR_H
#define PYBPF_STR_H

#include <stddef.h>
#include <stdint.h>

struct str {
	char *data;
	size_t len, cap;
};

/* Add to the end: bytes, a string, a character, what printf would write. 0, or -ENOMEM with s as it was. */
int str__add(struct str *s, const char *bytes, size_t n);
int str__adds(struct str *s, const char *cstr);
int str__addc(struct str *s, char c);
int str__addf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds code point `c` as UTF-8; lone surrogates as the three bytes that "surrogatepass" gives. */
int str__add_utf8(struct str *s, uint32_t c);
/* Makes one line of UTF-8 out of the bytes from `from` on: those that are none, and control characters, become "?". */
void str__make_plain(struct str *s, size_t from);
void str__reset(struct str *s); /* empties, keeps the memory */
void str__free(struct str *s);
const char *str__cstr(const struct str *s);

#endif
