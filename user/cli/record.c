// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/accounts.h"
#include "cli/child.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/record_opts.h"
#include "cli/stop.h"
#include "collect/collect.h"
#include "collect/probe.h"

#define STEP_MS 100

/* One run of the command. */
struct run {
	struct record_opts opts;
	const struct export_format *format;
	char *name;                   /* of the file to write; with --rotate, of the present part */
	struct output *output, *json; /* output: NULL when it can't be opened just now; json: the accounts', NULL: standard error */
	struct child child;
	struct collect *collect;
	struct profile *profile;
	struct cgroup_refs cgroups; /* of --cgroup and --container */
	struct str words; /* the command line */
	struct progress progress;
	uint64_t start_ns;    /* CLOCK_MONOTONIC */
	uint64_t duration_ns; /* of all parts of --rotate, the last one included */
	char *written;        /* the last file that a profile was written to, NULL: none */
	unsigned int files, missing;      /* to be written, and of them those that could not be */
	struct profile_accounts unsaved;  /* of the latter, summed up */
};

static void run__free(struct run *r)
{
	child__cancel(&r->child);
	collect__free(r->collect);
	profile__free(r->profile);
	output__abandon(r->output);
	output__abandon(r->json);
	record_opts__free(&r->opts);
	vec__free(&r->cgroups);
	str__free(&r->words);
	free(r->written);
	free(r->name);
}

static int open_output(struct run *r, struct err *e)
{
	char *name = record_opts__output_name(&r->opts);

	if (!name)
		return err__errno(e, -ENOMEM, "naming the output");
	free(r->name);
	r->name = name;
	r->format = show_opts__format(&r->opts.show);
	if (!strcmp(name, "-") && r->format->binary && isatty(STDOUT_FILENO))
		return err__set(e, -EINVAL, "-o -: %s data is not for a terminal; name a file", r->format->name);
	return output__open(name, &r->output, e);
}

static int open_json(struct run *r, struct err *e)
{
	const char *name = r->opts.json_file ?: r->opts.command ? NULL : "-"; /* a command's standard output is its own */
	int err = r->opts.json && name ? output__open(name, &r->json, e) : 0;

	if (!err && r->json && output__is_same(r->json, r->output))
		err = err__set(e, -EINVAL, "-o and --json both name '%s'; name two files", r->opts.json_file);
	return err;
}

/* The command line again, for the profile to remember. */
static int keep_words(struct run *r, int argc, char **argv)
{
	int err = str__adds(&r->words, "pybpf");

	for (int i = 0; i < argc && !err; i++)
		err = str__addc(&r->words, ' ') ?: str__adds(&r->words, argv[i]);
	return err;
}

static int find_cgroups(struct run *r, struct err *e)
{
	int err = 0;

	vec__foreach(&r->opts.cgroups, path)
		err = err ?: cgroups__resolve(*path, &r->cgroups, e);
	vec__foreach(&r->opts.containers, word)
		err = err ?: cgroups__of_container(*word, &r->cgroups, e);
	return err;
}

static int start(struct run *r, struct err *e)
{
	struct record_opts *o = &r->opts;
	uint32_t child;
	struct collect_config config = {
		.rate_hz = o->rate_hz,
		.pids = o->pids.data,
		.pid_count = o->pids.len,
		.follow_children = o->follow_children,
		.comm = o->comm,
		.filter_uid = o->user != NULL,
		.uid = o->uid,
		.native = o->native,
		.keep_evaluator = o->native_all,
		.kernel = o->kernel,
		.thread_names = r->format->threads || o->show.export.view.thread_frames,
		.keep_order = r->format->ordered,
		.by_process = o->show.export.view.process_frames,
		.max_memory = o->max_memory,
		.words = str__cstr(&r->words),
	};
	int err = find_cgroups(r, e);

	if (err)
		return err;
	config.cgroups = r->cgroups.data;
	config.cgroup_count = r->cgroups.len;
	if (o->command) {
		err = child__prepare(&r->child, o->command, e);
		if (err)
			return err;
		child = (uint32_t)r->child.pid;
		config.pids = &child;
		config.pid_count = 1;
		config.command = true;
	}
	err = collect__new(&config, &r->collect, e);
	return err ? err : collect__start(r->collect, e);
}

