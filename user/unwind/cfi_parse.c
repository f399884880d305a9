// SPDX-License-Identifier: Apache-2.0
/* Entries of the sections: CIEs and FDEs. */
#include "unwind/cfi.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>

#define PE_OMIT  0xff
#define MAX_CIES (1U << 18) /* one takes 40 times as much memory as in the file; .debug_frame has one for each object */

struct entry {
	size_t offset;      /* of the entry in its section */
	struct cursor body; /* behind the length and the id */
	bool is_cie;
	size_t cie_offset; /* of an FDE */
};

/* Code of the file, to tell functions from what is left of discarded ones. */
struct code {
	struct {
		uint64_t start, end;
	} ranges[32];
	size_t n;
};

static const struct cfi_arch arches[] = {
	{.machine = EM_X86_64, .sp = 7, .fp = 6, .regs = 16, .bx = UNWIND_BX, .plt0 = 16, .ra_off = -8},
	{.machine = EM_AARCH64, .sp = 31, .fp = 29, .regs = 32, .bx = 0xff, .plt0 = 32, .ra_off = UNWIND_RA_SAME},
};

const struct cfi_arch *cfi_arch__of(uint16_t machine)
{
	for (size_t i = 0; i < sizeof(arches) / sizeof(arches[0]); i++)
		if (arches[i].machine == machine)
			return &arches[i];
	return NULL;
}

/*
 * The entry at *pos, which then is behind it. 1, 0 at the end, or -EBADMSG. Terminators within a section are
 * passed over: they come from the files that it was linked from.
 */
static int next_entry(const struct cfi_section *s, size_t *pos, struct entry *out)
{
	struct cursor c = {.at = s->data + *pos, .end = s->data + s->size};
	bool wide = false;
	uint64_t length, id, at;

	do {
		if (c.at == c.end)
			return 0;
		out->offset = (size_t)(c.at - s->data);
		length = cursor__fixed(&c, 4);
		if (s->endless && !length && !c.bad)
			return 0;
	} while (!length && !c.bad);
	if (length == UINT32_MAX) {
		wide = true;
		length = cursor__fixed(&c, 8);
	}
	if (c.bad || length > cursor__left(&c))
		return -EBADMSG;
	c.end = c.at + length;
	*pos = (size_t)(c.end - s->data);
	at = (uint64_t)(c.at - s->data);
	wide = wide && !s->eh; /* there the id has 4 bytes always */
	id = cursor__fixed(&c, wide ? 8 : 4);
	if (c.bad)
		return -EBADMSG;
	if (s->eh) {
		out->is_cie = !id;
		out->cie_offset = at - id;
	} else {
		out->is_cie = id == (wide ? UINT64_MAX : UINT32_MAX);
		out->cie_offset = id;
	}
	out->body = c;
	return 1;
}

/* What the letters behind "z" stand for. Unknown ones end it: the length leads on nevertheless. */
static void read_augmentation(struct cfi_cie *cie, const char *letters, struct cursor *c)
{
	uint64_t ignored;
	uint8_t encoding;

	for (; *letters && !c->bad; letters++) {
		switch (*letters) {
		case 'R':
			cie->encoding = cursor__u8(c);
			break;
		case 'L':
			cursor__u8(c);
			break;
		case 'P':
			encoding = cursor__u8(c) & 0x7f;
			if (encoding != (PE_OMIT & 0x7f) &&
			    !cfi_section__pointer(cie->section, c, encoding, cie->address_size, &ignored))
				c->bad = true;
			break;
		case 'S':
			cie->signal = true;
			break;
		case 'B': /* arm64: signed by key B */
		case 'G': /* arm64: tagged stack */
			break;
		default:
			return;
		}
	}
}

/* False when the CIE is none that we understand. */
static bool read_cie(const struct cfi_arch *arch, struct cfi_cie *cie, struct cursor c)
{
	uint8_t version = cursor__u8(&c);
	const char *letters = (const char *)c.at;
	const uint8_t *nul = cursor__left(&c) ? memchr(c.at, 0, cursor__left(&c)) : NULL;
	struct cursor data = {0};

	if (!nul || (version != 1 && version != 3 && version != 4))
		return false;
	c.at = nul + 1;
	if (letters[0] == 'e' && letters[1] == 'h') { /* GCC 2: a pointer */
		cursor__take(&c, 8);
		letters += 2;
	}
	if (version == 4) {
		uint8_t address_size = cursor__u8(&c);

		if (address_size != 8 && address_size != 4)
			return false;
		cie->address_size = address_size;
		cie->segment_size = cursor__u8(&c);
	}
	cie->code_align = cursor__uleb(&c);
	cie->data_align = cursor__sleb(&c);
	cie->ra_reg = version == 1 ? cursor__u8(&c) : cursor__uleb(&c);
	if (*letters && *letters != 'z')
		return false;
	if (*letters) {
		uint64_t n = cursor__uleb(&c);

		data.at = cursor__take(&c, n);
		if (!data.at)
			return false;
		data.end = data.at + n;
		cie->augmented = true;
		read_augmentation(cie, letters + 1, &data);
	}
	if (c.bad || data.bad)
		return false;
	return cfi__start_state(arch, cie, c.at, cursor__left(&c));
}

static int read_cies(struct cfi *cfi, const struct cfi_section *s)
{
	struct entry entry;
	size_t pos = 0;
	int got;

	while ((got = next_entry(s, &pos, &entry)) == 1) {
		struct cfi_cie cie = {.offset = entry.offset, .section = s, .address_size = 8};
		int err = unwind_work__take(cfi->work, 0);

		if (err)
			return err;
		if (!entry.is_cie)
			continue;
		if (cfi->cies.len == MAX_CIES)
			return -E2BIG;
		cie.bad = !read_cie(cfi->arch, &cie, entry.body);
		err = vec__push(&cfi->cies, cie);
		if (err)
			return err;
	}
	return got;
}

