// SPDX-License-Identifier: Apache-2.0
/* From functions to rows, pages and interned rules. */
#include "unwind/table.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "unwind/forks.h"
#include "unwind/landing_x86.h"
#include "unwind/source.h"

#define MAX_RULES (1U << 16)
#define MAX_PAGES (1U << 16) /* 4 GiB of code */
#define A_INSN    4          /* bytes of an instruction */

struct builder {
	struct cfi_sink sink; /* the first member: the interpreter's rules come here */
	struct vec(uint32_t) rows;
	struct vec(uint32_t) pages;
	struct vec(struct unwind_rule) rules;
	uint32_t *slots; /* hash table over rules: index + 1 */
	size_t nslots;
	uint64_t seed; /* so that no file can be made whose rules all collide */
	uint64_t text_start;
	uint32_t last; /* the rule of the last row */
	size_t followed; /* of source->followed, the first that does not lie before the last row */
	struct unwind_source *source;
	struct unwind_table *table;
};

static uint64_t hash_rule(const struct builder *b, const struct unwind_rule *rule)
{
	uint64_t words[2];

	memcpy(words, rule, sizeof(words));
	return hash__combine(hash__u64(words[0] ^ b->seed), words[1]);
}

static int grow_slots(struct builder *b)
{
	size_t n = b->nslots ? b->nslots * 2 : 1024;
	uint32_t *slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < b->rules.len; i++) {
		size_t at = hash_rule(b, &b->rules.data[i]) & (n - 1);

		while (slots[at])
			at = (at + 1) & (n - 1);
		slots[at] = (uint32_t)i + 1;
	}
	free(b->slots);
	b->slots = slots;
	b->nslots = n;
	return 0;
}

/* Index of a rule, which is added when it is a new one. 0, -E2BIG, -ENOMEM. */
static int intern(struct builder *b, const struct unwind_rule *rule, uint32_t *out)
{
	size_t at;
	int err;

	if (b->rules.len * 2 >= b->nslots && (err = grow_slots(b)))
		return err;
	at = hash_rule(b, rule) & (b->nslots - 1);
	for (; b->slots[at]; at = (at + 1) & (b->nslots - 1)) {
		*out = b->slots[at] - 1;
		if (!memcmp(&b->rules.data[*out], rule, sizeof(*rule)))
			return 0;
	}
	if (b->rules.len == MAX_RULES)
		return -E2BIG;
	*out = (uint32_t)b->rules.len;
	err = vec__push(&b->rules, *rule);
	if (!err)
		b->slots[at] = *out + 1;
	return err;
}

/* Begins the pages up to that of `addr`; each but one that begins with addr itself carries the last rule on. */
static int begin_pages(struct builder *b, uint64_t addr)
{
	uint64_t page = (addr - b->text_start) >> UNWIND_PAGE_SHIFT;

	while (b->pages.len <= page) {
		uint64_t start = b->text_start + ((uint64_t)b->pages.len << UNWIND_PAGE_SHIFT);

		if (b->pages.len == MAX_PAGES)
			return -E2BIG;
		if (vec__push(&b->pages, (uint32_t)b->rows.len) ||
		    (start != addr && vec__push(&b->rows, UNWIND_ROW(0, b->last))))
			return -ENOMEM;
	}
	return 0;
}

static int add_row(struct cfi_sink *sink, uint64_t from, const struct unwind_rule *rule)
{
	struct builder *b = (struct builder *)sink;
	uint32_t index = b->last;
	int err = 0;

	if (memcmp(&b->rules.data[b->last], rule, sizeof(*rule)) != 0)
		err = intern(b, rule, &index);
	if (err || index == b->last)
		return err;
	err = begin_pages(b, from);
	if (err)
		return err;
	b->last = index;
	return vec__push(&b->rows, UNWIND_ROW((from - b->text_start) & (UNWIND_PAGE_SIZE - 1), index));
}

/* The rule of a filler at an address, or NULL; it, or nothing, holds up to *end, which is lowered. */
static const struct unwind_rule *within(const struct filler *f, uint64_t at, uint64_t *end)
{
	bool inside = f->start <= at && at < f->end;
	uint64_t stop = inside ? f->end : f->start;

	if (stop > at && stop < *end)
		*end = stop;
	return inside ? &f->rule : NULL;
}