static void draw_progress(struct run *r)
{
	struct profile_accounts a;
	char line[160], end[32] = "";

	if (!progress__is_due(&r->progress))
		return;
	collect__accounts(r->collect, &a);
	if (r->opts.duration_ns)
		snprintf(end, sizeof(end), " of %.1f s", (double)r->opts.duration_ns / 1e9);
	snprintf(line, sizeof(line), "%.1f s%s  %" PRIu64 " samples  %" PRIu64 " lost  %" PRIu64 " processes",
		 (double)(clock_ns(CLOCK_MONOTONIC) - r->start_ns) / 1e9, end, a.taken, accounts__lost(&a), collect__live_processes(r->collect));
	progress__draw(&r->progress, line);
}

/* A line each, once. In the middle of a progress line, which is drawn anew. */
static void print_notices(struct run *r)
{
	const char *notice;

	while ((notice = collect__next_notice(r->collect))) {
		if (r->opts.quiet)
			continue;
		progress__clear(&r->progress);
		cli__say("pybpf: %s", notice);
	}
}

/* Writes a profile to a file that was opened for it, which is given up in any case, and says so. */
static int write_profile(struct run *r, const struct profile *p, struct output *o, struct err *e)
{
	const struct profile_accounts *a = profile__accounts(p);
	char *path = strdup(output__path(o));
	int err = r->format->write(p, &r->opts.show.export, output__file(o), e);

	if (stop__gave_up())
		err = err__set(e, -EINTR, "given up; nothing written");
	else if (err)
		err__wrap(e, "writing '%s'", output__path(o));
	if (err)
		output__abandon(o);
	else
		err = output__commit(o, e);
	if (err) {
		free(path);
		return err;
	}
	free(r->written);
	r->written = path;
	progress__clear(&r->progress);
	if (!r->opts.quiet && path && strcmp(path, "-"))
		cli__say("Wrote %s to '%s'. Samples: %" PRIu64 " Errors: %" PRIu64, r->format->words, path, a->written,
			 accounts__lost(a) + accounts__truncated(a));
	return 0;
}

/* What was recorded so far, to the file that the end will be written to as well. */
static int take_snapshot(struct run *r, struct err *e)
{
	struct profile *p;
	struct output *o;
	int err;

	if (r->output && !output__is_file(r->output))
		return err__set(e, -EINVAL, "no snapshot, '%s' can be written once only", r->name);
	err = collect__snapshot(r->collect, &p, e);
	if (err)
		return err;
	if (!profile__accounts(p)->written)
		err = err__set(e, -ENODATA, "no sample so far, nothing written");
	else if (!(err = output__open(r->name, &o, e)))
		err = write_profile(r, p, o, e);
	profile__free(p);
	return err;
}

/* The recording goes on, whatever becomes of the snapshot: what it has is worth more. */
static void write_snapshot(struct run *r)
{
	struct err e = {0};

	if (r->opts.verbose)
		accounts__print_held(r->collect, stderr);
	if (!take_snapshot(r, &e))
		return;
	progress__clear(&r->progress);
	cli__say("pybpf: SIGUSR1: %s", e.text);
}

/*
 * A profile of which nothing else is kept, to its file. What can't be written is counted: its samples are lost. 0, or what
 * writing failed with.
 */
static int save(struct run *r, const struct profile *p, struct err *e)
{
	const struct profile_accounts *a = profile__accounts(p);
	int err = 0;

	if (!a->written) {
		output__abandon(take_ptr(r->output));
		return 0;
	}
	r->files++;
	if (!r->output)
		err = output__open(r->name, &r->output, e);
	err = err ?: write_profile(r, p, take_ptr(r->output), e);
	if (!err)
		return 0;
	r->missing++;
	r->unsaved.written += a->written;
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
		r->unsaved.truncated[i] += a->truncated[i];
	return err;
}

/*
 * The part of the recording since the last one, to its file; the next one gets another name. A part that can't be written is
 * missed, and said to be: a disk that is full at night is not in the morning.
 */
static int write_part(struct run *r, struct err *e)
{
	struct profile *p;
	struct err why = {0};
	int err = collect__rotate(r->collect, &p, e);

	if (err)
		return err;
	r->duration_ns += profile__meta(p)->duration_ns;
	if (save(r, p, &why)) {
		progress__clear(&r->progress);
		cli__say("pybpf: --rotate: %s; %" PRIu64 " samples are lost, recording goes on", why.text,
			 profile__accounts(p)->written);
	}
	profile__free(p);
	return open_output(r, &why) == -ENOMEM ? err__errno(e, -ENOMEM, "going on to record") : 0;
}

