// SPDX-License-Identifier: Apache-2.0
/* Jitdumps of any bytes, which come in two parts: every address has an answer, and a name is one line. */
#include "fuzz.h"

#include <errno.h>

#include "symbolize/jitdump.h"

#define SECOND 1000000000
#define SPLIT  0x9e3779b9u /* some place, another one for each length */

static void ask(struct jitdump *d, uint64_t addr, uint64_t now)
{
	const char *name = NULL;
	int err = jitdump__find(d, addr, now, &name);

	if (err ? err != -ENOENT : !name[0] || strpbrk(name, "\n\t"))
		abort();
}

/* All that could be an address in the file. */
static void ask_all(struct jitdump *d, const uint8_t *data, size_t size, uint64_t now)
{
	ask(d, 0, now);
	ask(d, UINT64_MAX, now);
	for (size_t i = 0; i + 8 <= size && i < 512; i++) {
		uint64_t addr;

		memcpy(&addr, data + i, sizeof(addr));
		ask(d, addr, now);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t first = size ? (uint32_t)(size * SPLIT) % size : 0;
	int fd = fuzz__file(data, first);
	struct jitbudget all = jitbudget__whole(size % 3 ? 1 << 30 : 1000), budget = jitbudget__part(&all);
	struct jitdump *d = jitdump__new(dup(fd), &budget);

	if (!d)
		abort();
	ask_all(d, data, first, 0);
	if (pwrite(fd, data + first, size - first, (off_t)first) != (ssize_t)(size - first))
		abort();
	ask_all(d, data, size, SECOND);
	jitdump__free(d);
	if (all.held || budget.held)
		abort();
	close(fd);
	return 0;
}
