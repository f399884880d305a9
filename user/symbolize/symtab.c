// SPDX-License-Identifier: Apache-2.0
#include "symbolize/symtab.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"

#define CHUNK         2048 /* symbols read at a time */
#define MAX_FUNCTIONS (4u << 20)
#define MAX_SYMBOLS   (16u << 20)
#define MAX_NAME      (16u << 10)
#define MAX_ALIASES   64 /* of which the best name is chosen */
#define NONE          UINT32_MAX

/* What decides among symbols that start at one address. */
#define RANK_EXPORTED 1
#define RANK_SIZED    2
#define RANK_FUNCTION 4

struct function {
	uint32_t start; /* behind the table's base */
	uint32_t size;
	uint32_t name;  /* offset in the string table */
	uint32_t outer; /* the nearest function before it that was not at its end; only until they are sorted: rank, section */
};

/* The bit of `size` that says that it only reaches to the next one. */
#define GUESSED 0x80000000u

struct symtab {
	struct elf *elf;
	uint64_t base;
	uint64_t strtab, strtab_size; /* in the file */
	struct vec(struct function) functions;
};

struct loader {
	struct symtab *t;
	struct elf *elf;
	struct elf_section *code; /* the sections that hold code, by address */
	size_t ncode;
	bool arm;
};

/* `outer` while the table is made. */
static uint32_t pack(uint32_t rank, uint16_t section)
{
	return rank << 16 | section;
}

static bool is_code(const struct elf_section *s)
{
	return (s->flags & SHF_ALLOC) && (s->flags & SHF_EXECINSTR) && s->size && s->size <= UINT64_MAX - s->addr;
}

/* The section of code at an address, or NULL. Its number does not count: BOLT leaves those of the file before it. */
static const struct elf_section *section_at(const struct loader *l, uint64_t addr)
{
	size_t low = 0, high = l->ncode;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->code[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low && addr - l->code[low - 1].addr < l->code[low - 1].size ? &l->code[low - 1] : NULL;
}

static int take_symbol(struct loader *l, const Elf64_Sym *sym)
{
	uint32_t type = ELF64_ST_TYPE(sym->st_info), bind = ELF64_ST_BIND(sym->st_info), rank = 0;
	const struct elf_section *section;
	struct function f = {.name = sym->st_name};
	uint64_t size = sym->st_size, room;

	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
		return 0;
	/* AArch64 ABI, 5.5.5: mapping symbols tell code from data */
	if (l->arm && type == STT_NOTYPE && bind == STB_LOCAL)
		return 0;
	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= SHN_LORESERVE || !sym->st_name)
		return 0;
	section = section_at(l, sym->st_value);
	if (!section)
		return 0;
	if (sym->st_value < l->t->base || sym->st_value - l->t->base >= GUESSED)
		return 0;
	room = section->size - (sym->st_value - section->addr);
	if (size > room)
		size = room;
	f.start = (uint32_t)(sym->st_value - l->t->base);
	f.size = size < GUESSED ? (uint32_t)size : GUESSED - 1;
	rank |= bind != STB_LOCAL ? RANK_EXPORTED : 0;
	rank |= size ? RANK_SIZED : 0;
	rank |= type != STT_NOTYPE ? RANK_FUNCTION : 0;
	f.outer = pack(rank, (uint16_t)(section - l->code));
	if (l->t->functions.len >= MAX_FUNCTIONS)
		return -E2BIG;
	return vec__push(&l->t->functions, f);
}

static int read_symbols(struct loader *l, const struct elf_section *table)
{
	_cleanup_free_ Elf64_Sym *chunk = malloc(CHUNK * sizeof(*chunk));
	uint64_t count = table->size / sizeof(*chunk);

	if (!chunk)
		return -ENOMEM;
	if (count > MAX_SYMBOLS)
		return -E2BIG;
	for (uint64_t i = 0; i < count; i += CHUNK) {
		size_t n = count - i < CHUNK ? count - i : CHUNK;
		int err = elf__read(l->elf, table->offset + i * sizeof(*chunk), chunk, n * sizeof(*chunk));

		for (size_t k = 0; !err && k < n; k++)
			err = take_symbol(l, &chunk[k]);
		if (err)
			return err;
	}
	return 0;
}

