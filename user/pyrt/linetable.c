// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pyrt/linetable.h"
#include "pyrt/linetable_cursor.h"

#define WAYPOINT_ENTRIES 32

/* A cursor's state at some entry. */
struct waypoint {
	uint32_t pos;
	uint32_t offset;
	int32_t line;
};

struct linetable_index {
	enum linetable_kind kind;
	int32_t first_line;
	uint32_t n;
	uint32_t nwaypoints; /* the first is the table's start */
	struct waypoint waypoints[];
	/* n bytes of the table follow */
};

typedef int (*next_fn)(struct linetable_cursor *c, struct linetable_range *r);

static const next_fn next_of[] = {
	[LINETABLE_LNOTAB] = linetable_lnotab__next,
	[LINETABLE_310] = linetable_310__next,
	[LINETABLE_LOCATION] = linetable_location__next,
};

int linetable__kind_for(uint32_t version_hex)
{
	uint32_t minor = version_hex >> 16 & 0xff;

	if (version_hex >> 24 != 3 || minor < 6)
		return -ENOTSUP;
	if (minor <= 9)
		return LINETABLE_LNOTAB;
	return minor == 10 ? LINETABLE_310 : LINETABLE_LOCATION;
}

/* An empty table may be NULL, which no pointer may be made from. */
static struct linetable_cursor cursor_new(const uint8_t *table, size_t n, int32_t first_line)
{
	static const uint8_t empty[1];

	return (struct linetable_cursor){
		.table = n ? table : empty,
		.n = (uint32_t)n,
		.line = first_line,
	};
}

/* 0 and the range that holds `offset`; -ENODATA behind the end; -EBADMSG. */
static int seek(enum linetable_kind kind, struct linetable_cursor *c, uint32_t offset,
		struct linetable_range *r)
{
	next_fn next = next_of[kind];
	int err;

	while ((err = next(c, r)) > 0) {
		/* The last line of an lnotab has no end. */
		if (offset < r->end || r->end == UINT32_MAX)
			return 0;
	}
	return err ? err : -ENODATA;
}

static int answer(const struct linetable_range *r, struct py_location *out)
{
	if (!r->has_line)
		return -ENODATA;
	*out = r->location;
	return 0;
}

int linetable__lookup(enum linetable_kind kind, const uint8_t *table, size_t n, int32_t first_line,
		      uint32_t offset, struct py_location *out)
{
	struct linetable_cursor c = cursor_new(table, n, first_line);
	struct linetable_range r;
	int err;

	if (n > INT32_MAX)
		return -EBADMSG;
	err = seek(kind, &c, offset, &r);
	return err ? err : answer(&r, out);
}

static uint8_t *index_table(const struct linetable_index *x)
{
	return (uint8_t *)(x->waypoints + x->nwaypoints);
}

/* Walks the whole table and notes each 32nd entry in `out`, unless NULL; how many these are, at
 * least one. */
static uint32_t place_waypoints(enum linetable_kind kind, struct linetable_cursor c,
				struct waypoint *out)
{
	struct linetable_range r;
	uint32_t entries = 0, count = 0;
	bool more;

	do {
		struct waypoint here = {c.pos, c.offset, c.line};

		more = next_of[kind](&c, &r) > 0;
		/* The end is no entry: a search from there would find nothing. */
		if (entries++ % WAYPOINT_ENTRIES || (!more && count))
			continue;
		if (out)
			out[count] = here;
		count++;
	} while (more);
	return count;
}

int linetable_index__new(enum linetable_kind kind, const uint8_t *table, size_t n,
			 int32_t first_line, struct linetable_index **out)
{
	struct linetable_cursor c = cursor_new(table, n, first_line);
	struct linetable_index *x;
	uint32_t count;

	if (n > INT32_MAX)
		return -E2BIG;
	count = place_waypoints(kind, c, NULL);
	x = malloc(sizeof(*x) + count * sizeof(*x->waypoints) + n);
	if (!x)
		return -ENOMEM;
	*x = (struct linetable_index){
		.kind = kind, .first_line = first_line, .n = (uint32_t)n, .nwaypoints = count};
	place_waypoints(kind, c, x->waypoints);
	if (n)
		memcpy(index_table(x), table, n);
	*out = x;
	return 0;
}

void linetable_index__free(struct linetable_index *x)
{
	free(x);
}

size_t linetable_index__memory(const struct linetable_index *x)
{
	return sizeof(*x) + x->nwaypoints * sizeof(*x->waypoints) + x->n;
}

/* The last waypoint that is not behind `offset`. The first one is at 0, so there is one. */
static uint32_t find_waypoint(const struct linetable_index *x, uint32_t offset)
{
	uint32_t low = 0, high = x->nwaypoints;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (x->waypoints[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static struct linetable_cursor cursor_at(const struct linetable_index *x, uint32_t waypoint)
{
	const struct waypoint *w = &x->waypoints[waypoint];

	return (struct linetable_cursor){
		.table = index_table(x),
		.n = x->n,
		.pos = w->pos,
		.offset = w->offset,
		.line = w->line,
	};
}

int linetable_index__lookup(const struct linetable_index *x, uint32_t offset,
			    struct py_location *out)
{
	struct linetable_cursor c = cursor_at(x, find_waypoint(x, offset));
	struct linetable_range r;
	int err = seek(x->kind, &c, offset, &r);

	return err ? err : answer(&r, out);
}

/* The last line above 0 that starts at or before `offset` and behind that waypoint; 0: none. */
static int32_t last_line(const struct linetable_index *x, uint32_t waypoint, uint32_t offset)
{
	struct linetable_cursor c = cursor_at(x, waypoint);
	struct linetable_range r;
	int32_t line = 0;
	int i;

	for (i = 0; i < WAYPOINT_ENTRIES; i++) {
		if (next_of[x->kind](&c, &r) <= 0 || r.start > offset)
			break;
		if (r.start < r.end && r.has_line && r.location.line > 0)
			line = r.location.line;
	}
	return line;
}

int linetable_index__nearest(const struct linetable_index *x, int64_t offset,
			     struct py_location *out)
{
	struct py_location l;
	uint32_t where, waypoint;
	int32_t line = 0;

	if (offset >= 0) {
		where = offset < UINT32_MAX ? (uint32_t)offset : UINT32_MAX;
		if (!linetable_index__lookup(x, where, &l) && l.line > 0) {
			*out = l;
			return 0;
		}
		waypoint = find_waypoint(x, where);
		do
			line = last_line(x, waypoint, where);
		while (!line && waypoint-- > 0);
	}
	if (!line)
		line = x->first_line > 0 ? x->first_line : 0;
	*out = (struct py_location){.line = line};
	return 1;
}