/* Samples until something ends it. 0 or -errno; *why says what to tell the user, "" for nothing. */
static int sample(struct run *r, const char **why, struct err *e)
{
	*why = "";
	for (;;) {
		uint64_t elapsed = clock_ns(CLOCK_MONOTONIC) - r->start_ns, left = STEP_MS * 1000000ull;
		int err;

		if (r->opts.duration_ns && elapsed >= r->opts.duration_ns)
			return 0;
		if (r->opts.duration_ns && r->opts.duration_ns - elapsed < left)
			left = r->opts.duration_ns - elapsed;
		err = collect__step(r->collect, (int)((left + 999999) / 1000000), e);
		if (err < 0)
			return err;
		print_notices(r);
		if (stop__take_snapshot())
			write_snapshot(r);
		if (err >= 0 && r->opts.rotate_ns && collect__elapsed_ns(r->collect) >= r->opts.rotate_ns)
			err = write_part(r, e) ?: err;
		if (err < 0)
			return err;
		if (stop__requested()) {
			*why = stop__requested() == SIGINT ? "Stopped sampling because Control-C pressed"
							   : "Stopped sampling because a signal asked for it";
			return 0;
		}
		if (child__poll(&r->child)) {
			stop__pass_to(0); /* what comes now is for us: its pid will be another's */
			child__reap(&r->child);
			if (!r->opts.follow_children) {
				*why = "Stopped sampling because the command ended";
				return 0;
			}
		}
		if (err > 0) {
			*why = "Stopped sampling because process exited";
			return 0;
		}
		draw_progress(r);
	}
}

/* The accounts of the whole run, whatever parts it was written in. */
static int write_json(struct run *r, const struct profile_accounts *a, const struct collect_native *n, struct err *e)
{
	struct profile_meta m = *profile__meta(r->profile);

	if (!r->opts.json)
		return 0;
	m.duration_ns = r->duration_ns;
	if (!r->opts.native)
		n = NULL;
	if (!r->json) {
		accounts__json(a, n, &m, r->written, r->format->name, stderr);
		return fflush(stderr) ? err__errno(e, -errno, "writing the accounts") : 0;
	}
	accounts__json(a, n, &m, r->written, r->format->name, output__file(r->json));
	return output__commit(take_ptr(r->json), e);
}

/* Samples whose file could not be written are lost. */
static void count_unsaved(const struct run *r, struct profile_accounts *whole)
{
	whole->written -= r->unsaved.written;
	whole->lost[PYBPF_NOT_SAVED] += r->unsaved.written;
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
		whole->truncated[i] -= r->unsaved.truncated[i];
}

/* Writes what was recorded, and the accounts in any case. 0; -ENODATA when there is nothing; or -errno. */
static int finish(struct run *r, struct err *e)
{
	struct profile_accounts whole;
	struct collect_native native;
	struct err other = {0};
	int err, err_json;

	r->profile = collect__take_profile(r->collect);
	r->duration_ns += profile__meta(r->profile)->duration_ns;
	collect__accounts(r->collect, &whole);
	collect__native(r->collect, &native);
	if (r->opts.verbose)
		accounts__print_held(r->collect, stderr);
	collect__free(take_ptr(r->collect));
	if (stop__gave_up())
		return err__set(e, -EINTR, "given up; nothing written");
	err = save(r, r->profile, e);
	if (stop__gave_up())
		return err;
	count_unsaved(r, &whole);
	err_json = write_json(r, &whole, &native, err ? &other : e);
	if (r->missing && r->opts.rotate_ns) {
		if (err)
			cli__fail(EXIT_RUNTIME, e);
		err = err__set(e, -EIO, "%u of %u files could not be written: %" PRIu64 " samples are lost", r->missing,
			       r->files, r->unsaved.written);
	}
	err = err ?: err_json;
	if (!err && !r->written && !whole.taken)
		return err__set(e, -ENODATA,
				"no sample was taken: the processes were idle or ran no Python; nothing written");
	if (!err && !r->written)
		err = err__set(e, -ENODATA, "all samples were lost; nothing written");
	if (!r->opts.quiet && !err && profile__accounts(r->profile)->written)
		err = accounts__print_hottest(r->profile, stderr) ? err__errno(e, -ENOMEM, "summing up") : 0;
	if (r->opts.verbose)
		accounts__print_tables(&native.tables, stderr);
	if (!r->opts.quiet)
		accounts__print(&whole, stderr);
	return err;
}

