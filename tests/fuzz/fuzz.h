/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzzers have in common. Each tests/fuzz/fuzz_NAME.c is one program: `make fuzz` builds and runs them all. */
#ifndef PYBPF_FUZZ_H
#define PYBPF_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A new file with these bytes, read from its beginning; the caller closes it. */
static inline int fuzz__file(const void *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

/* A copy of exactly that size, which a part of `data` is not: ASan sees each byte too far. */
static inline uint8_t *fuzz__copy(const void *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	return copy;
}

#endif
