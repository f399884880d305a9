/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an instruction to its place in the source, by the tables that CPython's compiler leaves in a
 * code object: three families of formats behind one interface.
 *
 * Formats, with the places they are written down: lnotab of 3.6 - 3.9 (Objects/lnotab_notes.txt
 * there), the line table of 3.10 (Objects/lnotab_notes.txt of 3.10), the location table of 3.11
 * - 3.15 (Objects/locations.md, later InternalDocs/code_objects.md). tests/differential compares
 * every answer over whole standard libraries.
 *
 * Everywhere: offsets of instructions are bytes from the first instruction of the code object.
 * f_lasti counts code units of two bytes in 3.10, bytes before it; pointers of 3.11+ minus
 * co_code_adaptive are bytes. Tables may be any bytes at all: nothing is read past their length.
 */
#ifndef PYBPF_LINETABLE_H
#define PYBPF_LINETABLE_H

#include <stddef.h>
#include <stdint.h>

enum linetable_kind {
	LINETABLE_LNOTAB,   /* co_lnotab, 3.6 - 3.9 */
	LINETABLE_310,      /* co_linetable, 3.10 */
	LINETABLE_LOCATION, /* co_linetable, 3.11 - 3.15 */
};

/*
 * A range of source. Lines are what CPython gives, so that 0 is a line (3.11+ give it to the first
 * instruction of a module). From 3.10 on a negative line counts as none; a broken lnotab may still
 * give one. Columns count UTF-8 bytes from 1 (CPython: from 0), end_column is the first column
 * behind the range. 0 in end_line and the columns: not known; tables before 3.11 know none of them.
 */
struct py_location {
	int32_t line;
	int32_t end_line;
	int32_t column;
	int32_t end_column;
};

/* The kind of table of a version (PY_VERSION_HEX): for one that is newer than this program the newest. -ENOTSUP when it
 * is older than 3.6. */
int linetable__kind_for(uint32_t version_hex);

/*
 * The location of the instruction at `offset`, exactly as co_positions() (3.11+), co_lines() (3.10)
 * or dis.findlinestarts() (<= 3.9) of that version give it. Walks the table from its start: for one
 * question. 0, -ENODATA when the instruction has no line or is behind the table's end, -EBADMSG
 * when the table is broken before it gets there.
 */
int linetable__lookup(enum linetable_kind kind, const uint8_t *table, size_t n, int32_t first_line,
		      uint32_t offset, struct py_location *out);

/*
 * For many questions about one code object. Holds a copy of the table and a waypoint for each 32 of
 * its entries, so that an answer costs one binary search and at most 32 steps.
 */
struct linetable_index;

/* 0 and *out, -ENOMEM, or -E2BIG for a table of 2 GiB or more. A broken table is no error yet. */
int linetable_index__new(enum linetable_kind kind, const uint8_t *table, size_t n,
			 int32_t first_line, struct linetable_index **out);
void linetable_index__free(struct linetable_index *x);           /* NULL is fine */
size_t linetable_index__memory(const struct linetable_index *x); /* bytes held */

/* As linetable__lookup. */
int linetable_index__lookup(const struct linetable_index *x, uint32_t offset,
			    struct py_location *out);

/*
 * The location to show to a human, who always expects a line. Instructions that the compiler made
 * up (the clean-up behind an `except ... as`, the prologue of closures and generators, a module's
 * first instruction) have none, or 0: for these it is the line of the nearest instruction before it
 * that has one, or else first_line; end_line and columns are 0 then. The same for a broken table,
 * and for offsets that are negative (the frame has not begun) or behind the end. 0: exact. 1:
 * substituted; the line is 0 where first_line is not above 0 either. Nothing else.
 */
int linetable_index__nearest(const struct linetable_index *x, int64_t offset,
			     struct py_location *out);

#endif