/* By address; of one address the best last. */
static int by_start(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->outer >> 16 != y->outer >> 16)
		return x->outer >> 16 < y->outer >> 16 ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

/* Of one address only those as good as the best stay; they differ in their names alone. */
static void drop_worse(struct symtab *t)
{
	size_t kept = 0;

	for (size_t i = 0, end; i < t->functions.len; i = end) {
		struct function *f = t->functions.data, best;

		for (end = i + 1; end < t->functions.len && f[end].start == f[i].start; end++)
			;
		best = f[end - 1];
		for (; i < end; i++) {
			if (f[i].outer >> 16 == best.outer >> 16 && f[i].size == best.size)
				f[kept++] = f[i];
		}
	}
	t->functions.len = kept;
}

/* Gives those without a size one, and drops them where they are labels inside of a function. */
static void guess_sizes(struct loader *l)
{
	struct symtab *t = l->t;
	size_t kept = 0, n = t->functions.len;
	uint64_t covered = 0;

	for (size_t i = 0, next = 0; i < n; i++) {
		struct function f = t->functions.data[i];
		const struct elf_section *s = &l->code[f.outer & 0xffff];
		uint64_t end = s->addr + s->size - t->base;

		if (f.size) {
			if ((uint64_t)f.start + f.size > covered)
				covered = (uint64_t)f.start + f.size;
			t->functions.data[kept++] = f;
			continue;
		}
		if (f.start < covered)
			continue;
		for (next = next > i ? next : i + 1; next < n && t->functions.data[next].start == f.start; next++)
			;
		if (next < n && t->functions.data[next].start < end)
			end = t->functions.data[next].start;
		end -= f.start;
		f.size = (end < GUESSED ? (uint32_t)end : GUESSED - 1) | GUESSED;
		t->functions.data[kept++] = f;
	}
	t->functions.len = kept;
}

static uint64_t end_of(const struct function *f)
{
	return (uint64_t)f->start + (f->size & ~GUESSED);
}

static int link_outer(struct symtab *t)
{
	struct vec(uint32_t) open = {0};
	int err = 0;

	for (size_t i = 0; i < t->functions.len && !err; i++) {
		struct function *f = &t->functions.data[i];

		while (open.len && end_of(&t->functions.data[open.data[open.len - 1]]) <= f->start)
			open.len--;
		f->outer = open.len ? open.data[open.len - 1] : NONE;
		err = vec__push(&open, (uint32_t)i);
	}
	vec__free(&open);
	return err;
}

static int by_section_addr(const void *a, const void *b)
{
	const struct elf_section *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int load_sections(struct loader *l)
{
	size_t n = elf__section_count(l->elf);

	l->code = calloc(n ? n : 1, sizeof(*l->code));
	if (!l->code)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!elf__section_at(l->elf, i, &l->code[l->ncode]) && is_code(&l->code[l->ncode]))
			l->ncode++;
	}
	qsort(l->code, l->ncode, sizeof(*l->code), by_section_addr);
	return l->ncode ? 0 : -ENOENT;
}

int symtab__load(struct elf *elf, const char *section, struct symtab **out)
{
	struct loader l = {.elf = elf, .arm = elf__info(elf)->machine == EM_AARCH64};
	struct elf_section table, names;
	struct function *less;
	int err = elf__section(elf, section, &table);

	if (err)
		return err;
	if ((table.type != SHT_SYMTAB && table.type != SHT_DYNSYM) || table.entsize != sizeof(Elf64_Sym))
		return -ENOENT; /* NOBITS in a debug file */
	err = elf__section_at(elf, table.link, &names);
	if (err)
		return err;
	l.t = calloc(1, sizeof(*l.t));
	if (!l.t)
		return -ENOMEM;
	l.t->elf = elf;
	l.t->strtab = names.offset;
	l.t->strtab_size = names.size;
	err = load_sections(&l);
	if (!err) {
		l.t->base = l.code[0].addr;
		err = read_symbols(&l, &table);
	}
	if (!err && l.t->functions.len) {
		qsort(l.t->functions.data, l.t->functions.len, sizeof(*less), by_start);
		drop_worse(l.t);
		guess_sizes(&l);
		err = link_outer(l.t);
	}
	free(l.code);
	if (!err && !l.t->functions.len)
		err = -ENOENT;
	if (err) {
		symtab__free(l.t);
		return err;
	}
	less = realloc(l.t->functions.data, l.t->functions.len * sizeof(*less));
	if (less) {
		l.t->functions.data = less;
		l.t->functions.cap = l.t->functions.len;
	}
	*out = l.t;
	return 0;
}

