/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that make a thread or a process with a stack of its own: glibc's clone and clone3
 * (sysdeps/unix/sysv/linux/x86_64/clone.S and clone3.S). Their call frame information ends in front of the system call:
 * behind it the child runs the same code, with nothing on its stack. The parent, which is there for all the time that
 * the kernel takes, has its return address where it was.
 */
#ifndef PYBPF_UNWIND_FORKS_H
#define PYBPF_UNWIND_FORKS_H

#include "unwind/cfi.h"
#include "unwind/follow_x86.h"

/*
 * Appends to *out what holds behind the system calls of such functions among those of cfi, which are sorted, and sorts
 * *out; to *code what this depends on. 0, also when there are none; -ENOMEM, -ECANCELED, and both are then to be freed
 * all the same.
 */
int forks__find(struct elf *elf, const struct cfi *cfi, filler_list *out, code_ranges *code);

#endif
