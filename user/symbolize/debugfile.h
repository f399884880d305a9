/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that hold debug information of other files, by the conventions of GDB ("Debugging Information in Separate Files") and
 * dwz. They are looked for in the root directory of the process first, where no link leads out of it, then on the host.
 */
#ifndef PYBPF_DEBUGFILE_H
#define PYBPF_DEBUGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/elf.h"

/* Of a file that was linked: its build id, from its notes or sections. Returns its length, or -ENOENT, -EINVAL, -ENOSPC, ... */
int debugfile__build_id(struct elf *elf, uint8_t *id, size_t size);

/*
 * Opens the separate debug file of the file at `path` (as the process names it; "" where it has none): by build id, by
 * debug link (CRC checked), and from debuginfod when `download` is set. root_fd may be -1. Returns a descriptor, or -ENOENT.
 */
int debugfile__open(struct elf *elf, const char *path, int root_fd, bool download);

/* The file that dwz moved what several debug files share to, with the build id that this one asks for. Likewise. */
int debugfile__open_alternate(struct elf *debug, int root_fd);

/*
 * Unpacks .gnu_debugdata (a small ELF file under xz, "MiniDebugInfo") into memory that is a file. Returns a
 * descriptor; -ENOENT, -EBADMSG when it is damaged, -E2BIG beyond 64 MB, or another -errno. *size gets its size in bytes.
 */
int debugfile__unpack_mini(struct elf *elf, size_t *size);

#endif
