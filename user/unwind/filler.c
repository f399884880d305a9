// SPDX-License-Identifier: Apache-2.0
#include "unwind/filler.h"

#include <elf.h>
#include <string.h>

#include "base/cleanup.h"

#define STUB        16 /* bytes of a PLT's stub */
#define START_BYTES 64 /* of a _start, at most */

struct fillers {
	struct elf *elf;
	struct filler *out;
	size_t n;
};

/* The end of the executable segment that holds the address, 0 when none does. */
static uint64_t code_end(const struct elf *elf, uint64_t addr)
{
	for (size_t i = 0; i < elf__segment_count(elf); i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type == PT_LOAD && s->flags & PF_X && addr >= s->vaddr && addr - s->vaddr < s->filesz &&
		    s->filesz <= UINT64_MAX - s->vaddr)
			return s->vaddr + s->filesz;
	}
	return 0;
}

static void add(struct fillers *f, uint64_t start, uint64_t size, struct unwind_rule rule)
{
	uint64_t end = code_end(f->elf, start);

	if (f->n == MAX_FILLERS || !end)
		return;
	if (size < end - start)
		end = start + size;
	if (start < end)
		f->out[f->n++] = (struct filler){start, end, rule};
}

/*
 * x86-64 ABI 5.2, figure 5.2. The first entry: push GOT[1] (6 bytes), jmp, reached with the stub's push on the stack.
 * A stub: jmp (6 bytes), push (5), jmp; or with branch tracking endbr64 (4), push (5), jmp.
 */
static void add_plt_x86(struct fillers *f, const struct elf_section *plt)
{
	static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};
	struct unwind_rule rule = {.cfa = UNWIND_SP, .ra_off = -8};
	uint8_t head[4] = {0};

	if (plt->size <= STUB)
		return;
	rule.cfa_off = 16;
	add(f, plt->addr, 6, rule);
	rule.cfa_off = 24;
	add(f, plt->addr + 6, STUB - 6, rule);
	if (elf__read_address(f->elf, plt->addr + STUB, head, sizeof(head)))
		return;
	rule.cfa = UNWIND_PLT;
	rule.cfa_off = 8;
	rule.reg = memcmp(head, endbr64, sizeof(head)) == 0 ? 9 : 11;
	add(f, plt->addr + STUB, plt->size - STUB, rule);
}

/* GNU ld describes its stubs, LLVM's lld and others do not. All of them write the same ones. */
static void add_plts(struct fillers *f, const struct cfi_arch *arch)
{
	static const char *const names[] = {".plt.sec", ".plt.got", ".plt"};
	const struct unwind_rule call = {
		.cfa = UNWIND_SP, .cfa_off = arch->machine == EM_X86_64 ? 8 : 0, .ra_off = arch->ra_off};
	struct elf_section s;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (elf__section(f->elf, names[i], &s) || s.type != SHT_PROGBITS || !(s.flags & SHF_EXECINSTR))
			continue;
		if (arch->machine == EM_X86_64 && strcmp(names[i], ".plt") == 0)
			add_plt_x86(f, &s);
		else
			add(f, s.addr, s.size, call);
	}
}

/*
 * _init and _fini, pieced together out of glibc's crti.o and crtn.o (sysdeps/x86_64/crti.S): `sub $8, %rsp` at the
 * start, perhaps behind endbr64, `add $8, %rsp; ret` at the end. Constructors of old run in between.
 */
static void add_init_x86(struct fillers *f, const char *name)
{
	static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa}, sub[4] = {0x48, 0x83, 0xec, 8};
	static const uint8_t add_ret[5] = {0x48, 0x83, 0xc4, 8, 0xc3};
	struct unwind_rule rule = {.cfa = UNWIND_SP, .cfa_off = 8, .ra_off = -8};
	uint8_t head[8], tail[5];
	struct elf_section s;
	size_t pushed;

	if (elf__section(f->elf, name, &s) || s.type != SHT_PROGBITS || s.size < sizeof(head) ||
	    elf__read_address(f->elf, s.addr, head, sizeof(head)) ||
	    elf__read_address(f->elf, s.addr + s.size - sizeof(tail), tail, sizeof(tail)))
		return;
	pushed = memcmp(head, endbr64, sizeof(endbr64)) == 0 ? 8 : 4;
	if (s.size < pushed + sizeof(tail) || memcmp(head + pushed - sizeof(sub), sub, sizeof(sub)) != 0 ||
	    memcmp(tail, add_ret, sizeof(tail)) != 0)
		return;
	add(f, s.addr, pushed, rule);
	add(f, s.addr + s.size - 1, 1, rule);
	rule.cfa_off = 16;
	add(f, s.addr + pushed, s.size - 1 - pushed, rule);
}

/*
 * The dynamic linker's entry, which the kernel calls as a program's: it hands the initial stack to a function in C, and in the
 * end jumps to the program (glibc sysdeps/x86_64/dl-machine.h, RTLD_START; musl arch/x86_64/crt_arch.h). No function that a
 * library may have there takes its own stack pointer for an argument as the first thing that it does.
 */
static void add_linker_x86(struct fillers *f)
{
	static const uint8_t glibc[] = {0x48, 0x89, 0xe7, 0xe8}, musl[] = {0x48, 0x31, 0xed, 0x48, 0x89, 0xe7};
	static const uint8_t jump[] = {0x41, 0xff, 0xe4};
	uint8_t text[2 * START_BYTES] = {0};
	uint64_t at = elf__info(f->elf)->entry, end_of_code = code_end(f->elf, at), size = START_BYTES;
	size_t n = end_of_code - at < sizeof(text) ? end_of_code - at : sizeof(text);

	if (!end_of_code || elf__read_address(f->elf, at, text, n))
		return;
	if (!memcmp(text, glibc, sizeof(glibc))) {
		const uint8_t *end = memmem(text, sizeof(text), jump, sizeof(jump));

		size = end ? (uint64_t)(end - text) + sizeof(jump) : START_BYTES;
	} else if (memcmp(text, musl, sizeof(musl)) != 0) {
		return;
	}
	add(f, at, size, (struct unwind_rule){.cfa = UNWIND_END});
}

size_t filler__find(struct elf *elf, const struct cfi_arch *arch, struct filler out[MAX_FILLERS])
{
	struct fillers f = {.elf = elf, .out = out};
	const struct elf_info *info = elf__info(elf);

	add_plts(&f, arch);
	if (arch->machine == EM_X86_64) {
		add_init_x86(&f, ".init");
		add_init_x86(&f, ".fini");
	}
	/* A shared library's entry may be any function; a program's is _start, which has no caller. */
	if (info->type == ET_EXEC || elf__find_segment(elf, PT_INTERP))
		add(&f, info->entry, START_BYTES, (struct unwind_rule){.cfa = UNWIND_END});
	else if (arch->machine == EM_X86_64)
		add_linker_x86(&f);
	return f.n;
}
