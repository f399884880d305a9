/* SPDX-License-Identifier: Apache-2.0 */
/* The formats, one file each behind one table. Exporters know only the store. */
#ifndef PYBPF_EXPORT_H
#define PYBPF_EXPORT_H

#include <stdio.h>

#include "base/err.h"
#include "store/profile.h"
#include "store/view.h"

struct export_opts {
	struct view_opts view;
	const char *title;  /* NULL: the format's own */
	unsigned int width; /* flame graph: pixels; 0: 1200, re-fit to the window */
	/* flame graph: least width of a shown frame, in pixels of `width` (or percent of all samples);
	 * 0: 0.1 pixels, negative: every frame is shown */
	double min_width;
	bool min_width_percent;
	bool inverted;      /* flame graph: root at the top */
	const char *colors; /* flame graph: name of a palette, NULL: the default */
};

struct export_format {
	const char *name;             /* as -f takes it */
	const char *const *aliases;   /* NULL-terminated, may be NULL */
	const char *const *suffixes;  /* NULL-terminated, with their dot; the first is for default file names */
	const char *help;             /* one line */
	const char *words;            /* "flamegraph data": for `Wrote ... to 'F'` */
	bool threads;                 /* shows threads by name, without -t, too */
	bool ordered;                 /* wants samples one by one in order */
	bool binary;                  /* not to be written to a terminal */
	/* Writes all of p to `out` (buffered; the caller checks and closes). 0 or -errno with *e set. */
	int (*write)(const struct profile *p, const struct export_opts *o, FILE *out, struct err *e);
};

extern const struct export_format *const export_formats[]; /* NULL-terminated; the first is the default */
const struct export_format *export__by_name(const char *name);   /* name or alias; NULL: none */
const struct export_format *export__by_suffix(const char *path); /* longest matching suffix; NULL: none */

/* The path's suffix, when it belongs to a format that is not in the table; NULL: it may be written to. */
const char *export__reserved_suffix(const char *path);

/* Where a path's suffix begins: the longest that a format knows, else from the last dot of its base name on; or its end. */
const char *export__suffix_of(const char *path);

/* For exporters, when all is written: flushes. 0, or -errno with *e set when any write to `out` failed. */
int export__finish(FILE *out, struct err *e);

/* The names that export_opts.colors may have, NULL-terminated; the first is the default. */
const char *const *flamegraph__palettes(void);

#endif
