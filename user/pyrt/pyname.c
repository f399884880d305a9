// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "pyrt/pyname.h"

#define CODE_POINT_MAX 0x10ffff
#define REPLACEMENT    0xfffd

static uint32_t character(const uint8_t *p, unsigned int kind)
{
	uint16_t two;
	uint32_t four;

	switch (kind) {
	case 1:
		return *p;
	case 2:
		memcpy(&two, p, sizeof(two));
		return two;
	default:
		memcpy(&four, p, sizeof(four));
		return four > CODE_POINT_MAX ? REPLACEMENT : four;
	}
}

static size_t ascii_prefix(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] < 0x80)
		i++;
	return i;
}

int pyname__decode(struct str *out, const void *data, size_t n, unsigned int kind)
{
	const uint8_t *p = data;
	size_t before = out->len, at;
	int err = 0;

	if ((kind != 1 && kind != 2 && kind != 4) || n % kind)
		return -EINVAL;
	/* Nearly every name is ASCII all over. */
	at = kind == 1 ? ascii_prefix(p, n) : 0;
	if (at)
		err = str__add(out, data, at);
	for (; !err && at < n; at += kind)
		err = str__add_utf8(out, character(p + at, kind));
	if (err && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return err;
}
