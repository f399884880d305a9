// SPDX-License-Identifier: Apache-2.0
#include "unwind/cache_hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "unwind/siphash.h"

#define PART ((size_t)16 << 10) /* bytes read at a time */

/* Which functions there are, for those that call frame information leaves out. */
static uint64_t hash_symbols(const uint64_t key[2], struct elf *elf, uint64_t h)
{
	uint8_t part[PART];
	struct elf_section s;

	if (!gaps__symbols(elf, &s))
		return h;
	h = siphash(key, h, &s.size, sizeof(s.size));
	for (uint64_t at = 0; at < s.size; at += PART) {
		size_t n = s.size - at < PART ? s.size - at : PART;

		if (elf__read(elf, s.offset + at, part, n))
			break;
		h = siphash(key, h, part, n);
	}
	return h;
}

void cache_hash__name(const uint64_t key[2], uint32_t version, const struct unwind_source *s, char name[CACHE_NAME_MAX])
{
	const struct elf_info *info = elf__info(s->elf);
	const uint64_t facts[] = {version, info->type, info->machine, info->entry};
	uint64_t h = hash_symbols(key, s->elf, siphash(key, 0, facts, sizeof(facts)));

	for (size_t i = 0; i < elf__segment_count(s->elf); i++) {
		const struct elf_segment *l = elf__segment(s->elf, i);
		const uint64_t words[] = {l->type, l->flags, l->offset, l->vaddr, l->filesz};

		h = siphash(key, h, words, sizeof(words));
	}
	for (size_t i = 0; i < s->nfillers; i++) {
		const struct filler *f = &s->fillers[i];
		const uint64_t range[] = {f->start, f->end};

		h = siphash(key, h, range, sizeof(range));
		h = siphash(key, h, &f->rule, sizeof(f->rule));
	}
	for (size_t i = 0; i < s->cfi.sections.len; i++) {
		const struct cfi_section *section = &s->cfi.sections.data[i];
		const uint64_t words[] = {section->addr, section->size, section->datarel, section->eh,
					  section->endless};

		h = siphash(key, h, words, sizeof(words));
		h = siphash(key, h, section->data, section->size);
	}
	snprintf(name, CACHE_NAME_MAX, "%016" PRIx64, h);
}

static int by_start(const void *a, const void *b)
{
	const struct code_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void cache_hash__sort(code_ranges *ranges)
{
	size_t n = 0;

	if (ranges->len)
		qsort(ranges->data, ranges->len, sizeof(*ranges->data), by_start);
	for (size_t i = 0; i < ranges->len; i++) {
		struct code_range *last = n ? &ranges->data[n - 1] : NULL, r = ranges->data[i];

		if (!last || (r.start != last->start && r.start >= last->end))
			ranges->data[n++] = r;
		else if (r.end > last->end)
			last->end = r.end;
	}
	ranges->len = n;
}

bool cache_hash__code(const uint64_t key[2], struct elf *elf, const struct code_range *ranges, size_t n,
		      const atomic_bool *stop, uint64_t *out)
{
	uint8_t part[PART];
	uint64_t h = 0;

	for (size_t i = 0; i < n; i++) {
		h = siphash(key, h, &ranges[i], sizeof(ranges[i]));
		for (uint64_t at = ranges[i].start; at < ranges[i].end; at += PART) {
			size_t size = ranges[i].end - at < PART ? ranges[i].end - at : PART;

			if ((stop && atomic_load_explicit(stop, memory_order_relaxed)) ||
			    elf__read_address(elf, at, part, size))
				return false;
			h = siphash(key, h, part, size);
		}
	}
	*out = h;
	return true;
}
