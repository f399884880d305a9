// SPDX-License-Identifier: Apache-2.0
#include "unwind/untold.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define LEAST    128 /* bytes of a function: few are so large and yet move nothing */
#define HEAD     8
#define MAX_CODE (1 << 20) /* bytes that are followed in all; the five have 40 KB */

/* push, or sub of a constant from rsp */
static bool begins_with_push(const uint8_t head[HEAD])
{
	static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};

	if (!memcmp(head, endbr64, sizeof(endbr64)))
		head += sizeof(endbr64);
	if (head[0] == 0x48 && (head[1] == 0x81 || head[1] == 0x83) && head[2] == 0xec)
		return true;
	return ((head[0] == 0x41 ? head[1] : head[0]) & 0xf8) == 0x50;
}

/* What has not been reached is unknown. */
static int append(filler_list *out, const filler_list *found, const struct cfi_fde *f)
{
	static const struct unwind_rule unknown = {.cfa = UNWIND_UNKNOWN};
	uint64_t at = f->start;
	int err = 0;

	for (size_t i = 0; i < found->len && !err; i++) {
		const struct filler *one = &found->data[i];

		if (at < one->start)
			err = vec__push(out, (struct filler){at, one->start, unknown});
		if (!err)
			err = vec__push(out, *one);
		at = one->end;
	}
	return err || at >= f->end ? err : vec__push(out, (struct filler){at, f->end, unknown});
}

static int follow(struct elf *elf, const struct cfi *cfi, const struct cfi_fde *f, size_t n, filler_list *out,
		  code_ranges *ranges)
{
	_cleanup_free_ uint8_t *code = malloc(n);
	const struct follow_x86 what = {
		.code = code, .n = n, .start = f->start, .whole = true, .proven = true, .work = cfi->work};
	filler_list found = {0};
	int err = code ? vec__push(ranges, (struct code_range){f->start, f->start + n}) : -ENOMEM;

	if (!err && !elf__read_address(elf, f->start, code, n) && n == f->end - f->start)
		err = follow_x86__run(&what, NULL, &found);
	if (err != -ENOMEM && err != -ECANCELED)
		err = append(out, &found, f);
	vec__free(&found);
	return err;
}

int untold__follow(struct elf *elf, struct cfi *cfi, filler_list *out, code_ranges *code)
{
	size_t all = 0;
	int err = 0;

	if (cfi->arch->machine != EM_X86_64)
		return 0;
	for (size_t i = 0; i < cfi->fdes.len && !err; i++) {
		struct cfi_fde *f = &cfi->fdes.data[i];
		uint8_t head[HEAD];
		size_t n;

		err = unwind_work__take(cfi->work, 0);
		if (err || f->end - f->start < LEAST || !cfi__moves_nothing(cfi, f) ||
		    elf__read_address(elf, f->start, head, HEAD))
			continue;
		err = vec__push(code, (struct code_range){f->start, f->start + HEAD});
		if (err || !begins_with_push(head))
			continue;
		f->untold = true;
		n = f->end - f->start < FOLLOW_MAX_CODE ? (size_t)(f->end - f->start) : FOLLOW_MAX_CODE;
		all += n;
		err = follow(elf, cfi, f, all <= MAX_CODE ? n : HEAD, out, code);
	}
	return err;
}
