// SPDX-License-Identifier: Apache-2.0
/* Completions for shells, made from the same tables that the options are parsed by. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"

/* Text that is one word or part of one between single quotes; line breaks become spaces. `also`: bytes that a backslash
 * is put before. */
static void put_quoted(const char *text, const char *also, const char *quote)
{
	for (; *text; text++) {
		if (*text == '\'') {
			fputs(quote, stdout);
			continue;
		}
		if (strchr(also, *text))
			putchar('\\');
		putchar(*text == '\n' ? ' ' : *text);
	}
}

static bool is_optional(const struct cli_option *o)
{
	return o->arg && o->arg[0] == '[';
}

/* "[FILE]" without its brackets. */
static void put_value_name(const struct cli_option *o, const char *also)
{
	char name[64];

	snprintf(name, sizeof(name), "%s", o->arg + (is_optional(o) ? 1 : 0));
	if (is_optional(o))
		name[strlen(name) - 1] = '\0';
	put_quoted(name, also, "'\\''");
}

/* ---- bash */

static const char bash_head[] =
	"# bash completion for pybpf\n\n"
	"_pybpf_pids() {\n"
	"\tlocal pid rest\n"
	"\t\"${COMP_WORDS[0]}\" list 2> /dev/null | while read -r pid rest; do\n"
	"\t\t[[ $pid == [0-9]* ]] && echo \"$pid\"\n"
	"\tdone\n"
	"}\n\n"
	"# What may stand for a word: @file, @pid, @user, @command, or the words themselves.\n"
	"_pybpf_reply() {\n"
	"\tlocal cur=$2\n"
	"\tcase $1 in\n"
	"\t@file) compopt -o filenames 2> /dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\t@pid) mapfile -t COMPREPLY < <(compgen -W \"$(_pybpf_pids)\" -- \"$cur\") ;;\n"
	"\t@user) mapfile -t COMPREPLY < <(compgen -u -- \"$cur\") ;;\n"
	"\t*) mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\") ;;\n"
	"\tesac\n"
	"}\n\n"
	"_pybpf() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i\n"
	"\tCOMPREPLY=()\n"
	"\t# bash makes --option=value three words\n"
	"\tif [[ $cur == = ]]; then\n"
	"\t\tcur=''\n"
	"\telif [[ $prev == = ]]; then\n"
	"\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}=\n"
	"\tfi\n"
	"\t[[ ${COMP_WORDS[COMP_CWORD]} == = ]] && prev+='='\n"
	"\t# behind -- comes a command of its own\n"
	"\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	"\t\tif [[ ${COMP_WORDS[i]} == -- ]]; then\n"
	"\t\t\tif ((i == COMP_CWORD - 1)); then\n"
	"\t\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
	"\t\t\telse\n"
	"\t\t\t\t_pybpf_reply @file \"$cur\"\n"
	"\t\t\tfi\n"
	"\t\t\treturn\n"
	"\t\tfi\n"
	"\tdone\n";

/* `NAME,-p | NAME,--pid | NAME,--pid=) _pybpf_reply "@pid" "$cur"; return ;;` */
static void bash_values(const struct command *c)
{
	for (const struct cli_option *o = c->options; o && o->name; o++) {
		if (!o->arg)
			continue;
		fputs("\t", stdout);
		/* a value that may be left out only counts behind = */
		if (!is_optional(o) && o->letter)
			printf("%s,-%c | ", c->name, o->letter);
		if (!is_optional(o))
			printf("%s,--%s | ", c->name, o->name);
		printf("%s,--%s=)", c->name, o->name);
		if (o->choices)
			printf(" _pybpf_reply '%s' \"$cur\";", o->choices);
		printf(" return ;;\n");
	}
}

static void bash_options(const struct command *c)
{
	printf("\t%s)\n\t\tif [[ $cur == -* ]]; then\n\t\t\t_pybpf_reply '", c->name);
	for (const struct cli_option *o = c->options; o && o->name; o++) {
		if (o->letter)
			printf("-%c ", o->letter);
		printf("--%s ", o->name);
	}
	printf("-h --help' \"$cur\"\n");
	if (c->operands)
		printf("\t\telse\n\t\t\t_pybpf_reply '%s' \"$cur\"\n", c->operands);
	printf("\t\tfi\n\t\t;;\n");
}

