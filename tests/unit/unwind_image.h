/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files in memory around given call frame information, for test_unwind*.c and fuzz_unwind.c. */
#ifndef PYBPF_TESTS_UNWIND_IMAGE_H
#define PYBPF_TESTS_UNWIND_IMAGE_H

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE_TEXT       0x10000u /* link-time address of the code */
#define IMAGE_TEXT_SIZE  0x40000u
#define IMAGE_FRAME      0x100000u /* and of .eh_frame */
#define IMAGE_INIT       0x48100u
#define IMAGE_PLT        0x48000u
#define IMAGE_CODE       0x30000u
#define IMAGE_SYMBOLS    0x60000u /* of .symtab in the file */
#define IMAGE_HDR_OFFSET 0x400u
#define IMAGE_OFFSET     0x410u /* of the frame information in the file */

enum image_kind {
	IMAGE_EH,         /* a section .eh_frame */
	IMAGE_DEBUG,      /* .debug_frame */
	IMAGE_HDR,        /* no sections, but PT_GNU_EH_FRAME */
	IMAGE_COMPRESSED, /* .debug_frame with SHF_COMPRESSED */
	IMAGE_ZDEBUG,     /* .zdebug_frame */
	IMAGE_SPLIT,      /* .eh_frame in two halves of half the size each */
	IMAGE_KINDS,
};

struct image {
	uint16_t machine, type;
	enum image_kind kind;
	const uint8_t *frame;
	size_t size;
	uint64_t entry;
	size_t plt;          /* bytes of a section .plt at IMAGE_PLT */
	const uint8_t *init; /* and of .init at IMAGE_INIT */
	size_t init_size;
	int interp; /* a segment PT_INTERP */
	const uint8_t *code; /* bytes at IMAGE_CODE */
	size_t code_size;
	const Elf64_Sym *symbols; /* of a section .symtab, without names */
	size_t nsymbols;
};

/* A descriptor of the file, -1 when it cannot be made. */
static inline int image__make(const struct image *i)
{
	static const char names[] = "\0.eh_frame\0.debug_frame\0.zdebug_frame\0.plt\0.shstrtab\0.init\0.symtab";
	static const uint32_t name_of[] = {1, 11, 0, 11, 24, 1};
	size_t at = IMAGE_OFFSET + i->size, nsections = 6;
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[4];
		Elf64_Shdr sh[6];
		char names[sizeof(names)];
	} head = {
		.eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		       .e_type = i->type ? i->type : ET_DYN,
		       .e_machine = i->machine ? i->machine : EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_entry = i->entry,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 4,
		       .e_shentsize = sizeof(Elf64_Shdr)},
		.ph = {{.p_type = PT_LOAD,
			.p_flags = PF_R | PF_X,
			.p_vaddr = IMAGE_TEXT,
			.p_filesz = IMAGE_TEXT_SIZE,
			.p_memsz = IMAGE_TEXT_SIZE},
		       {.p_type = PT_LOAD,
			.p_flags = PF_R,
			.p_offset = IMAGE_HDR_OFFSET,
			.p_vaddr = IMAGE_FRAME - (IMAGE_OFFSET - IMAGE_HDR_OFFSET),
			.p_filesz = at - IMAGE_HDR_OFFSET,
			.p_memsz = at - IMAGE_HDR_OFFSET},
		       {.p_type = i->kind == IMAGE_HDR ? PT_GNU_EH_FRAME : PT_NULL,
			.p_offset = IMAGE_HDR_OFFSET,
			.p_vaddr = IMAGE_FRAME - (IMAGE_OFFSET - IMAGE_HDR_OFFSET),
			.p_filesz = 12},
		       {.p_type = i->interp ? PT_INTERP : PT_NULL}},
	};
	static const uint8_t hdr[16] = {1, 0x1b, 0xff, 0xff, IMAGE_OFFSET - IMAGE_HDR_OFFSET - 4}; /* pcrel | sdata4 */
	int fd = memfd_create("image", MFD_CLOEXEC);
	Elf64_Shdr *frame = &head.sh[1];

	memcpy(head.names, names, sizeof(names));
	if (i->kind != IMAGE_HDR) {
		head.eh.e_shoff = sizeof(head.eh) + sizeof(head.ph);
		head.eh.e_shnum = (uint16_t)nsections;
		head.eh.e_shstrndx = 4;
	}
	*frame = (Elf64_Shdr){.sh_name = name_of[i->kind],
			      .sh_type = SHT_PROGBITS,
			      .sh_addr = IMAGE_FRAME,
			      .sh_offset = IMAGE_OFFSET,
			      .sh_size = i->size};
	if (i->kind == IMAGE_COMPRESSED)
		frame->sh_flags = SHF_COMPRESSED;
	if (i->kind == IMAGE_SPLIT) {
		frame->sh_size = i->size / 2;
		head.sh[2] = *frame;
		head.sh[2].sh_addr += i->size / 2;
		head.sh[2].sh_offset += i->size / 2;
	}
	if (i->plt)
		head.sh[3] = (Elf64_Shdr){.sh_name = 38,
					  .sh_type = SHT_PROGBITS,
					  .sh_flags = SHF_EXECINSTR | SHF_ALLOC,
					  .sh_addr = IMAGE_PLT,
					  .sh_offset = IMAGE_OFFSET,
					  .sh_size = i->plt};
	if (i->init)
		head.sh[2] = (Elf64_Shdr){.sh_name = 53,
					  .sh_type = SHT_PROGBITS,
					  .sh_flags = SHF_EXECINSTR | SHF_ALLOC,
					  .sh_addr = IMAGE_INIT,
					  .sh_offset = IMAGE_INIT - IMAGE_TEXT,
					  .sh_size = i->init_size};
	head.sh[4] = (Elf64_Shdr){.sh_name = 43,
				  .sh_type = SHT_STRTAB,
				  .sh_size = sizeof(names),
				  .sh_offset = (uint64_t)((char *)head.names - (char *)&head)};
	if (i->nsymbols)
		head.sh[5] = (Elf64_Shdr){.sh_name = 59,
					  .sh_type = SHT_SYMTAB,
					  .sh_offset = IMAGE_SYMBOLS,
					  .sh_size = i->nsymbols * sizeof(*i->symbols)};
	if (fd < 0)
		return -1;
	if (pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    pwrite(fd, hdr, sizeof(hdr), IMAGE_HDR_OFFSET) != (ssize_t)sizeof(hdr) ||
	    pwrite(fd, i->frame, i->size, IMAGE_OFFSET) != (ssize_t)i->size ||
	    (i->plt && ftruncate(fd, IMAGE_PLT - IMAGE_TEXT + (off_t)i->plt)) ||
	    (i->code && pwrite(fd, i->code, i->code_size, IMAGE_CODE - IMAGE_TEXT) != (ssize_t)i->code_size) ||
	    (i->nsymbols && pwrite(fd, i->symbols, i->nsymbols * sizeof(*i->symbols), IMAGE_SYMBOLS) !=
				    (ssize_t)(i->nsymbols * sizeof(*i->symbols))) ||
	    (i->init && pwrite(fd, i->init, i->init_size, IMAGE_INIT - IMAGE_TEXT) != (ssize_t)i->init_size)) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif
