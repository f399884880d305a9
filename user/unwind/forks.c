// SPDX-License-Identifier: Apache-2.0
#include "unwind/forks.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>

#include "unwind/insn_x86.h"

#define LONGEST 32 /* bytes without an entry; glibc's are 10 */
#define ALIGNED 16 /* what compilers align functions to: an entry that begins there is another function's */

/* Tests, jumps and returns. */
static bool moves_no_stack(const struct insn_x86 *i)
{
	if (i->map == 1)
		return (i->op & 0xf0) == 0x80;
	return !i->map && (i->op == 0x84 || i->op == 0x85 || (i->op & 0xf0) == 0x70 || i->op == 0xeb || i->op == 0xc3);
}

/* A system call, and then nothing that moves the stack pointer. */
static bool is_fork(const uint8_t *code, size_t n)
{
	struct insn_x86 i;

	if (n < 2 || code[0] != 0x0f || code[1] != 0x05)
		return false;
	for (size_t at = 2; at < n; at += i.length)
		if (!insn_x86__read(code + at, n - at, &i) || !moves_no_stack(&i))
			return false;
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct filler *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

int forks__find(struct elf *elf, const struct cfi *cfi, filler_list *out, code_ranges *code)
{
	static const struct unwind_rule rule = {.cfa = UNWIND_SP, .cfa_off = 8, .ra_off = -8, .flags = UNWIND_FORKS};
	size_t before = out->len;
	int err = 0;

	if (cfi->arch->machine != EM_X86_64)
		return 0;
	for (size_t i = 0; i + 1 < cfi->fdes.len && !err; i++) {
		const struct cfi_fde *f = &cfi->fdes.data[i];
		uint64_t next = f[1].start;
		uint8_t bytes[LONGEST];

		err = unwind_work__take(cfi->work, 0);
		if (err || next <= f->end || next - f->end > LONGEST || next % ALIGNED == 0 ||
		    !cfi__moves_nothing(cfi, f) || elf__read_address(elf, f->end, bytes, next - f->end))
			continue;
		err = vec__push(code, (struct code_range){f->end, next});
		if (!err && is_fork(bytes, next - f->end))
			err = vec__push(out, (struct filler){f->end, next, rule});
	}
	if (out->len > before)
		qsort(out->data, out->len, sizeof(*out->data), by_start);
	return err;
}
