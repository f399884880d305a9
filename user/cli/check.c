// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "collect/probe.h"
#include "collect/pyproc.h"
#include "export/json.h"
#include "export/text.h"

/* An interpreter that some processes run. */
struct used {
	const struct pyfile *file;
	unsigned int processes;
};
struct used_list vec(struct used);

static int count_use(struct used_list *all, const struct pyfile *file)
{
	struct used first = {file, 1};

	vec__foreach(all, it) {
		if (it->file == file) {
			it->processes++;
			return 0;
		}
	}
	return vec__push(all, first);
}

/* One line about an interpreter: "3.11.2; 4 processes", and why when it can't be read. */
static int add_interpreter(struct probe_list *out, const struct used *u)
{
	const struct pyfile *f = u->file;
	struct probe p = {.ok = f->usable};
	struct str version = {0};
	int err = pyrt_binary__describe(&f->binary, &version);

	snprintf(p.what, sizeof(p.what), "interpreter %s", f->path);
	snprintf(p.detail, sizeof(p.detail), "%s; %u process%s%s%s", str__cstr(&version), u->processes,
		 u->processes == 1 ? "" : "es", p.ok && !f->layout.warning[0] ? "" : ": ",
		 p.ok ? f->layout.warning : f->why);
	if (!p.ok)
		snprintf(p.remedy, sizeof(p.remedy), "run the program with a CPython that pybpf can read");
	str__free(&version);
	return err ?: vec__push(out, p);
}

/* The interpreters of all running processes, and whether all could be looked at. */
static int check_interpreters(struct probe_list *out, struct err *e)
{
	struct pyfiles *files = pyfiles__new();
	struct probe people = {.what = "processes"};
	struct used_list used = {0};
	struct pyproc_scan scan;
	struct pyproc found;
	int err = files ? pyproc_scan__open(&scan, files, e) : err__errno(e, -ENOMEM, "looking for processes");

	if (err)
		goto out;
	while ((err = pyproc_scan__next(&scan, &found)) > 0 && !(err = count_use(&used, found.file)))
		;
	pyproc_scan__close(&scan);
	people.ok = !scan.hidden;
	snprintf(people.detail, sizeof(people.detail), "%u of %u could be looked into", scan.seen - scan.hidden,
		 scan.seen);
	if (!people.ok) /* even root is kept from some: a security module or a seccomp filter may do that */
		snprintf(people.remedy, sizeof(people.remedy), "%s",
			 geteuid() ? "run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH" : "the system protects the others");
	if (!err)
		err = vec__push(out, people);
	vec__foreach(&used, it)
		err = err ?: add_interpreter(out, it);
	if (err)
		err__errno(e, err, "looking for processes");
out:
	vec__free(&used);
	pyfiles__free(files);
	return err;
}

static void print_json(struct probe_list *list)
{
	struct json j = {.out = stdout};

	json__array(&j);
	vec__foreach(list, p) {
		json__object(&j);
		json__key(&j, "what");
		json__cstring(&j, p->what);
		json__key(&j, "ok");
		json__bool(&j, p->ok);
		json__key(&j, "detail");
		json__cstring(&j, p->detail);
		json__key(&j, "remedy");
		if (p->remedy[0])
			json__cstring(&j, p->remedy);
		else
			json__null(&j);
		json__end_object(&j);
	}
	json__end_array(&j);
	putchar('\n');
}

/* Details hold file names, which may hold anything. */
static int print_text(struct probe_list *list, bool possible)
{
	struct str line = {0};
	int err = 0;

	vec__foreach(list, p) {
		str__reset(&line);
		err = err ?: text__visible(&line, p->what, strlen(p->what));
		err = err ?: str__adds(&line, ": ");
		err = err ?: text__visible(&line, p->detail, strlen(p->detail));
		printf("%-6s%s\n", p->ok ? "ok" : p->needed ? "FAIL" : "note", str__cstr(&line));
		if (!p->ok && p->remedy[0])
			printf("      -> %s\n", p->remedy);
	}
	str__free(&line);
	puts(possible ? "Recording is possible." : "Recording is not possible.");
	return err;
}

static const struct cli_option options[] = {
	{0, "json", NULL, "an array of objects on standard output", OPT_JSON_ONLY, "Options", NULL},
	{0},
};

static int run_check(int argc, char **argv)
{
	struct probe_list list = {0};
	bool json = false, possible = true;
	struct err e = {0};
	int err = cli__parse_json(&command_check, argc, argv, &json, &e);

	if (err)
		return err > 0 ? EXIT_OK : cli__usage("check", &e);
	err = probe__kernel(&list) ? err__errno(&e, -ENOMEM, "checking") : check_interpreters(&list, &e);
	vec__foreach(&list, it)
		possible = possible && (it->ok || !it->needed);
	if (!err && json)
		print_json(&list);
	else if (!err && print_text(&list, possible))
		err = err__errno(&e, -ENOMEM, "checking");
	if (!err)
		err = cli__finish_stdout("the findings", &e);
	vec__free(&list);
	if (err)
		return cli__fail(cli__status_of(err), &e);
	return possible ? EXIT_OK : EXIT_FORBIDDEN;
}

const struct command command_check = {
	.name = "check",
	.synopsis = "[--json]",
	.summary = "Tell what this kernel, these privileges and these interpreters allow",
	.details = "Everything is tried: the BPF program is loaded, attached and run for a moment, then taken away. FAIL\n"
		   "marks what recording needs, note what it can do without. The exit status is 0 when recording is\n"
		   "possible and 4 when it is not.\n",
	.options = options,
	.run = run_check,
};
