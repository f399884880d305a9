// SPDX-License-Identifier: Apache-2.0
#include "collect/stacks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "collect/merge.h"

/* A stack as the kernel told it. */
struct told_stack {
	uint32_t parent; /* stack of the profile up to the first part that a sample tells */
	uint32_t parts;  /* those from there on, outermost first: in `parts` from this index on */
	uint32_t count;
	uint32_t epoch; /* in which it was told last */
	uint16_t outcome;
	bool python; /* it has frames of Python's */
};

#define FEW_TOLD 64 /* not worth to look through */

struct stacks {
	struct merge_process of;
	struct hmap names;       /* the kernel's name -> index into told */
	struct hmap places;      /* hash of (the kernel's name, innermost instruction and address) -> stack of the profile */
	struct vec(struct told_stack) told;
	part_list parts;
	uint32_t epoch; /* of the kernel: how many have begun */
};

struct stacks *stacks__new(const struct stacks_context *context, const struct hmap *by_address)
{
	struct stacks *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->of.context = context;
	s->of.by_address = by_address;
	return s;
}

static void free_told(struct stacks *s)
{
	hmap__free(&s->names);
	hmap__free(&s->places);
	vec__free(&s->told);
	vec__free(&s->parts);
}

void stacks__free(struct stacks *s)
{
	if (!s)
		return;
	free_told(s);
	free(s);
}

void stacks__set_process(struct stacks *s, const struct py_layout *layout, struct space *space)
{
	s->of.layout = *layout;
	s->of.space = space;
}

int64_t stacks__marker(struct profile *p, enum pybpf_outcome outcome)
{
	static const char *const plain[PYBPF_OUTCOME_COUNT] = {
		[PYBPF_NO_PYTHON] = "[no Python frame]",
		[PYBPF_EXITING] = "[exiting]",
	};
	struct frame frame = {.kind = FRAME_MARKER};
	char text[64];
	int64_t name;

	if (plain[outcome])
		snprintf(text, sizeof(text), "%s", plain[outcome]);
	else
		snprintf(text, sizeof(text), "[truncated: %s]", outcome__name(outcome));
	name = profile__add_string(p, text, strlen(text));
	if (name < 0)
		return name;
	frame.name = (uint32_t)name;
	return profile__add_frame(p, &frame);
}

/* Pushes the parts that no sample tells; the others are kept with the stack. */
static int keep(struct stacks *s, const struct rec_stack *r, const part_list *parts, uint16_t outcome)
{
	struct told_stack told = {.parts = (uint32_t)s->parts.len, .epoch = s->epoch, .outcome = outcome, .python = r->nframes};
	uint64_t *known;
	int64_t stack = 0;
	size_t i = parts->len;

	for (; i && parts->data[i - 1].kind == PART_FRAME; i--) {
		stack = profile__add_stack(s->of.context->profile, (uint32_t)stack, parts->data[i - 1].id);
		if (stack < 0)
			return (int)stack;
	}
	told.parent = (uint32_t)stack;
	told.count = (uint32_t)i;
	known = hmap__get(&s->names, r->stack);
	if (known) {
		/* Told again: another epoch, or what could not be had has come. Samples from now on mean this one. */
		struct told_stack *before = &s->told.data[*known];
		bool same = before->parent == told.parent && before->count == told.count;

		for (size_t k = 0; same && k < i; k++)
			same = !memcmp(&s->parts.data[before->parts + k], &parts->data[i - 1 - k], sizeof(struct part));
		before->outcome = told.outcome;
		before->epoch = told.epoch;
		if (same)
			return 0;
		hmap__free(&s->places);
	}
	while (i) {
		if (vec__push(&s->parts, parts->data[--i]))
			return -ENOMEM;
	}
	if (known) {
		s->told.data[*known] = told;
		return 0;
	}
	if (vec__push(&s->told, told))
		return -ENOMEM;
	return hmap__put(&s->names, r->stack, s->told.len - 1);
}

void stacks__resolve(const struct stacks *s, const struct rec_stack *r, uint32_t *ids)
{
	const struct raw_frame *python = (const struct raw_frame *)(r + 1);

	for (uint32_t i = 0; i < r->nframes; i++)
		ids[i] = merge__code_at(&s->of, python[i].code);
}

int stacks__tell(struct stacks *s, const struct rec_stack *r, size_t size, const uint32_t *ids)
{
	uint16_t outcome = PYBPF_OK;
	part_list parts = {0};
	int err = merge__parts(&s->of, r, size, ids, &parts, &outcome);

	if (!err)
		err = keep(s, r, &parts, outcome);
	vec__free(&parts);
	if (err && err != -EBADMSG)
		hmap__del(&s->names, r->stack); /* what it was before is not true any more */
	return err;
}

bool stacks__knows(const struct stacks *s, uint64_t name)
{
	return hmap__get(&s->names, name);
}

bool stacks__has_python(const struct stacks *s, uint64_t name)
{
	const uint64_t *index = hmap__get(&s->names, name);

	return !index || s->told.data[*index].python;
}

