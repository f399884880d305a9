// SPDX-License-Identifier: Apache-2.0
#include "unwind/gaps.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define MAX_CODE    (16 << 20) /* bytes that are followed in all; OpenBLAS has 3 MB */
#define MAX_SYMBOLS (4U << 20) /* a file's size says little: one with holes may claim any number */
#define CHUNK       4096       /* symbols read at once */

struct function {
	uint64_t start, size; /* 0: up to where the next one starts */
};

struct gaps {
	struct elf *elf;
	const struct cfi *cfi;
	struct vec(struct function) functions;
};

/* The first entry that starts behind the address. */
static size_t entry_behind(const struct cfi *cfi, uint64_t addr)
{
	return vec__count_first(&cfi->fdes, it, it->start <= addr);
}

static int add_symbols(struct gaps *g, const Elf64_Sym *symbols, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Elf64_Sym *s = &symbols[i];
		uint64_t offset;
		size_t behind;

		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE)
			continue;
		behind = entry_behind(g->cfi, s->st_value);
		if (behind && g->cfi->fdes.data[behind - 1].end > s->st_value)
			continue;
		if (elf__offset_of(g->elf, s->st_value, &offset))
			continue;
		if (vec__push(&g->functions, (struct function){s->st_value, s->st_size}))
			return -ENOMEM;
	}
	return 0;
}

static int read_symbols(struct gaps *g, const struct elf_section *table)
{
	_cleanup_free_ Elf64_Sym *symbols = malloc(CHUNK * sizeof(*symbols));
	size_t count = table->size / sizeof(*symbols);
	int err = symbols ? 0 : -ENOMEM;

	for (size_t at = 0; at < count && !err; at += CHUNK) {
		size_t n = count - at < CHUNK ? count - at : CHUNK;

		if (elf__read(g->elf, table->offset + at * sizeof(*symbols), symbols, n * sizeof(*symbols)))
			return 0; /* beyond the file's end: there are no more */
		err = add_symbols(g, symbols, n);
	}
	return err;
}

bool gaps__symbols(struct elf *elf, struct elf_section *out)
{
	static const char *const names[] = {".symtab", ".dynsym"};
	struct elf_section s;

	if (elf__info(elf)->machine != EM_X86_64)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (elf__section(elf, names[i], &s) || (s.type != SHT_SYMTAB && s.type != SHT_DYNSYM))
			continue;
		if (s.size / sizeof(Elf64_Sym) > MAX_SYMBOLS)
			return false;
		*out = s;
		return true;
	}
	return false;
}

static int by_start(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->size > y->size ? -1 : x->size < y->size;
}

/* Where the code of a function ends: at its size, or where its segment does or something else begins. */
static uint64_t end_of(const struct gaps *g, size_t i, uint64_t next)
{
	const struct function *f = &g->functions.data[i];
	size_t behind = entry_behind(g->cfi, f->start);
	uint64_t end = f->size && f->size < UINT64_MAX - f->start ? f->start + f->size : UINT64_MAX;

	for (size_t k = 0; k < elf__segment_count(g->elf); k++) {
		const struct elf_segment *s = elf__segment(g->elf, k);

		if (s->type == PT_LOAD && f->start >= s->vaddr && f->start - s->vaddr < s->filesz && end - s->vaddr > s->filesz)
			end = s->vaddr + s->filesz;
	}
	if (next < end)
		end = next;
	if (behind < g->cfi->fdes.len && g->cfi->fdes.data[behind].start < end)
		end = g->cfi->fdes.data[behind].start;
	return end;
}

/* Of a function whose size is not known, `end` is an upper bound. */
static int follow_function(struct gaps *g, uint64_t start, uint64_t end, bool sized, filler_list *out,
			   code_ranges *ranges)
{
	size_t n = end - start < FOLLOW_MAX_CODE ? (size_t)(end - start) : FOLLOW_MAX_CODE;
	_cleanup_free_ uint8_t *code = malloc(n);
	int err;

	if (!code)
		return -ENOMEM;
	err = elf__read_address(g->elf, start, code, n);
	if (err || (sized && n < end - start))
		return 0;
	err = vec__push(ranges, (struct code_range){start, start + n});
	if (!err)
		err = follow_x86(code, n, start, out);
	return err == -ENOMEM ? err : 0;
}

int gaps__follow(struct elf *elf, const struct cfi *cfi, filler_list *out, code_ranges *code)
{
	struct gaps g = {.elf = elf, .cfi = cfi};
	struct elf_section table;
	uint64_t all = 0;
	int err;

	if (!gaps__symbols(elf, &table))
		return 0;
	err = read_symbols(&g, &table);
	if (!err && g.functions.len)
		qsort(g.functions.data, g.functions.len, sizeof(*g.functions.data), by_start);
	for (size_t i = 0; i < g.functions.len && !err; i++) {
		struct function *f = &g.functions.data[i];
		size_t next = i + 1;
		uint64_t end;

		if (i && f[-1].start == f->start)
			continue;
		while (next < g.functions.len && g.functions.data[next].start == f->start)
			next++;
		end = end_of(&g, i, next < g.functions.len ? g.functions.data[next].start : UINT64_MAX);
		all += end - f->start < FOLLOW_MAX_CODE ? end - f->start : FOLLOW_MAX_CODE;
		if (all > MAX_CODE)
			break;
		err = follow_function(&g, f->start, end, f->size, out, code);
	}
	vec__free(&g.functions);
	return err;
}
