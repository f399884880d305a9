// SPDX-License-Identifier: Apache-2.0
#include "collect/merge.h"

#include <errno.h>

int64_t merge__instr_offset(const struct py_layout *l, uint64_t base, uint64_t instr)
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
	const struct merge_process *of;
	const struct rec_stack *r;
	const struct raw_frame *python, *native, *kernel;
	const uint32_t *ids; /* of the Python frames' codes; NULL: to be looked up */
	part_list *parts;
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
	else if (vec__push(a->parts, (struct part){.kind = kind, .id = (uint32_t)id, .base = base}))
		a->err = -ENOMEM;
}

static void add_marker(struct assembly *a, uint16_t outcome)
{
	add(a, PART_FRAME, stacks__marker(a->of->context->profile, outcome), 0);
}

uint32_t merge__code_at(const struct merge_process *of, uint64_t addr)
{
	const uint64_t *known = hmap__get(of->by_address, addr);

	return known ? (uint32_t)*known : STACKS_NO_CODE;
}

static void add_python(struct assembly *a, uint32_t i)
{
	const struct merge_process *of = a->of;
	const struct raw_frame *f = &a->python[i];
	uint32_t id = a->ids ? a->ids[i] : merge__code_at(of, f->code);
	uint64_t base = instr_base(&of->layout, f->code);

	if (id == STACKS_NO_CODE)
		a->outcome = PYBPF_CODE_FAULT;
	if (!i)
		add(a, PART_PYTHON, id, base);
	else if (id == STACKS_NO_CODE)
		add_marker(a, PYBPF_CODE_FAULT);
	else if (!codes__hidden(of->context->codes, id))
		add(a, PART_FRAME,
		    codes__frame(of->context->codes, id, merge__instr_offset(&of->layout, base, f->instr)), 0);
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
		    natives__frame(a->of->context->natives, a->of->space, f->code, f->instr & NATIVE_EXACT), 0);
}

static void add_kernel(struct assembly *a)
{
	for (uint32_t i = 0; i < a->r->nkernel; i++) {
		if (i)
			add(a, PART_FRAME, natives__kernel_frame(a->of->context->natives, a->kernel[i].code, false), 0);
		else
			add(a, PART_KERNEL, 0, 0);
	}
}

/*
 * Up to 3.10 each native frame of the evaluator runs one Python frame. Counted from the outer end, where the two chains
 * begin together; from the inner end when that one is missing, or runs the frames of the interpreter that the thread has come from.
 */
static uint32_t evaluators_without_frame(const struct assembly *a)
{
	uint32_t n = 0;

	if (a->native_outcome != PYBPF_OK || a->r->outcome != PYBPF_OK || a->r->elsewhere)
		return 0;
	for (uint32_t i = 0; i < a->nnative; i++)
		n += natives__is_evaluator(a->of->space, a->native[i].code);
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
 * Where Python's outer frames are missing: the native frame that runs what is left of them, the evaluator outwards of
 * those whose entries were found. If it can't be told, native frames from there on are left out.
 */
static uint32_t find_rest(struct assembly *a)
{
	uint32_t n = a->nnative, i;

	while (n && !(a->native[n - 1].instr & NATIVE_CUT))
		n--;
	for (i = n; i < a->nnative; i++) {
		if (natives__is_evaluator(a->of->space, a->native[i].code))
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
	const struct merge_process *of = a->of;
	uint32_t end = (uint32_t)(a->native[i].instr & NATIVE_CUT);

	if (end)
		return end - 1;
	return before +
	       (of->layout.flags & PY_LAYOUT_FRAME_OBJECTS && natives__is_evaluator(of->space, a->native[i].code));
}

static bool is_greenlet(const struct assembly *a, uint32_t i)
{
	return natives__is_greenlet(a->of->space, a->native[i].code);
}

/*
 * While greenlet exchanges stacks Python's frames are those of one greenlet, and the native ones of another. Returns
 * true if that may be so, and how many native frames, innermost, are sure to be running. (Nothing is exchanged by what
 * Python calls.)
 */
static bool is_exchanged(const struct assembly *a, uint32_t *running)
{
	const struct merge_process *of = a->of;
	uint32_t placed = 0;

	*running = 0;
	for (uint32_t i = 0; i < a->nnative; i++) {
		const struct raw_frame *f = &a->native[i];
		bool inner = !placed;

		placed = placed_by(a, i, placed);
		if (inner && natives__is_exchange(of->space, f->code, f->instr & NATIVE_EXACT, !i)) {
			*running = i + 1;
			return true;
		}
	}
	return placed < a->r->nframes && a->native_outcome == PYBPF_OK && a->r->outcome == PYBPF_OK;
}

/*
 * A greenlet's stack begins inside greenlet's code, at whatever place of the thread's stack it was started at. What is
 * there above it belongs to other greenlets, and may be in the middle of something else by now: it is left out.
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
	const struct merge_process *of = a->of;
	const struct natives *natives = of->context->natives;
	bool by_function = of->layout.flags & PY_LAYOUT_FRAME_OBJECTS;
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

		if (!mismatch && by_function && natives__is_evaluator(of->space, f->code)) {
			evaluator = true;
			end = spare ? 0 : a->next + 2;
			spare -= spare ? 1 : 0;
			if (a->cut && a->next == a->r->nframes)
				rest = i;
		}
		if (!evaluator || natives__keeps_evaluator(natives))
			add_native(a, i);
		else if (i && a->parts->len && a->parts->data[a->parts->len - 1].kind != PART_PYTHON &&
			 natives__has_helpers(of->space, f->code, a->native[i - 1].code))
			a->parts->len--;
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

int merge__parts(const struct merge_process *of, const struct rec_stack *r, size_t size, const uint32_t *ids,
		 part_list *out, uint16_t *outcome)
{
	size_t count = (size_t)r->nframes + r->nnative + r->nkernel;
	struct assembly a = {.of = of, .r = r, .ids = ids, .parts = out, .outcome = r->outcome};
	bool truncated;

	if ((!count && r->native_outcome == PYBPF_OK) || r->nframes > PYBPF_MAX_FRAMES ||
	    count > (size - sizeof(*r)) / sizeof(struct raw_frame) || r->outcome >= PYBPF_OUTCOME_COUNT ||
	    r->native_outcome >= PYBPF_OUTCOME_COUNT || (count > r->nframes && !of->context->natives))
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
	if (!a.err)
		*outcome = a.outcome;
	return a.err;
}
