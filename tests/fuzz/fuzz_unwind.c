// SPDX-License-Identifier: Apache-2.0
/*
 * Call frame information of any bytes: nothing is read or written out of bounds, and what comes out is a well-formed
 * table that covers what the functions do. `make fuzz` runs it.
 *
 * Input: the kind of file (a byte: enum image_kind, then bits for code, for arm64, for a whole ELF file), the bytes. With
 * code they begin with enum feature (1), how many symbols there are (1), where each begins and its size (2 and 2), where the
 * program does (2), how much code there is (2) and the code.
 */
#include <errno.h>
#include <stdlib.h>

#include "../unit/unwind_image.h"
#include "unwind/cursor.h"
#include "unwind/table.h"

#define CODE       0x20
#define ARM64      0x40
#define WHOLE_FILE 0x80

#define MAX_SYMBOLS 64

enum feature {
	PLT = 1,     /* .plt has the first bytes of the code */
	INIT = 2,    /* .init has them */
	INTERP = 4,  /* it is a program */
	SYMBOLS = 8, /* the code's functions are named */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void check_table(const struct unwind_table *t)
{
	must(t->npages && t->nrows && t->nrules && !(t->text_start & (UNWIND_PAGE_SIZE - 1)));
	must(t->pages[0] == 0 && t->pages[t->npages] == t->nrows);
	for (uint32_t p = 0; p < t->npages; p++) {
		uint32_t row = t->pages[p], end = t->pages[p + 1];

		must(row < end && UNWIND_ROW_OFFSET(t->rows[row]) == 0);
		for (; row < end; row++) {
			must(UNWIND_ROW_RULE(t->rows[row]) < t->nrules);
			must(row == t->pages[p] || UNWIND_ROW_OFFSET(t->rows[row]) > UNWIND_ROW_OFFSET(t->rows[row - 1]));
			/* merged, but for the row that begins a page */
			must(row == t->pages[p] || UNWIND_ROW_RULE(t->rows[row]) != UNWIND_ROW_RULE(t->rows[row - 1]));
		}
	}
	for (uint32_t i = 0; i < t->nrules; i++) {
		const struct unwind_rule *r = &t->rules[i];

		must(r->cfa <= UNWIND_UNKNOWN && r->fp <= UNWIND_FP_UNKNOWN);
		must(r->cfa != UNWIND_INDEXED || r->reg < 16);
		if (r->cfa == UNWIND_SIGNAL)
			must(r->fp == UNWIND_FP_AT_SP && r->flags & UNWIND_RA_AT_SP);
	}
}

/* Functions have rules; nothing else has, but for what is filled in, at most 64 bytes here. */
static void check_functions(struct elf *elf, const struct unwind_table *t)
{
	uint64_t addrs[64], starts[64], ends[64];
	size_t filled = 0;

	for (size_t i = 0; i < 64; i++)
		addrs[i] = i < 48 ? IMAGE_TEXT + i : IMAGE_TEXT + (i - 48) * (IMAGE_TEXT_SIZE / 16) + i;
	must(!unwind__functions_at(elf, addrs, 64, starts, ends, NULL));
	for (size_t i = 0; i < 64; i++) {
		struct unwind_rule rule;
		int err = unwind_table__lookup(t, addrs[i], &rule);

		must(!err || err == -ENOENT);
		must(!ends[i] || (starts[i] <= addrs[i] && addrs[i] < ends[i]));
		filled += !err && !ends[i];
	}
	must(!filled);
}

static uint16_t take16(struct cursor *c)
{
	return (uint16_t)cursor__fixed(c, 2);
}

/* Takes what stands in front of the frame information. */
static void take_code(struct image *image, Elf64_Sym symbols[MAX_SYMBOLS])
{
	struct cursor c = {.at = image->frame, .end = image->frame + image->size};
	unsigned int features = cursor__u8(&c);

	image->nsymbols = cursor__u8(&c) % MAX_SYMBOLS;
	for (size_t i = 0; i < image->nsymbols; i++) {
		symbols[i] = (Elf64_Sym){.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1};
		symbols[i].st_value = IMAGE_CODE + take16(&c);
		symbols[i].st_size = take16(&c);
	}
	image->entry = IMAGE_CODE + take16(&c);
	image->code_size = take16(&c);
	if (image->code_size > cursor__left(&c))
		image->code_size = cursor__left(&c);
	image->code = cursor__take(&c, image->code_size);
	image->frame = c.at;
	image->size = cursor__left(&c);
	if (features & SYMBOLS)
		image->symbols = symbols;
	else
		image->nsymbols = 0;
	image->plt = features & PLT ? image->code_size : 0;
	image->init = features & INIT ? image->code : NULL;
	image->init_size = image->code_size < 0x100 ? image->code_size : 0x100;
	image->interp = !!(features & INTERP);
}

/* A file of the kind that the input says. */
static int make_file(const uint8_t *data, size_t size)
{
	struct image image = {.machine = data[0] & ARM64 ? EM_AARCH64 : EM_X86_64,
			      .kind = (data[0] & 0x1f) % IMAGE_KINDS,
			      .frame = data + 1,
			      .size = size - 1};
	Elf64_Sym symbols[MAX_SYMBOLS];
	int fd;

	if (data[0] & WHOLE_FILE) {
		fd = memfd_create("file", MFD_CLOEXEC);
		must(fd >= 0 && pwrite(fd, data + 1, size - 1, 0) == (ssize_t)(size - 1));
		return fd;
	}
	if (data[0] & CODE)
		take_code(&image, symbols);
	fd = image__make(&image);
	must(fd >= 0);
	if (image.plt)
		must(pwrite(fd, image.code, image.plt, IMAGE_PLT - IMAGE_TEXT) == (ssize_t)image.plt);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unwind_table *t = NULL;
	struct elf *elf = NULL;
	struct err e = {0};
	int fd, err;

	if (!size)
		return 0;
	fd = make_file(data, size);
	if (!elf__open(fd, &elf, &e)) {
		err = unwind_table__build(elf, &t, &e);
		must(!err == !!t);
		must(!err || e.text[0]);
		if (t) {
			struct unwind_rule rule;

			check_table(t);
			unwind_table__lookup(t, t->text_start, &rule);
			unwind_table__lookup(t, UINT64_MAX, &rule);
			if (!(data[0] & (WHOLE_FILE | CODE)))
				check_functions(elf, t);
		}
	}
	unwind_table__free(t);
	elf__close(elf);
	close(fd);
	return 0;
}
