// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "collect/pyproc.h"
#include "export/json.h"
#include "export/text.h"
#include "target/container.h"

#define CMDLINE_MAX   131072
#define MIN_COMMAND   16 /* columns of a command line, and of a file's name, on the narrowest terminal */
#define MIN_FILE      24
#define MAX_COMMAND   60 /* and of a command line where there is no terminal; a longer one is whole all the same */
#define MAX_STATUS    30 /* a longer reason goes on in the next line of the terminal */
#define SHORT_ID      12 /* digits of a container's id, as container tools show it */

/* One Python process. Strings are bytes as the system gives them. */
struct row {
	struct pyproc python;
	pid_t ppid;
	pid_t ns_pid; /* in its own pid namespace */
	struct container of;
	struct str version, exe, interpreter, cgroup, container, name, user, command;
};

struct table {
	struct vec(struct row) rows;
	struct pyfiles *files;
	unsigned int seen, hidden;
};

static void row__free(struct row *r)
{
	str__free(&r->version);
	str__free(&r->exe);
	str__free(&r->interpreter);
	str__free(&r->cgroup);
	str__free(&r->container);
	str__free(&r->name);
	str__free(&r->user);
	str__free(&r->command);
}

static void table__free(struct table *t)
{
	vec__foreach(&t->rows, it)
		row__free(it);
	vec__free(&t->rows);
	pyfiles__free(t->files);
}

/* The file of the interpreter as the process itself names it: another one may have it elsewhere. */
static int interpreter_path(const struct pyproc *p, struct str *out)
{
	struct proc_maps *maps;
	struct proc_map map;
	int err = proc_maps__open(p->pid, &maps, NULL), added = 0;

	if (err)
		return err;
	while (!out->len && (err = proc_maps__next(maps, &map)) > 0) {
		if (map.start == p->map_start)
			added = str__adds(out, map.path);
	}
	proc_maps__close(maps);
	return added;
}

static int user_name(uint32_t uid, struct str *out)
{
	const struct passwd *user = getpwuid(uid);

	return user ? str__adds(out, user->pw_name) : str__addf(out, "%u", uid);
}

/* The arguments separated by spaces; the name in brackets where a process has wiped them. */
static int command_line(pid_t pid, const char *comm, struct str *out)
{
	int err = proc__cmdline(pid, CMDLINE_MAX, out);

	if (err)
		return err;
	while (out->len && !out->data[out->len - 1])
		out->data[--out->len] = '\0';
	for (size_t i = 0; i < out->len; i++) {
		if (!out->data[i])
			out->data[i] = ' ';
	}
	return out->len ? 0 : str__addf(out, "[%s]", comm);
}

/* Everything about a process. -ESRCH when it has ended meanwhile. */
static int row__fill(struct row *r)
{
	const struct pyproc *p = &r->python;
	const struct pyrt_binary *b = &p->file->binary;
	struct proc_status status;
	struct proc_stat stat;
	int err;

	err = proc__stat(p->pid, &stat) ?: proc__status(p->pid, &status);
	if (!err)
		err = command_line(p->pid, stat.comm, &r->command);
	if (!err)
		err = interpreter_path(p, &r->interpreter);
	if (err)
		return err;
	/* what only a privileged user may see is left empty */
	if (proc__exe(p->pid, &r->exe) == -ENOMEM || container__of_process(p->pid, &r->of, &r->cgroup) == -ENOMEM)
		return -ENOMEM;
	r->ppid = stat.ppid;
	r->ns_pid = status.ns_pid;
	/* had it ended before, all of this might be of somebody else with its pid */
	err = proc__stat(p->pid, &stat);
	if (err || stat.start_ticks != p->start_ticks)
		return err ?: -ESRCH;
	if (b->version_hex)
		err = pyrt_version__format(b->version_hex, &r->version);
	if (!err)
		err = str__adds(&r->container, r->of.id) ?: container__name(&r->of, "", &r->name);
	return err ?: user_name(status.uid, &r->user);
}

static int table__fill(struct table *t, struct err *e)
{
	struct pyproc_scan scan;
	struct row r;
	int err;

	t->files = pyfiles__new();
	if (!t->files)
		return err__errno(e, -ENOMEM, "listing processes");
	err = pyproc_scan__open(&scan, t->files, e);
	if (err)
		return err;
	for (;;) {
		r = (struct row){0};
		err = pyproc_scan__next(&scan, &r.python);
		if (err <= 0)
			break;
		err = row__fill(&r);
		if (!err)
			err = vec__push(&t->rows, r);
		if (err)
			row__free(&r);
		if (err == -ENOMEM)
			break;
	}
	t->seen = scan.seen;
	t->hidden = scan.hidden;
	pyproc_scan__close(&scan);
	return err < 0 ? err__errno(e, err, "listing processes") : 0;
}

/* ---- JSON */

