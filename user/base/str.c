// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

static int str__room(struct str *s, size_t more)
{
	if (more > SIZE_MAX - s->len - 1)
		return -ENOMEM;
	return vec__grow((void **)&s->data, &s->cap, s->len + more + 1, 1);
}

int str__add(struct str *s, const char *bytes, size_t n)
{
	int err = str__room(s, n);

	if (err)
		return err;
	if (n)
		memcpy(s->data + s->len, bytes, n);
	s->len += n;
	s->data[s->len] = '\0';
	return 0;
}

int str__adds(struct str *s, const char *cstr)
{
	return str__add(s, cstr, strlen(cstr));
}

int str__addc(struct str *s, char c)
{
	return str__add(s, &c, 1);
}

int str__addf(struct str *s, const char *format, ...)
{
	va_list args;
	int n, err;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0)
		return -EINVAL;
	err = str__room(s, n);
	if (err)
		return err;
	va_start(args, format);
	vsnprintf(s->data + s->len, (size_t)n + 1, format, args);
	va_end(args);
	s->len += n;
	return 0;
}

int str__add_utf8(struct str *s, uint32_t c)
{
	char out[4];
	size_t n;

	if (c < 0x80) {
		out[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else if (c < 0x110000) {
		out[0] = (char)(0xf0 | c >> 18);
		out[1] = (char)(0x80 | (c >> 12 & 0x3f));
		out[2] = (char)(0x80 | (c >> 6 & 0x3f));
		out[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	} else {
		return str__add_utf8(s, 0xfffd);
	}
	return str__add(s, out, n);
}

/* How many bytes of p are one well-formed character (Unicode 15.0, table 3-7), 0 when they are none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf) {
		if (p[i] < low || p[i] > high)
			return 0;
	}
	return len;
}

void str__make_plain(struct str *s, size_t from)
{
	for (size_t i = from, len; i < s->len; i += len) {
		len = utf8_length((unsigned char *)s->data + i, s->len - i);
		if (!len || (unsigned char)s->data[i] < 0x20 || s->data[i] == 0x7f) {
			s->data[i] = '?';
			len = 1;
		}
	}
}

void str__reset(struct str *s)
{
	s->len = 0;
	if (s->data)
		s->data[0] = '\0';
}

void str__free(struct str *s)
{
	free(s->data);
	*s = (struct str){0};
}

const char *str__cstr(const struct str *s)
{
	return s->data ? s->data : "";
}
