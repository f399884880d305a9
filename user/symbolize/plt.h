/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which function a PLT entry jumps to: its code is decoded as far as the GOT slot that it loads, whose relocation names the
 * symbol. So the layout does not matter (.plt, .plt.sec, .plt.got, with and without IBT or BTI). x86-64 psABI 5.2;
 * AArch64 ELF ABI 5.8.
 */
#ifndef PYBPF_PLT_H
#define PYBPF_PLT_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "sys/elf.h"

struct plt;

/* elf must outlive the result. 0, -ENOENT when the file has no PLT, -E2BIG, -EINVAL, -EIO, -ENOMEM. */
int plt__load(struct elf *elf, struct plt **out);
void plt__free(struct plt *p); /* NULL is fine */

/*
 * What the entry at a link-time address jumps to. 0: its mangled name was added to *name. 1: to the address that *target is now
 * (of an IFUNC's resolver). -ENOENT, -ENOMEM.
 */
int plt__find(const struct plt *p, uint64_t addr, struct str *name, uint64_t *target);

size_t plt__memory(const struct plt *p); /* bytes held */

#endif
