// SPDX-License-Identifier: Apache-2.0
#include "collect/natives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"
#include "collect/spaces.h"
#include "store/rebuild.h"

/* The work of a tail-calling evaluator is in other functions: its own is short (some 50 KB in other builds). */
#define SHORT_EVALUATOR 4096

/* What stands behind a frame of the profile that has no name yet. */
struct place {
	uint32_t frame;
	struct binary *binary; /* NULL: unknown code */
	uint64_t addr;         /* link-time */
	bool exact;
};

struct natives {
	struct profile *profile;
	struct binaries *binaries;
	bool keep_evaluator;
	struct hmap by_place; /* hash of (binary, address, exact) -> index into places */
	struct hmap by_frame; /* frame -> index into places */
	struct vec(struct place) places;
	struct hmap kernel; /* address -> frame */
};

struct natives *natives__new(struct profile *p, struct binaries *binaries, bool keep_evaluator)
{
	struct natives *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->profile = p;
	n->binaries = binaries;
	n->keep_evaluator = keep_evaluator;
	return n;
}

void natives__free(struct natives *n)
{
	if (!n)
		return;
	hmap__free(&n->by_place);
	hmap__free(&n->by_frame);
	hmap__free(&n->kernel);
	vec__free(&n->places);
	free(n);
}

static int64_t add_named(struct profile *p, enum frame_kind kind, const char *name, const char *module)
{
	struct frame frame = {.kind = kind};
	int64_t id = profile__add_string(p, name, strlen(name)), module_id = 0;

	if (id >= 0 && module)
		module_id = profile__add_string(p, module, strlen(module));
	if (id < 0 || module_id < 0)
		return -ENOMEM;
	frame.name = (uint32_t)id;
	frame.module = (uint32_t)module_id;
	return profile__add_frame(p, &frame);
}

int64_t natives__frame(struct natives *n, struct space *space, uint64_t addr, bool exact)
{
	const struct code_map *map = space ? space__find(space, exact ? addr : addr - 1) : NULL;
	struct place place = {.exact = exact};
	struct frame frame = {.kind = FRAME_NATIVE};
	uint64_t key, *known;
	int64_t module;

	if (!map || !map->binary)
		return add_named(n->profile, FRAME_NATIVE, "[unknown]", map ? "[anonymous]" : NULL);
	place.binary = map->binary;
	place.addr = addr - map->bias;
	key = hash__combine((uint64_t)place.binary->id << 1 | exact, place.addr);
	known = hmap__get(&n->by_place, key);
	if (known)
		return n->places.data[*known].frame;
	/* until it has a name, the address itself tells it from others */
	module = profile__add_string(n->profile, place.binary->name, strlen(place.binary->name));
	if (module < 0)
		return module;
	frame.module = (uint32_t)module;
	frame.line = (uint32_t)place.addr;
	frame.end_line = (uint32_t)(place.addr >> 32);
	frame.column = exact;
	frame.end_column = place.binary->id + 1;
	module = profile__add_frame(n->profile, &frame);
	if (module < 0)
		return module;
	place.frame = (uint32_t)module;
	if (vec__push(&n->places, place) || hmap__put(&n->by_place, key, n->places.len - 1) ||
	    hmap__put(&n->by_frame, place.frame, n->places.len - 1))
		return -ENOMEM;
	return place.frame;
}

int64_t natives__kernel_frame(struct natives *n, uint64_t addr)
{
	uint64_t *known = hmap__get(&n->kernel, addr);
	char name[32];
	int64_t frame;

	if (known)
		return (int64_t)*known;
	snprintf(name, sizeof(name), "0x%llx", (unsigned long long)addr);
	frame = add_named(n->profile, FRAME_KERNEL, name, NULL);
	if (frame >= 0 && hmap__put(&n->kernel, addr, (uint64_t)frame))
		return -ENOMEM;
	return frame;
}

bool natives__keeps_evaluator(const struct natives *n)
{
	return n->keep_evaluator;
}

static bool inside(const struct binary_range *r, uint64_t addr)
{
	return addr >= r->start && addr < r->end;
}

bool natives__is_evaluator(const struct natives *n, struct space *space, uint64_t addr)
{
	const struct code_map *map = space ? space__find(space, addr - 1) : NULL;

	(void)n;
	if (!map || !map->binary)
		return false;
	addr -= map->bias + 1;
	return inside(&map->binary->evaluator, addr) || inside(&map->binary->evaluator_cold, addr);
}

bool natives__has_helpers(const struct natives *n, struct space *space, uint64_t addr, uint64_t inner)
{
	const struct code_map *map = space ? space__find(space, addr - 1) : NULL, *other;
	const struct binary *b = map ? map->binary : NULL;

	(void)n;
	if (!b || !b->evaluator.end || b->evaluator.end - b->evaluator.start >= SHORT_EVALUATOR)
		return false;
	other = space__find(space, inner - 1);
	return other && other->binary == b;
}

static int name_place(void *arg, const struct profile *from, struct profile *to, uint32_t id, struct frame_list *out)
{
	const struct natives *n = arg;
	uint64_t *known = hmap__get(&n->by_frame, id);
	char name[320];
	int64_t frame;

	if (!known) {
		frame = profile__add_frame(to, profile__frame(from, id));
	} else {
		const struct place *p = &n->places.data[*known];

		snprintf(name, sizeof(name), "%s+0x%llx", p->binary->name, (unsigned long long)p->addr);
		frame = add_named(to, FRAME_NATIVE, name, p->binary->name);
	}
	return frame < 0 ? (int)frame : vec__push(out, (uint32_t)frame);
}

int natives__name(struct natives *n, struct profile **p)
{
	struct profile *named;
	int err = profile__rebuild(*p, name_place, n, &named);

	if (err)
		return err;
	profile__free(*p);
	*p = named;
	return 0;
}
