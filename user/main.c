// SPDX-License-Identifier: Apache-2.0
/* The table of commands, nothing else. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

const struct command *const commands[] = {
	&command_record, &command_report, &command_list, &command_check, &command_completions, NULL,
};

static int usage(FILE *out)
{
	fprintf(out, "Usage: pybpf COMMAND [options]\n\n"
		     "A sampling profiler for Python on Linux: whole host or single processes, without stopping them.\n\n"
		     "Commands:\n");
	for (const struct command *const *c = commands; *c; c++)
		fprintf(out, "  %-13s%s\n", (*c)->name, (*c)->summary);
	fprintf(out, "  help         Help for a command: pybpf help COMMAND\n"
		     "  version      The version, as --version\n\n"
		     "For a first flame graph of all Python on this machine: sudo pybpf record -d 10 -o profile.svg\n");
	return out == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

static bool is_version(const char *word)
{
	return !strcmp(word, "--version") || !strcmp(word, "-V") || !strcmp(word, "version");
}

static int run(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct command *c;
	struct err e = {0};

	if (!*word)
		return usage(stderr);
	/* of help and version themselves there is no more to say */
	if (is_help(word) && (word[0] == '-' || argc < 3 || argv[2][0] == '-' || is_help(argv[2]) || is_version(argv[2])))
		return usage(stdout);
	if (is_version(word) && argc > 2 && is_help(argv[2]))
		return usage(stdout);
	if (is_version(word)) {
		printf("pybpf %s\n", PYBPF_VERSION);
		return EXIT_OK;
	}
	c = command__find(strcmp(word, "help") ? word : argv[2], &e);
	if (!c)
		return cli__usage("", &e);
	if (!strcmp(word, "help")) {
		cli__help(c);
		return EXIT_OK;
	}
	argv[1] = (char *)c->name;
	return c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	struct err e = {0};
	int status;

	cli__hold_streams();
	status = run(argc, argv);
	/* help and the like: who writes more than words looks for errors itself */
	if (status == EXIT_OK && cli__finish_stdout("to standard output", &e))
		status = cli__fail(EXIT_RUNTIME, &e);
	return status;
}
