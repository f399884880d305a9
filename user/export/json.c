// SPDX-License-Identifier: Apache-2.0
#include "export/json.h"

#include <inttypes.h>
#include <string.h>

#include "export/text.h"

static void before_value(struct json *j)
{
	if (j->comma)
		putc(',', j->out);
	j->comma = true;
}

static void open_level(struct json *j, char c)
{
	before_value(j);
	putc(c, j->out);
	j->comma = false;
}

static void close_level(struct json *j, char c)
{
	putc(c, j->out);
	j->comma = true;
}

void json__object(struct json *j)
{
	open_level(j, '{');
}

void json__end_object(struct json *j)
{
	close_level(j, '}');
}

void json__array(struct json *j)
{
	open_level(j, '[');
}

void json__end_array(struct json *j)
{
	close_level(j, ']');
}

void json__key(struct json *j, const char *key)
{
	before_value(j);
	fprintf(j->out, "\"%s\":", key);
	j->comma = false;
}

void json__int(struct json *j, int64_t value)
{
	before_value(j);
	fprintf(j->out, "%" PRId64, value);
}

void json__uint(struct json *j, uint64_t value)
{
	before_value(j);
	fprintf(j->out, "%" PRIu64, value);
}

void json__bool(struct json *j, bool value)
{
	before_value(j);
	fputs(value ? "true" : "false", j->out);
}

void json__null(struct json *j)
{
	before_value(j);
	fputs("null", j->out);
}

void json__seconds(struct json *j, uint64_t ns)
{
	char digits[16];
	int n;

	before_value(j);
	fprintf(j->out, "%" PRIu64, ns / 1000000000);
	if (ns % 1000000000 == 0)
		return;
	n = snprintf(digits, sizeof(digits), ".%09u", (unsigned int)(ns % 1000000000));
	while (digits[n - 1] == '0')
		n--;
	fwrite(digits, 1, n, j->out);
}

static void write_escaped(FILE *out, uint32_t c)
{
	static const char short_escapes[128] = {
		['"'] = '"',  ['\\'] = '\\', ['\n'] = 'n', ['\t'] = 't',
		['\r'] = 'r', ['\b'] = 'b',  ['\f'] = 'f',
	};

	if (c & TEXT_BAD)
		fputs("\\ufffd", out);
	else if (c < 128 && short_escapes[c])
		fprintf(out, "\\%c", short_escapes[c]);
	else
		fprintf(out, "\\u%04x", c);
}

static bool needs_escape(uint32_t c)
{
	return (c & TEXT_BAD) || c < 0x20 || c == '"' || c == '\\' || c == 0x7f ||
	       (c >= 0xd800 && c <= 0xdfff) || c == 0x2028 || c == 0x2029;
}

void json__string(struct json *j, const char *bytes, size_t n)
{
	const char *at = bytes, *end = bytes + n, *from = bytes;

	before_value(j);
	putc('"', j->out);
	while (at < end) {
		const char *here = at;
		uint32_t c = text__next(&at, end);

		if (!needs_escape(c))
			continue;
		fwrite(from, 1, here - from, j->out);
		write_escaped(j->out, c);
		from = at;
	}
	fwrite(from, 1, end - from, j->out);
	putc('"', j->out);
}

void json__cstring(struct json *j, const char *cstr)
{
	json__string(j, cstr, strlen(cstr));
}
