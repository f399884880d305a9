// SPDX-License-Identifier: Apache-2.0
/*
 * co_lnotab of 3.6 - 3.9: pairs (bytes of instructions, signed step of the line). A pair tells how
 * far the line so far reaches, and only then what to add to it, so that the last line has no end.
 */
#include <errno.h>

#include "pyrt/linetable_cursor.h"

/* The last range has been given: no pair can make pos odd. */
#define LNOTAB_DONE(c) ((c)->offset == UINT32_MAX)

int linetable_lnotab__next(struct linetable_cursor *c, struct linetable_range *r)
{
	if (LNOTAB_DONE(c))
		return 0;
	r->has_line = true;
	/* An odd byte at the end belongs to no pair: CPython leaves it unread, too. */
	while (c->n - c->pos >= 2) {
		uint8_t bytes = c->table[c->pos];
		int8_t step = (int8_t)c->table[c->pos + 1];

		r->location = (struct py_location){.line = c->line};
		c->pos += 2;
		c->line = linetable__add_line(c->line, step);
		if (bytes)
			return linetable_cursor__cover(c, bytes, r) ? 1 : -EBADMSG;
	}
	r->location = (struct py_location){.line = c->line};
	r->start = c->offset;
	r->end = c->offset = UINT32_MAX;
	return 1;
}
