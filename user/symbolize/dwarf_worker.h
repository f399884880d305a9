/* SPDX-License-Identifier: Apache-2.0 */
/* What the process that reads DWARF and the one that asks it say to each other, over a stream socket. */
#ifndef PYBPF_DWARF_WORKER_H
#define PYBPF_DWARF_WORKER_H

#include <stdint.h>
#include <sys/types.h>

#define DWARF_MAX_FRAMES 64
#define DWARF_MAX_TEXT   4096 /* bytes of a name or path, NUL included; longer ones are cut */

/* The question is an address, uint64_t. The answer is a head, `count` frames, and `bytes` of text: of each frame the name, NUL,
 * the file, NUL. */
struct dwarf_answer {
	uint32_t count, bytes;
};

struct dwarf_answer_frame {
	uint32_t line, name_bytes, file_bytes; /* NULs included */
};

/* All n bytes. 0, or -errno; -EPIPE at the end of the stream. */
int dwarf_stream__read(int fd, void *buf, size_t n);
int dwarf_stream__write(int fd, const void *buf, size_t n);

/* What the process does: answers until nobody asks any more. alternate: a descriptor or -1. Returns its exit status. */
int dwarf_worker__run(int socket, int file, int alternate);

#endif