static void bash_command_names(void)
{
	for (const struct command *const *c = commands; *c; c++)
		printf("%s ", (*c)->name);
	printf("help");
}

static void print_bash(void)
{
	fputs(bash_head, stdout);
	printf("\tif ((COMP_CWORD == 1)) || [[ $command == help ]]; then\n\t\t_pybpf_reply '");
	bash_command_names();
	printf(" version --help --version' \"$cur\"\n\t\treturn\n\tfi\n\tcase $command,$prev in\n");
	for (const struct command *const *c = commands; *c; c++)
		bash_values(*c);
	printf("\tesac\n\tcase $command in\n");
	for (const struct command *const *c = commands; *c; c++)
		bash_options(*c);
	printf("\tesac\n}\n\ncomplete -F _pybpf pybpf\n");
}

/* ---- zsh */

static const char zsh_head[] =
	"#compdef pybpf\n\n"
	"_pybpf_pids() {\n"
	"\tlocal -a pids\n"
	"\tpids=(${(f)\"$(pybpf list 2> /dev/null | while read -r pid rest; do [[ $pid == [0-9]* ]] && print -r -- "
	"\"$pid:$rest\"; done)\"})\n"
	"\t_describe -V 'Python process' pids\n"
	"}\n\n";

static void zsh_action(const char *choices)
{
	if (!choices)
		printf(": ");
	else if (!strcmp(choices, "@file"))
		printf(":_files");
	else if (!strcmp(choices, "@pid"))
		printf(":_pybpf_pids");
	else if (!strcmp(choices, "@user"))
		printf(":_users");
	else
		printf(":(%s)", choices);
}

/* `'(-p --pid)'{-p+,--pid=}'[help]:PID:action'`; a value that may be left out belongs to the long name only */
static void zsh_option(const struct cli_option *o)
{
	bool apart = o->letter && is_optional(o);
	const char *end = !o->arg ? "" : is_optional(o) ? "=-" : "=";

	if (apart) {
		printf(" \\\n\t\t\t'(--%s)-%c[", o->name, o->letter);
		put_quoted(o->help, "[]:\\", "'\\''");
		printf("]'");
	}
	printf(" \\\n\t\t\t");
	if (apart)
		printf("'(-%c)--%s%s", o->letter, o->name, end);
	else if (o->letter)
		printf("'(-%c --%s)'{-%c%s,--%s%s}'", o->letter, o->name, o->letter, o->arg ? "+" : "", o->name, end);
	else
		printf("'--%s%s", o->name, end);
	putchar('[');
	put_quoted(o->help, "[]:\\", "'\\''");
	putchar(']');
	if (o->arg) {
		printf(is_optional(o) ? "::" : ":");
		put_value_name(o, "[]:\\");
		zsh_action(o->choices);
	}
	putchar('\'');
}

static void print_zsh(void)
{
	fputs(zsh_head, stdout);
	printf("_pybpf() {\n\tlocal -a commands\n\tcommands=(\n");
	for (const struct command *const *c = commands; *c; c++) {
		printf("\t\t'%s:", (*c)->name);
		put_quoted((*c)->summary, ":\\", "'\\''");
		printf("'\n");
	}
	printf("\t\t'help:Help for a command'\n\t\t'version:The version'\n\t)\n"
	       "\tif (( CURRENT == 2 )) || [[ $words[2] == help ]]; then\n"
	       "\t\t_describe command commands\n\t\treturn\n\tfi\n"
	       "\tshift words\n\t(( CURRENT-- ))\n\tcase $words[1] in\n");
	for (const struct command *const *c = commands; *c; c++) {
		printf("\t%s)\n\t\t_arguments -s -S", (*c)->name);
		for (const struct cli_option *o = (*c)->options; o && o->name; o++)
			zsh_option(o);
		printf(" \\\n\t\t\t'(- *)'{-h,--help}'[this text]'");
		if ((*c)->operands && !strcmp((*c)->operands, "@command")) {
			printf(" \\\n\t\t\t'(-)1:command:_command_names -e' \\\n\t\t\t'*::arguments:_normal'");
		} else if ((*c)->operands) {
			printf(" \\\n\t\t\t'1:operand");
			zsh_action((*c)->operands);
			putchar('\'');
		}
		printf("\n\t\t;;\n");
	}
	printf("\tesac\n}\n\nif [[ $funcstack[1] == _pybpf ]]; then\n\t_pybpf \"$@\"\nelse\n\tcompdef _pybpf pybpf\nfi\n");
}

