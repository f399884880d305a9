// SPDX-License-Identifier: Apache-2.0
/*
 * Compares our unwind tables with what readelf (GNU binutils) makes of the same files.
 *
 * usage: unwind_diff FILE ...
 *
 * `readelf --debug-dump=frames-interp` tells the rules of each function row by row; where it says just "exp", the
 * expressions come from --debug-dump=frames. Every address of every function is compared: CFA, return address, frame pointer
 * and rbx; between functions there must be no rules but those of PLTs, _init, _fini and _start.
 * Of functions that overlap, the one that begins last has an address; functions outside of code segments
 * do not count. Prints one line for each file, the first differences, and at the end `files F functions N rows R
 * differences D unknown U`: rows of ours, and those with a rule that no table has. Exit status: 0, 1 with differences,
 * 2 when readelf cannot be run or read.
 */
#include <errno.h>

#include "unwind_readelf.h"

#define SHOWN 10

static int reg_of(const char *expression, int64_t *off, const char **rest)
{
	int reg, n = 0;

	if (sscanf(expression, "(DW_OP_breg%d (%*[a-z0-9]): %" SCNd64 "%n", &reg, off, &n) != 2 || !n)
		return -1;
	*rest = expression + n;
	return reg;
}

/* The CFA of an expression, as a table has it; UNWIND_UNKNOWN. */
static struct unwind_rule cfa_of(const struct file *f, const char *expression)
{
	struct unwind_rule r = {.cfa = UNWIND_UNKNOWN};
	const char *rest;
	int64_t off, more = 0;
	int reg = reg_of(expression, &off, &rest), n = 0, at;

	if (reg != sp_of(f) && reg != fp_of(f))
		return r;
	if (sscanf(rest,
		   "; DW_OP_breg%d (%*[a-z0-9]): 0; DW_OP_lit8; DW_OP_mul; DW_OP_plus; DW_OP_deref; DW_OP_plus_uconst: %" SCNd64 ")%n",
		   &at, &more, &n) == 2 &&
	    n)
		r = (struct unwind_rule){.cfa = UNWIND_INDEXED, .cfa_off = (int32_t)off, .deref_off = (int32_t)more, .reg = (uint8_t)at};
	else if (sscanf(rest,
		   "; DW_OP_breg16 (rip): 0; DW_OP_lit15; DW_OP_and; DW_OP_lit%d; DW_OP_ge; DW_OP_lit3; DW_OP_shl; "
		   "DW_OP_plus)%n",
		   &at, &n) == 1 &&
	    n)
		r = (struct unwind_rule){.cfa = UNWIND_PLT, .cfa_off = (int32_t)off, .reg = (uint8_t)at};
	else if (!strncmp(rest, ")", 1))
		r = (struct unwind_rule){.cfa = reg == sp_of(f) ? UNWIND_SP : UNWIND_FP, .cfa_off = (int32_t)off};
	else if (!strncmp(rest, "; DW_OP_deref)", 14) ||
		 sscanf(rest, "; DW_OP_deref; DW_OP_plus_uconst: %" SCNd64 ")", &more) == 1)
		r = (struct unwind_rule){.cfa = reg == sp_of(f) ? UNWIND_SP_DEREF : UNWIND_FP_DEREF,
					 .cfa_off = (int32_t)off,
					 .deref_off = (int32_t)more};
	return r;
}

/* Is there an expression of the function, or of its CIE, that means what we say? */
static bool by_expression(const struct file *f, const struct entry *e, enum column column,
			  const struct unwind_rule *ours)
{
	const struct entry *parts[] = {e, &f->cies.data[e->cie]};
	bool found = false;

	for (size_t p = 0; p < 2 && !found; p++) {
		for (size_t i = 0; i < parts[p]->raws && !found; i++) {
			const struct raw *raw = &f->raws.data[parts[p]->first_raw + i];
			struct unwind_rule r;
			const char *rest;
			int64_t off;
			int reg;

			if (raw->column != column || !raw->expression)
				continue;
			if (column == CFA) {
				r = cfa_of(f, raw->expression);
				found = ours->cfa_off == r.cfa_off && ours->deref_off == r.deref_off &&
					ours->reg == r.reg &&
					(ours->cfa == r.cfa ||
					 (ours->cfa == UNWIND_SIGNAL && r.cfa == UNWIND_SP_DEREF));
				continue;
			}
			reg = reg_of(raw->expression, &off, &rest);
			if (reg < 0 || rest[0] != ')')
				reg = -1;
			if (column == BX)
				found = ours->flags & UNWIND_BX_UNKNOWN;
			else if (column == RA)
				found = reg == sp_of(f) ? ours->cfa == UNWIND_SIGNAL && ours->ra_off == off
							: ours->cfa == UNWIND_UNKNOWN;
			else if (reg == sp_of(f) || reg == fp_of(f))
				found = ours->fp == (reg == sp_of(f) ? UNWIND_FP_AT_SP : UNWIND_FP_AT_FP) &&
					ours->fp_off == off;
			else
				found = ours->fp == UNWIND_FP_UNKNOWN;
		}
	}
	return found;
}

