/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols by name: the dynamic table through its hash, the static one by a scan. */
#include "sys/elf_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_DYNAMIC  512
#define MAX_CHAIN    4096
#define MAX_NAME     256
#define MAX_STRTAB   (256u << 20)
#define MAX_SYMBOLS  (16u << 20)
#define CHUNK        2048 /* symbols read at a time */
#define MAX_PLACES   64 /* places where a wanted name occurs in the string table */

static int load_dynamic(struct elf *elf)
{
	const struct elf_segment *seg = elf__find_segment(elf, PT_DYNAMIC);
	Elf64_Dyn dyn[MAX_DYNAMIC];
	size_t n;
	int err;

	if (elf->dynamic_read)
		return elf->dynamic_error;
	elf->dynamic_read = true;
	elf->dynamic_error = -ENOENT;
	if (!seg)
		return -ENOENT;
	n = seg->filesz / sizeof(dyn[0]);
	if (n > MAX_DYNAMIC)
		n = MAX_DYNAMIC;
	err = elf__read(elf, seg->offset, dyn, n * sizeof(dyn[0]));
	if (err)
		return elf->dynamic_error = err;
	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		switch (dyn[i].d_tag) {
		case DT_SYMTAB:
			elf->dynamic.symtab = dyn[i].d_un.d_ptr;
			break;
		case DT_STRTAB:
			elf->dynamic.strtab = dyn[i].d_un.d_ptr;
			break;
		case DT_STRSZ:
			elf->dynamic.strsz = dyn[i].d_un.d_val;
			break;
		case DT_GNU_HASH:
			elf->dynamic.gnu_hash = dyn[i].d_un.d_ptr;
			break;
		case DT_HASH:
			elf->dynamic.hash = dyn[i].d_un.d_ptr;
			break;
		}
	}
	if (!elf->dynamic.symtab || !elf->dynamic.strtab)
		return -ENOENT;
	return elf->dynamic_error = 0;
}

/* Is the NUL-terminated string at strtab + at equal to name? 1, 0 or -errno. */
static int string_is(struct elf *elf, uint64_t at, const char *name)
{
	char text[MAX_NAME];
	size_t n = strlen(name) + 1;
	int err;

	if (n > sizeof(text))
		return 0;
	if (elf->dynamic.strsz && (at > elf->dynamic.strsz || n > elf->dynamic.strsz - at))
		return 0;
	err = elf__read_address(elf, elf->dynamic.strtab + at, text, n);
	if (err)
		return err == -EFAULT ? 0 : err;
	return memcmp(text, name, n) == 0;
}

static struct elf_symbol symbol_of(const Elf64_Sym *sym)
{
	return (struct elf_symbol){
		.value = sym->st_value,
		.size = sym->st_size,
		.type = ELF64_ST_TYPE(sym->st_info),
		.bind = ELF64_ST_BIND(sym->st_info),
		.section = sym->st_shndx,
	};
}

/* 1 when symbol `index` is the defined `name`, 0 when not, or -errno. */
static int check_symbol(struct elf *elf, uint32_t index, const char *name, struct elf_symbol *out)
{
	Elf64_Sym sym;
	int err;

	err = elf__read_address(elf, elf->dynamic.symtab + (uint64_t)index * sizeof(sym), &sym,
				sizeof(sym));
	if (err)
		return err;
	if (sym.st_shndx == SHN_UNDEF)
		return 0;
	err = string_is(elf, sym.st_name, name);
	if (err <= 0)
		return err;
	*out = symbol_of(&sym);
	return 1;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		h = h * 33 + *c;
	return h;
}

