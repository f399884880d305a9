// SPDX-License-Identifier: Apache-2.0
#include "cli/record_opts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

enum record_option {
	OPT_ALL = OPT_RECORD_FIRST, OPT_PID, OPT_CGROUP, OPT_CONTAINER, OPT_COMM, OPT_USER, OPT_SUBPROCESSES, OPT_DURATION, OPT_ROTATE, OPT_MAX_MEMORY, OPT_RATE, OPT_JSON,
	OPT_NATIVE, OPT_KERNEL, OPT_QUIET, OPT_VERBOSE, OPT_NO_PROGRESS, OPT_NONBLOCKING, OPT_FORCE,
};

const struct cli_option record_options[] = {
	{0, "all-python", NULL, "every Python process of the host (default without a target)", OPT_ALL,
	 "Target", NULL},
	{'p', "pid", "PID[,PID]", "these processes; may be repeated; decimal or 0x", OPT_PID, NULL, "@pid"},
	{0, "cgroup", "PATH", "processes of this cgroup and below (v1 and v2); may be repeated", OPT_CGROUP, NULL,
	 "@file"},
	{0, "container", "ID", "processes of this container: prefix of its id, name, or UID of its pod", OPT_CONTAINER,
	 NULL, NULL},
	{0, "comm", "NAME", "processes with this command name", OPT_COMM, NULL, NULL},
	{0, "user", "U", "processes of this user", OPT_USER, NULL, "@user"},
	{'s', "subprocesses", NULL, "with -p or a command: its children too", OPT_SUBPROCESSES, NULL, NULL},
	{'d', "duration", "SEC", "how long: seconds, 1.5, 30s, 5m or unlimited (default)", OPT_DURATION,
	 "Sampling", NULL},
	{0, "rotate", "SEC", "one file for each SEC, with the time in its name", OPT_ROTATE, NULL, NULL},
	{0, "max-memory", "SIZE", "keep to so much memory (default 256M)", OPT_MAX_MEMORY, NULL, NULL},
	{'r', "rate", "HZ", "samples a second and CPU, 1 to 20000 (default 100)", OPT_RATE, NULL, NULL},
	{'n', "native", "[all]", "native frames as well, in their true place; `all` keeps the interpreter's own",
	 OPT_NATIVE, NULL, "all"},
	{0, "kernel", NULL, "kernel frames as well", OPT_KERNEL, NULL, NULL},
	{0, "nonblocking", NULL, "accepted; pybpf never stops a process", OPT_NONBLOCKING, NULL, NULL},
	{0, "force", NULL, "on kernels with a known fault as well (see `pybpf check`)", OPT_FORCE, NULL, NULL},
	SHOW_OPTIONS,
	{0, "json", "[FILE]", "the run's accounts as JSON on standard output, or to FILE", OPT_JSON, "Words",
	 "@file"},
	{0, "quiet", NULL, "no words but errors", OPT_QUIET, NULL, NULL},
	{0, "verbose", NULL, "more words", OPT_VERBOSE, NULL, NULL},
	{0, "no-progress", NULL, "no progress line", OPT_NO_PROGRESS, NULL, NULL},
	{0},
};

/* Adds ": one of flamegraph, ..." to the error. */
static int name_formats(struct err *e)
{
	for (const struct export_format *const *f = export_formats; *f; f++) {
		size_t n = strlen(e->text);

		snprintf(e->text + n, sizeof(e->text) - n, "%s %s", f == export_formats ? "; one of" : ",", (*f)->name);
	}
	return -EINVAL;
}

static int take_format(struct show_opts *s, const char *value, struct err *e)
{
	s->format = export__by_name(value);
	if (s->format)
		return 0;
	err__set(e, -EINVAL, "-f %s: not a format", value);
	return name_formats(e);
}

int show_opts__check(const struct show_opts *s, struct err *e)
{
	const char *suffix = s->output && !s->format ? export__reserved_suffix(s->output) : NULL;

	if (!suffix)
		return 0;
	err__set(e, -EINVAL, "-o %s: no format for %s; choose by -f", s->output, suffix);
	return name_formats(e);
}