static bool is_undefined(const struct file *f, const struct entry *e, enum column column)
{
	const struct entry *parts[] = {e, &f->cies.data[e->cie]};

	for (size_t p = 0; p < 2; p++)
		for (size_t i = 0; i < parts[p]->raws; i++)
			if (f->raws.data[parts[p]->first_raw + i].column == column &&
			    !f->raws.data[parts[p]->first_raw + i].expression)
				return true;
	return false;
}

static bool same_cfa(const struct file *f, const struct entry *e, const char *says, const struct unwind_rule *ours)
{
	size_t n = strcspn(says, "+-");
	int reg = number(f, says, n);
	int64_t off = strtoll(says + n, NULL, 10);

	if (!strcmp(says, "exp"))
		return by_expression(f, e, CFA, ours);
	if (reg < 0 || ours->cfa_off != off || ours->deref_off)
		return false;
	if (reg == sp_of(f))
		return ours->cfa == UNWIND_SP && !ours->reg;
	if (reg == fp_of(f))
		return ours->cfa == UNWIND_FP && !ours->reg;
	return ours->cfa == UNWIND_REG && ours->reg == reg;
}

/* Is our place, of a kind that is from CFA or one that is from SP, the one of readelf's "c-N"? */
static bool same_place(const struct unwind_rule *ours, bool from_cfa, bool from_sp, int64_t off, const char *says)
{
	int64_t from = from_sp && ours->cfa == UNWIND_SP ? off - ours->cfa_off : off;

	return (from_cfa || from_sp) && says[0] == 'c' && from == strtoll(says + 1, NULL, 10);
}

static bool same_bx(const struct file *f, const struct entry *e, const char *says, const struct unwind_rule *ours)
{
	if (!says[0] || !strcmp(says, "s"))
		return !(ours->flags & (UNWIND_BX_SAVED | UNWIND_BX_UNKNOWN));
	if (!strcmp(says, "u"))
		return !(ours->flags & UNWIND_BX_SAVED) && (!(ours->flags & UNWIND_BX_UNKNOWN) || is_undefined(f, e, BX));
	if (says[0] == 'c')
		return ours->flags & UNWIND_BX_SAVED && ours->bx_off == strtoll(says + 1, NULL, 10);
	return ours->flags & UNWIND_BX_UNKNOWN; /* an expression, or another register */
}

/* The end of libgcc's functions that go on in another frame, of which user/unwind/landing_x86.h says why it is not as
 * readelf has it. */
static bool lands(const struct file *f, const struct entry *e, const struct row *row, const struct unwind_rule *ours)
{
	if (f->machine != EM_X86_64)
		return false;
	if (ours->cfa == UNWIND_LANDING)
		return !strcmp(row->says[CFA], "rbp+16") && !strcmp(row->says[RA], "c-8");
	if (ours->ra_off == UNWIND_RA_SAME)
		return !strcmp(row->says[CFA], "rsp+0") || !strcmp(row->says[CFA], "rsp+8");
	return ours->flags == UNWIND_SIGNAL_FRAME && ours->ra_off == -8 && !strcmp(row->says[RA], "c-8") &&
	       same_cfa(f, e, row->says[CFA], ours);
}

/* A function that says nothing, and begins with a push: user/unwind/untold.h. */
static bool is_untold(const struct file *f, const struct entry *e)
{
	return !e->rows && vec__count_first(&f->untold, it, it->start < e->start) <
				   vec__count_first(&f->untold, it, it->start <= e->start);
}

