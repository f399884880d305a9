// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/values.h"
#include "export/text.h"

#define MAX_OPTIONS 64
#define HELP_COLUMN 30

const struct command *command__find(const char *word, struct err *e)
{
	const struct command *found = NULL;
	size_t n = strlen(word);

	/* what users of other profilers type, though `report` begins with it, too */
	if (!strcmp(word, "r"))
		return &command_record;
	for (const struct command *const *c = commands; *c; c++) {
		if (!strcmp((*c)->name, word))
			return *c;
	}
	for (const struct command *const *c = commands; n && *c; c++) {
		if (strncmp((*c)->name, word, n))
			continue;
		if (found) {
			err__set(e, -EINVAL, "'%s' could be '%s' or '%s'", word, found->name, (*c)->name);
			return NULL;
		}
		found = *c;
	}
	if (!found)
		err__set(e, -EINVAL, "'%s' is not a command", word);
	return found;
}

/* Says whether it is the beginning of several options' names or of none. */
static int unknown_long(const struct command *c, const char *word, struct err *e)
{
	size_t n = strcspn(word, "=");
	const char *found = NULL;

	for (const struct cli_option *o = c->options; n > 2 && o && o->name; o++) {
		if (strncmp(o->name, word + 2, n - 2) != 0)
			continue;
		if (found)
			return err__set(e, -EINVAL, "option '%.*s' could be '--%s' or '--%s'", (int)n, word, found, o->name);
		found = o->name;
	}
	return err__set(e, -EINVAL, "unknown option '%s'", word);
}

enum { ID_HELP = 0x10000, ID_FIRST_LONG = 0x20000 };

int cli__parse(const struct command *c, int argc, char **argv, int *rest,
	       int (*take)(void *arg, int id, const char *value, struct err *e), void *arg, struct err *e)
{
	struct option longs[MAX_OPTIONS + 2] = {{0}};
	char shorts[3 * MAX_OPTIONS + 4] = "+:h";
	size_t n = 0;
	int which, index;

	for (const struct cli_option *o = c->options; o && o->name && n < MAX_OPTIONS; o++, n++) {
		int has = !o->arg ? no_argument : o->arg[0] == '[' ? optional_argument : required_argument;

		longs[n] = (struct option){o->name, has, NULL, ID_FIRST_LONG + (int)n};
		if (o->letter)
			sprintf(shorts + strlen(shorts), "%c%s", o->letter, has == required_argument ? ":" : "");
	}
	longs[n] = (struct option){"help", no_argument, NULL, ID_HELP};
	opterr = 0;
	optind = 0; /* glibc: forget what an earlier scan left unfinished; starts at argv[1] */
	while ((which = getopt_long(argc, argv, shorts, longs, &index)) != -1) {
		const struct cli_option *o = NULL;
		int err;

		if (which == ID_HELP || which == 'h') {
			cli__help(c);
			return 1;
		}
		if (which == ':')
			return err__set(e, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
		if (which >= ID_FIRST_LONG)
			o = &c->options[which - ID_FIRST_LONG];
		for (size_t i = 0; !o && i < n; i++) {
			if (c->options[i].letter == which)
				o = &c->options[i];
		}
		if (!o || which == '?') {
			if (optopt && optopt < 256)
				return err__set(e, -EINVAL, "unknown option '-%c'", optopt);
			if (optopt >= ID_FIRST_LONG)
				return err__set(e, -EINVAL, "option '%s' takes no value", argv[optind - 1]);
			return unknown_long(c, argv[optind - 1], e);
		}
		err = take(arg, o->id, optarg, e);
		if (err)
			return err;
	}
	*rest = optind;
	return 0;
}

static int take_json(void *arg, int id, const char *value, struct err *e)
{
	bool *json = arg;

	(void)value;
	(void)e;
	*json = id == OPT_JSON_ONLY;
	return 0;
}

int cli__parse_json(const struct command *c, int argc, char **argv, bool *json, struct err *e)
{
	int rest, err = cli__parse(c, argc, argv, &rest, take_json, json, e);

	if (!err && rest < argc)
		err = err__set(e, -EINVAL, "unexpected '%s'", argv[rest]);
	return err;
}

void cli__hold_streams(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		/* the lowest free number is this one's; it fails to read or write, as before, and no command inherits it */
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			open("/dev/null", (fd ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
	}
}

int cli__finish_stdout(const char *what, struct err *e)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return err__errno(e, errno ? -errno : -EIO, "writing %s", what);
}

void cli__say(const char *format, ...)
{
	_cleanup_(str__free) struct str line = {0};
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text && !text__visible(&line, text, strlen(text)))
		fprintf(stderr, "%s\n", str__cstr(&line));
}

int cli__usage(const char *command, const struct err *e)
{
	cli__say("pybpf%s%s: %s; try 'pybpf%s%s --help'", *command ? " " : "", command, e->text, *command ? " " : "", command);
	return EXIT_USAGE;
}

int cli__fail(enum exit_status status, const struct err *e)
{
	cli__say("pybpf: %s", e->text);
	return (int)status;
}

enum exit_status cli__status_of(int code)
{
	switch (code) {
	case -ESRCH:
	case -ENOEXEC:
		return EXIT_NOTHING;
	case -EPERM:
	case -EACCES:
	case -ENOTSUP:
	case -ENOSYS: /* a call that this kernel lacks, or a filter denies */
		return EXIT_FORBIDDEN;
	default:
		return EXIT_RUNTIME;
	}
}

/* Options as "  -p, --pid PID[,PID]", then the help at its column, on the next line when that is taken. */
static void print_option(const struct cli_option *o)
{
	char left[128];
	int n;

	n = o->letter ? snprintf(left, sizeof(left), "  -%c, ", o->letter) : snprintf(left, sizeof(left), "      ");
	n += snprintf(left + n, sizeof(left) - (size_t)n, "--%s", o->name);
	if (o->arg && o->arg[0] == '[')
		n += snprintf(left + n, sizeof(left) - (size_t)n, "[=%.*s]", (int)strlen(o->arg) - 2, o->arg + 1);
	else if (o->arg)
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
	if (n > HELP_COLUMN - 2)
		printf("%s\n%*s", left, HELP_COLUMN, "");
	else
		printf("%-*s", HELP_COLUMN, left);
	for (const char *p = o->help; *p; p++) {
		putchar(*p);
		if (*p == '\n')
			printf("%*s", HELP_COLUMN, "");
	}
	putchar('\n');
}

void cli__help(const struct command *c)
{
	printf("Usage: pybpf %s%s%s\n\n%s.\n", c->name, *c->synopsis ? " " : "", c->synopsis, c->summary);
	if (c->details)
		printf("\n%s", c->details);
	for (const struct cli_option *o = c->options; o && o->name; o++) {
		if (o->group)
			printf("\n%s:\n", o->group);
		print_option(o);
	}
	printf("  -h, --help                  this text\n");
}

size_t cli__terminal_width(int fd)
{
	struct winsize size;

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

bool cli__sudo_user(uint32_t *uid, uint32_t *gid)
{
	const char *user = getenv("SUDO_UID"), *group = getenv("SUDO_GID");

	if (geteuid() || !user || !group)
		return false;
	return !values__count(user, 0, UINT32_MAX - 1, uid) && !values__count(group, 0, UINT32_MAX - 1, gid);
}
