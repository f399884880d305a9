// SPDX-License-Identifier: Apache-2.0
#include "export/text.h"

/* Bytes of the sequence that begins with `first`, and the least code point that may take so many.
 */
static unsigned int sequence_length(unsigned char first, uint32_t *least)
{
	if (first < 0x80) {
		*least = 0;
		return 1;
	}
	if (first >= 0xc2 && first < 0xe0) {
		*least = 0x80;
		return 2;
	}
	if (first >= 0xe0 && first < 0xf0) {
		*least = 0x800;
		return 3;
	}
	if (first >= 0xf0 && first < 0xf5) {
		*least = 0x10000;
		return 4;
	}
	return 0;
}

uint32_t text__next(const char **at, const char *end)
{
	const unsigned char *p = (const unsigned char *)*at;
	uint32_t least, c;
	unsigned int n = sequence_length(p[0], &least);

	if (n == 1) {
		*at += 1;
		return p[0];
	}
	if (n == 0 || (size_t)(end - *at) < n)
		goto bad;
	c = p[0] & (0x7f >> n);
	for (unsigned int i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			goto bad;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least || c > 0x10ffff)
		goto bad;
	*at += n;
	return c;
bad:
	*at += 1;
	return TEXT_BAD | p[0];
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* What would hide or reorder its neighbours, break the line, or is no character at all. */
static bool is_unseen(uint32_t c)
{
	return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || (c >= 0xd800 && c <= 0xdfff) || c == 0xfeff ||
	       (c & 0xfffe) == 0xfffe;
}

int text__visible(struct str *out, const char *bytes, size_t n)
{
	const char *at = bytes, *end = bytes + n;
	size_t before = out->len;
	int err = 0;

	while (!err && at < end) {
		const char *from = at;
		uint32_t c = text__next(&at, end);

		if (c & TEXT_BAD)
			err = str__addf(out, "\\x%02x", c & 0xff);
		else if (c == '\n')
			err = str__adds(out, "\\n");
		else if (c == '\t')
			err = str__adds(out, "\\t");
		else if (is_control(c))
			err = str__addf(out, "\\x%02x", c);
		else if (is_unseen(c))
			err = str__addf(out, "\\u%04x", c);
		else
			err = str__add(out, from, at - from);
	}
	if (err) {
		out->len = before;
		if (out->data)
			out->data[before] = 0;
	}
	return err;
}

/* The blocks of East Asian wide characters and of emoji, roughly: too wide is better than too
 * narrow. */
static unsigned int width_of(uint32_t c)
{
	bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
		    (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
		    (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) || c >= 0x1f000;

	return wide ? 2 : 1;
}

size_t text__columns(const char *bytes, size_t n)
{
	const char *at = bytes, *end = bytes + n;
	size_t columns = 0;

	while (at < end)
		columns += width_of(text__next(&at, end));
	return columns;
}

int text__fit(struct str *out, const char *bytes, size_t n, size_t columns)
{
	const char *at = bytes, *end = bytes + n;
	size_t used = 0, keep = 0, before = out->len;
	int err;

	while (at < end) {
		used += width_of(text__next(&at, end));
		if (used + 2 <= columns)
			keep = at - bytes;
		if (used > columns)
			break;
	}
	if (used <= columns)
		return str__add(out, bytes, n);
	if (!keep)
		return 0;
	err = str__add(out, bytes, keep);
	if (!err)
		err = str__adds(out, "..");
	if (err && out->data) {
		out->len = before;
		out->data[before] = 0;
	}
	return err;
}

void text__write_xml(FILE *out, const char *bytes, size_t n)
{
	static const char *const entities[256] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;",
	};
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		const char *entity = entities[(unsigned char)bytes[i]];

		if (!entity)
			continue;
		fwrite(bytes + from, 1, i - from, out);
		fputs(entity, out);
		from = i + 1;
	}
	fwrite(bytes + from, 1, n - from, out);
}
