// SPDX-License-Identifier: Apache-2.0
/*
 * Functions that have call frame information, followed as if they had none (user/unwind/follow_x86.h): what comes out must be what
 * their authors' compilers say, wherever both reckon from the same register.
 *
 * usage: follow_diff FILE ...     For each a line "FILE followed/functions, compared instructions, different"; differences to stderr.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "unwind/follow_x86.h"
#include "unwind/source.h"
#include "unwind/table.h"

#define SHOWN 20

struct counts {
	size_t functions, followed, compared, different;
};

static bool agrees(const struct unwind_rule *ours, const struct unwind_rule *said, struct counts *n)
{
	bool saved = said->fp == UNWIND_FP_SAVED && ours->fp == UNWIND_FP_SAVED;

	if (ours->cfa != said->cfa || said->cfa == UNWIND_UNKNOWN || ours->reg != said->reg)
		return true;
	n->compared++;
	if (ours->cfa_off != said->cfa_off || ours->ra_off != said->ra_off)
		return false;
	/* one may still call it saved while the other says that it has been restored, or is the same although it is saved */
	return !saved || ours->fp_off == said->fp_off;
}

static void compare(const char *path, const struct cfi_fde *f, const struct unwind_table *t, struct elf *elf, struct counts *n)
{
	size_t size = (size_t)(f->end - f->start);
	_cleanup_free_ uint8_t *code = malloc(size);
	filler_list found = {0};

	struct unwind_rule first;

	/* others are parts of a function, that it jumps to */
	if (!code || unwind_table__lookup(t, f->start, &first) || first.cfa != UNWIND_SP || first.cfa_off != 8)
		return;
	n->functions++;
	if (elf__read_address(elf, f->start, code, size) || follow_x86(code, size, f->start, &found))
		return;
	n->followed++;
	vec__foreach(&found, part) {
		struct unwind_rule said;

		if (unwind_table__lookup(t, part->start, &said) || agrees(&part->rule, &said, n))
			continue;
		if (n->different++ < SHOWN)
			fprintf(stderr, "%s: 0x%lx of 0x%lx: cfa %d + %d, fp %d at %d; said: cfa %d + %d, fp %d at %d\n", path,
				(unsigned long)part->start, (unsigned long)f->start, part->rule.cfa, part->rule.cfa_off,
				part->rule.fp, part->rule.fp_off, said.cfa, said.cfa_off, said.fp, said.fp_off);
	}
	vec__free(&found);
}

static int one(const char *path)
{
	struct unwind_source source = {0};
	struct unwind_table *t = NULL;
	struct counts n = {0};
	struct elf *elf = NULL;
	struct err e = {0};
	int fd = elf__open_path(path), err = fd < 0 ? fd : elf__open(fd, &elf, &e);

	if (!err) {
		err = unwind_source__open(elf, NULL, &source, &e);
		err = err ? err : unwind_source__compile(&source, &t, &e);
		if (!err)
			vec__foreach(&source.cfi.fdes, f)
				compare(path, f, t, elf, &n);
		unwind_source__close(&source);
	}
	if (err)
		fprintf(stderr, "%s: %s\n", path, e.text);
	else
		printf("%s %zu/%zu, %zu, %zu\n", path, n.followed, n.functions, n.compared, n.different);
	unwind_table__free(t);
	elf__close(elf);
	return err || n.different;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= one(argv[i]);
	return failed;
}