static bool same(const struct file *f, const struct entry *e, const struct row *row, const struct unwind_rule *ours)
{
	const char *ra = row->says[RA], *fp = row->says[FP];
	bool link_register = f->machine == EM_AARCH64;

	if (lands(f, e, row, ours) || is_untold(f, e))
		return true;
	/* "u" is said of both undefined registers and those that nothing was said about */
	if (!strcmp(ra, "u") && (!link_register || is_undefined(f, e, RA)))
		return ours->cfa == UNWIND_END;
	if (strcmp(ra, "exp") != 0 && strncmp(ra, "c-", 2) != 0 && strncmp(ra, "c+", 2) != 0 && !link_register)
		return ours->cfa == UNWIND_UNKNOWN;
	if (!strcmp(row->says[CFA], "exp") && ours->cfa == UNWIND_UNKNOWN)
		return by_expression(f, e, CFA, ours);
	if (!strcmp(ra, "exp") ? !by_expression(f, e, RA, ours)
	    : ra[0] == 'c'     ? !same_place(ours, !(ours->flags & UNWIND_RA_AT_SP), ours->flags & UNWIND_RA_AT_SP,
					     ours->ra_off, ra)
			       : ours->ra_off != UNWIND_RA_SAME)
		return false;
	if (!same_cfa(f, e, row->says[CFA], ours) || !same_bx(f, e, row->says[BX], ours))
		return false;
	if (!fp[0] || !strcmp(fp, "u") || !strcmp(fp, "s"))
		return ours->fp == UNWIND_FP_SAME ||
		       (ours->fp == UNWIND_FP_UNKNOWN && fp[0] == 'u' && is_undefined(f, e, FP));
	if (!strcmp(fp, "exp"))
		return by_expression(f, e, FP, ours);
	if (fp[0] == 'c')
		return same_place(ours, ours->fp == UNWIND_FP_SAVED, ours->fp == UNWIND_FP_AT_SP, ours->fp_off, fp);
	return ours->fp == UNWIND_FP_UNKNOWN;
}

/* The address behind `addr` from which another row of ours may hold. */
static uint64_t next_change(const struct unwind_table *t, uint64_t addr)
{
	uint64_t page = (addr - t->text_start) >> UNWIND_PAGE_SHIFT, base = addr & ~(uint64_t)(UNWIND_PAGE_SIZE - 1);
	uint32_t lo, hi;

	if (addr < t->text_start || page >= t->npages)
		return base + UNWIND_PAGE_SIZE;
	lo = t->pages[page];
	hi = t->pages[page + 1];
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (UNWIND_ROW_OFFSET(t->rows[mid]) <= (addr & (UNWIND_PAGE_SIZE - 1)))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo == t->pages[page + 1] ? base + UNWIND_PAGE_SIZE : base + UNWIND_ROW_OFFSET(t->rows[lo]);
}

static void compare_row(struct file *f, const struct entry *e, const struct row *row, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct unwind_rule ours = {0};
		int err = f->table ? unwind_table__lookup(f->table, from, &ours) : -ENOENT;

		f->compared++;
		f->unknown += ours.cfa == UNWIND_UNKNOWN;
		if ((err || !same(f, e, row, &ours)) && f->differences++ < SHOWN)
			printf("  at %" PRIx64 " (function %" PRIx64
			       "): readelf says CFA %s FP %s RA %s rbx %s; we say kind %d "
			       "register %d offsets %d %d, FP kind %d offset %d, RA offset %d, flags %d rbx offset %d\n",
			       from, e->start, row->says[CFA], row->says[FP], row->says[RA], row->says[BX], ours.cfa, ours.reg,
			       ours.cfa_off, ours.deref_off, ours.fp, ours.fp_off, ours.ra_off, ours.flags, ours.bx_off);
		from = f->table ? next_change(f->table, from) : to;
	}
}

static void compare_function(struct file *f, const struct entry *e, uint64_t end)
{
	const struct entry *rows = e->rows ? e : &f->cies.data[e->cie]; /* no instructions of its own */

	if (!rows->rows)
		broken("readelf tells a function without rows");
	for (size_t i = 0; i < rows->rows; i++) {
		const struct row *row = &f->rows.data[rows->first + i];
		uint64_t from = e->rows ? row->from : e->start;
		uint64_t to = i + 1 < rows->rows ? row[1].from : end;

		compare_row(f, e, row, from, to < end ? to : end);
	}
}

