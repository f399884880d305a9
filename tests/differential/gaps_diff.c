// SPDX-License-Identifier: Apache-2.0
/*
 * Whole files followed as if they had no call frame information (user/unwind/gaps.h): what comes out must be what their compilers
 * say, wherever both reckon from the same register.
 *
 * usage: gaps_diff FILE ...     For each a line "FILE followed bytes, compared bytes, different"; differences to stderr.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "unwind/source.h"

#define SHOWN 20

struct counts {
	size_t followed, compared, different;
};

static bool agrees(const struct unwind_rule *ours, const struct unwind_rule *said, struct counts *n)
{
	bool saved = said->fp == UNWIND_FP_SAVED && ours->fp == UNWIND_FP_SAVED;

	if (ours->cfa != said->cfa || said->cfa <= UNWIND_END || said->cfa == UNWIND_UNKNOWN || ours->reg != said->reg)
		return true;
	n->compared++;
	if (ours->cfa_off != said->cfa_off || ours->ra_off != said->ra_off)
		return false;
	/* one may still call it saved while the other says that it has been restored, or is the same although it is saved */
	return !saved || ours->fp_off == said->fp_off;
}

static void compare(const char *path, const struct filler *part, const struct unwind_table *t, struct counts *n)
{
	bool told = false;

	n->followed += part->end - part->start;
	for (uint64_t at = part->start; at < part->end; at++) {
		struct unwind_rule said;

		if (unwind_table__lookup(t, at, &said) || agrees(&part->rule, &said, n))
			continue;
		if (!told && n->different < SHOWN)
			fprintf(stderr, "%s: 0x%lx: cfa %d + %d, fp %d at %d; said: cfa %d + %d, fp %d at %d\n", path, (unsigned long)at,
				part->rule.cfa, part->rule.cfa_off, part->rule.fp, part->rule.fp_off, said.cfa, said.cfa_off,
				said.fp, said.fp_off);
		told = true;
		n->different++;
	}
}

static int one(const char *path)
{
	struct unwind_source source = {0};
	struct unwind_table *t = NULL;
	filler_list found = {0};
	code_ranges code = {0};
	struct counts n = {0};
	struct elf *elf = NULL;
	struct err e = {0};
	int fd = elf__open_path(path), err = fd < 0 ? fd : elf__open(fd, &elf, &e);

	if (!err) {
		err = unwind_table__build(elf, &t, &e);
		err = err ? err : unwind_source__open(elf, NULL, &source, &e);
		/* its sections have been read, the functions in them have not been looked for */
		err = err ? err : gaps__follow(elf, &source.cfi, &found, &code);
		if (!err)
			vec__foreach(&found, part)
				compare(path, part, t, &n);
		unwind_source__close(&source);
	}
	if (err)
		fprintf(stderr, "%s: %s\n", path, e.text);
	else
		printf("%s %zu, %zu, %zu\n", path, n.followed, n.compared, n.different);
	vec__free(&found);
	vec__free(&code);
	unwind_table__free(t);
	elf__close(elf);
	if (fd >= 0)
		close(fd);
	return err;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= one(argv[i]) != 0;
	return failed;
}
