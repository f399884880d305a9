// SPDX-License-Identifier: Apache-2.0
/*
 * co_linetable of 3.10: pairs (bytes of instructions, signed step of the line). Here the step comes
 * first, and -128 says that these instructions have no line and that the running line stays as it
 * was.
 */
#include <errno.h>

#include "pyrt/linetable_cursor.h"

#define STEP_NO_LINE (-128)

int linetable_310__next(struct linetable_cursor *c, struct linetable_range *r)
{
	uint8_t bytes;
	int8_t step;

	/* An odd byte at the end belongs to no pair. */
	if (c->n - c->pos < 2)
		return 0;
	bytes = c->table[c->pos];
	step = (int8_t)c->table[c->pos + 1];
	c->pos += 2;
	if (!linetable_cursor__cover(c, bytes, r))
		return -EBADMSG;
	if (step != STEP_NO_LINE)
		c->line = linetable__add_line(c->line, step);
	r->has_line = step != STEP_NO_LINE && c->line >= 0;
	r->location = (struct py_location){.line = c->line};
	return 1;
}
