// SPDX-License-Identifier: Apache-2.0
/* The side that reads: all that calls libdw. It may crash. */
#include "symbolize/dwarf_worker.h"

#include <dwarf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <elfutils/libdw.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"

#define MAX_RANGES (1 << 16) /* of one function or unit */
#define MAX_DEPTH  256
#define MAX_BACK   32 /* ranges before the right one that are looked at: units and functions hardly overlap */

struct range {
	uint64_t start, end;
	Dwarf_Off die;
};

struct ranges {
	struct vec(struct range) list;
};

struct worker {
	Dwarf *dwarf;
	struct ranges units;
	struct hmap functions; /* offset of the unit -> struct ranges * */
};

static int add_ranges(struct ranges *to, Dwarf_Die *die)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;

	for (int i = 0; i < MAX_RANGES && (at = dwarf_ranges(die, at, &base, &start, &end)) > 0; i++) {
		if (start < end && vec__push(&to->list, (struct range){start, end, dwarf_dieoffset(die)}))
			return -ENOMEM;
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end > y->end ? -1 : x->end < y->end;
}

static void sort(struct ranges *r)
{
	if (r->list.len)
		qsort(r->list.data, r->list.len, sizeof(struct range), by_start);
}

/* The last to start of those that hold the address: linkers leave discarded code at 0, where it overlaps with other code. */
static const struct range *find(const struct ranges *r, uint64_t addr)
{
	size_t low = vec__count_first(&r->list, it, it->start <= addr);

	for (int i = 0; i < MAX_BACK && low; i++) {
		if (addr < r->list.data[--low].end)
			return &r->list.data[low];
	}
	return NULL;
}

/* .debug_aranges would say the same, where the compiler wrote it. */
static int index_units(struct worker *w)
{
	Dwarf_CU *unit = NULL;
	Dwarf_Die die, sub;
	uint8_t type;

	while (dwarf_get_units(w->dwarf, unit, &unit, NULL, &type, &die, &sub) == 0) {
		if ((type == DW_UT_compile || type == DW_UT_partial) && add_ranges(&w->units, &die))
			return -ENOMEM;
	}
	sort(&w->units);
	return 0;
}

/* Functions with code, at whatever depth of namespaces, types and other functions. */
static int add_functions(struct ranges *to, Dwarf_Die *parent, int depth)
{
	Dwarf_Die die;

	if (depth > MAX_DEPTH || dwarf_child(parent, &die))
		return 0;
	do {
		int err = 0;

		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
			err = add_ranges(to, &die);
			break;
		case DW_TAG_namespace:
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
		case DW_TAG_enumeration_type:
		case DW_TAG_module:
			break;
		default:
			continue;
		}
		if (!err)
			err = add_functions(to, &die, depth + 1);
		if (err)
			return err;
	} while (dwarf_siblingof(&die, &die) == 0);
	return 0;
}

static const struct ranges *functions_of(struct worker *w, Dwarf_Die *unit)
{
	Dwarf_Off key = dwarf_dieoffset(unit);
	uint64_t *known = hmap__get(&w->functions, key);
	struct ranges *r;

	if (known)
		return (const struct ranges *)(uintptr_t)*known;
	r = calloc(1, sizeof(*r));
	if (!r || add_functions(r, unit, 0) || hmap__put(&w->functions, key, (uintptr_t)r))
		return NULL;
	sort(r);
	return r;
}

/* chain[0] is the function itself; adds what is inlined at the address, outermost first. Returns how many there are. */
static int add_inlined(Dwarf_Die *chain, int n, Dwarf_Die *parent, uint64_t addr, int depth)
{
	Dwarf_Die die;

	if (depth > MAX_DEPTH || n >= DWARF_MAX_FRAMES || dwarf_child(parent, &die))
		return n;
	do {
		int tag = dwarf_tag(&die);

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_lexical_block)
			continue;
		if (dwarf_haspc(&die, addr) <= 0)
			continue;
		if (tag == DW_TAG_inlined_subroutine)
			chain[n++] = die;
		return add_inlined(chain, n, &die, addr, depth + 1);
	} while (dwarf_siblingof(&die, &die) == 0);
	return n;
}

static const char *name_of(Dwarf_Die *die)
{
	static const unsigned int linkage[] = {DW_AT_linkage_name, DW_AT_MIPS_linkage_name};
	const char *name = NULL;
	Dwarf_Attribute attr;

	for (size_t i = 0; i < 2 && !name; i++)
		name = dwarf_formstring(dwarf_attr_integrate(die, linkage[i], &attr));
	if (!name)
		name = dwarf_diename(die);
	return name ? name : "";
}