/* ---- fish */

static const char fish_head[] =
	"# fish completion for pybpf\n\n"
	"function __pybpf_pids\n"
	"\tpybpf list 2> /dev/null | while read pid rest\n"
	"\t\tstring match -qr '^[0-9]+$' -- $pid; and printf '%s\\t%s\\n' $pid $rest\n"
	"\tend\n"
	"end\n\n"
	"complete -c pybpf -f\n";

static void fish_choices(const char *choices)
{
	if (!strcmp(choices, "@file") || !strcmp(choices, "@command"))
		printf(" -F");
	else if (!strcmp(choices, "@pid"))
		printf(" -f -a '(__pybpf_pids)'");
	else if (!strcmp(choices, "@user"))
		printf(" -f -a '(__fish_complete_users)'");
	else
		printf(" -f -a '%s'", choices);
}

static void fish_option(const struct command *c, const struct cli_option *o)
{
	printf("complete -c pybpf -n '__fish_seen_subcommand_from %s'", c->name);
	if (o->letter)
		printf(" -s %c", o->letter);
	printf(" -l %s", o->name);
	if (o->arg && !is_optional(o))
		printf(" -r");
	if (o->choices && !is_optional(o))
		fish_choices(o->choices);
	printf(" -d '");
	put_quoted(o->help, "\\", "\\'");
	printf("'\n");
}

static void print_fish(void)
{
	fputs(fish_head, stdout);
	for (const struct command *const *c = commands; *c; c++) {
		printf("complete -c pybpf -n __fish_use_subcommand -a %s -d '", (*c)->name);
		put_quoted((*c)->summary, "\\", "\\'");
		printf("'\n");
	}
	printf("complete -c pybpf -n __fish_use_subcommand -a help -d 'Help for a command'\n"
	       "complete -c pybpf -n __fish_use_subcommand -a version -d 'The version'\n"
	       "complete -c pybpf -n '__fish_seen_subcommand_from help' -a '");
	bash_command_names();
	printf("'\n");
	for (const struct command *const *c = commands; *c; c++) {
		for (const struct cli_option *o = (*c)->options; o && o->name; o++)
			fish_option(*c, o);
		printf("complete -c pybpf -n '__fish_seen_subcommand_from %s' -s h -l help -d 'this text'\n", (*c)->name);
		if (!(*c)->operands)
			continue;
		printf("complete -c pybpf -n '__fish_seen_subcommand_from %s'", (*c)->name);
		fish_choices((*c)->operands);
		putchar('\n');
	}
}

/* ---- the command */

static const struct {
	const char *name;
	void (*print)(void);
} shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

static int take(void *arg, int id, const char *value, struct err *e)
{
	(void)arg;
	(void)id;
	(void)value;
	return err__set(e, -EINVAL, "no options");
}

static int run_completions(int argc, char **argv)
{
	struct err e = {0};
	int rest, err = cli__parse(&command_completions, argc, argv, &rest, take, NULL, &e);

	if (err > 0)
		return EXIT_OK;
	for (size_t i = 0; !err && rest + 1 == argc && i < ARRAY_SIZE(shells); i++) {
		if (strcmp(shells[i].name, argv[rest]))
			continue;
		shells[i].print();
		if (!fflush(stdout) && !ferror(stdout))
			return EXIT_OK;
		err__errno(&e, errno ? -errno : -EIO, "writing the completions");
		return cli__fail(EXIT_RUNTIME, &e);
	}
	if (!err)
		err__set(&e, -EINVAL, "name a shell: bash, zsh or fish");
	return cli__usage("completions", &e);
}

const struct command command_completions = {
	.name = "completions",
	.synopsis = "bash|zsh|fish",
	.summary = "Print a completion script for a shell",
	.details = "For bash: `pybpf completions bash > /etc/bash_completion.d/pybpf`, or `source <(pybpf completions\n"
		   "bash)` in a running one. For zsh: into a folder of $fpath as _pybpf. For fish: into\n"
		   "~/.config/fish/completions/pybpf.fish. `make install` does all three.\n",
	.operands = "bash zsh fish",
	.run = run_completions,
};
