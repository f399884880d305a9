// SPDX-License-Identifier: Apache-2.0
/* /proc/PID/maps with anything in it: a path may hold all that a file name can. */
#include "fuzz.h"

#include "sys/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_maps *maps;
	struct proc_map map;
	size_t lines = 0;

	if (proc_maps__from_fd(fuzz__file(data, size), &maps, NULL))
		return 0;
	while (proc_maps__next(maps, &map) > 0) {
		if (strlen(map.path) > size || ++lines > size)
			abort();
	}
	proc_maps__close(maps);
	return 0;
}
