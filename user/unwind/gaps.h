/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions without call frame information: hand-written assembly that a symbol names. OpenBLAS has 850 of them, a tenth of what
 * NumPy spends its time in; some of OpenSSL's are, too.
 */
#ifndef PYBPF_UNWIND_GAPS_H
#define PYBPF_UNWIND_GAPS_H

#include "unwind/cfi.h"
#include "unwind/follow_x86.h"

/*
 * Follows the functions of .symtab, or .dynsym where that is missing, that no entry of cfi covers; its functions are sorted. What
 * was found is appended to *out, ascending. 0, also when nothing was or could be; -ENOMEM, and out is then to be freed all the same.
 */
int gaps__follow(struct elf *elf, const struct cfi *cfi, filler_list *out);

#endif
