// SPDX-License-Identifier: Apache-2.0
/* Names of any bytes come out as well-formed UTF-8 (surrogates allowed). Input: kind, the name. */
#include "fuzz.h"

#include "pyrt/pyname.h"

/* Bytes of the character at p, 0 when it is none. */
static size_t character(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++) {
		if (i >= n || (p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int kind = size ? data[0] % 6 : 0;
	struct str out = {0};
	uint8_t *name;

	if (!size)
		return 0;
	name = fuzz__copy(data + 1, size - 1);
	str__adds(&out, "before");
	if (pyname__decode(&out, name, size - 1, kind)) {
		if (strcmp(out.data, "before"))
			abort();
	} else {
		size_t characters = 0;

		for (size_t at = 6, len; at < out.len; at += len, characters++) {
			len = character((unsigned char *)out.data + at, out.len - at);
			if (!len)
				abort();
		}
		if (characters != (size - 1) / kind)
			abort();
	}
	str__free(&out);
	free(name);
	return 0;
}
