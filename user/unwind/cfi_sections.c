// SPDX-License-Identifier: Apache-2.0
/* Where a file keeps its call frame information, and reading it. */
#include "unwind/cfi.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"

#define MAX_BYTES    (64U << 20) /* of all sections; the largest in use have some 30 MB */
#define MAX_SECTIONS 64
#define MAX_RATIO    1032         /* what DEFLATE can reach at best */
#define MAX_DYNAMIC  4096         /* entries */
#define POINTER      16           /* so many instructions take as long as reading one */
#define PART         128          /* likewise, bytes of a section as one instruction */

enum {
	PE_ABSPTR = 0x00,
	PE_ULEB128 = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SIGNED = 0x08,
	PE_SLEB128 = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PCREL = 0x10,
	PE_DATAREL = 0x30,
	PE_ALIGNED = 0x50,
	PE_BASE = 0x70,
	PE_INDIRECT = 0x80,
};

static uint64_t read_formatted(struct cursor *c, uint8_t format, uint8_t address_size)
{
	switch (format) {
	case PE_ABSPTR:
		return cursor__fixed(c, address_size);
	case PE_ULEB128:
		return cursor__uleb(c);
	case PE_UDATA2:
		return cursor__fixed(c, 2);
	case PE_UDATA4:
		return cursor__fixed(c, 4);
	case PE_UDATA8:
	case PE_SDATA8:
		return cursor__fixed(c, 8);
	case PE_SIGNED:
		return (uint64_t)cursor__signed(c, address_size);
	case PE_SLEB128:
		return (uint64_t)cursor__sleb(c);
	case PE_SDATA2:
		return (uint64_t)cursor__signed(c, 2);
	case PE_SDATA4:
		return (uint64_t)cursor__signed(c, 4);
	default:
		c->bad = true;
		return 0;
	}
}

bool cfi_section__pointer(const struct cfi_section *s, struct cursor *c, uint8_t encoding, uint8_t address_size,
			  uint64_t *out)
{
	uint64_t place = s->addr + (uint64_t)(c->at - s->data), base = 0, value;

	switch (encoding & PE_BASE) {
	case PE_ABSPTR:
		break;
	case PE_PCREL:
		base = place;
		break;
	case PE_DATAREL:
		base = s->datarel;
		if (!base)
			return false;
		break;
	case PE_ALIGNED:
		cursor__take(c, -place & (address_size - 1));
		break;
	default: /* relative to .text or the function: nobody says what that is */
		return false;
	}
	value = base + read_formatted(c, encoding & PE_FORMAT, address_size);
	if (c->bad)
		return false;
	if (encoding & PE_INDIRECT) {
		uint64_t there = 0;

		if (unwind_work__take(s->work, POINTER) || elf__read_address(s->elf, value, &there, address_size))
			return false;
		value = there;
	}
	*out = value;
	return true;
}

