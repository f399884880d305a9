// SPDX-License-Identifier: Apache-2.0
#include "unwind/gaps.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_CODE    (16 << 20) /* bytes that are followed in all; OpenBLAS has 3 MB */
#define MAX_SYMBOLS (4U << 20) /* a file's size says little: one with holes may claim any number */
#define CHUNK       4096       /* symbols read at once */
#define MAX_FOUND   (1U << 16) /* functions without a symbol */
#define MAX_ROUNDS  16         /* musl's need 7 */
#define LOOKUP      4          /* so many instructions take as long as looking for a function */
#define BEGINNING   32         /* and as beginning to follow one */

struct function {
	uint64_t start, size; /* 0: at most up to where the next one starts */
	uint64_t covered;     /* up to there the code is that of symbols with a size that start up to here */
	uint32_t read;        /* bytes of code that it was looked for in, at most */
	uint32_t tried;       /* likewise, the last time; 0: not yet */
	uint32_t first, n;    /* of gaps->rules, what holds in it */
	bool named;           /* there is a symbol for it */
	bool proven;          /* control comes to its start as to a function's */
	bool partial;         /* struct follow_found */
	uint8_t is;           /* enum follow_function */
	uint8_t before;       /* bytes in front of it that were looked at, too */
};

struct gaps {
	struct elf *elf;
	const struct cfi *cfi;
	struct vec(struct function) functions; /* ascending; those that were found meanwhile are behind the first `sorted` */
	size_t sorted;
	size_t nfound;
	code_ranges read;  /* of tables, by which code jumps */
	filler_list rules; /* of all of them, as they were followed */
	uint64_t all;      /* bytes that were followed */
	bool asked;        /* for a function of which nothing is known, in this round */
	bool news;         /* of one that something is, likewise */
};

/* 0, also where there is no work left: who goes on is to look. -ECANCELED. */
static int take(struct gaps *g, uint64_t work)
{
	int err = unwind_work__take(g->cfi->work, work);

	return err == -E2BIG ? 0 : err;
}

static bool may_go_on(const struct gaps *g)
{
	return g->all <= MAX_CODE && g->cfi->work->left;
}

/* The first entry that starts behind the address. */
static size_t entry_behind(const struct cfi *cfi, uint64_t addr)
{
	return vec__count_first(&cfi->fdes, it, it->start <= addr);
}

/* Code that no entry covers? */
static bool is_untold_code(const struct gaps *g, uint64_t addr)
{
	size_t behind = entry_behind(g->cfi, addr);

	if (behind && g->cfi->fdes.data[behind - 1].end > addr)
		return false;
	for (size_t k = 0; k < elf__segment_count(g->elf); k++) {
		const struct elf_segment *s = elf__segment(g->elf, k);

		if (s->type == PT_LOAD && s->flags & PF_X && addr >= s->vaddr && addr - s->vaddr < s->filesz)
			return true;
	}
	return false;
}

/* Those that only the file itself sees are also of parts of functions, which they jump to (GCC's NAME.cold). */
static struct function of_symbol(const Elf64_Sym *s)
{
	return (struct function){.start = s->st_value,
				 .size = s->st_size,
				 .named = true,
				 .proven = ELF64_ST_BIND(s->st_info) != STB_LOCAL,
				 .is = FOLLOW_UNKNOWN};
}

static int add_symbols(struct gaps *g, const Elf64_Sym *symbols, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Elf64_Sym *s = &symbols[i];

		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE)
			continue;
		if (!is_untold_code(g, s->st_value))
			continue;
		if (vec__push(&g->functions, of_symbol(s)))
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
		err = take(g, 0);
		if (!err)
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
	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return x->read > y->read ? -1 : x->read < y->read;
}

/* Sorts what there is of functions, each once. 0 or -ECANCELED. */
static int sort(struct gaps *g)
{
	uint64_t covered = 0;
	size_t n = 0;

	if (g->functions.len)
		qsort(g->functions.data, g->functions.len, sizeof(*g->functions.data), by_start);
	for (size_t i = 0; i < g->functions.len; i++) {
		struct function *f = &g->functions.data[i], *last = n ? &g->functions.data[n - 1] : NULL;

		if (last && last->start == f->start) {
			if (f->proven && !last->proven)
				last->tried = 0;
			last->proven |= f->proven;
			last->named |= f->named;
			continue;
		}
		if (f->size < UINT64_MAX - f->start && f->start + f->size > covered)
			covered = f->start + f->size;
		f->covered = covered;
		g->functions.data[n++] = *f;
	}
	g->functions.len = g->sorted = n;
	return take(g, n);
}

