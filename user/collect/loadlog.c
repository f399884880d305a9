// SPDX-License-Identifier: Apache-2.0
#include "collect/loadlog.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"

struct load_log {
	char last[256];
	bool verifier; /* `last` is what the verifier has said, which tells most */
};
static __thread struct load_log load_log;

/* The line of the verifier's log that comes before its statistics. False when there is none. */
static bool verifier_reason(const char *text, char *reason, size_t size)
{
	const char *end = strstr(text, "BEGIN PROG LOAD LOG") ? strstr(text, "\nprocessed ") : NULL;
	const char *start = end;

	if (!end)
		return false;
	while (start > text && start[-1] != '\n')
		start--;
	snprintf(reason, size, "%.*s", (int)(end - start), start);
	return true;
}

static int keep_last_line(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;

	if (level != LIBBPF_WARN || load_log.verifier || vasprintf(&text, format, args) < 0)
		return 0;
	load_log.verifier = verifier_reason(text, load_log.last, sizeof(load_log.last));
	if (!load_log.verifier)
		snprintf(load_log.last, sizeof(load_log.last), "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

void loadlog__begin(void)
{
	load_log = (struct load_log){0};
	libbpf_set_print(keep_last_line);
}

const char *loadlog__text(void)
{
	return load_log.last;
}
