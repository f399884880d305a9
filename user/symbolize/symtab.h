/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of one symbol table of an ELF file, 16 bytes each; their names stay in the file until somebody wants one.
 * native.h says which of several symbols counts.
 */
#ifndef PYBPF_SYMTAB_H
#define PYBPF_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "sys/elf.h"

struct symtab;

/* section: ".symtab" or ".dynsym". elf must outlive the result. 0, -ENOENT, -E2BIG (4 million functions), -EINVAL, -EIO, -ENOMEM. */
int symtab__load(struct elf *elf, const char *section, struct symtab **out);
void symtab__free(struct symtab *t); /* NULL is fine */

/*
 * Adds to *name the mangled name, without version, of the function that has the link-time address. sized: only one whose
 * size the file tells; otherwise only one that reaches to the next. 0, -ENOENT, or -ENOMEM.
 */
int symtab__find(const struct symtab *t, uint64_t addr, bool sized, struct str *name);

/* The name of a symbol by its number in .dynsym, likewise. 0, -ENOENT, -EINVAL, -EIO, -ENOMEM. */
int symtab__dynamic_name(struct elf *elf, uint32_t number, struct str *name);

size_t symtab__memory(const struct symtab *t); /* bytes held */

#endif
