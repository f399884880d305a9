// SPDX-License-Identifier: Apache-2.0
/* Files of any bytes as ELF files and as interpreters: an answer or an error, within bounds. */
#include "fuzz.h"

#include <elf.h>

#include "pyrt/binary.h"
#include "pyrt/layout.h"
#include "sys/elf.h"

static void ask(struct elf *elf)
{
	static const char *const names[] = {"main", "_Py_tss_tstate"};
	struct elf_symbol syms[2];
	struct elf_section section;
	uint8_t id[ELF_BUILD_ID_MAX];
	bool found[2];
	uint64_t at;

	elf__dynamic_symbol(elf, "_PyRuntime", syms);
	elf__static_symbols(elf, names, 2, syms, found);
	elf__section(elf, ".PyRuntime", &section);
	if (elf__build_id(elf, id, sizeof(id)) > (int)sizeof(id))
		abort();
	elf__needs(elf, "libc.so");
	elf__debug_word(elf, &(uint64_t){0});
	elf__text_address(elf, 4096, &at);
	elf__offset_of(elf, 4096, &at);
	elf__find_segment(elf, PT_TLS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = fuzz__file(data, size);
	struct pyrt_binary binary;
	struct pyrt_layout layout;
	struct elf *elf;
	struct str text = {0};

	if (!elf__open(fd, &elf, NULL)) {
		ask(elf);
		elf__close(elf);
	}
	if (!pyrt_binary__probe(fd, &binary, NULL) && binary.kind != PYRT_NONE) {
		pyrt_binary__describe(&binary, &text);
		pyrt_layout__find(fd, &binary, &layout, NULL);
	}
	str__free(&text);
	close(fd);
	return 0;
}
