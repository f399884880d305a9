// SPDX-License-Identifier: Apache-2.0
/*
 * The location table of 3.11 and later: entries of one byte with the top bit set (form and number
 * of code units) and operand bytes without it. Numbers are little-endian chunks of six bits, bit 6
 * saying that more follow; a signed one has its sign in bit 0.
 */
#include <errno.h>

#include "pyrt/linetable_cursor.h"

#define ENTRY_START 0x80
#define CODE_UNIT   2 /* bytes */
#define CHUNK_MORE  0x40
#define CHUNK_MASK  0x3f
#define CHUNK_BITS  6

/* _PyCodeLocationInfoKind (Include/cpython/code.h); 0 - 9 are short forms, 10 - 12 steps of 0 - 2
 * lines. */
enum form {
	FORM_ONE_LINE = 10,
	FORM_NO_COLUMNS = 13,
	FORM_LONG = 14,
	FORM_NONE = 15,
};

/* What is left of the table while one entry is read, and the running line. */
struct reader {
	const uint8_t *p, *end;
	int32_t line;
};

static inline bool read_byte(struct reader *in, uint32_t *out)
{
	if (in->p == in->end || *in->p & ENTRY_START)
		return false;
	*out = *in->p++;
	return true;
}

static inline bool read_varint(struct reader *in, uint32_t *out)
{
	uint64_t value = 0;
	uint32_t byte;
	unsigned int shift = 0;

	do {
		if (shift > 30 || !read_byte(in, &byte))
			return false;
		value |= (uint64_t)(byte & CHUNK_MASK) << shift;
		shift += CHUNK_BITS;
	} while (byte & CHUNK_MORE);
	*out = (uint32_t)value;
	return value <= UINT32_MAX;
}

static inline bool read_line_step(struct reader *in)
{
	uint32_t value;
	int32_t step;

	if (!read_varint(in, &value))
		return false;
	step = (int32_t)(value >> 1);
	in->line = linetable__add_line(in->line, value & 1 ? -step : step);
	return true;
}

/* Columns of the long form are stored plus one already, 0 being none. */
static inline bool read_column(struct reader *in, int32_t *out)
{
	uint32_t value;

	if (!read_varint(in, &value) || value > INT32_MAX)
		return false;
	*out = (int32_t)value;
	return true;
}

static inline bool read_long(struct reader *in, struct py_location *l)
{
	uint32_t lines;

	if (!read_line_step(in) || !read_varint(in, &lines))
		return false;
	l->line = in->line;
	l->end_line = linetable__add_line(in->line, (int32_t)lines);
	return read_column(in, &l->column) && read_column(in, &l->end_column);
}

static inline bool read_short(struct reader *in, unsigned int form, struct py_location *l)
{
	uint32_t byte;

	if (!read_byte(in, &byte))
		return false;
	l->line = l->end_line = in->line;
	l->column = (int32_t)(form * 8 + (byte >> 4)) + 1;
	l->end_column = l->column + (int32_t)(byte & 15);
	return true;
}

static inline bool read_one_line(struct reader *in, unsigned int form, struct py_location *l)
{
	uint32_t column, end;

	if (!read_byte(in, &column) || !read_byte(in, &end))
		return false;
	in->line = linetable__add_line(in->line, (int32_t)(form - FORM_ONE_LINE));
	l->line = l->end_line = in->line;
	l->column = (int32_t)column + 1;
	l->end_column = (int32_t)end + 1;
	return true;
}

static inline bool read_operands(struct reader *in, unsigned int form, struct py_location *l)
{
	if (form < FORM_ONE_LINE)
		return read_short(in, form, l);
	if (form < FORM_NO_COLUMNS)
		return read_one_line(in, form, l);
	if (form == FORM_LONG)
		return read_long(in, l);
	if (form == FORM_NO_COLUMNS && !read_line_step(in))
		return false;
	*l = (struct py_location){.line = in->line, .end_line = in->line};
	return true;
}

int linetable_location__next(struct linetable_cursor *c, struct linetable_range *r)
{
	struct reader in = {c->table + c->pos, c->table + c->n, c->line};
	unsigned int first, form;

	if (in.p == in.end)
		return 0;
	first = *in.p++;
	form = first >> 3 & 15;
	if (!(first & ENTRY_START) || !read_operands(&in, form, &r->location) ||
	    !linetable_cursor__cover(c, ((first & 7) + 1) * CODE_UNIT, r))
		return -EBADMSG;
	r->has_line = form != FORM_NONE && in.line >= 0;
	c->pos = (uint32_t)(in.p - c->table);
	c->line = in.line;
	return 1;
}
