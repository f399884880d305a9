// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err__set(struct err *e, int code, const char *format, ...)
{
	va_list args;

	if (!e)
		return code;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	e->code = code;
	return code;
}

int err__errno(struct err *e, int code, const char *format, ...)
{
	va_list args;
	size_t n;

	if (!e)
		return code;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(-code));
	e->code = code;
	return code;
}

int err__wrap(struct err *e, const char *format, ...)
{
	char before[sizeof(e->text)], old[sizeof(e->text)];
	va_list args;

	if (!e)
		return -EINVAL;
	va_start(args, format);
	vsnprintf(before, sizeof(before), format, args);
	va_end(args);
	memcpy(old, e->text, sizeof(old));
	if (snprintf(e->text, sizeof(e->text), "%s: %s", before, old) >= (int)sizeof(e->text))
		e->text[sizeof(e->text) - 1] = '\0'; /* cut: the beginning says most */
	return e->code;
}