/* Between functions: nothing, except where a filler is, or code that was followed. */
static int add_gap(struct builder *b, uint64_t from, uint64_t to)
{
	static const struct unwind_rule none = {.cfa = UNWIND_NONE};
	const filler_list *followed = &b->source->followed;

	while (from < to) {
		const struct unwind_rule *rule = NULL;
		uint64_t end = to;
		int err;

		for (size_t i = 0; i < b->source->nfillers && !rule; i++)
			rule = within(&b->source->fillers[i], from, &end);
		while (b->followed < followed->len && followed->data[b->followed].end <= from)
			b->followed++;
		if (!rule && b->followed < followed->len)
			rule = within(&followed->data[b->followed], from, &end);
		err = add_row(&b->sink, from, rule ?: &none);
		if (err)
			return err;
		from = end;
	}
	return 0;
}

/* The rules of a function, but for an end that lands in another frame. */
struct landing {
	struct cfi_sink sink; /* the first member */
	struct builder *b;
	filler_list end;          /* what holds there; empty while it is being looked for */
	uint64_t leaves;          /* from there on CFA is by rcx; 0: it is not */
	struct unwind_rule after; /* what holds behind it, as far as is known */
	bool added;
};

static int find_landing(struct cfi_sink *sink, uint64_t from, const struct unwind_rule *rule)
{
	struct landing *l = (struct landing *)sink;

	if (!l->leaves && rule->cfa == UNWIND_REG && rule->reg == 2)
		l->leaves = from;
	return 0;
}

static int add_end(struct landing *l)
{
	int err = 0;

	for (size_t i = 0; i < l->end.len && !err; i++)
		err = add_row(&l->b->sink, l->end.data[i].start, &l->end.data[i].rule);
	l->added = true;
	return err ? err : add_row(&l->b->sink, l->end.data[l->end.len - 1].end, &l->after);
}

static int add_row_around(struct cfi_sink *sink, uint64_t from, const struct unwind_rule *rule)
{
	struct landing *l = (struct landing *)sink;
	int err = 0;

	if (from > l->end.data[l->end.len - 1].end && !l->added)
		err = add_end(l);
	l->after = *rule;
	return err || (from >= l->end.data[0].start && !l->added) ? err : add_row(&l->b->sink, from, rule);
}

/* Finds what holds at the end of the function; all of it is unknown where its code is of another kind. */
static int read_landing(struct landing *l, const struct cfi_fde *f, uint64_t end)
{
	static const struct unwind_rule unknown = {.cfa = UNWIND_UNKNOWN};
	size_t n = end - f->start < FOLLOW_MAX_CODE ? (size_t)(end - f->start) : FOLLOW_MAX_CODE;
	_cleanup_free_ uint8_t *code = malloc(n);
	bool may = !unwind_work__take(&l->b->source->work, n / A_INSN);
	int err = !code ? -ENOMEM : may ? elf__read_address(l->b->source->elf, f->start, code, n) : -E2BIG;

	if (!err)
		err = landing_x86(code, n, f->start, l->leaves, &l->end);
	if (err && err != -ENOMEM)
		err = vec__push(&l->end, (struct filler){f->start, end, unknown});
	return err || !may ? err : vec__push(&l->b->source->code, (struct code_range){f->start, f->start + n});
}

/* A function that saves rax and rdx, with the rules that it has in b if it does not land anywhere: it is the cold part
 * of one. */
static int add_landing(struct builder *b, const struct cfi *cfi, const struct cfi_fde *f, uint64_t end,
		       const struct builder *before)
{
	struct landing l = {.sink = {.rule = find_landing}, .b = b};
	const struct cfi_cie *cie = &cfi->cies.data[f->cie];
	int err = cfi__run(cfi->arch, cie, f, end, &l.sink);

	if (err || !l.leaves)
		return err;
	err = read_landing(&l, f, end);
	if (!err) {
		b->rows.len = before->rows.len;
		b->pages.len = before->pages.len;
		b->last = before->last;
		l.sink.rule = add_row_around;
		err = cfi__run(cfi->arch, cie, f, end, &l.sink);
	}
	if (!err && !l.added)
		err = add_end(&l);
	vec__free(&l.end);
	return err;
}

/* A function that is not believed. */
static int add_untold(struct builder *b, const struct cfi_fde *f, uint64_t end)
{
	const filler_list *untold = &b->source->untold;
	size_t i = vec__count_first(untold, it, it->start < f->start);
	int err = 0;

	for (; i < untold->len && untold->data[i].start < end && !err; i++)
		err = add_row(&b->sink, untold->data[i].start, &untold->data[i].rule);
	return err;
}