static int find_gnu(struct elf *elf, const char *name, struct elf_symbol *out)
{
	struct {
		uint32_t nbuckets, symoffset, bloom_size, bloom_shift;
	} head;
	uint64_t base = elf->dynamic.gnu_hash, word, buckets, chain;
	uint32_t hash = gnu_hash(name), index;
	int err;

	err = elf__read_address(elf, base, &head, sizeof(head));
	if (err)
		return err;
	if (!head.nbuckets || !head.bloom_size || head.bloom_shift > 31)
		return -ENOENT;
	base += sizeof(head);
	err = elf__read_address(elf, base + (uint64_t)(hash / 64 % head.bloom_size) * 8, &word, 8);
	if (err)
		return err;
	if (!(word >> (hash % 64) & word >> ((hash >> head.bloom_shift) % 64) & 1))
		return -ENOENT;
	buckets = base + (uint64_t)head.bloom_size * 8;
	chain = buckets + (uint64_t)head.nbuckets * 4;
	err = elf__read_address(elf, buckets + (uint64_t)(hash % head.nbuckets) * 4, &index, 4);
	if (err)
		return err;
	if (index < head.symoffset)
		return -ENOENT;
	for (unsigned int i = 0; i < MAX_CHAIN; i++, index++) {
		uint32_t h;

		err = elf__read_address(elf, chain + (uint64_t)(index - head.symoffset) * 4, &h, 4);
		if (err)
			return err;
		if ((h | 1) == (hash | 1)) {
			err = check_symbol(elf, index, name, out);
			if (err)
				return err < 0 ? err : 0;
		}
		if (h & 1)
			break;
	}
	return -ENOENT;
}

static uint32_t sysv_hash(const char *name)
{
	uint32_t h = 0;

	for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
		h = (h << 4) + *c;
		h ^= h >> 24 & 0xf0;
		h &= 0x0fffffff;
	}
	return h;
}

static int find_sysv(struct elf *elf, const char *name, struct elf_symbol *out)
{
	uint64_t base = elf->dynamic.hash;
	uint32_t head[2], index; /* buckets, chains */
	int err;

	err = elf__read_address(elf, base, head, sizeof(head));
	if (err)
		return err;
	if (!head[0])
		return -ENOENT;
	err = elf__read_address(elf, base + 8 + (uint64_t)(sysv_hash(name) % head[0]) * 4, &index, 4);
	if (err)
		return err;
	for (unsigned int i = 0; index && index < head[1] && i < MAX_CHAIN; i++) {
		err = check_symbol(elf, index, name, out);
		if (err)
			return err < 0 ? err : 0;
		err = elf__read_address(elf, base + 8 + ((uint64_t)head[0] + index) * 4, &index, 4);
		if (err)
			return err;
	}
	return -ENOENT;
}

int elf__dynamic_symbol(struct elf *elf, const char *name, struct elf_symbol *out)
{
	int err = load_dynamic(elf);

	if (err)
		return err;
	if (elf->dynamic.gnu_hash)
		return find_gnu(elf, name, out);
	if (elf->dynamic.hash)
		return find_sysv(elf, name, out);
	return -ENOENT;
}

/* The string at strtab + at, cut to MAX_NAME. 0 or -errno. */
static int read_string(struct elf *elf, uint64_t at, char text[MAX_NAME])
{
	size_t n = MAX_NAME - 1;
	int err;

	if (elf->dynamic.strsz && at >= elf->dynamic.strsz)
		return -EINVAL;
	if (elf->dynamic.strsz && n > elf->dynamic.strsz - at)
		n = elf->dynamic.strsz - at;
	err = elf__read_address(elf, elf->dynamic.strtab + at, text, n);
	text[n] = '\0';
	return err;
}

/* Does the file that a path names begin so? */
static bool base_begins(const char *path, const char *prefix)
{
	const char *slash = strrchr(path, '/');

	return strncmp(slash ? slash + 1 : path, prefix, strlen(prefix)) == 0;
}

