/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/access.h"

#include <elf.h>
#include <errno.h>

#define MAX_CODE 256 /* bytes of a getter that are looked at */
#define MAX_HOPS 3   /* functions that do nothing but jump to the next */

int pyrt_access__find(struct elf *elf, uint64_t function, struct pyrt_access *out)
{
	uint8_t code[MAX_CODE];

	if (elf__info(elf)->machine != EM_X86_64)
		return -ENOENT;
	for (int hop = 0; function && hop < MAX_HOPS; hop++) {
		uint64_t next = 0;
		size_t n = sizeof(code);
		int err;

		/* the end of a segment may be nearer */
		while ((err = elf__read_address(elf, function, code, n)) == -EFAULT && n > 16)
			n /= 2;
		if (err)
			return err == -EFAULT ? -ENOENT : err;
		if (!pyrt_access__decode_x86(code, n, function, out, &next))
			return 0;
		function = next;
	}
	return -ENOENT;
}
