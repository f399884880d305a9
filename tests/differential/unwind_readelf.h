/* SPDX-License-Identifier: Apache-2.0 */
/* What readelf (GNU binutils) says of a file's call frame information, for unwind_diff.c. */
#ifndef PYBPF_TESTS_UNWIND_READELF_H
#define PYBPF_TESTS_UNWIND_READELF_H

#include <elf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "unwind/source.h"
#include "unwind/table.h"

#define WORD 24

enum column { CFA, FP, RA, BX, COLUMNS };

/* What readelf says to hold from an address on. */
struct row {
	uint64_t from;
	char says[COLUMNS][WORD];
};

/* An entry: a function, or what functions have in common (start and end are 0). */
struct entry {
	uint64_t offset, start, end;
	size_t cie; /* index, of a function */
	size_t first, rows;
	size_t first_raw, raws;
	size_t order;
};

/* Of --debug-dump=frames: an expression (NULL: undefined) for one of the columns. */
struct raw {
	enum column column;
	char *expression;
};

struct file {
	uint16_t machine;
	struct vec(struct row) rows;
	struct vec(struct entry) cies;
	struct vec(struct entry) functions;
	struct vec(struct raw) raws;
	struct unwind_table *table;
	filler_list followed; /* functions that no call frame information tells of */
	filler_list untold;   /* those whose information is not believed */
	bool expressions; /* some row has one */
	int64_t compared, differences, unknown, outside, shadowed;
};

static const char *const x86_names[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8",
					"r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip"};

static _Noreturn void broken(const char *what)
{
	fprintf(stderr, "unwind_diff: %s\n", what);
	exit(2);
}

#define push(v, ...)                                                                                                   \
	do {                                                                                                           \
		if (vec__push(v, __VA_ARGS__))                                                                         \
			broken("out of memory");                                                                       \
	} while (0)

static int number(const struct file *f, const char *name, size_t n)
{
	if (f->machine == EM_AARCH64)
		return n == 2 && !strncmp(name, "sp", 2) ? 31 : name[0] == 'x' ? atoi(name + 1) : -1;
	for (size_t i = 0; i < ARRAY_SIZE(x86_names); i++)
		if (strlen(x86_names[i]) == n && !strncmp(name, x86_names[i], n))
			return (int)i;
	return -1;
}

static int sp_of(const struct file *f)
{
	return f->machine == EM_AARCH64 ? 31 : 7;
}

/* rbx is followed as well. */
static int bx_of(const struct file *f)
{
	return f->machine == EM_AARCH64 ? -2 : UNWIND_BX;
}

static int fp_of(const struct file *f)
{
	return f->machine == EM_AARCH64 ? 29 : 6;
}

/* "OFFSET LENGTH ID CIE ..." or "OFFSET LENGTH ID FDE cie=N pc=A..B". 'C', 'F' or 0. */
static char header(const char *line, uint64_t *offset, uint64_t *cie, uint64_t *start, uint64_t *end)
{
	if (line[0] == ' ' || sscanf(line, "%" SCNx64 " %*x %*x", offset) != 1)
		return 0;
	if (strstr(line, " CIE"))
		return 'C';
	line = strstr(line, " FDE cie=");
	if (line && sscanf(line, " FDE cie=%" SCNx64 " pc=%" SCNx64 "..%" SCNx64, cie, start, end) == 3)
		return 'F';
	return 0;
}

static size_t find_cie(const struct file *f, size_t lo, uint64_t offset)
{
	size_t hi = f->cies.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->cies.data[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < f->cies.len ? lo : 0;
}

/* Reads a line of names: where in the lines that follow the columns are, 0: they are not. */
static void read_names(const struct file *f, char *line, int at[COLUMNS])
{
	int i = 0;

	at[CFA] = 1;
	at[FP] = at[RA] = at[BX] = 0;
	for (char *save, *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save), i++) {
		if (!strcmp(w, "ra"))
			at[RA] = i;
		else if (number(f, w, strlen(w)) == fp_of(f))
			at[FP] = i;
		else if (number(f, w, strlen(w)) == bx_of(f))
			at[BX] = i;
	}
}

