/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, source lines and inlined functions of native code.
 *
 * Where names come from, the first that knows an address: .symtab of the file itself; .symtab of its separate debug file (by
 * build id below /usr/lib/debug/.build-id, then by .gnu_debuglink, whose CRC must agree; both in the root directory of the
 * process first, then on the host, then debuginfod where it is asked for); .gnu_debugdata; .dynsym; the PLT ("name@plt").
 * Lines and inlined functions come from DWARF, of the file or of its debug file.
 *
 * Among several symbols of one address: functions before what has no type, with a size before without, global before
 * weak before local, then the longest lasting. One without a size reaches to the next one in its section; an address in a gap
 * has no symbol. Names are demangled (C++, Rust), without parameters and return types, and lose "@VERSION" and Rust's hashes.
 *
 * Files are anybody's. What they hold is checked and bounded, and DWARF is read in a process of its own, without rights, so
 * that damage ends in fewer names. Not for several threads at once.
 */
#ifndef PYBPF_SYMBOLIZE_NATIVE_H
#define PYBPF_SYMBOLIZE_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbolizer;
struct symbol_file;

struct symbolizer_config {
	size_t max_bytes; /* that tables may hold, the longest unused are given up first; 0: 64 MiB */
	bool no_dwarf;    /* neither lines nor inlined functions */
	/*
	 * Ask debuginfod for debug files: only when the environment has DEBUGINFOD_URLS and libdebuginfod.so.1 is there. It
	 * uses the network, and takes what time that takes.
	 */
	bool debuginfod;
};

/* config NULL: all zeros. NULL when out of memory. */
struct symbolizer *symbolizer__new(const struct symbolizer_config *config);
void symbolizer__free(struct symbolizer *s); /* NULL is fine */

/*
 * The file behind fd: a program, a shared library or the vdso. Files of one root directory, build id, size and owner
 * are one, as are those of one (device, inode, size, change time); the first one's path stays. path: as the process names it; copied. It is where a
 * debug link starts from, and its base name is the module of addresses without a symbol. root_fd: the root directory of a
 * process that has it (O_PATH will do), where its debug files are looked for first, or -1. Both descriptors stay the
 * caller's and must stay open until symbolizer__free. Reads no more than headers now. 0, or -ENOMEM. A file that is not ELF
 * has no symbols, which is no error, nor has one that is not to be had any more: fd -1.
 */
int symbolizer__file(struct symbolizer *s, int fd, int root_fd, const char *path, struct symbol_file **out);

/* One function at an address. */
struct symbol {
	const char *name; /* never empty */
	const char *file; /* full path as the compiler knew it, or "" */
	uint32_t line;    /* counts from 1; 0: unknown */
	bool is_inline;   /* its code was copied into that of the next symbol in the list */
};

/* At least one, innermost first. Valid until the next call with that symbolizer. */
struct symbols {
	const struct symbol *list;
	size_t count;
	bool known; /* false: nothing is known, the one name is "MODULE+0xADDRESS" */
};

/*
 * What is at link-time address `addr` (run-time address minus load bias). is_return: it is a return address, and the call
 * before it is meant. 0 or -ENOMEM.
 */
int symbolizer__resolve(struct symbolizer *s, struct symbol_file *file, uint64_t addr, bool is_return,
			struct symbols *out);

/* Bytes that tables hold now. */
size_t symbolizer__memory(const struct symbolizer *s);

#endif
