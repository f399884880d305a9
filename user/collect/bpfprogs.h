/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the compiled code of BPF programs lies. /proc/kallsyms has their names without sizes, and none of classic filters
 * (seccomp's, sockets'; kernel/bpf/core.c, bpf_prog_kallsyms_candidate), which lie between the others: what is behind a program's
 * end is not that program.
 */
#ifndef PYBPF_BPFPROGS_H
#define PYBPF_BPFPROGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

struct bpfprog {
	uint64_t addr; /* of one function of a program */
	uint32_t size; /* bytes */
};
struct bpfprog_list vec(struct bpfprog); /* by address */

/*
 * All programs that are loaded now (bpf(2): BPF_PROG_GET_NEXT_ID, BPF_OBJ_GET_INFO_BY_FD with jited_ksyms and jited_func_lens).
 * 0; -EPERM without CAP_SYS_ADMIN, or where addresses are hidden; -ENOMEM, or what bpf(2) failed with. *out is replaced, and
 * empty on failure; to be freed with vec__free.
 */
int bpfprogs__read(struct bpfprog_list *out);

/* Whether an address lies in one of them. */
bool bpfprogs__have(const struct bpfprog_list *list, uint64_t addr);

#endif
