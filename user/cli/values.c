// SPDX-License-Identifier: Apache-2.0
#include "cli/values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

int values__count(const char *text, uint32_t min, uint32_t max, uint32_t *n)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end || errno || value < min || value > max)
		return -EINVAL;
	*n = (uint32_t)value;
	return 0;
}

int values__rate(const char *text, uint32_t *hz)
{
	return values__count(text, 1, 20000, hz);
}

/* A number as people write it, without a sign and not in hex, of which strtod is fond. Negative: none. */
static double decimal(const char *text, char **end)
{
	const char *digits = *text == '.' ? text + 1 : text;

	if (!isdigit((unsigned char)*digits) || (text[0] == '0' && (text[1] | 32) == 'x'))
		return -1;
	return strtod(text, end);
}

int values__duration(const char *text, uint64_t *ns, struct err *e)
{
	static const struct {
		const char *suffix;
		double seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"ms", 0.001}};
	char *end;
	double value;

	if (!strcmp(text, "unlimited")) {
		*ns = 0;
		return 0;
	}
	value = decimal(text, &end);
	for (size_t i = 0; value >= 0 && i < sizeof(units) / sizeof(units[0]); i++) {
		double seconds = value * units[i].seconds;

		if (strcmp(end, units[i].suffix) || !isfinite(value))
			continue;
		if (seconds < 0.001 || seconds > 1e9)
			break;
		*ns = (uint64_t)(seconds * 1e9);
		return 0;
	}
	return err__set(e, -EINVAL, "-d %s: not a duration; seconds, 1.5, 30s, 5m, 1h or unlimited", text);
}

/* One that is named twice is one process still. */
static int add_pid(struct pid_list *list, uint32_t pid)
{
	vec__foreach(list, known) {
		if (*known == pid)
			return 0;
	}
	return vec__push(list, pid);
}

int values__pids(const char *text, struct pid_list *list, struct err *e)
{
	const char *p = text;

	for (;;) {
		unsigned long pid;
		char *end;

		errno = 0;
		pid = isdigit((unsigned char)*p) ? strtoul(p, &end, p[0] == '0' && (p[1] | 32) == 'x' ? 16 : 10) : 0;
		if (!pid || errno || pid > INT32_MAX || (*end && *end != ','))
			return err__set(e, -EINVAL, "-p %s: not a process id, or several separated by commas", text);
		if (add_pid(list, (uint32_t)pid))
			return err__errno(e, -ENOMEM, "-p %s", text);
		if (!*end)
			return 0;
		p = end + 1;
	}
}

int values__user(const char *text, uint32_t *uid, struct err *e)
{
	struct passwd *user = getpwnam(text);

	if (user) {
		*uid = user->pw_uid;
		return 0;
	}
	if (!values__count(text, 0, UINT32_MAX - 1, uid))
		return 0;
	return err__set(e, -EINVAL, "--user %s: no user of that name, and not a number", text);
}

int values__width(const char *text, double *width, bool *percent, struct err *e)
{
	char *end;
	double value = decimal(text, &end);

	if (value < 0 || !isfinite(value) || (*end && strcmp(end, "%") && strcmp(end, "px")))
		return err__set(e, -EINVAL, "--min-width %s: not a width; pixels (0.1) or percent (0.1%%)", text);
	*percent = *end == '%';
	if (*percent && value > 100)
		return err__set(e, -EINVAL, "--min-width %s: more than all", text);
	/* to the exporter 0 means its default; here it means that everything is shown */
	*width = value > 0 ? value : -1;
	return 0;
}

int values__memory(const char *text, uint64_t *bytes, struct err *e)
{
	static const char units[] = "kMGT";
	char *end;
	double value = decimal(text, &end);
	const char *unit = value >= 0 && *end ? strchr(units, *end == 'K' ? 'k' : *end == 'm' ? 'M' : *end == 'g' ? 'G' : *end) : NULL;

	if (value >= 0 && unit) {
		for (long i = unit - units; i >= 0; i--)
			value *= 1024;
		end++;
		if (*end == 'B' || *end == 'b')
			end++;
	}
	if (value < 16 << 20 || value > 1e15 || *end)
		return err__set(e, -EINVAL, "--max-memory %s: not a size of at least 16M, such as 256M or 1G", text);
	*bytes = (uint64_t)value;
	return 0;
}
