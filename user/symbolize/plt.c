// SPDX-License-Identifier: Apache-2.0
#include "symbolize/plt.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "symbolize/symtab.h"

#define ENTRY     16 /* bytes, on both machines; .plt.got of older linkers has 8 */
#define MAX_SLOTS (1u << 20)
#define MAX_RELAS (16u << 20)
#define CHUNK     2048

struct slot {
	uint64_t addr;   /* in the GOT */
	uint64_t target; /* of an IFUNC: its resolver; else the symbol's number */
	bool is_address;
};

struct plt {
	struct elf *elf;
	struct elf_section sections[3];
	size_t nsections;
	bool arm;
	struct vec(struct slot) slots;
	struct elf_section jumps; /* .rela.plt, which lazy entries index */
};

static bool wanted(const struct plt *p, const Elf64_Rela *r, struct slot *out)
{
	uint32_t type = ELF64_R_TYPE(r->r_info);

	*out = (struct slot){.addr = r->r_offset, .target = ELF64_R_SYM(r->r_info)};
	if (type == (p->arm ? R_AARCH64_IRELATIVE : R_X86_64_IRELATIVE)) {
		out->target = (uint64_t)r->r_addend;
		out->is_address = true;
		return true;
	}
	return p->arm ? type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT
		      : type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
}

static int read_relocations(struct plt *p, const struct elf_section *s)
{
	_cleanup_free_ Elf64_Rela *chunk = malloc(CHUNK * sizeof(*chunk));
	uint64_t count = s->size / sizeof(*chunk);

	if (!chunk)
		return -ENOMEM;
	if (count > MAX_RELAS)
		return -E2BIG;
	for (uint64_t i = 0; i < count; i += CHUNK) {
		size_t n = count - i < CHUNK ? count - i : CHUNK;
		int err = elf__read(p->elf, s->offset + i * sizeof(*chunk), chunk, n * sizeof(*chunk));

		for (size_t k = 0; !err && k < n; k++) {
			struct slot slot;

			if (!wanted(p, &chunk[k], &slot))
				continue;
			err = p->slots.len < MAX_SLOTS ? vec__push(&p->slots, slot) : -E2BIG;
		}
		if (err)
			return err;
	}
	return 0;
}

static int by_addr(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

int plt__load(struct elf *elf, struct plt **out)
{
	static const char *const names[] = {".plt", ".plt.sec", ".plt.got"};
	struct elf_section s;
	struct plt *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p)
		return -ENOMEM;
	p->elf = elf;
	p->arm = elf__info(elf)->machine == EM_AARCH64;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!elf__section(elf, names[i], &s) && s.type == SHT_PROGBITS)
			p->sections[p->nsections++] = s;
	}
	if (!p->nsections)
		err = -ENOENT;
	if (!err && !elf__section(elf, ".rela.plt", &s) && s.type == SHT_RELA) {
		p->jumps = s;
		err = read_relocations(p, &s);
	}
	if (!err && !elf__section(elf, ".rela.dyn", &s) && s.type == SHT_RELA)
		err = read_relocations(p, &s);
	if (!err && !p->slots.len)
		err = -ENOENT;
	if (err) {
		plt__free(p);
		return err;
	}
	qsort(p->slots.data, p->slots.len, sizeof(struct slot), by_addr);
	*out = p;
	return 0;
}

void plt__free(struct plt *p)
{
	if (!p)
		return;
	vec__free(&p->slots);
	free(p);
}

static const struct slot *find_slot(const struct plt *p, uint64_t addr)
{
	size_t at = vec__count_first(&p->slots, it, it->addr < addr);

	return at < p->slots.len && p->slots.data[at].addr == addr ? &p->slots.data[at] : NULL;
}

/* jmp *slot(%rip), maybe behind endbr64 and bnd; or, where the linker left the jump to .plt.sec, push of the relocation's number. */
static bool decode_x86(const uint8_t *code, size_t n, uint64_t addr, uint64_t *slot, int64_t *number)
{
	size_t i = 0;
	int32_t value;

	if (n >= 4 && code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e && code[3] == 0xfa)
		i = 4;
	if (i + 5 <= n && code[i] == 0x68) {
		memcpy(&value, code + i + 1, sizeof(value));
		*number = value;
		return value >= 0;
	}
	if (i < n && code[i] == 0xf2)
		i++;
	if (i + 6 > n || code[i] != 0xff || code[i + 1] != 0x25)
		return false;
	memcpy(&value, code + i + 2, sizeof(value));
	*slot = addr + i + 6 + (uint64_t)(int64_t)value;
	return true;
}

/* adrp x16, page; ldr x17, [x16, #offset], maybe behind bti c. */
static bool decode_arm(const uint8_t *code, size_t n, uint64_t addr, uint64_t *slot)
{
	uint32_t adrp, ldr;
	uint64_t page;

	for (size_t i = 0; i + 8 <= n; i += 4) {
		memcpy(&adrp, code + i, sizeof(adrp));
		memcpy(&ldr, code + i + 4, sizeof(ldr));
		if ((adrp & 0x9f00001f) != 0x90000010 || (ldr & 0xffc003ff) != 0xf9400211)
			continue;
		page = ((uint64_t)(adrp >> 5 & 0x7ffff) << 2 | (adrp >> 29 & 3)) << 12;
		if (page & 1ull << 32)
			page |= ~0ull << 33;
		*slot = ((addr + i) & ~0xfffull) + page + ((ldr >> 10 & 0xfff) << 3);
		return true;
	}
	return false;
}

/* Reads the relocation that a lazy entry pushes. */
static bool slot_by_number(const struct plt *p, int64_t number, struct slot *out)
{
	Elf64_Rela r;

	if ((uint64_t)number >= p->jumps.size / sizeof(r) ||
	    elf__read(p->elf, p->jumps.offset + (uint64_t)number * sizeof(r), &r, sizeof(r)))
		return false;
	return wanted(p, &r, out);
}

int plt__find(const struct plt *p, uint64_t addr, struct str *name, uint64_t *target)
{
	const struct elf_section *s = NULL;
	struct slot slot = {0};
	const struct slot *found;
	uint64_t entry, size, at;
	int64_t number = -1;
	uint8_t code[ENTRY];
	size_t n = sizeof(code);

	for (size_t i = 0; i < p->nsections; i++) {
		if (addr >= p->sections[i].addr && addr - p->sections[i].addr < p->sections[i].size)
			s = &p->sections[i];
	}
	if (!s)
		return -ENOENT;
	size = s->entsize == 8 ? 8 : ENTRY;
	/* AArch64's PLT starts with one entry of 32 bytes, so that its others are in step as well */
	entry = s->addr + (addr - s->addr) / size * size;
	if (n > s->addr + s->size - entry)
		n = s->addr + s->size - entry;
	if (elf__read(p->elf, s->offset + (entry - s->addr), code, n))
		return -ENOENT;
	if (p->arm ? !decode_arm(code, n, entry, &at) : !decode_x86(code, n, entry, &at, &number))
		return -ENOENT;
	if (number >= 0) {
		if (!slot_by_number(p, number, &slot))
			return -ENOENT;
	} else {
		found = find_slot(p, at);
		if (!found)
			return -ENOENT;
		slot = *found;
	}
	if (slot.is_address) {
		*target = slot.target;
		return 1;
	}
	if (symtab__dynamic_name(p->elf, (uint32_t)slot.target, name))
		return -ENOENT;
	return 0;
}

size_t plt__memory(const struct plt *p)
{
	return sizeof(*p) + p->slots.cap * sizeof(*p->slots.data);
}