/* Where the code of a function ends: at its size, or where its segment does or something else begins. */
static uint64_t end_of(const struct gaps *g, const struct function *f, uint64_t next)
{
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

/* Among the first `sorted`. */
static struct function *function_before(const struct gaps *g, uint64_t addr)
{
	size_t low = 0, high = g->sorted;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (g->functions.data[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &g->functions.data[low - 1] : NULL;
}

static enum follow_function function_at(void *context, uint64_t addr)
{
	struct gaps *g = context;
	const struct function *f = function_before(g, addr);
	size_t behind;

	take(g, LOOKUP);
	if (f && f->start == addr) {
		g->asked |= !f->n || f->is == FOLLOW_UNKNOWN;
		return f->n ? f->is : f->proven ? FOLLOW_UNKNOWN : FOLLOW_NONE;
	}
	behind = entry_behind(g->cfi, addr);
	return behind && g->cfi->fdes.data[behind - 1].start == addr ? FOLLOW_UNKNOWN : FOLLOW_NONE;
}

/* Nothing that the program may change. */
static size_t read_constant(void *context, uint64_t addr, void *buf, size_t n)
{
	struct gaps *g = context;

	for (size_t k = 0; k < elf__segment_count(g->elf); k++) {
		const struct elf_segment *s = elf__segment(g->elf, k);

		if (s->type != PT_LOAD || s->flags & PF_W || addr < s->vaddr || addr - s->vaddr >= s->filesz)
			continue;
		if (n > s->filesz - (addr - s->vaddr))
			n = s->filesz - (addr - s->vaddr);
		return elf__read_address(g->elf, addr, buf, n) ? 0 : n;
	}
	return 0;
}

/* Keeps those of the addresses that may be of further functions. */
static int add_found(struct gaps *g, const addresses *found, bool proven)
{
	for (size_t i = 0; i < found->len; i++) {
		uint64_t addr = found->data[i];
		const struct function *f = function_before(g, addr);

		if (f && (f->covered > addr || (f->start == addr && (f->proven || !proven))))
			continue;
		if (!is_untold_code(g, addr) || g->nfound == MAX_FOUND)
			continue;
		if (vec__push(&g->functions, (struct function){.start = addr, .proven = proven, .is = FOLLOW_UNKNOWN}))
			return -ENOMEM;
		g->nfound++;
	}
	return take(g, LOOKUP * found->len);
}

/*
 * What a signal's handler returns to: the system call rt_sigreturn, whose stack pointer is at the handler's struct ucontext (Linux
 * arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h). Its address is none that a call returns to: it is looked up less 1, where a
 * nop is to be (as in musl's src/signal/x86_64/restore.s).
 */
static int add_restorer(struct gaps *g, struct function *f, const uint8_t *code, size_t n)
{
	static const uint8_t rax[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05}, eax[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05};
	const struct unwind_rule rule = {.cfa = UNWIND_SIGNAL,
					 .cfa_off = 160,
					 .fp = UNWIND_FP_AT_SP,
					 .fp_off = 120,
					 .ra_off = 168,
					 .flags = UNWIND_SIGNAL_FRAME | UNWIND_RA_AT_SP | UNWIND_BX_UNKNOWN};
	size_t size = n >= sizeof(rax) && !memcmp(code, rax, sizeof(rax))   ? sizeof(rax)
		      : n >= sizeof(eax) && !memcmp(code, eax, sizeof(eax)) ? sizeof(eax)
									    : 0;
	uint8_t before = 0;

	if (!size)
		return 0;
	f->before = !elf__read_address(g->elf, f->start - 1, &before, 1);
	if (before == 0x90 && vec__push(&g->rules, (struct filler){f->start - 1, f->start, rule}))
		return -ENOMEM;
	return vec__push(&g->rules, (struct filler){f->start, f->start + size, rule});
}

static int follow_code(struct gaps *g, struct function *f, const uint8_t *code, size_t n, bool whole)
{
	const struct follow_x86 what = {.code = code,
					.n = n,
					.start = f->start,
					.whole = whole,
					.proven = f->proven,
					.function = function_at,
					.read = read_constant,
					.context = g,
					.work = g->cfi->work};
	struct follow_found found = {.is = FOLLOW_ENDS};
	bool proven = f->proven;
	uint8_t was = f->is;
	int err, failed = 0;

	f->first = (uint32_t)g->rules.len;
	err = add_restorer(g, f, code, n);
	if (!err && g->rules.len == f->first)
		err = follow_x86__run(&what, &found, &g->rules);
	f->n = (uint32_t)g->rules.len - f->first;
	f->partial = found.partial;
	f->is = f->n ? (uint8_t)found.is : FOLLOW_UNKNOWN;
	g->news |= f->n && f->is != was;
	/* f may be elsewhere from here on */
	if (!err)
		err = add_found(g, &found.called, proven);
	if (!err)
		err = add_found(g, &found.taken, false);
	vec__foreach(&found.tables, table)
		failed |= vec__push(&g->read, *table);
	vec__free(&found.called);
	vec__free(&found.taken);
	vec__free(&found.tables);
	return failed ? -ENOMEM : err == -ENOMEM || err == -ECANCELED ? err : 0;
}

static int follow_function(struct gaps *g, struct function *f, uint64_t end, bool again)
{
	size_t n = end - f->start < FOLLOW_MAX_CODE ? (size_t)(end - f->start) : FOLLOW_MAX_CODE;
	_cleanup_free_ uint8_t *code = NULL;
	int err;

	if (f->tried == n && ((f->n && f->is != FOLLOW_UNKNOWN && !f->partial) || !again))
		return 0;
	f->n = 0;
	g->all += n;
	err = take(g, BEGINNING);
	if (err || !may_go_on(g))
		return err;
	code = malloc(n + 1);
	if (!code)
		return -ENOMEM;
	if (elf__read_address(g->elf, f->start, code, n) || (f->size && n < end - f->start))
		return 0;
	f->tried = (uint32_t)n;
	if (f->read < n)
		f->read = (uint32_t)n;
	return follow_code(g, f, code, n, f->size && f->start + f->size == end);
}

/* Code that a function is known to have is none that another one starts in, unless control comes there. */
static void drop_inner(struct gaps *g)
{
	uint64_t until = 0;

	for (size_t i = 0; i < g->sorted; i++) {
		struct function *f = &g->functions.data[i];

		if (f->n && g->rules.data[f->first + f->n - 1].end > until)
			until = g->rules.data[f->first + f->n - 1].end;
		else if (!f->n && !f->proven && !f->named && f->start < until)
			f->tried = UINT32_MAX;
	}
}

/* Follows what has not been followed, or can be followed further. pointed: also what only has pointers to it. */
static int follow_round(struct gaps *g, bool pointed, bool again)
{
	uint64_t next = UINT64_MAX;
	int err = 0;

	if (pointed)
		drop_inner(g);
	for (size_t i = g->sorted; i-- > 0 && !err && may_go_on(g);) {
		struct function *f = &g->functions.data[i];

		err = take(g, 1);
		if (!err && (f->proven || f->named || pointed) && f->tried != UINT32_MAX)
			err = follow_function(g, f, end_of(g, f, next), again);
		f = &g->functions.data[i];
		if (f->proven || f->named || f->n)
			next = f->start;
	}
	return err;
}

/* Until there is no more to be found. */
static int follow_all(struct gaps *g, bool pointed)
{
	bool again = false;
	int err = 0;

	for (int round = 0; round < MAX_ROUNDS && !err && g->cfi->work->left; round++) {
		g->news = g->asked = false;
		err = follow_round(g, pointed, again);
		again = g->news && g->asked;
		if (!again && g->functions.len == g->sorted)
			break;
		if (!err)
			err = sort(g);
	}
	return err;
}

static int collect(const struct gaps *g, filler_list *out, code_ranges *code)
{
	uint64_t at = 0;

	for (size_t i = 0; i < g->read.len; i++)
		if (vec__push(code, g->read.data[i]))
			return -ENOMEM;
	for (size_t i = 0; i < g->sorted; i++) {
		const struct function *f = &g->functions.data[i];

		if (f->read && vec__push(code, (struct code_range){f->start - f->before, f->start + f->read}))
			return -ENOMEM;
		for (uint32_t k = 0; k < f->n; k++) {
			const struct filler *rule = &g->rules.data[f->first + k];

			if (rule->start < at)
				continue;
			if (vec__push(out, *rule))
				return -ENOMEM;
			at = rule->end;
		}
	}
	return 0;
}

int gaps__follow(struct elf *elf, const struct cfi *cfi, filler_list *out, code_ranges *code)
{
	struct gaps g = {.elf = elf, .cfi = cfi};
	struct elf_section table;
	int err;

	if (!gaps__symbols(elf, &table))
		return 0;
	err = read_symbols(&g, &table);
	if (!err)
		err = sort(&g);
	if (!err)
		err = follow_all(&g, false);
	if (!err)
		err = follow_all(&g, true);
	if (!err)
		err = collect(&g, out, code);
	vec__free(&g.functions);
	vec__free(&g.rules);
	vec__free(&g.read);
	return err;
}