static void json_text(struct json *j, const char *key, const struct str *s)
{
	json__key(j, key);
	if (s->len)
		json__string(j, s->data, s->len);
	else
		json__null(j);
}

/* null for NULL and for "". */
static void json_word(struct json *j, const char *key, const char *word)
{
	json__key(j, key);
	if (word && *word)
		json__cstring(j, word);
	else
		json__null(j);
}

static void json_flag(struct json *j, const char *key, bool value)
{
	json__key(j, key);
	json__bool(j, value);
}

/* Why it can't be read, or what is to be known though it can. NULL: nothing. */
static const char *reason(const struct row *r)
{
	const struct pyfile *f = r->python.file;

	if (!f->usable)
		return f->why;
	return f->layout.warning[0] ? f->layout.warning : NULL;
}

static const char *status(const struct row *r)
{
	return r->python.file->usable ? "ok" : "unsupported";
}

static void row__json(const struct row *r, struct json *j)
{
	const struct pyrt_binary *b = &r->python.file->binary;

	json__object(j);
	json__key(j, "pid");
	json__int(j, r->python.pid);
	json__key(j, "ppid");
	json__int(j, r->ppid);
	json_text(j, "version", &r->version);
	json__key(j, "build");
	json__object(j);
	json_flag(j, "free_threaded", b->free_threaded);
	json_flag(j, "debug", b->debug);
	json_flag(j, "static", !b->shared);
	json__key(j, "libc");
	json__cstring(j, b->libc == PYRT_MUSL ? "musl" : "glibc");
	json__end_object(j);
	json_text(j, "exe", &r->exe);
	json_text(j, "interpreter", &r->interpreter);
	json_text(j, "container", &r->container);
	json_text(j, "container_name", &r->name);
	json_word(j, "pod", r->of.pod);
	json_word(j, "unit", r->of.unit);
	json_text(j, "cgroup", &r->cgroup);
	json__key(j, "ns_pid");
	json__int(j, r->ns_pid);
	json_text(j, "user", &r->user);
	json_text(j, "command", &r->command);
	json__key(j, "status");
	json__cstring(j, status(r));
	json_word(j, "reason", reason(r));
	json__end_object(j);
}

static void table__json(struct table *t)
{
	struct json j = {.out = stdout};

	json__array(&j);
	vec__foreach(&t->rows, it)
		row__json(it, &j);
	json__end_array(&j);
	putchar('\n');
}

/* ---- the table */

/* The text of a cell; hostile names are made visible. 0 or -ENOMEM. */
typedef int (*cell_fn)(const struct row *r, struct str *out);

static int cell_pid(const struct row *r, struct str *out)
{
	int err = str__addf(out, "%d", (int)r->python.pid);

	return !err && r->ns_pid != r->python.pid ? str__addf(out, " (%d)", (int)r->ns_pid) : err;
}

/* With CPython's own letters for kinds of builds (sys.abiflags): t is free-threaded, d a debug build. */
static int cell_version(const struct row *r, struct str *out)
{
	const struct pyrt_binary *b = &r->python.file->binary;

	return str__addf(out, "%s%s%s", r->version.len ? r->version.data : "?", b->free_threaded ? "t" : "",
			 b->debug ? "d" : "");
}

static int cell_text(const struct str *s, size_t max, struct str *out)
{
	if (!s->len)
		return str__addc(out, '-');
	return text__visible(out, s->data, s->len < max ? s->len : max);
}

static int cell_user(const struct row *r, struct str *out)
{
	return cell_text(&r->user, SIZE_MAX, out);
}

static int cell_container(const struct row *r, struct str *out)
{
	return r->name.len ? cell_text(&r->name, SIZE_MAX, out) : cell_text(&r->container, SHORT_ID, out);
}

static int cell_interpreter(const struct row *r, struct str *out)
{
	return cell_text(&r->interpreter, SIZE_MAX, out);
}

static int cell_command(const struct row *r, struct str *out)
{
	return cell_text(&r->command, SIZE_MAX, out);
}

static int cell_status(const struct row *r, struct str *out)
{
	return reason(r) ? str__addf(out, "%s: %s", status(r), reason(r)) : str__adds(out, status(r));
}

enum column { COL_PID, COL_FILE = 4, COL_COMMAND, COL_STATUS, COL_COUNT };

static const struct {
	const char *head;
	cell_fn cell;
} columns[COL_COUNT] = {
	{"PID", cell_pid},
	{"VERSION", cell_version},
	{"USER", cell_user},
	{"CONTAINER", cell_container},
	{"INTERPRETER", cell_interpreter},
	{"COMMAND", cell_command},
	{"STATUS", cell_status},
};