bool elf__needs(struct elf *elf, const char *prefix)
{
	const struct elf_segment *dyn = elf__find_segment(elf, PT_DYNAMIC);
	const struct elf_segment *interp = elf__find_segment(elf, PT_INTERP);
	char text[MAX_NAME];

	if (interp && interp->filesz && interp->filesz < sizeof(text) &&
	    !elf__read(elf, interp->offset, text, interp->filesz)) {
		text[interp->filesz] = '\0';
		if (base_begins(text, prefix))
			return true;
	}
	if (!dyn || load_dynamic(elf))
		return false;
	for (size_t i = 0; i < dyn->filesz / sizeof(Elf64_Dyn) && i < MAX_DYNAMIC; i++) {
		Elf64_Dyn d;

		if (elf__read(elf, dyn->offset + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_NEEDED && !read_string(elf, d.d_un.d_val, text) && base_begins(text, prefix))
			return true;
	}
	return false;
}

int elf__debug_word(struct elf *elf, uint64_t *addr)
{
	const struct elf_segment *dyn = elf__find_segment(elf, PT_DYNAMIC);

	for (size_t i = 0; dyn && i < dyn->filesz / sizeof(Elf64_Dyn) && i < MAX_DYNAMIC; i++) {
		Elf64_Dyn d;
		int err = elf__read(elf, dyn->offset + i * sizeof(d), &d, sizeof(d));

		if (err)
			return err;
		if (d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_DEBUG) {
			*addr = dyn->vaddr + i * sizeof(d) + offsetof(Elf64_Dyn, d_un);
			return 0;
		}
	}
	return -ENOENT;
}

/* A place in the string table where one of the wanted names stands. */
struct place {
	uint32_t at;
	uint32_t which;
};

/*
 * A symbol's name is an offset into the string table, possibly into the middle of another name (linkers merge
 * tails). So find where the wanted names stand first, then compare integers for each symbol.
 */
static size_t find_places(const char *table, size_t size, const char *const names[], size_t count,
			  struct place *places)
{
	size_t n = 0;

	for (size_t w = 0; w < count; w++) {
		size_t len = strlen(names[w]);
		const char *p = table;

		while (n < MAX_PLACES && (p = memmem(p, size - (size_t)(p - table), names[w], len))) {
			size_t end = (size_t)(p - table) + len;

			if (end < size && (table[end] == '\0' || table[end] == '.'))
				places[n++] = (struct place){(uint32_t)(p - table), (uint32_t)w};
			p++;
		}
	}
	return n;
}

static int scan_symbols(struct elf *elf, const struct elf_section *symtab, const struct place *places,
			size_t nplaces, struct elf_symbol out[], bool found[])
{
	_cleanup_free_ Elf64_Sym *syms = calloc(CHUNK, sizeof(*syms));
	uint64_t total = symtab->size / sizeof(*syms);
	int hits = 0;

	if (!syms)
		return -ENOMEM;
	if (total > MAX_SYMBOLS)
		return -EINVAL;
	for (uint64_t i = 0; i < total; i += CHUNK) {
		size_t n = total - i < CHUNK ? (size_t)(total - i) : CHUNK;
		int err = elf__read(elf, symtab->offset + i * sizeof(*syms), syms, n * sizeof(*syms));

		if (err)
			return err;
		for (size_t s = 0; s < n; s++) {
			for (size_t p = 0; p < nplaces; p++) {
				if (syms[s].st_name != places[p].at ||
				    syms[s].st_shndx == SHN_UNDEF || found[places[p].which])
					continue;
				out[places[p].which] = symbol_of(&syms[s]);
				found[places[p].which] = true;
				hits++;
			}
		}
	}
	return hits;
}

int elf__static_symbols(struct elf *elf, const char *const names[], size_t count,
			struct elf_symbol out[], bool found[])
{
	struct elf_section symtab, strtab;
	_cleanup_free_ char *table = NULL;
	struct place places[MAX_PLACES];
	size_t nplaces;
	int err;

	memset(found, 0, count * sizeof(*found));
	err = elf__section(elf, ".symtab", &symtab);
	if (!err)
		err = elf__section(elf, ".strtab", &strtab);
	if (err)
		return err;
	if (symtab.type != SHT_SYMTAB || strtab.type != SHT_STRTAB)
		return -ENOENT;
	if (strtab.size > MAX_STRTAB)
		return -EINVAL;
	table = malloc(strtab.size + 1);
	if (!table)
		return -ENOMEM;
	err = elf__read(elf, strtab.offset, table, strtab.size);
	if (err)
		return err;
	nplaces = find_places(table, strtab.size, names, count, places);
	return nplaces ? scan_symbols(elf, &symtab, places, nplaces, out, found) : 0;
}
