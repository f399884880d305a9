// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/accounts.h"
#include "cli/output.h"
#include "cli/record_opts.h"
#include "store/capture.h"

enum { OPT_QUIET = OPT_RECORD_FIRST };

struct report {
	struct show_opts show;
	const char *capture; /* as given, "-": standard input */
	bool quiet;
};

/* One run of the command. */
struct run {
	const struct export_format *format;
	char *path; /* of the output */
	struct output *output;
	FILE *in;
	struct profile *profile;
	bool truncated;
};

static void run__free(struct run *r)
{
	output__abandon(r->output);
	profile__free(r->profile);
	if (r->in && r->in != stdin)
		fclose(r->in);
	free(r->path);
}

static const struct cli_option options[] = {
	SHOW_OPTIONS,
	{0, "quiet", NULL, "no words but errors", OPT_QUIET, "Words", NULL},
	{0},
};

static int take(void *arg, int id, const char *value, struct err *e)
{
	struct report *r = arg;

	if (id != OPT_QUIET)
		return show_opts__take(&r->show, id, value, e);
	r->quiet = true;
	return 0;
}

/* Options may stand on either side of the capture. As cli__parse. */
static int parse(int argc, char **argv, struct report *r, struct err *e)
{
	bool options_over = false;

	while (argc > 1) {
		int rest = 1, err = options_over ? 0 : cli__parse(&command_report, argc, argv, &rest, take, r, e);

		if (err)
			return err;
		options_over = options_over || !strcmp(argv[rest - 1], "--");
		if (rest >= argc)
			break;
		if (r->capture)
			return err__set(e, -EINVAL, "unexpected '%s': one capture at a time", argv[rest]);
		r->capture = argv[rest];
		argc -= rest;
		argv += rest;
	}
	return r->capture ? show_opts__check(&r->show, e) : err__set(e, -EINVAL, "name the capture to read");
}

/* The file to write: -o, or the capture's base name with the format's suffix, here. NULL: out of memory. */
static char *output_name(const struct report *r, const struct export_format *format)
{
	const char *base = strrchr(r->capture, '/') ? strrchr(r->capture, '/') + 1 : r->capture;
	size_t n = strlen(base);
	char *name;

	if (r->show.output)
		return strdup(r->show.output);
	if (!strcmp(r->capture, "-")) {
		base = "capture";
		n = strlen(base);
	} else if (n > 6 && !strcmp(base + n - 6, ".pybpf")) {
		n -= 6;
	}
	return asprintf(&name, "%.*s%s", (int)n, base, format->suffixes[0]) < 0 ? NULL : name;
}

static int open_capture(const char *path, FILE **in, struct stat *st, struct err *e)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	int err = 0;

	if (!f || fstat(fileno(f), st))
		err = err__errno(e, -errno, "cannot read '%s'", path);
	else if (S_ISDIR(st->st_mode))
		err = err__set(e, -EISDIR, "cannot read '%s': it is a directory", path);
	else if (f == stdin && isatty(STDIN_FILENO))
		err = err__set(e, -EINVAL, "cannot read a capture from a terminal; name a file");
	if (err && f && f != stdin)
		fclose(f);
	if (!err)
		*in = f;
	return err;
}

/* Several processes need telling apart, as in record. exec makes another process of the same pid. */
static bool has_several_pids(const struct profile *p)
{
	uint32_t count = profile__process_count(p);

	for (uint32_t i = 1; i < count; i++) {
		if (profile__process(p, i)->pid != profile__process(p, 0)->pid)
			return true;
	}
	return false;
}

/* What was written and what of it is incomplete; counted, for a capture that is cut off lacks its accounts. */
static void print_result(const struct run *r)
{
	size_t count = profile__sample_count(r->profile);
	uint64_t samples = 0, errors = accounts__lost(profile__accounts(r->profile));

	for (size_t i = 0; i < count; i++) {
		const struct profile_sample *s = profile__sample(r->profile, i);

		samples += s->count;
		errors += outcome__class(s->outcome) == OUTCOME_COMPLETE ? 0 : s->count;
	}
	if (strcmp(r->path, "-"))
		cli__say("Wrote %s to '%s'. Samples: %" PRIu64 " Errors: %" PRIu64, r->format->words, r->path, samples, errors);
	if (!r->truncated)
		accounts__print(profile__accounts(r->profile), stderr);
}

/* Everything is opened before the work begins. */
static int open_all(struct run *r, const struct report *opts, struct err *e)
{
	struct stat from, to;
	int err;

	r->format = show_opts__format(&opts->show);
	r->path = output_name(opts, r->format);
	if (!r->path)
		return err__errno(e, -ENOMEM, "reporting");
	if (!strcmp(r->path, "-") && r->format->binary && isatty(STDOUT_FILENO))
		return err__set(e, -EINVAL, "-o -: %s data is not for a terminal; name a file", r->format->name);
	err = open_capture(opts->capture, &r->in, &from, e);
	if (err)
		return err;
	if (strcmp(r->path, "-") && !stat(r->path, &to) && to.st_ino == from.st_ino && to.st_dev == from.st_dev)
		return err__set(e, -EEXIST, "'%s' is the capture itself; name another file by -o", r->path);
	return output__open(r->path, &r->output, e);
}

/* 0; -ENODATA for a capture of nothing; or -errno. */
static int report(struct run *r, struct report *opts, struct err *e)
{
	int err = open_all(r, opts, e);

	if (err)
		return err;
	err = capture__read(r->in, &r->profile, &r->truncated, e);
	if (err) {
		err__wrap(e, "'%s'", opts->capture);
		return err;
	}
	if (!profile__sample_count(r->profile))
		return r->truncated ? err__set(e, -EBADMSG, "'%s' is cut off before its first sample", opts->capture)
				    : err__set(e, -ENODATA, "'%s' holds no sample; nothing written", opts->capture);
	if (r->truncated)
		cli__say("pybpf: '%s' is cut off: the %s lack what came behind", opts->capture, r->format->words);
	if (profile__meta(r->profile)->by_process || has_several_pids(r->profile))
		opts->show.export.view.process_frames = true;
	err = r->format->write(r->profile, &opts->show.export, output__file(r->output), e);
	if (err) {
		err__wrap(e, "writing '%s'", r->path);
		return err;
	}
	err = output__commit(take_ptr(r->output), e);
	if (err || opts->quiet)
		return err;
	err = accounts__print_hottest(r->profile, stderr) ? err__errno(e, -ENOMEM, "summing up") : 0;
	print_result(r);
	return err;
}

static int run_report(int argc, char **argv)
{
	struct report opts = {0};
	struct run r = {0};
	struct err e = {0};
	int err = parse(argc, argv, &opts, &e);

	if (err)
		return err > 0 ? EXIT_OK : cli__usage("report", &e);
	err = report(&r, &opts, &e);
	run__free(&r);
	if (err)
		return cli__fail(err == -ENODATA ? EXIT_NOTHING : EXIT_RUNTIME, &e);
	return EXIT_OK;
}

const struct command command_report = {
	.name = "report",
	.synopsis = "CAPTURE [options]",
	.summary = "Turn a raw capture into any format",
	.details = "CAPTURE is a file written by `record -f pybpf`, or `-` for standard input. Neither root nor the\n"
		   "processes that were recorded are needed. Without -o the file is named after the capture.\n",
	.options = options,
	.operands = "@file",
	.run = run_report,
};