/* The CIE of an FDE among those of its section, [first, cies.len); *last is where the one before was. */
static struct cfi_cie *find_cie(struct cfi *cfi, size_t first, size_t offset, size_t *last)
{
	size_t lo = first, hi = cfi->cies.len;

	if (*last < hi && cfi->cies.data[*last].offset == offset)
		return &cfi->cies.data[*last];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cfi->cies.data[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == cfi->cies.len || cfi->cies.data[lo].offset != offset)
		return NULL;
	*last = lo;
	return &cfi->cies.data[lo];
}

static void find_code(struct elf *elf, struct code *code)
{
	for (size_t i = 0; i < elf__segment_count(elf) && code->n < sizeof(code->ranges) / sizeof(code->ranges[0]);
	     i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type != PT_LOAD || !(s->flags & PF_X) || !s->filesz || s->filesz > UINT64_MAX - s->vaddr)
			continue;
		code->ranges[code->n].start = s->vaddr;
		code->ranges[code->n++].end = s->vaddr + s->filesz;
	}
}

/* False when [f->start, f->end) does not begin in code. What reaches beyond is cut off. */
static bool clip(const struct code *code, struct cfi_fde *f)
{
	for (size_t i = 0; i < code->n; i++) {
		if (f->start < code->ranges[i].start || f->start >= code->ranges[i].end)
			continue;
		if (f->end > code->ranges[i].end)
			f->end = code->ranges[i].end;
		return true;
	}
	return false;
}

/* 1 when it is a function of the file, 0 when it is to be left out, -EBADMSG. */
static int read_fde(const struct cfi_cie *cie, const struct code *code, struct cursor c, struct cfi_fde *f)
{
	uint64_t size;

	/* Where the CIE is not understood this may be nonsense, but then it rarely lies in code. */
	cursor__take(&c, cie->segment_size);
	if (!cfi_section__pointer(cie->section, &c, cie->encoding, cie->address_size, &f->start) ||
	    !cfi_section__pointer(cie->section, &c, cie->encoding & 0x0f, cie->address_size, &size))
		return cie->bad ? 0 : -EBADMSG;
	if (cie->augmented)
		cursor__take(&c, cursor__uleb(&c));
	if (c.bad)
		return cie->bad ? 0 : -EBADMSG;
	if (!size || size > UINT64_MAX - f->start)
		return 0;
	f->end = f->start + size;
	f->instructions = c.at;
	f->length = (uint32_t)cursor__left(&c);
	return clip(code, f);
}

static int read_fdes(struct cfi *cfi, const struct cfi_section *s, size_t first_cie, const struct code *code)
{
	size_t pos = 0, last = first_cie;
	struct entry entry;
	int got;

	while ((got = next_entry(s, &pos, &entry)) == 1) {
		struct cfi_fde f = {.order = (uint32_t)cfi->fdes.len};
		struct cfi_cie *cie;

		got = unwind_work__take(cfi->work, 0);
		if (got)
			return got;
		if (entry.is_cie)
			continue;
		cie = find_cie(cfi, first_cie, entry.cie_offset, &last);
		if (!cie)
			return -EBADMSG;
		got = read_fde(cie, code, entry.body, &f);
		if (got < 0)
			return got;
		f.cie = (uint32_t)(cie - cfi->cies.data);
		if (got && vec__push(&cfi->fdes, f))
			return -ENOMEM;
	}
	return got;
}

int cfi__read(struct elf *elf, struct unwind_work *work, struct cfi *cfi, struct err *e)
{
	cfi->work = work;
	cfi->arch = cfi_arch__of(elf__info(elf)->machine);
	if (!cfi->arch)
		return err__set(e, -ENOTSUP, "no unwinding for ELF machine %d", elf__info(elf)->machine);
	return cfi_sections__read(elf, work, &cfi->sections, e);
}

int cfi__parse(struct elf *elf, struct cfi *cfi, struct err *e)
{
	struct code code = {0};
	bool any_bad = false;
	int err;

	find_code(elf, &code);
	vec__foreach(&cfi->sections, s) {
		size_t first = cfi->cies.len;

		err = read_cies(cfi, s);
		if (!err)
			err = read_fdes(cfi, s, first, &code);
		if (err == -ENOMEM)
			return err__set(e, err, "out of memory");
		if (err == -E2BIG)
			return err__set(e, err, "more entries of call frame information than can be true");
		if (err == -ECANCELED)
			return err__errno(e, err, "cannot read the call frame information");
		if (err)
			return err__set(e, err, "malformed %s", s->eh ? ".eh_frame" : ".debug_frame");
	}
	vec__foreach(&cfi->cies, cie)
		any_bad |= cie->bad;
	if (!cfi->fdes.len && any_bad)
		return err__set(e, -EBADMSG, "call frame information of an unknown kind only");
	if (!cfi->fdes.len)
		return err__set(e, -ENOENT, "no call frame information for its code");
	return 0;
}

void cfi__free(struct cfi *cfi)
{
	cfi_sections__free(&cfi->sections);
	vec__free(&cfi->cies);
	vec__free(&cfi->fdes);
}

bool cfi__moves_nothing(const struct cfi *cfi, const struct cfi_fde *f)
{
	const struct cfi_cie *cie = &cfi->cies.data[f->cie];

	if (cie->bad || cie->start.cfa != CFI_CFA_REG || cie->start.cfa_reg != cfi->arch->sp || cie->start.cfa_off != 8)
		return false;
	for (uint32_t i = 0; i < f->length; i++)
		if (f->instructions[i]) /* DW_CFA_nop */
			return false;
	return true;
}
