// SPDX-License-Identifier: Apache-2.0
#include "collect/mapmemory.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t mapmemory__of(int fd)
{
	char path[64], line[128];
	uint64_t bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f) && sscanf(line, "memlock: %" SCNu64, &bytes) != 1)
		;
	fclose(f);
	return bytes;
}
