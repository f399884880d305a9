// SPDX-License-Identifier: Apache-2.0
#include "symbolize/codes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"
#include "pyrt/linetable.h"

/* CPython Include/cpython/code.h, 3.12+: set on the trampolines that call __init__ and the like, never on user code. */
#define CO_NO_MONITORING_EVENTS 0x2000000
#define VERSION_3_12            0x030c0000

struct code {
	uint32_t name, file, short_file;
	int32_t first_line;
	bool hidden;
	struct linetable_index *lines; /* NULL: no table, or one of no known kind */
};

struct codes {
	struct profile *profile;
	struct vec(struct code) list;
	struct hmap by_content; /* hash of all facts -> id */
	struct hmap frames;     /* hash of (code, offset) -> frame id */
};

struct codes *codes__new(struct profile *p)
{
	struct codes *c = calloc(1, sizeof(*c));

	if (c)
		c->profile = p;
	return c;
}

void codes__free(struct codes *c)
{
	if (!c)
		return;
	vec__foreach(&c->list, code)
		linetable_index__free(code->lines);
	vec__free(&c->list);
	hmap__free(&c->by_content);
	hmap__free(&c->frames);
	free(c);
}

static uint64_t content_hash(const struct code_facts *f)
{
	uint64_t h = hash__bytes(f->linetable, f->linetable_bytes);

	h = hash__combine(h, (uint64_t)f->name << 32 | f->file);
	h = hash__combine(h, (uint64_t)f->short_file << 32 | (uint32_t)f->first_line);
	return hash__combine(h, (uint64_t)f->flags << 32 | f->version_hex >> 16);
}

int64_t codes__find(const struct codes *c, const struct code_facts *f)
{
	uint64_t *known = hmap__get(&c->by_content, content_hash(f));

	return known ? (int64_t)*known : -ENOENT;
}

int64_t codes__intern(struct codes *c, const struct code_facts *f)
{
	uint64_t key = content_hash(f), *known = hmap__get(&c->by_content, key);
	struct code code = {.name = f->name, .file = f->file, .short_file = f->short_file, .first_line = f->first_line};
	int kind = linetable__kind_for(f->version_hex);
	uint32_t id = (uint32_t)c->list.len;

	if (known)
		return (int64_t)*known;
	code.hidden = f->version_hex >= VERSION_3_12 && (f->flags & CO_NO_MONITORING_EVENTS);
	if (kind >= 0 && f->linetable_bytes &&
	    linetable_index__new((enum linetable_kind)kind, f->linetable, f->linetable_bytes, f->first_line,
				 &code.lines) == -ENOMEM)
		return -ENOMEM;
	if (vec__push(&c->list, code))
		goto no_memory;
	if (hmap__put(&c->by_content, key, id)) {
		c->list.len--;
		goto no_memory;
	}
	return id;
no_memory:
	linetable_index__free(code.lines);
	return -ENOMEM;
}

static uint32_t positive(int32_t n)
{
	return n > 0 ? (uint32_t)n : 0;
}

/* A module begins with its file; until 3.9 its code object names the line of its first statement. */
static uint32_t first_line(const struct codes *c, const struct code *code)
{
	static const char module[] = "<module>";
	size_t n;
	const char *name = profile__string(c->profile, code->name, &n);

	return n == sizeof(module) - 1 && !memcmp(name, module, n) ? 1 : positive(code->first_line);
}

int64_t codes__frame(struct codes *c, uint32_t id, int64_t offset)
{
	uint64_t key = hash__combine(id, (uint64_t)offset), *known = hmap__get(&c->frames, key);
	const struct code *code = &c->list.data[id];
	struct py_location at = {.line = code->first_line};
	struct frame frame = {.kind = FRAME_PYTHON};
	int64_t added;

	if (known)
		return (int64_t)*known;
	if (code->lines)
		linetable_index__nearest(code->lines, offset, &at);
	frame.name = code->name;
	frame.file = code->file;
	frame.short_file = code->short_file;
	frame.first_line = first_line(c, code);
	frame.line = positive(at.line);
	frame.end_line = positive(at.end_line);
	frame.column = positive(at.column);
	frame.end_column = positive(at.end_column);
	added = profile__add_frame(c->profile, &frame);
	if (added >= 0 && hmap__put(&c->frames, key, (uint64_t)added))
		return -ENOMEM;
	return added;
}

bool codes__hidden(const struct codes *c, uint32_t code)
{
	return c->list.data[code].hidden;
}

uint32_t codes__count(const struct codes *c)
{
	return (uint32_t)c->list.len;
}
