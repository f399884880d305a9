/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `record` and `report`, parsed. */
#ifndef PYBPF_RECORD_OPTS_H
#define PYBPF_RECORD_OPTS_H

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/values.h"
#include "export/export.h"

/* How a profile is shown and where it goes: what record and report have in common. */
struct show_opts {
	const char *output;         /* -o, NULL: made up */
	const struct export_format *format; /* NULL: by suffix, or the default */
	struct export_opts export;
	bool process_frames_set; /* --per-process was given */
};

struct word_list vec(const char *);

struct record_opts {
	struct show_opts show;
	struct pid_list pids;
	bool all, follow_children;
	const char *comm, *user;
	struct word_list cgroups, containers;
	uint32_t uid;
	uint64_t duration_ns; /* 0: unlimited */
	uint64_t rotate_ns;   /* 0: one file */
	uint64_t max_memory;  /* bytes */
	uint32_t rate_hz;
	bool native, native_all, kernel;
	bool json, quiet, verbose, no_progress, force;
	const char *json_file; /* --json=FILE */
	char **command;        /* NULL: none */
};

enum show_option {
	OPT_OUTPUT = 1, OPT_FORMAT, OPT_THREADS, OPT_PER_PROCESS, OPT_FUNCTION, OPT_NOLINENO, OPT_FULL, OPT_TITLE,
	OPT_WIDTH, OPT_MIN_WIDTH, OPT_INVERTED, OPT_COLORS,
	OPT_RECORD_FIRST,
};

/* The shared rows, for both commands' tables. */
#define SHOW_OPTIONS                                                                                       \
	{'o', "output", "FILE", "where to write; `-` is standard output", OPT_OUTPUT, "Output", "@file"},  \
	{'f', "format", "F", "flamegraph (svg, the default), speedscope, raw or pybpf (raw capture);\n"    \
			     "without it the suffix of -o chooses", OPT_FORMAT, NULL,                      \
	 "flamegraph svg speedscope raw pybpf"},                                                           \
	{'t', "threads", NULL, "a frame for each thread", OPT_THREADS, NULL, NULL},                        \
	{0, "per-process", NULL, "a frame for each process (default with --all-python)", OPT_PER_PROCESS,  \
	 NULL, NULL},                                                                                      \
	{'F', "function", NULL, "one entry per function, with its first line", OPT_FUNCTION, NULL, NULL},  \
	{0, "nolineno", NULL, "no line numbers", OPT_NOLINENO, NULL, NULL},                                \
	{0, "full-filenames", NULL, "full file names, not from the package on", OPT_FULL, NULL, NULL},     \
	{0, "title", "TEXT", "title of the flame graph", OPT_TITLE, "Flame graph", NULL},                  \
	{0, "width", "PIXELS", "fixed width (default: that of the window)", OPT_WIDTH, NULL, NULL},        \
	{0, "min-width", "W", "hide frames narrower than W pixels, or W% of all", OPT_MIN_WIDTH, NULL,     \
	 NULL},                                                                                            \
	{0, "inverted", NULL, "root at the top", OPT_INVERTED, NULL, NULL},                                \
	{0, "colors", "PALETTE", "kind (default), hot, mem, blue, green, purple, red, aqua\n"    \
			       "or colorblind", OPT_COLORS, NULL,                                          \
	 "kind hot mem blue green purple red aqua colorblind"}

/* Takes one shared option. 0, -ENOENT when it is not one of them, or -EINVAL with *e set. */
int show_opts__take(struct show_opts *s, int id, const char *value, struct err *e);
/* Once all options are taken: -EINVAL when -o's suffix asks for a format that is not here, and -f does not. */
int show_opts__check(const struct show_opts *s, struct err *e);
/* The format to use: -f, else the suffix of -o, else the default. */
const struct export_format *show_opts__format(const struct show_opts *s);

/* Parses the command line of `record`. As cli__parse. What is in lists is to be freed with record_opts__free. */
int record_opts__parse(const struct command *c, int argc, char **argv, struct record_opts *out, struct err *e);
void record_opts__free(struct record_opts *o);
/*
 * The file to write: -o, or a made-up name; with --rotate the time stands before the suffix. Names that are made up are those of no file.
 * To be freed; NULL when out of memory.
 */
char *record_opts__output_name(const struct record_opts *o);

extern const struct cli_option record_options[];

#endif