static void call_site(Dwarf_Die *unit, Dwarf_Die *inlined, const char **file, uint32_t *line)
{
	Dwarf_Attribute attr;
	Dwarf_Files *files;
	Dwarf_Word number;
	size_t nfiles;

	*file = "";
	*line = 0;
	if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attr), &number) && number <= UINT32_MAX)
		*line = (uint32_t)number;
	if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attr), &number) &&
	    !dwarf_getsrcfiles(unit, &files, &nfiles) && number < nfiles)
		*file = dwarf_filesrc(files, number, NULL, NULL);
	if (!*file)
		*file = "";
}

static void source_line(Dwarf_Die *unit, uint64_t addr, const char **file, uint32_t *line)
{
	Dwarf_Line *entry = dwarf_getsrc_die(unit, addr);
	int number = 0;

	*file = entry ? dwarf_linesrc(entry, NULL, NULL) : NULL;
	if (!*file)
		*file = "";
	*line = entry && !dwarf_lineno(entry, &number) && number > 0 ? (uint32_t)number : 0;
}

static int add_text(struct str *text, const char *s, uint32_t *bytes)
{
	size_t n = strnlen(s, DWARF_MAX_TEXT - 1);

	*bytes = (uint32_t)n + 1;
	return str__add(text, s, n) || str__addc(text, '\0') ? -ENOMEM : 0;
}

/* Fills frames and text; returns how many frames, or -ENOMEM. */
static int look_up(struct worker *w, uint64_t addr, struct dwarf_answer_frame *frames, struct str *text)
{
	const struct range *unit_range = find(&w->units, addr), *function;
	Dwarf_Die unit, chain[DWARF_MAX_FRAMES];
	const struct ranges *functions;
	const char *file;
	uint32_t line;
	int n = 0;

	if (!unit_range || !dwarf_offdie(w->dwarf, unit_range->die, &unit))
		return 0;
	source_line(&unit, addr, &file, &line);
	functions = functions_of(w, &unit);
	if (!functions)
		return -ENOMEM;
	function = find(functions, addr);
	if (function && dwarf_offdie(w->dwarf, function->die, &chain[0]))
		n = add_inlined(chain, 1, &chain[0], addr, 0);
	for (int i = n; i-- > 0;) {
		struct dwarf_answer_frame *f = &frames[n - 1 - i];

		f->line = line;
		if (add_text(text, name_of(&chain[i]), &f->name_bytes) || add_text(text, file, &f->file_bytes))
			return -ENOMEM;
		if (i)
			call_site(&unit, &chain[i], &file, &line);
	}
	if (n || (!line && !*file))
		return n;
	/* assembly has lines, but no functions */
	frames[0].line = line;
	return add_text(text, "", &frames[0].name_bytes) || add_text(text, file, &frames[0].file_bytes) ? -ENOMEM : 1;
}

static bool open_dwarf(struct worker *w, int file, int alternate)
{
	Elf *elf;

	elf_version(EV_CURRENT);
	/* mapped, so that only what is read takes memory; should somebody cut the file, this process dies, and no other */
	elf = elf_begin(file, ELF_C_READ_MMAP, NULL);
	w->dwarf = elf ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
	if (!w->dwarf)
		return false;
	elf = alternate >= 0 ? elf_begin(alternate, ELF_C_READ_MMAP, NULL) : NULL;
	if (elf)
		dwarf_setalt(w->dwarf, dwarf_begin_elf(elf, DWARF_C_READ, NULL));
	return index_units(w) == 0;
}

/* Nothing is freed: the process ends. */
int dwarf_worker__run(int socket, int file, int alternate)
{
	struct worker w = {0};
	struct str text = {0};
	uint64_t addr;

	if (!open_dwarf(&w, file, alternate))
		w.units.list.len = 0;
	while (!dwarf_stream__read(socket, &addr, sizeof(addr))) {
		struct dwarf_answer_frame frames[DWARF_MAX_FRAMES];
		struct dwarf_answer head;
		int n;

		str__reset(&text);
		n = look_up(&w, addr, frames, &text);
		if (n < 0)
			return 1;
		head = (struct dwarf_answer){(uint32_t)n, (uint32_t)text.len};
		if (dwarf_stream__write(socket, &head, sizeof(head)) ||
		    dwarf_stream__write(socket, frames, (size_t)n * sizeof(frames[0])) ||
		    dwarf_stream__write(socket, text.data, text.len))
			return 1;
	}
	return 0;
}
