// SPDX-License-Identifier: Apache-2.0
/* The table of formats: a new format is a file with a `struct export_format` and a row here. */
#include "export/export.h"

#include <errno.h>
#include <string.h>

#include "export/formats.h"

const struct export_format *const export_formats[] = {
	&export_flamegraph,
	&export_speedscope,
	&export_raw,
	&export_capture,
	NULL,
};

const struct export_format *export__by_name(const char *name)
{
	for (const struct export_format *const *f = export_formats; *f; f++) {
		if (!strcmp((*f)->name, name))
			return *f;
		for (const char *const *alias = (*f)->aliases; alias && *alias; alias++) {
			if (!strcmp(*alias, name))
				return *f;
		}
	}
	return NULL;
}

/* Length of `suffix` when `path` ends with it and has something before it, else 0. */
static size_t suffix_length(const char *path, const char *suffix)
{
	size_t n = strlen(path), k = strlen(suffix);

	if (n <= k || path[n - k - 1] == '/' || strcmp(path + n - k, suffix) != 0)
		return 0;
	return k;
}

/* The format with the longest suffix that the path ends in, and the suffix's length; NULL and 0. */
static const struct export_format *longest_suffix(const char *path, size_t *length)
{
	const struct export_format *best = NULL;

	*length = 0;
	for (const struct export_format *const *f = export_formats; *f; f++) {
		for (const char *const *s = (*f)->suffixes; s && *s; s++) {
			size_t n = suffix_length(path, *s);

			if (n > *length) {
				*length = n;
				best = *f;
			}
		}
	}
	return best;
}

const struct export_format *export__by_suffix(const char *path)
{
	size_t length;

	return longest_suffix(path, &length);
}

const char *export__reserved_suffix(const char *path)
{
	/* of formats that profilers write and this one doesn't yet: a flame graph in them would mislead whoever opens them */
	static const char *const reserved[] = {".html", ".pb.gz", ".pprof", ".pstats", ".trace.json", ".perf", ".jsonl"};
	size_t known;

	longest_suffix(path, &known);
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (suffix_length(path, reserved[i]) > known)
			return reserved[i];
	}
	return NULL;
}

const char *export__suffix_of(const char *path)
{
	const char *end = path + strlen(path), *slash = strrchr(path, '/'), *dot;
	size_t length;

	if (longest_suffix(path, &length))
		return end - length;
	slash = slash ? slash + 1 : path;
	dot = strrchr(slash, '.');
	return dot && dot > slash ? dot : end;
}

int export__finish(FILE *out, struct err *e)
{
	/* The stream says that a write failed, but only errno, which nothing has set since, says why. */
	int code = ferror(out) ? errno : 0;

	if (fflush(out) != 0)
		code = errno;
	if (!code && !ferror(out))
		return 0;
	return err__errno(e, code ? -code : -EIO, "cannot write the profile");
}
