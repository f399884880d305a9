// SPDX-License-Identifier: Apache-2.0
/*
 * Compares our line table decoder with an interpreter's own answers.
 *
 * usage: dump_linetables.py | linetable_diff VERSION_HEX
 *
 * Reads the stream that dump_linetables.py describes (marshal version 2: a type byte, then 4 bytes
 * of length or value) and asks for the location of each instruction of each code object, by the
 * index and by the plain look-up. Prints `files F code_objects C positions P no_line N differences
 * D` and the first differences. Exit status: 0 no difference, 1 differences, 2 the stream is not
 * what it should be.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "pyrt/linetable.h"

#define NO_LINE   INT64_MIN
#define SHOWN     20
#define CODE_UNIT 2
#define PLAIN_LOOKUPS 64 /* instructions of a code object that are looked up from the table's start, too */

struct item {
	int64_t start, end, line;
};

struct bytes {
	uint8_t *data;
	size_t n, cap;
};

struct items {
	struct item *data;
	size_t n, cap;
};

struct code {
	struct bytes name, table;
	int64_t first_line, size;
	struct items lines;
	bool has_end;       /* lines are (start, end, line) */
	bool has_columns;   /* positions are there */
	int64_t *positions; /* line, end line, column, end column of each code unit */
	size_t npositions, positions_cap;
};

struct totals {
	int kind;
	int64_t codes, positions, no_line, differences;
};

static _Noreturn void broken(const char *what)
{
	fprintf(stderr, "linetable_diff: broken stream: %s\n", what);
	exit(2);
}

static void *grow(void *p, size_t *cap, size_t want, size_t size)
{
	if (want <= *cap && p)
		return p;
	*cap = want * 2 + 16;
	p = realloc(p, *cap * size);
	if (!p)
		broken("out of memory");
	return p;
}

