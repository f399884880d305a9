/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of kernel functions, those of modules and of BPF programs, from /proc/kallsyms (kernel/kallsyms.c: "ADDRESS TYPE
 * NAME[\t[MODULE]]"; of types only t, T, w and W are code).
 */
#ifndef PYBPF_KALLSYMS_H
#define PYBPF_KALLSYMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kallsyms;

/* path NULL: /proc/kallsyms. Reads nothing yet. NULL when out of memory. */
struct kallsyms *kallsyms__new(const char *path);
void kallsyms__free(struct kallsyms *k); /* NULL is fine */

/*
 * Reads the file (30 ms, 6 MB) unless that was done; `again`: also then, for modules and programs that came since. 0; -EPERM
 * when all addresses are hidden (sysctl kernel.kptr_restrict, no CAP_SYSLOG), or it has no functions; or what
 * opening or reading failed with, -ENOMEM. *e says why; what was known before stays known.
 */
int kallsyms__load(struct kallsyms *k, bool again, struct err *e);

/*
 * The function at an address, 0, or -ENOENT; loads first where that was not done. *module is "" for the kernel proper, "bpf"
 * for BPF programs. is_return: the address lies behind a call. Both strings stay valid until the next load or free.
 */
int kallsyms__find(struct kallsyms *k, uint64_t addr, bool is_return, const char **name, const char **module);

size_t kallsyms__memory(const struct kallsyms *k); /* bytes held */

#endif
