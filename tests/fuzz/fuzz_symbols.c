// SPDX-License-Identifier: Apache-2.0
/*
 * ELF files of any bytes through the symbol tables, the PLT, .gnu_debugdata and the demanglers: every address has an answer. DWARF is
 * not part of it, that is read in another process. Good seeds are small ELF files with what is named above.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/elf.h"
#include "symbolize/native.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct symbolizer *s, struct symbol_file *file, uint64_t addr)
{
	struct symbols answer;

	if (symbolizer__resolve(s, file, addr, addr & 1, &answer))
		return;
	if (answer.count != 1 || !answer.list[0].name[0] || answer.list[0].line || answer.list[0].is_inline)
		abort();
}

/* The ends of each section and what lies between. */
static void ask_all(struct symbolizer *s, struct symbol_file *file, int fd)
{
	struct elf_section section;
	struct elf *elf;

	if (elf__open(fd, &elf, NULL))
		return;
	for (size_t i = 0, n = elf__section_count(elf); i < n && i < 64; i++) {
		if (elf__section_at(elf, i, &section))
			continue;
		for (uint64_t k = 0; k <= 16; k++)
			ask(s, file, section.addr + section.size / 16 * k);
	}
	elf__close(elf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct symbolizer_config config = {.no_dwarf = true};
	struct symbolizer *s = symbolizer__new(&config);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct symbol_file *file;

	if (s && fd >= 0 && write(fd, data, size) == (ssize_t)size && !symbolizer__file(s, fd, -1, "fuzz", &file)) {
		ask(s, file, 0);
		ask(s, file, UINT64_MAX);
		ask_all(s, file, fd);
	}
	symbolizer__free(s);
	if (fd >= 0)
		close(fd);
	return 0;
}
