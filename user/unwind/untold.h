/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions whose call frame information says that they move nothing, but whose code begins with a push: OpenSSL's AES-XTS for
 * AVX-512 (crypto/aes/asm/aesni-xts-avx512.pl, 40 KB), and multiplications of the C library. They are followed; where that does not
 * succeed, nothing is known of them.
 */
#ifndef PYBPF_UNWIND_UNTOLD_H
#define PYBPF_UNWIND_UNTOLD_H

#include "unwind/cfi.h"
#include "unwind/follow_x86.h"

/*
 * Finds them among the functions of cfi, which are sorted, and sets their `untold`. Their rules are appended to *out,
 * ascending, without a gap within one of them; to *code what this depends on. 0, also when there are none; -ENOMEM,
 * -ECANCELED, and both are then to be freed all the same.
 */
int untold__follow(struct elf *elf, struct cfi *cfi, filler_list *out, code_ranges *code);

#endif