static bool is_current(const struct stacks *s, const struct told_stack *told)
{
	return told->epoch + 1 >= s->epoch;
}

/* A copy with what is current. 0 or -ENOMEM, with half a copy. */
static int copy_current(const struct stacks *s, struct stacks *to)
{
	uint64_t name, *at;
	size_t pos = 0;

	while (hmap__next(&s->names, &pos, &name, &at)) {
		const struct told_stack *old = &s->told.data[*at];
		struct told_stack told = *old;

		if (!is_current(s, old))
			continue;
		told.parts = (uint32_t)to->parts.len;
		for (uint32_t i = 0; i < told.count; i++) {
			if (vec__push(&to->parts, s->parts.data[old->parts + i]))
				return -ENOMEM;
		}
		if (vec__push(&to->told, told) || hmap__put(&to->names, name, to->told.len - 1))
			return -ENOMEM;
	}
	return 0;
}

void stacks__next_epoch(struct stacks *s)
{
	struct stacks kept = *s;
	size_t current = 0;

	s->epoch++;
	hmap__free(&s->places); /* another file may be mapped at an address by now */
	vec__foreach(&s->told, told)
		current += is_current(s, told);
	if (s->told.len < FEW_TOLD || current > s->told.len / 2)
		return;
	memset(&kept.names, 0, sizeof(kept.names));
	memset(&kept.places, 0, sizeof(kept.places));
	memset(&kept.told, 0, sizeof(kept.told));
	memset(&kept.parts, 0, sizeof(kept.parts));
	kept.epoch = s->epoch;
	if (copy_current(s, &kept)) { /* then all of it stays */
		free_told(&kept);
		return;
	}
	free_told(s);
	*s = kept;
}

/* The frame that a sample makes of a part; -ENOENT: none, it is scaffolding of the interpreter. */
static int64_t told_frame(struct stacks *s, const struct part *part, const struct rec_sample *sample)
{
	const struct stacks_context *c = s->of.context;

	switch (part->kind) {
	case PART_PYTHON:
		if (part->id == STACKS_NO_CODE)
			return stacks__marker(c->profile, PYBPF_CODE_FAULT);
		if (codes__hidden(c->codes, part->id))
			return -ENOENT;
		return codes__frame(c->codes, part->id, merge__instr_offset(&s->of.layout, part->base, sample->leaf));
	case PART_NATIVE:
		return natives__frame(c->natives, s->of.space, sample->pc, true);
	case PART_KERNEL:
		return natives__kernel_frame(c->natives, sample->pc, true);
	default:
		return part->id;
	}
}

/* Whether what stands at the innermost address now will be what stands there for a while: not so where it is made at run time. */
static bool lasts(const struct stacks *s, const struct told_stack *told, const struct rec_sample *sample)
{
	for (uint32_t i = 0; i < told->count; i++) {
		if (s->parts.data[told->parts + i].kind == PART_NATIVE)
			return natives__is_of_file(s->of.space, sample->pc);
	}
	return true;
}

int64_t stacks__find(struct stacks *s, const struct rec_sample *sample, uint16_t *outcome)
{
	uint64_t key = hash__combine(hash__combine(sample->stack, sample->leaf), sample->pc), *known;
	uint64_t *index = hmap__get(&s->names, sample->stack);
	const struct told_stack *told;
	int64_t stack;

	if (!index)
		return -ENOENT;
	told = &s->told.data[*index];
	*outcome = told->outcome;
	known = hmap__get(&s->places, key);
	if (known)
		return (int64_t)*known;
	stack = told->parent;
	for (uint32_t i = 0; i < told->count && stack >= 0; i++) {
		int64_t frame = told_frame(s, &s->parts.data[told->parts + i], sample);

		if (frame == -ENOENT)
			continue;
		stack = frame < 0 ? frame
				  : profile__add_stack(s->of.context->profile, (uint32_t)stack, (uint32_t)frame);
	}
	if (stack >= 0 && lasts(s, told, sample) && hmap__put(&s->places, key, (uint64_t)stack))
		return -ENOMEM;
	return stack;
}

void stacks__each_id(struct stacks *s, profile_id_fn fn, void *arg)
{
	hmap__free(&s->places); /* found anew by the next sample */
	vec__foreach(&s->told, told) {
		fn(arg, PROFILE_STACKS, &told->parent);
		for (uint32_t i = 0; i < told->count; i++) {
			if (s->parts.data[told->parts + i].kind == PART_FRAME)
				fn(arg, PROFILE_FRAMES, &s->parts.data[told->parts + i].id);
		}
	}
}

void stacks__mark_codes(const struct stacks *s, bool *used)
{
	for (size_t t = 0; t < s->told.len; t++) {
		const struct told_stack *told = &s->told.data[t];

		for (uint32_t i = 0; i < told->count; i++) {
			const struct part *part = &s->parts.data[told->parts + i];

			if (part->kind == PART_PYTHON && part->id != STACKS_NO_CODE)
				used[part->id] = true;
		}
	}
}
