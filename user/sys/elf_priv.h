/* SPDX-License-Identifier: Apache-2.0 */
/* What elf.c and elf_symbols.c share. */
#ifndef PYBPF_ELF_PRIV_H
#define PYBPF_ELF_PRIV_H

#include <elf.h>

#include "sys/elf.h"

/* Where the dynamic section says that the symbol table and its hash are; link-time addresses, 0: absent. */
struct elf_dynamic {
	uint64_t symtab, strtab, strsz, gnu_hash, hash;
};

struct elf {
	int fd;
	struct elf_info info;
	struct elf_segment *segments;
	size_t nsegments;

	uint64_t shoff, shnum;
	uint32_t shstrndx;
	uint16_t shentsize;
	Elf64_Shdr *sections; /* NULL until somebody asks */
	char *names;
	size_t names_size;

	bool dynamic_read;
	int dynamic_error;
	struct elf_dynamic dynamic;
};

/* Reads section headers and their names, once. 0, -ENOENT when the file has none, -EINVAL, -EIO, -ENOMEM. */
int elf_load_sections(struct elf *elf);

#endif
