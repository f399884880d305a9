/* SPDX-License-Identifier: Apache-2.0 */
/* ELF headers, sections, segments and raw reads. Symbols are in elf_symbols.c. */
#include "sys/elf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MAX_SEGMENTS   128
#define MAX_SECTIONS   8192
#define MAX_NAME_TABLE (1 << 20)
#define MAX_NOTES      (64 << 10)
#define PAGE           4096

int elf__open_path(const char *path)
{
	_cleanup_close_ int probe = -1;
	char again[64];
	struct stat st;
	int fd;

	/* O_PATH first: merely opening a device or FIFO can have effects. */
	probe = open(path, O_PATH | O_CLOEXEC);
	if (probe < 0 || fstat(probe, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", probe);
	fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int elf__read(struct elf *elf, uint64_t offset, void *buf, size_t n)
{
	size_t done = 0;

	if (offset > elf->info.size || n > elf->info.size - offset)
		return -EINVAL;
	while (done < n) {
		ssize_t got = pread(elf->fd, (char *)buf + done, n - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0) /* somebody cut the file */
			return -EIO;
		done += (size_t)got;
	}
	return 0;
}

static int read_segments(struct elf *elf, const Elf64_Ehdr *eh)
{
	_cleanup_free_ Elf64_Phdr *raw = NULL;
	int err;

	if (!eh->e_phnum)
		return 0;
	if (eh->e_phnum > MAX_SEGMENTS || eh->e_phentsize != sizeof(*raw))
		return -EINVAL;
	raw = calloc(eh->e_phnum, sizeof(*raw));
	elf->segments = calloc(eh->e_phnum, sizeof(*elf->segments));
	if (!raw || !elf->segments)
		return -ENOMEM;
	err = elf__read(elf, eh->e_phoff, raw, eh->e_phnum * sizeof(*raw));
	if (err)
		return err;
	for (size_t i = 0; i < eh->e_phnum; i++)
		elf->segments[i] = (struct elf_segment){
			.type = raw[i].p_type,
			.flags = raw[i].p_flags,
			.offset = raw[i].p_offset,
			.vaddr = raw[i].p_vaddr,
			.filesz = raw[i].p_filesz,
			.memsz = raw[i].p_memsz,
			.align = raw[i].p_align,
		};
	elf->nsegments = eh->e_phnum;
	return 0;
}

int elf__open(int fd, struct elf **out, struct err *e)
{
	struct elf *elf = NULL;
	struct stat st;
	Elf64_Ehdr eh;
	int err;

	if (fstat(fd, &st) < 0)
		return err__errno(e, -errno, "cannot examine the file");
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return err__set(e, -EINVAL, "not a regular file");
	elf = calloc(1, sizeof(*elf));
	if (!elf)
		return err__set(e, -ENOMEM, "out of memory");
	elf->fd = fd;
	elf->info.size = (uint64_t)st.st_size;

	if (elf->info.size < sizeof(eh)) {
		err = err__set(e, -ENOEXEC, "not an ELF file");
		goto fail;
	}
	err = elf__read(elf, 0, &eh, sizeof(eh));
	if (err) {
		err__errno(e, err, "cannot read the ELF header");
		goto fail;
	}
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0) {
		err = err__set(e, -ENOEXEC, "not an ELF file");
		goto fail;
	}
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB) {
		err = err__set(e, -ENOTSUP, "not a 64-bit little-endian ELF file");
		goto fail;
	}
	elf->info.type = eh.e_type;
	elf->info.machine = eh.e_machine;
	elf->info.entry = eh.e_entry;
	elf->shoff = eh.e_shoff;
	elf->shnum = eh.e_shnum;
	elf->shstrndx = eh.e_shstrndx;
	elf->shentsize = eh.e_shentsize;
	err = read_segments(elf, &eh);
	if (err) {
		err__errno(e, err, "bad ELF program headers");
		goto fail;
	}
	*out = elf;
	return 0;
fail:
	elf__close(elf);
	return err;
}

void elf__close(struct elf *elf)
{
	if (!elf)
		return;
	free(elf->segments);
	free(elf->sections);
	free(elf->names);
	free(elf);
}

const struct elf_info *elf__info(const struct elf *elf)
{
	return &elf->info;
}

size_t elf__segment_count(const struct elf *elf)
{
	return elf->nsegments;
}

const struct elf_segment *elf__segment(const struct elf *elf, size_t i)
{
	return i < elf->nsegments ? &elf->segments[i] : NULL;
}

const struct elf_segment *elf__find_segment(const struct elf *elf, uint32_t type)
{
	for (size_t i = 0; i < elf->nsegments; i++)
		if (elf->segments[i].type == type)
			return &elf->segments[i];
	return NULL;
}

/* gABI: where the counts do not fit their 16 bits, section 0 holds them. */
static int extended_counts(struct elf *elf)
{
	Elf64_Shdr first;
	int err;

	if (elf->shnum && elf->shstrndx != SHN_XINDEX)
		return 0;
	err = elf__read(elf, elf->shoff, &first, sizeof(first));
	if (err)
		return err;
	if (!elf->shnum)
		elf->shnum = first.sh_size;
	if (elf->shstrndx == SHN_XINDEX)
		elf->shstrndx = first.sh_link;
	return 0;
}

int elf_load_sections(struct elf *elf)
{
	_cleanup_free_ Elf64_Shdr *sections = NULL;
	_cleanup_free_ char *names = NULL;
	const Elf64_Shdr *str;
	int err;

	if (elf->sections)
		return 0;
	if (!elf->shoff)
		return -ENOENT;
	if (elf->shentsize != sizeof(*sections))
		return -EINVAL;
	err = extended_counts(elf);
	if (err)
		return err;
	if (!elf->shnum)
		return -ENOENT;
	if (elf->shnum > MAX_SECTIONS || elf->shstrndx >= elf->shnum)
		return -EINVAL;
	sections = calloc(elf->shnum, sizeof(*sections));
	if (!sections)
		return -ENOMEM;
	err = elf__read(elf, elf->shoff, sections, elf->shnum * sizeof(*sections));
	if (err)
		return err;
	str = &sections[elf->shstrndx];
	if (str->sh_size > MAX_NAME_TABLE)
		return -EINVAL;
	names = calloc(1, str->sh_size + 1);
	if (!names)
		return -ENOMEM;
	err = elf__read(elf, str->sh_offset, names, str->sh_size);
	if (err)
		return err;
	elf->names_size = str->sh_size;
	elf->names = take_ptr(names);
	elf->sections = take_ptr(sections);
	return 0;
}

size_t elf__section_count(struct elf *elf)
{
	return elf_load_sections(elf) ? 0 : elf->shnum;
}

int elf__section_at(struct elf *elf, size_t i, struct elf_section *out)
{
	int err = elf_load_sections(elf);
	const Elf64_Shdr *s;

	if (err)
		return err;
	if (i >= elf->shnum)
		return -ENOENT;
	s = &elf->sections[i];
	*out = (struct elf_section){
		.type = s->sh_type,
		.flags = s->sh_flags,
		.addr = s->sh_addr,
		.offset = s->sh_offset,
		.size = s->sh_size,
		.link = s->sh_link,
		.entsize = s->sh_entsize,
	};
	return 0;
}

int elf__section(struct elf *elf, const char *name, struct elf_section *out)
{
	size_t pos = 0;

	return elf__next_section(elf, name, &pos, out);
}

int elf__next_section(struct elf *elf, const char *name, size_t *pos, struct elf_section *out)
{
	int err = elf_load_sections(elf);

	if (err)
		return err;
	while (*pos < elf->shnum) {
		const Elf64_Shdr *s = &elf->sections[(*pos)++];

		if (s->sh_name >= elf->names_size || strcmp(elf->names + s->sh_name, name) != 0)
			continue;
		return elf__section_at(elf, *pos - 1, out);
	}
	return -ENOENT;
}

int elf__offset_of(const struct elf *elf, uint64_t addr, uint64_t *offset)
{
	for (size_t i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (s->type == PT_LOAD && addr >= s->vaddr && addr - s->vaddr < s->filesz) {
			*offset = s->offset + (addr - s->vaddr);
			return 0;
		}
	}
	return -EFAULT;
}

int elf__read_address(struct elf *elf, uint64_t addr, void *buf, size_t n)
{
	for (size_t i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];
		uint64_t at = addr - s->vaddr, held;

		if (s->type != PT_LOAD || addr < s->vaddr || at > s->memsz || n > s->memsz - at)
			continue;
		held = at < s->filesz ? s->filesz - at : 0;
		if (held > n)
			held = n;
		if (held) {
			int err = elf__read(elf, s->offset + at, buf, held);

			if (err)
				return err;
		}
		memset((char *)buf + held, 0, n - held);
		return 0;
	}
	return -EFAULT;
}