static void read_row(struct file *f, struct entry *in, char *line, const int at[COLUMNS])
{
	struct row row = {.from = strtoull(line, NULL, 16)};
	int i = 0;

	/* of a register that holds another one it says "r10 (r10)" */
	for (char *save, *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save), i += w && w[0] != '(')
		for (int c = 0; c < COLUMNS; c++)
			if (i && at[c] == i && w[0] != '(')
				snprintf(row.says[c], WORD, "%s", w);
	for (int c = 0; c < COLUMNS; c++)
		if (!strcmp(row.says[c], "exp"))
			f->expressions = true;
	if (!row.says[CFA][0])
		broken("a row of readelf's without a CFA");
	push(&f->rows, row);
	in->rows++;
}

static void read_interp(struct file *f, FILE *in)
{
	uint64_t offset, cie = 0, start = 0, end = 0;
	struct entry *entry = NULL;
	int at[COLUMNS] = {0};
	size_t first_cie = 0, size = 0;
	_cleanup_free_ char *line = NULL;

	while (getline(&line, &size, in) > 0) {
		char kind = header(line, &offset, &cie, &start, &end);
		struct entry e = {.offset = offset, .first = f->rows.len, .order = f->functions.len};

		if (!strncmp(line, "Contents of", 11)) {
			first_cie = f->cies.len;
		} else if (kind == 'C') {
			push(&f->cies, e);
			entry = &f->cies.data[f->cies.len - 1];
		} else if (kind == 'F') {
			e.start = start;
			e.end = end;
			e.cie = find_cie(f, first_cie, cie);
			push(&f->functions, e);
			entry = &f->functions.data[f->functions.len - 1];
		} else if (!strncmp(line, "   LOC ", 7)) {
			read_names(f, line, at);
		} else if (entry && line[0] != ' ' && line[0] != '\n' && strspn(line, "0123456789abcdef") == 16) {
			read_row(f, entry, line, at);
		}
	}
}

static void read_raw(struct file *f, FILE *in)
{
	uint64_t offset, u;
	struct entry *entry = NULL;
	size_t cies = 0, functions = 0, size = 0;
	_cleanup_free_ char *line = NULL;

	while (getline(&line, &size, in) > 0) {
		char kind = header(line, &offset, &u, &u, &u), *open = strchr(line, '(');
		struct raw raw = {0};
		int reg = -1;

		if (kind) {
			entry = kind == 'C' ? &f->cies.data[cies++] : &f->functions.data[functions++];
			if (cies > f->cies.len || functions > f->functions.len || entry->offset != offset)
				broken("readelf's two dumps differ");
			entry->first_raw = f->raws.len;
			continue;
		}
		if (!entry || !open)
			continue;
		if (sscanf(line, " DW_CFA_expression: r%d", &reg) == 1)
			open = strchr(open + 1, '(');
		else if (sscanf(line, " DW_CFA_undefined: r%d", &reg) == 1)
			open = NULL;
		else if (!strncmp(line, "  DW_CFA_def_cfa_expression", 27))
			reg = sp_of(f);
		else
			continue;
		raw.column = reg == sp_of(f) ? CFA : reg == fp_of(f) ? FP : reg == bx_of(f) ? BX : RA;
		raw.expression = open ? strdup(open) : NULL;
		push(&f->raws, raw);
		entry->raws++;
	}
}

static void readelf(struct file *f, const char *path, const char *dump, void (*read)(struct file *, FILE *))
{
	int fds[2], status;
	pid_t pid;
	FILE *in;

	if (pipe(fds) || (pid = fork()) < 0)
		broken("cannot start readelf");
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		freopen("/dev/null", "w", stderr);
		execlp("readelf", "readelf", "-W", dump, path, NULL);
		_exit(127);
	}
	close(fds[1]);
	in = fdopen(fds[0], "r");
	if (!in)
		broken("out of memory");
	read(f, in);
	fclose(in);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
		broken("readelf failed");
}

#endif
