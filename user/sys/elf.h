/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of 64-bit little-endian ELF files that trusts nothing: it works by pread (a file that shrinks
 * under it gives an error, never a signal), checks every offset against the file's size and bounds every
 * loop and allocation. Format: System V gABI chapters 4 and 5; DT_GNU_HASH as glibc's elf/dl-lookup.c reads it.
 */
#ifndef PYBPF_ELF_H
#define PYBPF_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ELF_BUILD_ID_MAX 64

struct elf;

struct elf_info {
	uint16_t type;    /* ET_EXEC, ET_DYN */
	uint16_t machine; /* EM_X86_64, EM_AARCH64 */
	uint64_t entry;
	uint64_t size;    /* of the file, bytes */
};

struct elf_segment {
	uint32_t type;  /* PT_* */
	uint32_t flags; /* PF_* */
	uint64_t offset, vaddr, filesz, memsz, align;
};

struct elf_section {
	uint32_t type; /* SHT_* */
	uint64_t flags, addr, offset, size;
	uint32_t link;
	uint64_t entsize;
};

struct elf_symbol {
	uint64_t value; /* link-time address; offset into the TLS block for STT_TLS */
	uint64_t size;
	uint8_t type; /* STT_* */
	uint8_t bind; /* STB_* */
	uint16_t section;
};

/*
 * Opens a regular file by path for elf__open: read-only, close-on-exec, and never waiting for a FIFO or device
 * that somebody put there. Returns the descriptor, -EINVAL when it is no regular file, or another -errno.
 */
int elf__open_path(const char *path);

/*
 * Reads the headers of the file behind fd, which stays the caller's and must stay open as long as the result.
 * 0, -ENOEXEC when it is no ELF file, -ENOTSUP for another class or byte order, -EINVAL when it is no regular file
 * or its headers lie outside it, -EIO, -ENOMEM.
 */
int elf__open(int fd, struct elf **out, struct err *e);
void elf__close(struct elf *elf);

/* Valid as long as elf. */
const struct elf_info *elf__info(const struct elf *elf);

/* Program headers in file order. */
size_t elf__segment_count(const struct elf *elf);
const struct elf_segment *elf__segment(const struct elf *elf, size_t i);
/* The first segment of that type, or NULL. */
const struct elf_segment *elf__find_segment(const struct elf *elf, uint32_t type);

/* The first section of that name. 0, -ENOENT, or what reading failed with. */
int elf__section(struct elf *elf, const char *name, struct elf_section *out);

/* Each section of that name in turn: *pos is 0 at first. Returns as elf__section; -ENOENT after the last one. */
int elf__next_section(struct elf *elf, const char *name, size_t *pos, struct elf_section *out);

/* How many sections there are; 0 when there are none or they can't be read. */
size_t elf__section_count(struct elf *elf);
/* Section by number. 0, -ENOENT, or what reading failed with. */
int elf__section_at(struct elf *elf, size_t i, struct elf_section *out);

/*
 * Defined dynamic symbol by name, through DT_GNU_HASH, or DT_HASH where that is missing. A few preads, also for
 * names that are not there. 0, -ENOENT, or what reading failed with.
 */
int elf__dynamic_symbol(struct elf *elf, const char *name, struct elf_symbol *out);

/*
 * Defined symbols by name out of .symtab, all `count` of them in one pass (0.1-2 ms: the whole table is read). A name
 * also matches followed by "." and anything (GCC's and LLVM's suffixes of local clones). found[i] tells
 * which were there. Returns how many, or -ENOENT when the file has no .symtab, or what reading failed with.
 */
int elf__static_symbols(struct elf *elf, const char *const names[], size_t count,
			struct elf_symbol out[], bool found[]);

/* Does DT_NEEDED or the interpreter's path name a library that starts with `prefix` (without folders)? */
bool elf__needs(struct elf *elf, const char *prefix);

/*
 * Link-time address of the word of DT_DEBUG, where the dynamic linker of a process that runs this file leaves the address of its
 * struct r_debug (gABI chapter 5). 0, -ENOENT, or what reading failed with.
 */
int elf__debug_word(struct elf *elf, uint64_t *addr);

/* GNU build id. Returns its length, -ENOENT when there is none, -ENOSPC when `size` is too small. */
int elf__build_id(struct elf *elf, uint8_t *id, size_t size);

/* Reads exactly n bytes at a file offset. 0, -EINVAL when they lie outside the file, -EIO. */
int elf__read(struct elf *elf, uint64_t offset, void *buf, size_t n);

/*
 * Reads n bytes at a link-time address, as they are in the file before relocation; bytes of .bss are zeros. 0,
 * -EFAULT when no segment holds them all, or what reading failed with.
 */
int elf__read_address(struct elf *elf, uint64_t addr, void *buf, size_t n);

/* File offset of a link-time address. 0, or -EFAULT when the file does not hold it. */
int elf__offset_of(const struct elf *elf, uint64_t addr, uint64_t *offset);

/*
 * Link-time address of a byte of an executable mapping: `offset` is the mapping's file offset. A load address
 * follows as mapping start minus this. 0, or -ENOENT when no PF_X segment holds that offset (page-rounded).
 */
int elf__text_address(const struct elf *elf, uint64_t offset, uint64_t *addr);

#endif