static uint32_t read_u32(void)
{
	uint8_t b[4];

	if (fread_unlocked(b, 1, sizeof(b), stdin) != sizeof(b))
		broken("it ends within a value");
	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* An int or None. */
static int64_t read_int(void)
{
	int type = getc_unlocked(stdin);

	if (type == 'N')
		return NO_LINE;
	if (type != 'i')
		broken("int expected");
	return (int32_t)read_u32();
}

static uint32_t read_sized(char type)
{
	if (getc_unlocked(stdin) != type)
		broken("another type expected");
	return read_u32();
}

static void read_bytes(struct bytes *b)
{
	b->n = read_sized('s');
	b->data = grow(b->data, &b->cap, b->n + 1, 1);
	if (fread_unlocked(b->data, 1, b->n, stdin) != b->n)
		broken("it ends within a string");
	b->data[b->n] = 0;
}

static void read_lines(struct code *c)
{
	struct items *l = &c->lines;
	uint32_t members = 3;

	l->n = read_sized('[');
	l->data = grow(l->data, &l->cap, l->n, sizeof(*l->data));
	for (size_t i = 0; i < l->n; i++) {
		members = read_sized('(');
		l->data[i].start = read_int();
		l->data[i].end = members == 3 ? read_int() : INT64_MAX;
		l->data[i].line = read_int();
	}
	c->has_end = members == 3;
	/* findlinestarts leaves out where a line ends */
	for (size_t i = 0; !c->has_end && i + 1 < l->n; i++)
		l->data[i].end = l->data[i + 1].start;
}

static void read_positions(struct code *c)
{
	int type = getc_unlocked(stdin);

	c->has_columns = type == '[';
	c->npositions = 0;
	if (type == 'N')
		return;
	if (type != '[')
		broken("list expected");
	c->npositions = read_u32();
	c->positions =
		grow(c->positions, &c->positions_cap, c->npositions * 4, sizeof(*c->positions));
	for (size_t i = 0; i < c->npositions * 4; i++) {
		if (i % 4 == 0 && read_sized('(') != 4)
			broken("four numbers expected");
		c->positions[i] = read_int();
	}
}

static void show(struct totals *t, const struct code *c, uint32_t offset, int err,
		 const struct py_location *l)
{
	if (t->differences++ >= SHOWN)
		return;
	printf("%s: offset %" PRIu32 ": we say error %d, %d-%d columns %d-%d\n",
	       (char *)c->name.data, offset, err, l->line, l->end_line, l->column, l->end_column);
}

static int64_t column(int64_t theirs)
{
	return theirs == NO_LINE ? 0 : theirs + 1;
}

static bool same(const struct code *c, uint32_t offset, int64_t line, int err,
		 const struct py_location *l)
{
	const int64_t *p = c->positions + (size_t)offset / CODE_UNIT * 4;
	int64_t ours = err ? NO_LINE : l->line;

	if (ours != line || (err && err != -ENODATA))
		return false;
	if (!c->has_columns)
		return err || (!l->end_line && !l->column && !l->end_column);
	if (p[0] != line)
		return false;
	if (err)
		return true;
	return l->end_line == p[1] && l->column == column(p[2]) && l->end_column == column(p[3]);
}

/* nearest() is exact where there is a line, and else always finds one that the code object knows.
 */
static bool nearest_agrees(const struct linetable_index *x, const struct code *c, uint32_t offset,
			   int err, const struct py_location *exact)
{
	struct py_location l;
	int substituted = linetable_index__nearest(x, offset, &l);

	if (!err && exact->line > 0)
		return !substituted && !memcmp(&l, exact, sizeof(l));
	if (!substituted || l.column || l.end_column || l.end_line)
		return false;
	if (l.line == c->first_line)
		return true;
	for (size_t i = 0; i < c->lines.n && c->lines.data[i].start <= offset; i++) {
		if (c->lines.data[i].line == l.line)
			return true;
	}
	return false;
}

static void compare(struct totals *t, const struct code *c)
{
	struct linetable_index *x;
	struct py_location l, plain;
	int64_t step = c->size / CODE_UNIT / PLAIN_LOOKUPS + 1;
	size_t item = 0;

	if (linetable_index__new(t->kind, c->table.data, c->table.n, (int32_t)c->first_line, &x) <
	    0)
		broken("no index");
	if (c->has_columns && (int64_t)c->npositions * CODE_UNIT != c->size)
		broken("not as many positions as instructions");
	for (uint32_t offset = 0; offset < c->size; offset += CODE_UNIT, t->positions++) {
		int64_t line = NO_LINE;
		int err;

		while (item < c->lines.n && c->lines.data[item].end <= offset)
			item++;
		if (item < c->lines.n && c->lines.data[item].start <= offset)
			line = c->lines.data[item].line;
		t->no_line += line == NO_LINE;
		l = plain = (struct py_location){0};
		err = linetable_index__lookup(x, offset, &l);
		if (!same(c, offset, line, err, &l) || !nearest_agrees(x, c, offset, err, &l))
			show(t, c, offset, err, &l);
		if (offset / CODE_UNIT % step)
			continue;
		if (linetable__lookup(t->kind, c->table.data, c->table.n, (int32_t)c->first_line,
				      offset, &plain) != err ||
		    memcmp(&l, &plain, sizeof(l)))
			show(t, c, offset, err, &plain);
	}
	t->codes++;
	linetable_index__free(x);
}

int main(int argc, char **argv)
{
	struct totals t = {.kind = -1};
	struct code c = {0};
	int64_t files, codes;

	if (argc == 2)
		t.kind = linetable__kind_for((uint32_t)strtoul(argv[1], NULL, 16));
	if (t.kind < 0) {
		fprintf(stderr,
			"usage: dump_linetables.py | linetable_diff VERSION_HEX (3.6 - 3.15)\n");
		return 2;
	}
	while (read_sized('(') == 6) {
		read_bytes(&c.name);
		read_bytes(&c.table);
		c.first_line = read_int();
		c.size = read_int();
		read_lines(&c);
		read_positions(&c);
		compare(&t, &c);
	}
	files = read_int();
	codes = read_int();
	if (codes != t.codes || getc_unlocked(stdin) != EOF)
		broken("code objects are missing");
	printf("files %" PRId64 " code_objects %" PRId64 " positions %" PRId64 " no_line %" PRId64
	       " differences %" PRId64 "\n",
	       files, t.codes, t.positions, t.no_line, t.differences);
	free(c.name.data);
	free(c.table.data);
	free(c.lines.data);
	free(c.positions);
	return t.differences ? 1 : 0;
}
