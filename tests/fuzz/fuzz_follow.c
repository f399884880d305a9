// SPDX-License-Identifier: Apache-2.0
/* Any bytes as x86-64 code: what is told of it lies within it, ascends and does not overlap. */
#include <stdint.h>
#include <stdlib.h>

#include "unwind/follow_x86.h"

#define START 0x1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	filler_list list = {0};
	uint64_t at = START;
	int err = follow_x86(data, size, START, &list);

	if (!err == !list.len)
		abort();
	vec__foreach(&list, f) {
		if (f->start < at || f->end <= f->start || f->end > START + size || f->rule.cfa < UNWIND_END)
			abort();
		at = f->end;
	}
	vec__free(&list);
	return 0;
}