/* As text__fit, but the end stays: it says most of a file's name. */
static int fit_end(struct str *out, const struct str *text, size_t width)
{
	const char *at = str__cstr(text), *end = at + text->len;

	if (text__columns(at, text->len) <= width)
		return str__add(out, at, text->len);
	while (at < end && text__columns(at, (size_t)(end - at)) + 2 > width)
		text__next(&at, end);
	return str__adds(out, "..") ?: str__add(out, at, (size_t)(end - at));
}

static int print_cell(const struct str *text, size_t width, enum column c, bool shorten)
{
	_cleanup_(str__free) struct str fitted = {0};
	const struct str *shown = shorten ? &fitted : text;
	size_t taken;
	int padding;

	if (shorten && (c == COL_FILE ? fit_end(&fitted, text, width) : text__fit(&fitted, str__cstr(text), text->len, width)))
		return -ENOMEM;
	taken = text__columns(str__cstr(shown), shown->len);
	padding = taken < width ? (int)(width - taken) : 0;
	if (c == COL_PID)
		printf("%*s%s", padding, "", str__cstr(shown));
	else if (c == COL_STATUS)
		printf("  %s\n", str__cstr(text));
	else
		printf("  %s%*s", str__cstr(shown), padding, "");
	return 0;
}

/* Takes `too_much` columns from a column that keeps `least`. What is left to take. */
static size_t narrow(size_t *width, size_t least, size_t too_much)
{
	size_t taken = *width > least ? *width - least : 0;

	taken = taken < too_much ? taken : too_much;
	*width -= taken;
	return too_much - taken;
}

/* Columns as wide as the widest cell; on a terminal lines as wide as that at most, where it is possible. */
static int fit_columns(struct table *t, size_t width[COL_COUNT], size_t room)
{
	_cleanup_(str__free) struct str text = {0};
	size_t all = 0;
	int err = 0;

	for (size_t c = 0; c < COL_COUNT; c++) {
		width[c] = strlen(columns[c].head);
		vec__foreach(&t->rows, it) {
			str__reset(&text);
			err = err ?: columns[c].cell(it, &text);
			if (text__columns(str__cstr(&text), text.len) > width[c])
				width[c] = text__columns(str__cstr(&text), text.len);
		}
		all += (c ? 2 : 0) + (c == COL_STATUS && width[c] > MAX_STATUS ? MAX_STATUS : width[c]);
	}
	if (!room && width[COL_COMMAND] > MAX_COMMAND)
		width[COL_COMMAND] = MAX_COMMAND;
	if (room && all > room)
		narrow(&width[COL_COMMAND], MIN_COMMAND,
		       narrow(&width[COL_FILE], MIN_FILE, narrow(&width[COL_COMMAND], 2 * MIN_COMMAND, all - room)));
	return err;
}

static int table__print(struct table *t)
{
	size_t width[COL_COUNT], room = cli__terminal_width(STDOUT_FILENO);
	_cleanup_(str__free) struct str text = {0};
	int err = fit_columns(t, width, room);

	for (size_t c = 0; c < COL_COUNT && !err; c++) {
		str__reset(&text);
		err = str__adds(&text, columns[c].head) ?: print_cell(&text, width[c], (enum column)c, room);
	}
	vec__foreach(&t->rows, it) {
		for (size_t c = 0; c < COL_COUNT && !err; c++) {
			str__reset(&text);
			err = columns[c].cell(it, &text) ?: print_cell(&text, width[c], (enum column)c, room);
		}
	}
	return err;
}

/* ---- the command */

static const struct cli_option options[] = {
	{0, "json", NULL, "an array of objects, one a process, on standard output", OPT_JSON_ONLY, "Options", NULL},
	{0},
};

static int run_list(int argc, char **argv)
{
	struct table t = {0};
	struct err e = {0};
	bool json = false;
	int err = cli__parse_json(&command_list, argc, argv, &json, &e);

	if (err)
		return err > 0 ? EXIT_OK : cli__usage("list", &e);
	err = table__fill(&t, &e);
	if (!err && json)
		table__json(&t);
	else if (!err && table__print(&t))
		err = err__errno(&e, -ENOMEM, "listing processes");
	if (!err)
		err = cli__finish_stdout("the list", &e);
	if (!err && t.hidden)
		fprintf(stderr, "pybpf: %u of %u processes could not be looked into: %s\n", t.hidden, t.seen,
			geteuid() ? "they are not yours; run as root to see all" : "the system forbids it");
	table__free(&t);
	return err ? cli__fail(cli__status_of(err), &e) : EXIT_OK;
}

const struct command command_list = {
	.name = "list",
	.synopsis = "[--json]",
	.summary = "Show the Python processes of this host",
	.details = "They are found by what is in the files that they map, not by name: programs that embed Python are\n"
		   "among them. A pid in parentheses is the one in the process's own pid namespace. Of a container\n"
		   "without a name the first 12 digits of its id are shown. STATUS says why a process can't be\n"
		   "profiled. Without root, only processes of the same user are seen.\n",
	.options = options,
	.run = run_list,
};