static int record(struct run *r, struct err *e)
{
	const char *why;
	int err;

	if (r->opts.rotate_ns) { /* the name tells when sampling begins, and getting ready took a second */
		output__abandon(take_ptr(r->output));
		err = open_output(r, e);
		if (err)
			return err;
	}
	r->start_ns = clock_ns(CLOCK_MONOTONIC);
	progress__init(&r->progress, !r->opts.quiet && !r->opts.no_progress);
	if (!r->opts.quiet)
		fprintf(stderr, "Sampling process %" PRIu32 " times a second. Press Control-C to exit.\n",
			r->opts.rate_hz);
	err = sample(r, &why, e);
	progress__clear(&r->progress);
	if (err < 0)
		return err;
	if (*why && !r->opts.quiet)
		fprintf(stderr, "%s\n", why);
	err = collect__stop(r->collect, e);
	print_notices(r);
	return err ? err : finish(r, e);
}

/* The status of a run that went as it should: with a command that has ended, the command's own. */
static int good_status(const struct run *r)
{
	return r->child.ended ? child__exit_code(&r->child) : EXIT_OK;
}

/* What is not permitted can be seen in whole by another command; a descriptor for each CPU, and more, may be too many. */
static int fail(enum exit_status status, struct err *e)
{
	size_t n = strlen(e->text);

	if (status == EXIT_FORBIDDEN && !strstr(e->text, "pybpf check"))
		snprintf(e->text + n, sizeof(e->text) - n, "; `pybpf check` tells what is missing");
	else if (e->code == -EMFILE)
		snprintf(e->text + n, sizeof(e->text) - n, "; raise the limit (ulimit -n)");
	return cli__fail(status, e);
}

static int run_record(int argc, char **argv)
{
	struct run r = {.child.go_fd = -1};
	struct err e = {0};
	bool recording = false;
	int err, status;

	err = record_opts__parse(&command_record, argc, argv, &r.opts, &e);
	if (err) {
		record_opts__free(&r.opts);
		return err > 0 ? EXIT_OK : cli__usage("record", &e);
	}
	stop__install();
	/* before anything that a caller without privileges may not do either, such as writing the file here */
	if (probe__check_privileges(&e) || probe__check_pid_namespace(&e) || (!r.opts.force && probe__check_kernel(&e))) {
		record_opts__free(&r.opts);
		return cli__fail(EXIT_FORBIDDEN, &e);
	}
	err = keep_words(&r, argc, argv) ? err__errno(&e, -ENOMEM, "starting to record") : open_output(&r, &e);
	err = err ?: open_json(&r, &e);
	if (err) {
		status = cli__fail(err == -EINVAL ? EXIT_USAGE : EXIT_RUNTIME, &e);
		goto out;
	}
	err = start(&r, &e);
	if (!err && r.opts.command) {
		err = child__go(&r.child, r.opts.command[0], &e);
		if (err > 0) {
			status = cli__fail(err, &e);
			goto out;
		}
	}
	if (!err) {
		recording = true; /* what is not permitted from here on is a file, not profiling */
		err = record(&r, &e);
	}
	if (err == -ENODATA)
		status = cli__fail(r.child.ended ? (enum exit_status)good_status(&r) : EXIT_NOTHING, &e);
	else
		status = err ? fail(recording ? EXIT_RUNTIME : cli__status_of(err), &e) : good_status(&r);
out:
	run__free(&r);
	return status;
}

const struct command command_record = {
	.name = "record",
	.synopsis = "[target] [options] [-- CMD ARG...]",
	.summary = "Sample Python processes and write a profile",
	.details = "Without a target every Python process of the host is sampled, those that start later included.\n"
		   "Nothing is stopped or changed in them. Control-C writes the profile; so does the end of -d, of all\n"
		   "processes given by -p, and of the command. SIGUSR1 writes what there is so far, and recording goes on.\n",
	.options = record_options,
	.operands = "@command",
	.run = run_record,
};
