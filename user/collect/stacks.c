// SPDX-License-Identifier: Apache-2.0
#include "collect/stacks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

/* What stands at one place of a stack. */
struct part {
	enum part_kind {
		PART_FRAME,  /* `id` is a frame of the profile */
		PART_PYTHON, /* the innermost Python frame: the sample tells its instruction. `id` is its code, or STACKS_NO_CODE */
		PART_NATIVE, /* the innermost native frame: the sample tells its address */
		PART_KERNEL, /* the kernel's innermost frame, likewise */
	} kind;
	uint32_t id;
	uint64_t base; /* PART_PYTHON: address that its instructions count from */
};

/* A stack as the kernel told it. */
struct told_stack {
	uint32_t parent; /* stack of the profile up to the first part that a sample tells */
	uint32_t parts;  /* those from there on, outermost first: in `parts` from this index on */
	uint32_t count;
	uint32_t epoch; /* in which it was told last */
	uint16_t outcome;
};

#define FEW_TOLD 64 /* not worth to look through */

struct stacks {
	const struct stacks_context *context;
	const struct hmap *by_address;
	struct space *space;
	struct py_layout layout; /* of the interpreter */
	struct hmap names;       /* the kernel's name -> index into told */
	struct hmap places;      /* hash of (the kernel's name, innermost instruction and address) -> stack of the profile */
	struct vec(struct told_stack) told;
	struct vec(struct part) parts;
	uint32_t epoch; /* of the kernel: how many have begun */
};