int elf__text_address(const struct elf *elf, uint64_t offset, uint64_t *addr)
{
	for (size_t i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];
		uint64_t first = s->offset & ~(uint64_t)(PAGE - 1);

		if (s->type != PT_LOAD || !(s->flags & PF_X) || s->filesz > UINT64_MAX - s->offset)
			continue;
		if (offset < first || offset >= s->offset + s->filesz)
			continue;
		*addr = s->vaddr + (offset - s->offset);
		return 0;
	}
	return -ENOENT;
}

int elf__build_id(struct elf *elf, uint8_t *id, size_t size)
{
	for (size_t i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];
		_cleanup_free_ uint8_t *notes = NULL;
		size_t at = 0;

		if (s->type != PT_NOTE || !s->filesz || s->filesz > MAX_NOTES)
			continue;
		notes = malloc(s->filesz);
		if (!notes)
			return -ENOMEM;
		if (elf__read(elf, s->offset, notes, s->filesz))
			continue;
		while (s->filesz - at >= sizeof(Elf64_Nhdr)) {
			Elf64_Nhdr n;
			size_t name, desc, left;

			memcpy(&n, notes + at, sizeof(n));
			at += sizeof(n);
			left = s->filesz - at;
			name = ((size_t)n.n_namesz + 3) & ~(size_t)3;
			if (name > left || n.n_descsz > left - name)
				break;
			if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
			    memcmp(notes + at, "GNU", 4) == 0) {
				if (n.n_descsz > size)
					return -ENOSPC;
				memcpy(id, notes + at + name, n.n_descsz);
				return (int)n.n_descsz;
			}
			desc = ((size_t)n.n_descsz + 3) & ~(size_t)3;
			if (desc > left - name)
				break;
			at += name + desc;
		}
	}
	return -ENOENT;
}