static uint64_t code_end(const struct elf *elf, uint64_t addr)
{
	for (size_t i = 0; i < elf__segment_count(elf); i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type == PT_LOAD && s->flags & PF_X && addr >= s->vaddr && addr < s->vaddr + s->filesz)
			return s->vaddr + s->filesz;
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* What a linker or C library leaves undescribed and we know. */
static bool is_filled(const struct file *f, struct elf *elf, uint64_t addr, const struct unwind_rule *ours)
{
	static const char *const names[] = {".plt", ".plt.sec", ".plt.got", ".init", ".fini"};
	struct elf_section s;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!elf__section(elf, names[i], &s) && addr >= s.addr && addr - s.addr < s.size)
			return ours->cfa == UNWIND_SP || ours->cfa == UNWIND_PLT;
	/* follow_diff.c is about these */
	for (size_t i = 0; i < f->followed.len; i++)
		if (addr >= f->followed.data[i].start && addr < f->followed.data[i].end)
			return true;
	return addr - elf__info(elf)->entry < 128 && ours->cfa == UNWIND_END;
}

/* Between functions. */
static void compare_gap(struct file *f, struct elf *elf, uint64_t from, uint64_t to)
{
	while (f->table && from < to) {
		struct unwind_rule ours;

		f->compared++;
		if (!unwind_table__lookup(f->table, from, &ours) && !is_filled(f, elf, from, &ours) &&
		    f->differences++ < SHOWN)
			printf("  at %" PRIx64 ": no function, but kind %d offset %d\n", from, ours.cfa, ours.cfa_off);
		from = next_change(f->table, from);
	}
}

static void compare(struct file *f, struct elf *elf)
{
	uint64_t last = UINT64_MAX, at = f->table ? f->table->text_start : 0;

	qsort(f->functions.data, f->functions.len, sizeof(*f->functions.data), by_start);
	for (size_t i = 0; i < f->functions.len; i++) {
		const struct entry *e = &f->functions.data[i];
		uint64_t end = e->end, limit = code_end(elf, e->start);

		if (!limit || e->start >= e->end) {
			f->outside++;
			continue;
		}
		if (e->start == last) {
			f->shadowed++;
			continue;
		}
		last = e->start;
		for (size_t j = i + 1; j < f->functions.len && f->functions.data[j].start < end; j++)
			if (f->functions.data[j].start > e->start &&
			    f->functions.data[j].end > f->functions.data[j].start) {
				end = f->functions.data[j].start;
				f->shadowed++;
				break;
			}
		compare_gap(f, elf, at, e->start);
		at = end < limit ? end : limit;
		compare_function(f, e, at);
	}
	if (f->table)
		compare_gap(f, elf, at, f->table->text_start + ((uint64_t)f->table->npages << UNWIND_PAGE_SHIFT));
}

static void one(const char *path, int64_t totals[5])
{
	struct err e = {0};
	struct elf *elf = NULL;
	struct file f = {0};
	struct unwind_source source = {0};
	int fd = elf__open_path(path), err = fd < 0 ? fd : elf__open(fd, &elf, &e);

	if (!err) {
		f.machine = elf__info(elf)->machine;
		err = unwind_source__open(elf, NULL, &source, &e);
		if (!err)
			err = unwind_source__compile(&source, &f.table, &e);
		f.followed = source.followed;
		f.untold = source.untold;
		readelf(&f, path, "--debug-dump=frames-interp,no-follow-links", read_interp);
		readelf(&f, path, "--debug-dump=frames,no-follow-links", read_raw);
		compare(&f, elf);
	}
	printf("%s: functions %zu rows %" PRId64 " differences %" PRId64 " unknown %" PRId64 " outside %" PRId64
	       " shadowed %" PRId64 " bad %u%s%s\n",
	       path, f.functions.len, f.compared, f.differences, f.unknown, f.outside, f.shadowed,
	       f.table ? f.table->nbad : 0, err ? " " : "", err ? e.text : "");
	fflush(stdout);
	totals[0]++;
	totals[1] += (int64_t)f.functions.len;
	totals[2] += f.compared;
	totals[3] += f.differences + (f.table ? f.table->nbad : 0);
	totals[4] += f.unknown;
	unwind_table__free(f.table);
	vec__foreach(&f.raws, raw)
		free(raw->expression);
	vec__free(&f.raws);
	vec__free(&f.rows);
	vec__free(&f.cies);
	vec__free(&f.functions);
	unwind_source__close(&source);
	elf__close(elf);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	int64_t totals[5] = {0};

	if (argc < 2)
		broken("which files?");
	for (int i = 1; i < argc; i++)
		one(argv[i], totals);
	printf("files %" PRId64 " functions %" PRId64 " rows %" PRId64 " differences %" PRId64 " unknown %" PRId64 "\n",
	       totals[0], totals[1], totals[2], totals[3], totals[4]);
	return totals[3] != 0;
}