void symtab__free(struct symtab *t)
{
	if (!t)
		return;
	vec__free(&t->functions);
	free(t);
}

/* Adds the string at `offset` of a string table, up to a version. */
static int read_name(struct elf *elf, uint64_t table, uint64_t size, uint64_t offset, struct str *name)
{
	size_t before = name->len;
	char part[256];

	while (offset < size && name->len - before < MAX_NAME) {
		size_t n = size - offset < sizeof(part) ? size - offset : sizeof(part), len;
		int err = elf__read(elf, table + offset, part, n);
		const char *version;

		if (err)
			return err;
		len = strnlen(part, n);
		err = str__add(name, part, len);
		if (err)
			return err;
		if (len < n) {
			version = name->len > before + 1 ? memchr(name->data + before + 1, '@', name->len - before - 1) : NULL;
			if (version)
				name->len = (size_t)(version - name->data);
			if (name->data)
				name->data[name->len] = '\0';
			return name->len > before ? 0 : -ENOENT;
		}
		offset += n;
	}
	name->len = before;
	return -ENOENT;
}

static size_t underscores(const struct str *s)
{
	return strspn(str__cstr(s), "_");
}

/* "write" before "__write" and "__libc_write". _Z and _R are what mangled names begin with, and all of them do. */
static bool is_nicer(const struct str *a, const struct str *b)
{
	if (underscores(a) != underscores(b))
		return underscores(a) < underscores(b);
	if (a->len != b->len)
		return a->len < b->len;
	return strcmp(str__cstr(a), str__cstr(b)) < 0;
}

static int name_of(const struct symtab *t, size_t at, struct str *name)
{
	struct str best = {0}, other = {0};
	uint32_t start = t->functions.data[at].start;
	int err = -ENOENT;

	for (size_t i = 0; i < MAX_ALIASES && t->functions.data[at].start == start; i++) {
		int e;

		str__reset(&other);
		e = read_name(t->elf, t->strtab, t->strtab_size, t->functions.data[at].name, &other);
		if (!e && (err || is_nicer(&other, &best))) {
			struct str swap = best;

			best = other;
			other = swap;
			err = 0;
		} else if (e == -ENOMEM) {
			err = e;
			break;
		}
		if (!at--)
			break;
	}
	if (!err)
		err = str__add(name, best.data, best.len);
	str__free(&best);
	str__free(&other);
	return err;
}

int symtab__find(const struct symtab *t, uint64_t addr, bool sized, struct str *name)
{
	uint32_t at;
	size_t low;

	if (addr < t->base || addr - t->base > UINT32_MAX)
		return -ENOENT;
	addr -= t->base;
	low = vec__count_first(&t->functions, it, it->start <= addr);
	for (at = low ? (uint32_t)low - 1 : NONE; at != NONE; at = t->functions.data[at].outer) {
		const struct function *f = &t->functions.data[at];

		if (addr < end_of(f) && sized == !(f->size & GUESSED))
			return name_of(t, at, name);
	}
	return -ENOENT;
}

int symtab__dynamic_name(struct elf *elf, uint32_t number, struct str *name)
{
	struct elf_section table, names;
	Elf64_Sym sym;
	int err = elf__section(elf, ".dynsym", &table);

	if (!err)
		err = elf__section_at(elf, table.link, &names);
	if (err)
		return err;
	if (table.type != SHT_DYNSYM || number >= table.size / sizeof(sym))
		return -ENOENT;
	err = elf__read(elf, table.offset + number * sizeof(sym), &sym, sizeof(sym));
	if (err)
		return err;
	return read_name(elf, names.offset, names.size, sym.st_name, name);
}

size_t symtab__memory(const struct symtab *t)
{
	return sizeof(*t) + t->functions.cap * sizeof(*t->functions.data);
}
