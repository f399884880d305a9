// SPDX-License-Identifier: Apache-2.0
#include "collect/cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int cpus__parse(const char *list, bool *on, size_t count)
{
	const char *p = list;

	memset(on, 0, count * sizeof(*on));
	while (*p && *p != '\n') {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (end == p)
			return -EINVAL;
		p = end;
		if (*p == '-') {
			last = strtoul(p + 1, &end, 10);
			if (end == p + 1)
				return -EINVAL;
			p = end;
		}
		for (unsigned long cpu = first; cpu <= last && cpu < count; cpu++)
			on[cpu] = true;
		if (*p == ',')
			p++;
		else if (*p && *p != '\n')
			return -EINVAL;
	}
	return 0;
}

bool cpus__event_ended(int fd, uint64_t *enabled)
{
	struct {
		uint64_t value, enabled; /* <linux/perf_event.h>, perf_event_read_format */
	} now;
	uint64_t before = *enabled;

	if (read(fd, &now, sizeof(now)) != sizeof(now))
		return true;
	*enabled = now.enabled;
	return now.enabled == before;
}

int cpus__online(bool *on, size_t count)
{
	_cleanup_close_ int fd = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
	char list[4096];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, list, sizeof(list) - 1);
	if (n < 0)
		return -errno;
	list[n] = '\0';
	return cpus__parse(list, on, count);
}