static int take_colors(struct show_opts *s, const char *value, struct err *e)
{
	for (const char *const *p = flamegraph__palettes(); *p; p++) {
		if (!strcmp(*p, value)) {
			s->export.colors = value;
			return 0;
		}
	}
	return err__set(e, -EINVAL, "--colors %s: not a palette; see --help", value);
}

int show_opts__take(struct show_opts *s, int id, const char *value, struct err *e)
{
	switch (id) {
	case OPT_OUTPUT:
		s->output = value;
		return *value ? 0 : err__set(e, -EINVAL, "-o: the name of the file is empty");
	case OPT_FORMAT:
		return take_format(s, value, e);
	case OPT_THREADS:
		s->export.view.thread_frames = true;
		return 0;
	case OPT_PER_PROCESS:
		s->process_frames_set = s->export.view.process_frames = true;
		return 0;
	case OPT_FUNCTION:
		s->export.view.lines = LINE_FUNCTION;
		return 0;
	case OPT_NOLINENO:
		s->export.view.lines = LINE_NONE;
		return 0;
	case OPT_FULL:
		s->export.view.full_filenames = true;
		return 0;
	case OPT_TITLE:
		s->export.title = value;
		return 0;
	case OPT_WIDTH:
		if (values__count(value, 100, 100000, &s->export.width))
			return err__set(e, -EINVAL, "--width %s: not a number of pixels from 100 to 100000", value);
		return 0;
	case OPT_MIN_WIDTH:
		return values__width(value, &s->export.min_width, &s->export.min_width_percent, e);
	case OPT_INVERTED:
		s->export.inverted = true;
		return 0;
	case OPT_COLORS:
		return take_colors(s, value, e);
	default:
		return -ENOENT;
	}
}

const struct export_format *show_opts__format(const struct show_opts *s)
{
	const struct export_format *by_suffix = s->output ? export__by_suffix(s->output) : NULL;

	if (s->format)
		return s->format;
	return by_suffix ? by_suffix : export_formats[0];
}

static int take(void *arg, int id, const char *value, struct err *e)
{
	struct record_opts *o = arg;

	switch (id) {
	case OPT_ALL:
		o->all = true;
		return 0;
	case OPT_PID:
		return values__pids(value, &o->pids, e);
	case OPT_CGROUP:
		if (!*value)
			return err__set(e, -EINVAL, "--cgroup: the path is empty; `/` is the root");
		return vec__push(&o->cgroups, value) ? err__errno(e, -ENOMEM, "--cgroup %s", value) : 0;
	case OPT_CONTAINER:
		if (!*value)
			return err__set(e, -EINVAL, "--container: the id is empty");
		return vec__push(&o->containers, value) ? err__errno(e, -ENOMEM, "--container %s", value) : 0;
	case OPT_COMM:
		o->comm = value;
		return *value ? 0 : err__set(e, -EINVAL, "--comm: the name is empty");
	case OPT_USER:
		o->user = value;
		return values__user(value, &o->uid, e);
	case OPT_SUBPROCESSES:
		o->follow_children = true;
		return 0;
	case OPT_DURATION:
		return values__duration(value, &o->duration_ns, e);
	case OPT_ROTATE:
		if (values__duration(value, &o->rotate_ns, e) || o->rotate_ns < 1000000000u)
			return err__set(e, -EINVAL, "--rotate %s: not a time of at least a second", value);
		return 0;
	case OPT_MAX_MEMORY:
		return values__memory(value, &o->max_memory, e);
	case OPT_RATE:
		if (values__rate(value, &o->rate_hz))
			return err__set(e, -EINVAL, "-r %s: not a rate from 1 to 20000 Hz", value);
		return 0;
	case OPT_NATIVE:
		o->native = true;
		o->native_all = value;
		if (value && strcmp(value, "all"))
			return err__set(e, -EINVAL, "--native=%s: only `all` is known", value);
		return 0;
	case OPT_KERNEL:
		o->kernel = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		o->json_file = value;
		return value && !*value ? err__set(e, -EINVAL, "--json=: the name of the file is empty") : 0;
	case OPT_QUIET:
		o->quiet = true;
		return 0;
	case OPT_VERBOSE:
		o->verbose = true;
		return 0;
	case OPT_NO_PROGRESS:
		o->no_progress = true;
		return 0;
	case OPT_NONBLOCKING:
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	default:
		return show_opts__take(&o->show, id, value, e);
	}
}

