// SPDX-License-Identifier: Apache-2.0
#include "base/vec.h"

#include <errno.h>
#include <stdint.h>

int vec__grow(void **data, size_t *cap, size_t want, size_t size)
{
	size_t room = *cap ? *cap : 8;
	void *grown;

	if (want <= *cap)
		return 0;
	while (room < want) {
		if (room > SIZE_MAX / 2)
			return -ENOMEM;
		/* doubling while small, by half from then on: large tables waste less */
		room += room < 4096 ? room : room / 2;
	}
	if (room > SIZE_MAX / size)
		return -ENOMEM;
	grown = realloc(*data, room * size);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*cap = room;
	return 0;
}
