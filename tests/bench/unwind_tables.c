// SPDX-License-Identifier: Apache-2.0
/*
 * What unwind tables cost: for each file its functions, rows and rules, the bytes of its table, and how long it takes
 * to compile it and to take it from a cache, in ms of CPU time, the best of ROUNDS.
 *
 * usage: unwind_tables [-j] FILE ...     -j: a line of JSON for each
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "unwind/cache.h"

#define ROUNDS 7

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ms, or negative with *e. */
static double best(struct unwind_cache *cache, struct elf *elf, struct unwind_table **last, struct err *e)
{
	double least = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		struct unwind_table *t = NULL;
		double start = cpu_ms(), took;

		if (unwind_cache__build(cache, elf, NULL, &t, e))
			return -1;
		took = cpu_ms() - start;
		if (took < least)
			least = took;
		unwind_table__free(*last);
		*last = t;
	}
	return least;
}

static int one(const char *path, struct unwind_cache *cache, bool json)
{
	struct unwind_table *t = NULL;
	struct elf *elf = NULL;
	struct err e = {0};
	double compile = -1, load = -1;
	int fd = elf__open_path(path);

	if (fd >= 0 && !elf__open(fd, &elf, &e)) {
		compile = best(NULL, elf, &t, &e);
		if (compile >= 0)
			load = best(cache, elf, &t, &e);
	}
	if (load >= 0) {
		size_t bytes = unwind_table__memory(t);

		printf(json ? "{\"file\": \"%s\", \"functions\": %u, \"rows\": %u, \"rules\": %u, \"bytes\": %zu, "
			      "\"bytes_a_row\": %.2f, \"compile_ms\": %.2f, \"load_ms\": %.2f}\n"
			    : "%-58s %9u %9u %6u %9zu %6.2f %10.2f %8.2f\n",
		       path, t->nfunctions, t->nrows, t->nrules, bytes, (double)bytes / t->nrows, compile, load);
	} else {
		fprintf(stderr, "%s: %s\n", path, e.text[0] ? e.text : strerror(-fd));
	}
	unwind_table__free(t);
	elf__close(elf);
	if (fd >= 0)
		close(fd);
	return load < 0;
}

static void clear(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", dir);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/pybpf-bench-XXXXXX";
	bool json = argc > 1 && strcmp(argv[1], "-j") == 0;
	struct unwind_cache *cache = NULL;
	struct err e = {0};
	int failed = 0;

	if (!mkdtemp(dir) || unwind_cache__open(dir, UNWIND_CACHE_MAX, &cache, &e)) {
		fprintf(stderr, "no folder for a cache: %s\n", e.text);
		return 1;
	}
	if (!json)
		printf("%-58s %9s %9s %6s %9s %6s %10s %8s\n", "file", "functions", "rows", "rules", "bytes", "B/row",
		       "compile ms", "load ms");
	for (int i = json ? 2 : 1; i < argc; i++)
		failed |= one(argv[i], cache, json);
	unwind_cache__close(cache);
	clear(dir);
	return failed;
}