/* A device or a pipe: what stands beside it is nobody's. */
static bool is_special(const char *path)
{
	struct stat st;

	return path && !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

int record_opts__parse(const struct command *c, int argc, char **argv, struct record_opts *o, struct err *e)
{
	bool to_stdout, filtered;
	int rest, err;

	*o = (struct record_opts){.rate_hz = 100, .max_memory = 256 << 20};
	err = cli__parse(c, argc, argv, &rest, take, o, e);
	if (err)
		return err;
	if (rest < argc && rest > 1 && !strcmp(argv[rest - 1], "--"))
		o->command = argv + rest;
	else if (rest < argc)
		return err__set(e, -EINVAL, "unexpected '%s'; a command to run comes behind `--`", argv[rest]);
	else if (rest > 1 && !strcmp(argv[rest - 1], "--"))
		return err__set(e, -EINVAL, "no command behind `--`");
	if (o->command && o->pids.len)
		return err__set(e, -EINVAL, "-p and a command exclude each other");
	if (o->all && o->command)
		return err__set(e, -EINVAL, "--all-python and a command exclude each other");
	filtered = o->comm || o->user || o->cgroups.len || o->containers.len;
	if (o->follow_children && !o->pids.len && !o->command && (!o->all || filtered))
		return err__set(e, -EINVAL, "-s needs -p or a command");
	if (!o->pids.len && !o->command)
		o->follow_children = false; /* of all processes, the children are among them */
	err = show_opts__check(&o->show, e);
	if (err)
		return err;
	to_stdout = o->show.output && !strcmp(o->show.output, "-");
	if (o->json && to_stdout && (o->json_file ? !strcmp(o->json_file, "-") : !o->command))
		return err__set(e, -EINVAL, "--json and -o - both want standard output; use --json=FILE");
	if (o->rotate_ns && (to_stdout || is_special(o->show.output)))
		return err__set(e, -EINVAL, "--rotate makes several files: not with -o %s", o->show.output);
	/* several processes need telling apart; one does not */
	if (o->all || (!o->pids.len && !o->command) || o->pids.len > 1 || o->follow_children)
		o->show.export.view.process_frames = true;
	return 0;
}

void record_opts__free(struct record_opts *o)
{
	vec__free(&o->pids);
	vec__free(&o->cgroups);
	vec__free(&o->containers);
}

/* The local time as RFC 3339 has it. */
static void local_time(char *when, size_t size)
{
	time_t now = time(NULL);
	struct tm local;
	size_t n;

	localtime_r(&now, &local);
	n = strftime(when, size - 1, "%Y-%m-%dT%H:%M:%S%z", &local);
	if (n > 4) { /* it has a colon in the zone */
		memmove(when + n - 1, when + n - 2, 3);
		when[n - 2] = ':';
	}
}

/* The name with the time in it, and a number behind that where there is such a file: clocks are set, and parts follow closely. */
static char *free_name(int stem, const char *base, const char *suffix)
{
	char when[64], *name = NULL;

	local_time(when, sizeof(when));
	for (unsigned int number = 1;; number++) {
		char more[16] = "";

		if (number > 1)
			snprintf(more, sizeof(more), "-%u", number);
		if (asprintf(&name, "%.*s-%s%s%s", stem, base, when, more, suffix) < 0)
			return NULL;
		if (access(name, F_OK) || number == UINT_MAX)
			return name;
		free(name);
	}
}

char *record_opts__output_name(const struct record_opts *o)
{
	const char *suffix = show_opts__format(&o->show)->suffixes[0], *output = o->show.output, *base;
	char who[32] = "python";

	if (output && !o->rotate_ns)
		return strdup(output);
	if (output) {
		suffix = export__suffix_of(output);
		return free_name((int)(strlen(output) - strlen(suffix)), output, suffix);
	}
	base = who;
	if (o->pids.len)
		snprintf(who, sizeof(who), "%u", o->pids.data[0]);
	else if (o->command)
		base = strrchr(o->command[0], '/') ? strrchr(o->command[0], '/') + 1 : o->command[0];
	return free_name((int)strlen(base), base, suffix);
}
