/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands share: the table of commands, exit statuses, options from tables, and the only functions that
 * print.
 */
#ifndef PYBPF_CLI_H
#define PYBPF_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum exit_status {
	EXIT_OK = 0,
	EXIT_RUNTIME = 1,
	EXIT_USAGE = 2,
	EXIT_NOTHING = 3,   /* no such process, not Python, no sample */
	EXIT_FORBIDDEN = 4, /* not permitted, or not supported by the kernel */
};

struct cli_option {
	char letter;      /* 0: none */
	const char *name; /* long name */
	const char *arg;  /* name of its value as help shows it, NULL: none; "[FILE]": may be left out */
	const char *help;
	int id;            /* what the parser hands to the command */
	const char *group; /* heading in --help, where it changes */
	const char *choices; /* for completions: words separated by spaces, or "@file", "@pid", "@user" */
};

struct command {
	const char *name;
	const char *synopsis; /* behind the name: "[target] [options]" */
	const char *summary;  /* one line */
	const char *details;  /* more for --help, may be NULL */
	const struct cli_option *options; /* ended by one without a name; may be NULL */
	const char *operands; /* for completions: what the other words are, as choices are; "@command"; NULL: none */
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

extern const struct command *const commands[]; /* NULL-terminated; in main.c */
const struct command *command__find(const char *word, struct err *e); /* by name or unambiguous prefix */

/*
 * Goes through the options of argv. `take` gets each with its value (NULL: none) and returns 0 or an error with *e set.
 * --help is answered here. Stops at `--` or the first word that is no option: *rest is its index. Returns 0, -EINVAL with
 * *e set, or 1 when help was asked for and given.
 */
int cli__parse(const struct command *c, int argc, char **argv, int *rest,
	       int (*take)(void *arg, int id, const char *value, struct err *e), void *arg, struct err *e);

/* The same of a command whose only option is --json, with the id OPT_JSON_ONLY, and which takes nothing else. */
enum { OPT_JSON_ONLY = 1 };
int cli__parse_json(const struct command *c, int argc, char **argv, bool *json, struct err *e);

/*
 * Before anything else is opened: a standard stream that the caller has closed stays useless, but its number is no other file's,
 * or what is said to it would stand in that file.
 */
void cli__hold_streams(void);

/* Standard output is complete: 0, or -errno with *e saying that `what` could not be written. */
int cli__finish_stdout(const char *what, struct err *e);

/* A line on standard error. What a file's name or an argument may hold does not break it: see text__visible. */
void cli__say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `pybpf COMMAND: text` on standard error, with `try 'pybpf COMMAND --help'` for usage errors. Return the status. */
int cli__usage(const char *command, const struct err *e);
int cli__fail(enum exit_status status, const struct err *e);
/* The exit status for an error of collect and below, while nothing has been recorded yet. */
enum exit_status cli__status_of(int code);

/* Columns of the terminal behind a descriptor; 0: it is none. */
size_t cli__terminal_width(int fd);

/* Writes what `pybpf COMMAND --help` says to standard output. */
void cli__help(const struct command *c);

/* The invoking user under sudo: true and the ids where SUDO_UID and SUDO_GID are set and we are root. */
bool cli__sudo_user(uint32_t *uid, uint32_t *gid);

extern const struct command command_record, command_report, command_list, command_check, command_completions;

#endif