static int add_function(struct builder *b, const struct cfi *cfi, const struct cfi_fde *f, uint64_t end)
{
	static const struct unwind_rule unknown = {.cfa = UNWIND_UNKNOWN};
	const struct cfi_cie *cie = &cfi->cies.data[f->cie];
	const struct builder before = *b;
	int err;

	if (f->untold) {
		b->table->nfunctions++;
		return add_untold(b, f, end);
	}
	b->sink.saves = 0;
	err = cie->bad ? -EBADMSG : cfi__run(cfi->arch, cie, f, end, &b->sink);
	b->table->nfunctions++;
	if (!err && b->sink.saves == 3 && cfi->arch->machine == EM_X86_64)
		return add_landing(b, cfi, f, end, &before);
	if (err != -EBADMSG)
		return err;
	/* What it had before it went wrong is not to be trusted either. */
	b->table->nbad++;
	b->rows.len = before.rows.len;
	b->pages.len = before.pages.len;
	b->last = before.last;
	return add_row(&b->sink, f->start, &unknown);
}

static int by_start(const void *a, const void *b)
{
	const struct cfi_fde *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void sort_functions(struct cfi *cfi)
{
	for (size_t i = 1; i < cfi->fdes.len; i++) {
		if (cfi->fdes.data[i - 1].start > cfi->fdes.data[i].start) {
			qsort(cfi->fdes.data, cfi->fdes.len, sizeof(*cfi->fdes.data), by_start);
			return;
		}
	}
}

/* Rows of all functions and gaps. */
static int add_all(struct builder *b, const struct cfi *cfi)
{
	uint64_t at = b->text_start, end = at;
	size_t n = cfi->fdes.len;
	int err = 0;

	for (size_t i = 0; i < b->source->nfillers; i++)
		if (b->source->fillers[i].end > end)
			end = b->source->fillers[i].end;
	if (b->source->followed.len && b->source->followed.data[b->source->followed.len - 1].end > end)
		end = b->source->followed.data[b->source->followed.len - 1].end;
	for (size_t i = 0; i < n && !err; i++) {
		const struct cfi_fde *f = &cfi->fdes.data[i];
		uint64_t stop = f->end;

		if (f->start < at) /* a second one of the same start */
			continue;
		/* As in libgcc's binary search, of two that overlap the one that begins later has the address. */
		for (size_t j = i + 1; j < n && cfi->fdes.data[j].start < stop; j++) {
			if (cfi->fdes.data[j].start > f->start) {
				stop = cfi->fdes.data[j].start;
				break;
			}
		}
		err = unwind_work__take(cfi->work, 0);
		if (!err)
			err = add_gap(b, at, f->start);
		if (!err)
			err = add_function(b, cfi, f, stop);
		at = stop;
	}
	if (end < at)
		end = at;
	return err ? err : add_gap(b, at, end + 1); /* one more: from there on there is nothing */
}

static int finish(struct builder *b)
{
	struct unwind_table *t = b->table;

	t->npages = (uint32_t)b->pages.len;
	t->text_start = b->text_start;
	if (vec__push(&b->pages, (uint32_t)b->rows.len))
		return -ENOMEM;
	t->nrows = (uint32_t)b->rows.len;
	t->nrules = (uint32_t)b->rules.len;
	t->pages = take_ptr(b->pages.data);
	t->rows = take_ptr(b->rows.data);
	t->rules = take_ptr(b->rules.data);
	return 0;
}

static int compile(struct builder *b, struct unwind_source *source, struct err *e)
{
	static const struct unwind_rule none = {.cfa = UNWIND_NONE};
	struct cfi *cfi = &source->cfi;
	uint64_t first;
	int err = cfi__parse(source->elf, cfi, e);

	if (err)
		return err;
	sort_functions(cfi);
	err = gaps__follow(source->elf, cfi, &source->followed, &source->code);
	if (!err)
		err = forks__find(source->elf, cfi, &source->followed, &source->code);
	if (!err)
		err = untold__follow(source->elf, cfi, &source->untold, &source->code);
	if (err)
		return err__errno(e, err, "cannot make the unwind table");
	first = cfi->fdes.data[0].start;
	if (source->followed.len && source->followed.data[0].start < first)
		first = source->followed.data[0].start;
	for (size_t i = 0; i < source->nfillers; i++)
		if (source->fillers[i].start < first)
			first = source->fillers[i].start;
	b->text_start = first & ~(uint64_t)(UNWIND_PAGE_SIZE - 1);
	if (getrandom(&b->seed, sizeof(b->seed), GRND_NONBLOCK) < 0)
		b->seed = (uint64_t)(uintptr_t)b;
	b->table->machine = cfi->arch->machine;
	err = intern(b, &none, &b->last);
	if (!err)
		err = add_all(b, cfi);
	if (!err)
		err = finish(b);
	if (!err) /* what has been left out because of that is not to be believed */
		err = unwind_work__take(cfi->work, 0);
	if (err == -E2BIG)
		err__set(e, err, "more unwind rules or code than a table holds");
	else if (err)
		err__errno(e, err, "cannot make the unwind table");
	return err;
}

int unwind_source__open(struct elf *elf, const atomic_bool *stop, struct unwind_source *s, struct err *e)
{
	int err;

	*s = (struct unwind_source){.elf = elf, .work = {UNWIND_WORK, stop}};
	err = cfi__read(elf, &s->work, &s->cfi, e);
	if (!err)
		s->nfillers = filler__find(elf, s->cfi.arch, s->fillers);
	return err;
}

void unwind_source__close(struct unwind_source *s)
{
	cfi__free(&s->cfi);
	vec__free(&s->followed);
	vec__free(&s->untold);
	vec__free(&s->code);
}

int unwind_source__compile(struct unwind_source *s, struct unwind_table **out, struct err *e)
{
	struct builder b = {.sink = {.rule = add_row}, .source = s};
	int err;

	b.table = calloc(1, sizeof(*b.table));
	if (!b.table)
		return err__set(e, -ENOMEM, "out of memory");
	err = compile(&b, s, e);
	vec__free(&b.rows);
	vec__free(&b.pages);
	vec__free(&b.rules);
	free(b.slots);
	if (err)
		unwind_table__free(b.table);
	else
		*out = b.table;
	return err;
}

int unwind_table__build(struct elf *elf, struct unwind_table **out, struct err *e)
{
	_cleanup_(unwind_source__close) struct unwind_source s;
	int err = unwind_source__open(elf, NULL, &s, e);

	return err ? err : unwind_source__compile(&s, out, e);
}

void unwind_table__free(struct unwind_table *t)
{
	if (!t)
		return;
	free(t->pages);
	free(t->rows);
	free(t->rules);
	free(t);
}

int unwind_table__lookup(const struct unwind_table *t, uint64_t addr, struct unwind_rule *out)
{
	uint64_t page = (addr - t->text_start) >> UNWIND_PAGE_SHIFT;
	uint32_t lo, hi;

	if (addr < t->text_start || page >= t->npages)
		return -ENOENT;
	/* the last row that is not above the address is in [lo, hi) */
	lo = t->pages[page];
	hi = t->pages[page + 1];
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (UNWIND_ROW_OFFSET(t->rows[mid]) <= (addr & (UNWIND_PAGE_SIZE - 1)))
			lo = mid;
		else
			hi = mid;
	}
	*out = t->rules[UNWIND_ROW_RULE(t->rows[lo])];
	return out->cfa == UNWIND_NONE ? -ENOENT : 0;
}

size_t unwind_table__memory(const struct unwind_table *t)
{
	return sizeof(*t) + t->nrows * sizeof(*t->rows) + (t->npages + 1) * sizeof(*t->pages) +
	       t->nrules * sizeof(*t->rules);
}

int unwind__functions_at(struct elf *elf, const uint64_t addrs[], size_t n, uint64_t starts[], uint64_t ends[],
			 struct err *e)
{
	struct unwind_work work = {.left = UNWIND_WORK};
	_cleanup_(cfi__free) struct cfi cfi = {0};
	int err = cfi__read(elf, &work, &cfi, e);

	if (!err)
		err = cfi__parse(elf, &cfi, e);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++)
		starts[i] = ends[i] = 0;
	vec__foreach(&cfi.fdes, f) {
		for (size_t i = 0; i < n; i++) {
			if (addrs[i] < f->start || addrs[i] >= f->end || (ends[i] && starts[i] >= f->start))
				continue;
			starts[i] = f->start;
			ends[i] = f->end;
		}
	}
	return 0;
}
