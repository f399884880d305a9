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
	bool hidden, asked_for;
	bool free;    /* no code has this id */
	uint64_t rest; /* hash of all facts but the strings' ids */
	struct linetable_index *lines; /* NULL: no table, or one of no known kind */
};

struct codes {
	struct profile *profile;
	struct vec(struct code) list;
	struct hmap by_content; /* hash of all facts -> id */
	struct hmap frames;     /* hash of (code, offset) -> frame id */
	struct vec(uint32_t) spare; /* free ids */
	uint64_t ever;
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
	vec__free(&c->spare);
	free(c);
}

static uint64_t rest_hash(const struct code_facts *f)
{
	uint64_t h = hash__combine(hash__bytes(f->linetable, f->linetable_bytes), (uint32_t)f->first_line);

	return hash__combine(h, (uint64_t)f->flags << 32 | f->version_hex >> 16);
}

static uint64_t content_hash(uint64_t rest, uint32_t name, uint32_t file, uint32_t short_file)
{
	return hash__combine(hash__combine(rest, (uint64_t)name << 32 | file), short_file);
}

/* The code of that content, or -ENOENT. */
static int64_t find(const struct codes *c, uint64_t key)
{
	uint64_t *known = hmap__get(&c->by_content, key);

	if (!known)
		return -ENOENT;
	c->list.data[*known].asked_for = true;
	return (int64_t)*known;
}

int64_t codes__find(const struct codes *c, const struct code_facts *f)
{
	return find(c, content_hash(rest_hash(f), f->name, f->file, f->short_file));
}

/* Puts it in under `key`: its id, or -ENOMEM. */
static int64_t add(struct codes *c, uint64_t key, const struct code *code)
{
	uint32_t id = c->spare.len ? c->spare.data[c->spare.len - 1] : (uint32_t)c->list.len;

	/* room for codes__drop to name them all */
	if (vec__reserve(&c->spare, c->list.len + 1) || vec__reserve(&c->list, (size_t)id + 1) ||
	    hmap__put(&c->by_content, key, id))
		return -ENOMEM;
	if (c->spare.len)
		c->spare.len--;
	else
		c->list.len++;
	c->list.data[id] = *code;
	c->ever++;
	return id;
}

int64_t codes__intern(struct codes *c, const struct code_facts *f)
{
	struct code code = {
		.name = f->name,
		.file = f->file,
		.short_file = f->short_file,
		.first_line = f->first_line,
		.hidden = f->version_hex >= VERSION_3_12 && (f->flags & CO_NO_MONITORING_EVENTS),
		.asked_for = true,
		.rest = rest_hash(f),
	};
	uint64_t key = content_hash(code.rest, f->name, f->file, f->short_file);
	int kind = linetable__kind_for(f->version_hex);
	int64_t id = find(c, key);

	if (id >= 0)
		return id;
	if (kind >= 0 && f->linetable_bytes &&
	    linetable_index__new((enum linetable_kind)kind, f->linetable, f->linetable_bytes, f->first_line,
				 &code.lines) == -ENOMEM)
		return -ENOMEM;
	id = add(c, key, &code);
	if (id < 0)
		linetable_index__free(code.lines);
	return id;
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

uint64_t codes__ever(const struct codes *c)
{
	return c->ever;
}

uint32_t codes__count(const struct codes *c)
{
	return (uint32_t)c->list.len;
}

/* Where codes are found by what they are made of: after ids have changed, or some of them have gone. */
static void index_anew(struct codes *c)
{
	hmap__clear(&c->by_content, c->list.len - c->spare.len);
	for (size_t id = 0; id < c->list.len; id++) {
		const struct code *code = &c->list.data[id];

		if (!code->free)
			hmap__put(&c->by_content, content_hash(code->rest, code->name, code->file, code->short_file), id);
	}
	hmap__free(&c->frames);
}

void codes__drop(struct codes *c, const bool *used)
{
	for (uint32_t id = 0; id < c->list.len; id++) {
		struct code *code = &c->list.data[id];

		if (!code->free && !used[id] && !code->asked_for) {
			linetable_index__free(code->lines);
			*code = (struct code){.free = true};
			c->spare.data[c->spare.len++] = id;
		}
		code->asked_for = false;
	}
	index_anew(c);
}

void codes__each_id(struct codes *c, profile_id_fn fn, void *arg)
{
	vec__foreach(&c->list, code) {
		if (code->free)
			continue;
		fn(arg, PROFILE_STRINGS, &code->name);
		fn(arg, PROFILE_STRINGS, &code->file);
		fn(arg, PROFILE_STRINGS, &code->short_file);
	}
	index_anew(c);
}
