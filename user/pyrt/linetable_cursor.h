/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of linetable: a walk along a table, one range of instructions at a time. One file per
 * family. */
#ifndef PYBPF_LINETABLE_CURSOR_H
#define PYBPF_LINETABLE_CURSOR_H

#include <stdbool.h>

#include "pyrt/linetable.h"

/* pos, offset and line are the whole state between two steps; pos <= n always. */
struct linetable_cursor {
	const uint8_t *table;
	uint32_t n;
	uint32_t pos;    /* of the next entry */
	uint32_t offset; /* of the first instruction that it covers */
	int32_t line;    /* running line */
};

/* Instructions [start, end) and their location; ranges follow each other without a gap, some are
 * empty. */
struct linetable_range {
	uint32_t start;
	uint32_t end;
	bool has_line; /* location is meaningless without */
	struct py_location location;
};

/* Steps: 1 and *r, 0 at the end, -EBADMSG at a broken entry (*r is anything then). */
int linetable_lnotab__next(struct linetable_cursor *c, struct linetable_range *r);
int linetable_310__next(struct linetable_cursor *c, struct linetable_range *r);
int linetable_location__next(struct linetable_cursor *c, struct linetable_range *r);

/* CPython adds in int; a broken table wraps around instead of being undefined. */
static inline int32_t linetable__add_line(int32_t line, int32_t delta)
{
	return (int32_t)((uint32_t)line + (uint32_t)delta);
}

/* The instructions that an entry covers: the `bytes` next ones. False when offsets would overflow.
 */
static inline bool linetable_cursor__cover(struct linetable_cursor *c, uint32_t bytes,
					   struct linetable_range *r)
{
	r->start = c->offset;
	if (__builtin_add_overflow(c->offset, bytes, &r->end))
		return false;
	c->offset = r->end;
	return true;
}

#endif