struct stacks *stacks__new(const struct stacks_context *context, const struct hmap *by_address)
{
	struct stacks *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->context = context;
	s->by_address = by_address;
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
	s->layout = *layout;
	s->space = space;
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

/* Bytes from a code object's first instruction to `instr`, as the frame holds it. */
static int64_t instr_offset(const struct py_layout *l, uint64_t base, uint64_t instr)
{
	if (l->flags & PY_LAYOUT_INSTR_INDEX)
		/* CPython 3.10 counts f_lasti in code units (Objects/codeobject.c, PyCode_Addr2Line) */
		return (int64_t)(int32_t)instr * (l->version_hex >= 0x030a0000 ? 2 : 1);
	return (int64_t)(instr - base);
}

static uint64_t instr_base(const struct py_layout *l, uint64_t code)
{
	return l->code_bytecode == PYBPF_NO_OFFSET ? code : code + l->code_bytecode;
}

/* One stack while it is put together, innermost part first. */
struct assembly {
	struct stacks *stacks;
	const struct rec_stack *r;
	const struct raw_frame *python, *native, *kernel;
	const uint32_t *ids; /* of the Python frames' codes; NULL: to be looked up */
	struct vec(struct part) parts;
	uint32_t nnative;
	uint32_t next; /* Python frame that has not been placed yet */
	bool cut;      /* outer Python frames are missing, and that has not been said yet */
	uint16_t outcome, native_outcome;
	int err;
};

static void add(struct assembly *a, enum part_kind kind, int64_t id, uint64_t base)
{
	if (id == -ENOENT)
		return;
	if (id < 0)
		a->err = (int)id;
	else if (vec__push(&a->parts, (struct part){.kind = kind, .id = (uint32_t)id, .base = base}))
		a->err = -ENOMEM;
}

static void add_marker(struct assembly *a, uint16_t outcome)
{
	add(a, PART_FRAME, stacks__marker(a->stacks->context->profile, outcome), 0);
}

static uint32_t code_at(const struct stacks *s, uint64_t addr)
{
	const uint64_t *known = hmap__get(s->by_address, addr);

	return known ? (uint32_t)*known : STACKS_NO_CODE;
}

static void add_python(struct assembly *a, uint32_t i)
{
	const struct stacks *s = a->stacks;
	const struct raw_frame *f = &a->python[i];
	uint32_t id = a->ids ? a->ids[i] : code_at(s, f->code);
	uint64_t base = instr_base(&s->layout, f->code);

	if (id == STACKS_NO_CODE)
		a->outcome = PYBPF_CODE_FAULT;
	if (!i)
		add(a, PART_PYTHON, id, base);
	else if (id == STACKS_NO_CODE)
		add_marker(a, PYBPF_CODE_FAULT);
	else if (!codes__hidden(s->context->codes, id))
		add(a, PART_FRAME, codes__frame(s->context->codes, id, instr_offset(&s->layout, base, f->instr)), 0);
}

void stacks__resolve(const struct stacks *s, const struct rec_stack *r, uint32_t *ids)
{
	const struct raw_frame *python = (const struct raw_frame *)(r + 1);

	for (uint32_t i = 0; i < r->nframes; i++)
		ids[i] = code_at(s, python[i].code);
}

/* The Python frames up to, but not including, `end`. */
static void add_run(struct assembly *a, uint32_t end)
{
	for (; a->next < end && a->next < a->r->nframes; a->next++)
		add_python(a, a->next);
}

static void add_native(struct assembly *a, uint32_t i)
{
	const struct raw_frame *f = &a->native[i];

	if (!i && !a->r->nkernel)
		add(a, PART_NATIVE, 0, 0);
	else
		add(a, PART_FRAME,
		    natives__frame(a->stacks->context->natives, a->stacks->space, f->code, f->instr & NATIVE_EXACT), 0);
}

static void add_kernel(struct assembly *a)
{
	for (uint32_t i = 0; i < a->r->nkernel; i++) {
		if (i)
			add(a, PART_FRAME, natives__kernel_frame(a->stacks->context->natives, a->kernel[i].code, false), 0);
		else
			add(a, PART_KERNEL, 0, 0);
	}
}

/*
 * Up to 3.10 each native frame of the evaluator runs one Python frame. Counted from the outer end, where the two chains
 * begin together; from the inner end when that one is missing.
 */
static uint32_t evaluators_without_frame(const struct assembly *a)
{
	const struct natives *natives = a->stacks->context->natives;
	uint32_t n = 0;

	if (a->native_outcome != PYBPF_OK || a->r->outcome != PYBPF_OK)
		return 0;
	for (uint32_t i = 0; i < a->nnative; i++)
		n += natives__is_evaluator(natives, a->stacks->space, a->native[i].code);
	return n > a->r->nframes ? n - a->r->nframes : 0;
}

/* Where Python's outer frames are missing: the rest of them, and the marker. */
static void add_rest(struct assembly *a)
{
	add_run(a, a->r->nframes);
	if (a->cut)
		add_marker(a, a->r->outcome);
	a->cut = false;
}

/*
 * Where Python's outer frames are missing: the native frame that runs what is left of them, the evaluator outwards of those whose
 * entries were found. If it can't be told, native frames from there on are left out.
 */
static uint32_t find_rest(struct assembly *a)
{
	uint32_t n = a->nnative, i;

	while (n && !(a->native[n - 1].instr & NATIVE_CUT))
		n--;
	for (i = n; i < a->nnative; i++) {
		if (natives__is_evaluator(a->stacks->context->natives, a->stacks->space, a->native[i].code))
			return i;
	}
	if (n < a->nnative && a->native_outcome == PYBPF_OK)
		a->native_outcome = PYBPF_NATIVE_DEPTH;
	a->nnative = n;
	return n;
}

/* How many Python frames lie inwards of the end of native frame `i`, when it was `before` without it. */
static uint32_t placed_by(const struct assembly *a, uint32_t i, uint32_t before)
{
	const struct stacks *s = a->stacks;
	uint32_t end = (uint32_t)(a->native[i].instr & NATIVE_CUT);

	if (end)
		return end - 1;
	return before + (s->layout.flags & PY_LAYOUT_FRAME_OBJECTS &&
			 natives__is_evaluator(s->context->natives, s->space, a->native[i].code));
}

static bool is_greenlet(const struct assembly *a, uint32_t i)
{
	return natives__is_greenlet(a->stacks->context->natives, a->stacks->space, a->native[i].code);
}

/*
 * While greenlet exchanges stacks Python's frames are those of one greenlet, and the native ones of another. Returns true if
 * that may be so, and how many native frames, innermost, are sure to be running. (Nothing is exchanged by what Python calls.)
 */
static bool is_exchanged(const struct assembly *a, uint32_t *running)
{
	const struct stacks *s = a->stacks;
	uint32_t placed = 0;

	*running = 0;
	for (uint32_t i = 0; i < a->nnative; i++) {
		const struct raw_frame *f = &a->native[i];
		bool inner = !placed;

		placed = placed_by(a, i, placed);
		if (inner && natives__is_exchange(s->context->natives, s->space, f->code, f->instr & NATIVE_EXACT, !i)) {
			*running = i + 1;
			return true;
		}
	}
	return placed < a->r->nframes && a->native_outcome == PYBPF_OK && a->r->outcome == PYBPF_OK;
}

/*
 * A greenlet's stack begins inside greenlet's code, at whatever place of the thread's stack it was started at. What is there
 * above it belongs to other greenlets, and may be in the middle of something else by now: it is left out.
 */
static void leave_others_out(struct assembly *a)
{
	uint32_t placed = 0, running, i;
	bool begun = false;

	if (is_exchanged(a, &running)) {
		a->nnative = running;
		a->native_outcome = PYBPF_NATIVE_MISMATCH;
		return;
	}
	if (a->r->outcome != PYBPF_OK && a->r->outcome != PYBPF_NO_PYTHON)
		return;
	for (i = 0; i < a->nnative; i++) {
		bool greenlet = placed >= a->r->nframes && is_greenlet(a, i);

		if (begun && !greenlet)
			break;
		begun = greenlet;
		placed = placed_by(a, i, placed);
	}
	if (!begun)
		return;
	a->nnative = i;
	a->native_outcome = PYBPF_OK;
}

/* The native frames, and the Python frames where they run. The evaluator's own frames give way to what they run. */
static void merge(struct assembly *a)
{
	const struct stacks *s = a->stacks;
	const struct natives *natives = s->context->natives;
	bool by_function = s->layout.flags & PY_LAYOUT_FRAME_OBJECTS;
	bool mismatch;
	uint32_t spare, rest;

	if (a->nnative)
		leave_others_out(a);
	mismatch = a->native_outcome == PYBPF_NATIVE_MISMATCH;
	spare = by_function ? evaluators_without_frame(a) : 0;
	rest = !by_function && !mismatch && a->cut ? find_rest(a) : UINT32_MAX;
	for (uint32_t i = 0; i < a->nnative && !a->err; i++) {
		const struct raw_frame *f = &a->native[i];
		uint32_t end = mismatch ? 0 : (uint32_t)(f->instr & NATIVE_CUT);
		bool evaluator = end || i == rest;

		if (!mismatch && by_function && natives__is_evaluator(natives, s->space, f->code)) {
			evaluator = true;
			end = spare ? 0 : a->next + 2;
			spare -= spare ? 1 : 0;
			if (a->cut && a->next == a->r->nframes)
				rest = i;
		}
		if (!evaluator || natives__keeps_evaluator(natives))
			add_native(a, i);
		else if (i && a->parts.len && a->parts.data[a->parts.len - 1].kind != PART_PYTHON &&
			 natives__has_helpers(natives, s->space, f->code, a->native[i - 1].code))
			a->parts.len--;
		if (end)
			add_run(a, end - 1);
		if (i == rest)
			add_rest(a);
	}
	if (outcome__class(a->native_outcome) == OUTCOME_TRUNCATED) {
		if (outcome__class(a->outcome) != OUTCOME_TRUNCATED)
			a->outcome = a->native_outcome;
		add_marker(a, a->native_outcome);
	}
}

/* Pushes the parts that no sample tells; the others are kept with the stack. */
static int finish(struct assembly *a)
{
	struct stacks *s = a->stacks;
	struct told_stack told = {.parts = (uint32_t)s->parts.len, .epoch = s->epoch, .outcome = a->outcome};
	uint64_t *known;
	int64_t stack = 0;
	size_t i = a->parts.len;

	for (; i && a->parts.data[i - 1].kind == PART_FRAME; i--) {
		stack = profile__add_stack(s->context->profile, (uint32_t)stack, a->parts.data[i - 1].id);
		if (stack < 0)
			return (int)stack;
	}
	told.parent = (uint32_t)stack;
	told.count = (uint32_t)i;
	known = hmap__get(&s->names, a->r->stack);
	if (known) {
		/* Told again: another epoch, or what could not be had has come. Samples from now on mean this one. */
		struct told_stack *before = &s->told.data[*known];
		bool same = before->parent == told.parent && before->count == told.count;

		for (size_t k = 0; same && k < i; k++)
			same = !memcmp(&s->parts.data[before->parts + k], &a->parts.data[i - 1 - k], sizeof(struct part));
		before->outcome = told.outcome;
		before->epoch = told.epoch;
		if (same)
			return 0;
		hmap__free(&s->places);
	}
	while (i) {
		if (vec__push(&s->parts, a->parts.data[--i]))
			return -ENOMEM;
	}
	if (known) {
		s->told.data[*known] = told;
		return 0;
	}
	if (vec__push(&s->told, told))
		return -ENOMEM;
	return hmap__put(&s->names, a->r->stack, s->told.len - 1);
}

int stacks__tell(struct stacks *s, const struct rec_stack *r, size_t size, const uint32_t *ids)
{
	size_t count = (size_t)r->nframes + r->nnative + r->nkernel;
	struct assembly a = {.stacks = s, .r = r, .ids = ids, .outcome = r->outcome};
	bool truncated;
	int err;

	if (!count || r->nframes > PYBPF_MAX_FRAMES || count > (size - sizeof(*r)) / sizeof(struct raw_frame) ||
	    r->outcome >= PYBPF_OUTCOME_COUNT || r->native_outcome >= PYBPF_OUTCOME_COUNT ||
	    (count > r->nframes && !s->context->natives))
		return -EBADMSG;
	a.python = (const struct raw_frame *)(r + 1);
	a.native = a.python + r->nframes;
	a.nnative = r->nnative;
	a.native_outcome = r->native_outcome;
	a.kernel = a.native + r->nnative;
	truncated = outcome__class(r->outcome) == OUTCOME_TRUNCATED;
	a.cut = truncated && r->nframes;
	add_kernel(&a);
	merge(&a);
	a.cut |= truncated && !r->nframes;
	add_rest(&a);
	err = a.err ? a.err : finish(&a);
	vec__free(&a.parts);
	if (err)
		hmap__del(&s->names, r->stack); /* what it was before is not true any more */
	return err;
}

bool stacks__knows(const struct stacks *s, uint64_t name)
{
	return hmap__get(&s->names, name);
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
	const struct stacks_context *c = s->context;

	switch (part->kind) {
	case PART_PYTHON:
		if (part->id == STACKS_NO_CODE)
			return stacks__marker(c->profile, PYBPF_CODE_FAULT);
		if (codes__hidden(c->codes, part->id))
			return -ENOENT;
		return codes__frame(c->codes, part->id, instr_offset(&s->layout, part->base, sample->leaf));
	case PART_NATIVE:
		return natives__frame(c->natives, s->space, sample->pc, true);
	case PART_KERNEL:
		return natives__kernel_frame(c->natives, sample->pc, true);
	default:
		return part->id;
	}
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
		stack = frame < 0 ? frame : profile__add_stack(s->context->profile, (uint32_t)stack, (uint32_t)frame);
	}
	if (stack >= 0 && hmap__put(&s->places, key, (uint64_t)stack))
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