static uint64_t plt_got(struct elf *elf)
{
	const struct elf_segment *s = elf__find_segment(elf, PT_DYNAMIC);
	size_t n = s ? s->filesz / sizeof(Elf64_Dyn) : 0;
	Elf64_Dyn d;

	for (size_t i = 0; i < n && i < MAX_DYNAMIC; i++) {
		if (elf__read(elf, s->offset + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_PLTGOT)
			return d.d_un.d_ptr;
	}
	return 0;
}

/* Replaces *data, from `at` on a zlib stream, by what it holds: `size` bytes. */
static int inflate_section(uint8_t **data, size_t n, size_t at, uint64_t size, struct err *e)
{
	_cleanup_free_ uint8_t *plain = NULL;
	uLongf got = size;

	if (size > MAX_BYTES || size / MAX_RATIO > n)
		return err__set(e, -EBADMSG, "a compressed section claims an impossible size");
	plain = malloc(size + 1);
	if (!plain)
		return err__set(e, -ENOMEM, "out of memory");
	if (uncompress(plain, &got, *data + at, n - at) != Z_OK || got != size)
		return err__set(e, -EBADMSG, "a compressed section is damaged");
	free(*data);
	*data = take_ptr(plain);
	return 0;
}

/* gABI "Compressed Sections"; .zdebug_* as GNU ld wrote it before: "ZLIB" and the size, high byte first. */
static int decompress(struct cfi_section *s, bool old, struct err *e)
{
	uint64_t size = 0;
	Elf64_Chdr h;

	if (old) {
		if (s->size < 12 || memcmp(s->data, "ZLIB", 4) != 0)
			return err__set(e, -EBADMSG, "a .zdebug section has no header");
		for (int i = 4; i < 12; i++)
			size = size << 8 | s->data[i];
	} else {
		if (s->size < sizeof(h))
			return err__set(e, -EBADMSG, "a compressed section has no header");
		memcpy(&h, s->data, sizeof(h));
		if (h.ch_type != ELFCOMPRESS_ZLIB)
			return err__set(e, -ENOENT, "the section is compressed by another method than zlib");
		size = h.ch_size;
	}
	int err = inflate_section(&s->data, s->size, old ? 12 : sizeof(h), size, e);

	if (!err)
		s->size = size;
	return err;
}

static int too_much(struct err *e)
{
	return err__set(e, -E2BIG, "call frame information of more than %u MB", MAX_BYTES >> 20);
}

static int add_section(cfi_sections *out, struct unwind_work *work, struct elf *elf, const struct elf_section *from,
		       bool eh, bool old, struct err *e)
{
	struct cfi_section s = {.elf = elf, .work = work, .size = from->size, .addr = from->addr, .eh = eh};
	size_t room = MAX_BYTES;
	int err = 0;

	if (from->type == SHT_NOBITS || !from->size)
		return 0;
	vec__foreach(out, before)
		room -= before->size;
	if (out->len >= MAX_SECTIONS)
		return err__set(e, -E2BIG, "call frame information in too many sections");
	if (from->size > room)
		return too_much(e);
	err = unwind_work__take(work, from->size / PART);
	if (err)
		return err__errno(e, err, "cannot read the call frame information");
	s.data = malloc(s.size);
	if (!s.data)
		return err__set(e, -ENOMEM, "out of memory");
	err = elf__read(elf, from->offset, s.data, s.size);
	if (err)
		err__errno(e, err, "cannot read the call frame information");
	else if (old || from->flags & SHF_COMPRESSED)
		err = decompress(&s, old, e);
	if (!err && s.size > room)
		err = too_much(e);
	if (!err) {
		err = vec__push(out, s);
		if (err)
			err__set(e, err, "out of memory");
	}
	if (err)
		free(s.data);
	return err;
}

static int add_sections(cfi_sections *out, struct unwind_work *work, struct elf *elf, const char *name, bool eh,
			bool old, struct err *e)
{
	struct elf_section s;
	size_t pos = 0;
	int err;

	while (!(err = elf__next_section(elf, name, &pos, &s))) {
		err = add_section(out, work, elf, &s, eh, old, e);
		if (err && err != -ENOENT)
			return err;
	}
	return err == -ENOENT ? 0 : err__errno(e, err, "cannot read the section headers");
}

/* LSB 5.0 core part 10.6.2: version, three encodings, and a pointer to .eh_frame. */
static int by_segment(cfi_sections *out, struct unwind_work *work, struct elf *elf, struct err *e)
{
	const struct elf_segment *hdr = elf__find_segment(elf, PT_GNU_EH_FRAME);
	struct elf_section from = {.type = SHT_PROGBITS};
	uint8_t head[12] = {0};
	struct cfi_section s = {.elf = elf, .work = work, .data = head, .size = sizeof(head)};
	struct cursor c = {.at = head + 4, .end = head + sizeof(head)};
	int err;

	if (!hdr || hdr->filesz < 8)
		return 0;
	err = elf__read(elf, hdr->offset, head, hdr->filesz < sizeof(head) ? hdr->filesz : sizeof(head));
	if (err)
		return err__errno(e, err, "cannot read .eh_frame_hdr");
	s.addr = s.datarel = hdr->vaddr;
	if (head[0] != 1 || !cfi_section__pointer(&s, &c, head[1], 8, &from.addr))
		return err__set(e, -EBADMSG, "unknown format of .eh_frame_hdr");
	for (size_t i = 0; i < elf__segment_count(elf); i++) {
		const struct elf_segment *l = elf__segment(elf, i);
		uint64_t at = from.addr - l->vaddr;

		if (l->type != PT_LOAD || from.addr < l->vaddr || at >= l->filesz)
			continue;
		from.offset = l->offset + at;
		from.size = l->filesz - at < MAX_BYTES ? l->filesz - at : MAX_BYTES;
		if (from.offset > elf__info(elf)->size || from.size > elf__info(elf)->size - from.offset)
			break;
		err = add_section(out, work, elf, &from, true, false, e);
		if (!err)
			out->data[out->len - 1].endless = true;
		return err;
	}
	return err__set(e, -EBADMSG, ".eh_frame_hdr points outside of the file");
}

int cfi_sections__read(struct elf *elf, struct unwind_work *work, cfi_sections *out, struct err *e)
{
	cfi_sections all = {0};
	int err = add_sections(&all, work, elf, ".eh_frame", true, false, e);

	if (!err && !all.len)
		err = by_segment(&all, work, elf, e);
	if (!err)
		err = add_sections(&all, work, elf, ".debug_frame", false, false, e);
	if (!err)
		err = add_sections(&all, work, elf, ".zdebug_frame", false, true, e);
	if (!err && !all.len)
		err = err__set(e, -ENOENT, "no call frame information");
	if (err) {
		cfi_sections__free(&all);
		return err;
	}
	vec__foreach(&all, s)
		s->datarel = plt_got(elf);
	*out = all;
	return 0;
}

void cfi_sections__free(cfi_sections *s)
{
	vec__foreach(s, it)
		free(it->data);
	vec__free(s);
}
