// SPDX-License-Identifier: Apache-2.0
/*
 * Line tables of any bytes: nothing is read or added out of bounds, and the three look-ups agree.
 *
 *	clang -std=gnu11 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iuser -Iinclude \
 *		tests/fuzz/fuzz_linetable.c user/pyrt/linetable*.c -o build/fuzz_linetable
 *
 * Input: kind, first line (4 bytes), an offset (4 bytes), the table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pyrt/linetable.h"

#define HEAD 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct linetable_index *x, enum linetable_kind kind, const uint8_t *table,
		  size_t n, int32_t first_line, uint32_t offset)
{
	struct py_location a = {0}, b = {0}, c;
	int err = linetable__lookup(kind, table, n, first_line, offset, &a);
	int substituted = linetable_index__nearest(x, offset, &c);

	if (linetable_index__lookup(x, offset, &b) != err || memcmp(&a, &b, sizeof(a)))
		abort();
	if (err && err != -ENODATA && err != -EBADMSG)
		abort();
	if (substituted != (err || a.line <= 0))
		abort();
	if (substituted ? c.line < 0 || c.end_line || c.column || c.end_column
			: !!memcmp(&a, &c, sizeof(a)))
		abort();
	if (!err && (a.column < 0 || a.end_column < 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct linetable_index *x;
	enum linetable_kind kind;
	int32_t first_line;
	uint32_t offset;
	uint8_t *table;

	if (size < HEAD)
		return 0;
	kind = data[0] % 3;
	memcpy(&first_line, data + 1, sizeof(first_line));
	memcpy(&offset, data + 5, sizeof(offset));
	size -= HEAD;
	/* of exactly that size, which a part of data is not */
	table = malloc(size ? size : 1);
	if (!table)
		return 0;
	memcpy(table, data + HEAD, size);
	if (linetable_index__new(kind, table, size, first_line, &x) == 0) {
		check(x, kind, table, size, first_line, offset);
		for (uint32_t at = 0; at < 4 * size + 4 && at < 1000; at++)
			check(x, kind, table, size, first_line, at);
		linetable_index__free(x);
	}
	free(table);
	return 0;
}
