/* SPDX-License-Identifier: Apache-2.0 */
/* Real interpreters for tests: which there are, and one that blocks in a chain of calls that it has told (chain.py). */
#ifndef PYBPF_TEST_INTERPRETER_H
#define PYBPF_TEST_INTERPRETER_H

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/vec.h"

#define MAX_WORDS 16

struct interpreter {
	char id[64];
	uint32_t hex;
	char command[1024]; /* words separated by spaces; a script and its arguments follow them */
	char kinds[256];
};

struct interpreter_list vec(struct interpreter);

/* "3.13.0-pyenv             030d00f0 /words/of/the command (kind, kind)", as tests/interpreters.py prints them. */
static bool interpreter__parse(char *line, struct interpreter *out)
{
	char *open = strrchr(line, '('), *close = strrchr(line, ')');
	int at = 0;

	if (!open || !close || sscanf(line, "%63s %" SCNx32 " %n", out->id, &out->hex, &at) != 2)
		return false;
	*close = *open = '\0';
	snprintf(out->kinds, sizeof(out->kinds), "%s", open + 1);
	snprintf(out->command, sizeof(out->command), "%s", line + at);
	return true;
}

/* All of them; at least one, or there is nothing to test with. */
static void interpreters__find(struct interpreter_list *list)
{
	FILE *in = popen("exec /usr/bin/python3 tests/interpreters.py", "r");
	char line[2048];

	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		struct interpreter one;

		assert_true(interpreter__parse(line, &one));
		assert_int_equal(vec__push(list, one), 0);
	}
	assert_int_equal(pclose(in), 0);
	assert_true(list->len > 0);
}

struct told_frame {
	uint64_t code;
	int64_t lasti; /* bytes */
	int first_line;
	uint32_t flags;
	char name[64], file[256]; /* UTF-8 */
	char table[1024];         /* of lines: "x", then hex */
};

struct blocked {
	pid_t child, pid; /* what was started, and the interpreter itself */
	FILE *told;       /* the script blocks as long as nobody reads on */
	uint64_t thread;  /* pthread_self() */
	uint32_t hex;
	struct vec(struct told_frame) frames; /* innermost first */
};

static void unhex(const char *from, char *to, size_t size)
{
	size_t n = 0;
	unsigned int byte;

	for (; n + 1 < size && sscanf(from + 2 * n, "%2x", &byte) == 1; n++)
		to[n] = (char)byte;
	to[n] = '\0';
}

static bool blocked__take(struct blocked *b, const char *line)
{
	struct told_frame f = {0};
	char name[256] = "", file[1024] = "";
	int pid;

	if (sscanf(line, "self %d %" SCNu64 " %" SCNu32, &pid, &b->thread, &b->hex) == 3)
		b->pid = pid;
	else if (sscanf(line, "frame %" SCNu64 " %" SCNd64 " %d %" SCNu32 " %255s %1023s %1023s", &f.code, &f.lasti,
			&f.first_line, &f.flags, name, file, f.table) == 7) {
		unhex(name, f.name, sizeof(f.name));
		unhex(file, f.file, sizeof(f.file));
		assert_int_equal(vec__push(&b->frames, f), 0);
	}
	return strcmp(line, "ready\n") != 0;
}

/* Becomes the interpreter, in the environment of tests/interpreters.py. */
static void become(char *const argv[], int out)
{
	for (int i = 0; environ[i];) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(environ[i], "="), environ[i]);
		if (strncmp(name, "PYTHON", 6) || unsetenv(name))
			i++;
	}
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	dup2(out, STDOUT_FILENO);
	execvp(argv[0], argv);
	_exit(127);
}

/* Starts an interpreter and waits until it has told its chain and blocks. */
static void blocked__start(struct blocked *b, const struct interpreter *interp, const char *depth)
{
	char script[4096], line[4096] = "", words[1024], *argv[MAX_WORDS + 3], *save = NULL, *word;
	int out[2], n = 0;

	*b = (struct blocked){0};
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_non_null(realpath("tests/unit/chain.py", script));
	strcpy(words, interp->command);
	for (word = strtok_r(words, " ", &save); word && n < MAX_WORDS; word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	argv[n++] = script;
	argv[n++] = (char *)depth;
	argv[n] = NULL;
	b->child = fork();
	if (!b->child)
		become(argv, out[1]);
	assert_true(b->child > 0);
	close(out[1]);
	b->told = fdopen(out[0], "r");
	assert_non_null(b->told);
	while (fgets(line, sizeof(line), b->told) && blocked__take(b, line))
		;
	if (strcmp(line, "ready\n"))
		fail_msg("%s did not come so far as to block", interp->id);
}

static void blocked__end(struct blocked *b)
{
	int status;

	if (b->pid > 0 && b->pid != b->child) /* a bundle's loader stays as its parent */
		kill(b->pid, SIGKILL);
	kill(b->child, SIGKILL);
	fclose(b->told);
	waitpid(b->child, &status, 0);
	vec__free(&b->frames);
}

#endif
