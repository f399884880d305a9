/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions without call frame information: hand-written assembly (OpenBLAS has 850 of them, a tenth of what NumPy spends its time
 * in; some of OpenSSL's are, too), and all of a C library that is built without (musl). A symbol names them; or they are called,
 * jumped to or pointed to by one that has been followed.
 */
#ifndef PYBPF_UNWIND_GAPS_H
#define PYBPF_UNWIND_GAPS_H

#include "unwind/cfi.h"
#include "unwind/follow_x86.h"

/*
 * The symbols by which gaps__follow finds functions: .symtab, or .dynsym where that is missing. False when the file has neither, has
 * more of them than can be true, or is for a machine whose code is not followed.
 */
bool gaps__symbols(struct elf *elf, struct elf_section *out);

/*
 * Follows the functions among these symbols, and those that they lead to, that no entry of cfi covers; its functions
 * are sorted. What was found is appended to *out, ascending; to *code where all these functions are, whatever came of
 * them, and the tables by which they jump. Where cfi->work does not suffice, what is left of it is not followed. 0,
 * also when nothing was or could be found; -ENOMEM, -ECANCELED, and both are then to be freed all the same.
 */
int gaps__follow(struct elf *elf, const struct cfi *cfi, filler_list *out, code_ranges *code);

#endif
