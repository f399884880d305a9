// SPDX-License-Identifier: Apache-2.0
#include "collect/rests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"
#include "collect/stacks.h"

#define MAX_BYTES ((size_t)16 << 20) /* of what is held: some 500 samples */
#define MAX_NS    (5 * 1000000000ull) /* a table is made in less */

#define PAGE sizeof(((struct rec_memory *)0)->bytes)

/* Memory of the stack, page by page; for the header below. */
struct stack_copy {
	uint64_t start;
	uint8_t number[PYBPF_REST_PAGES]; /* by page from start on: which one it is in `bytes`, + 1; 0: it is not there */
	struct vec(uint8_t) bytes;
};

/* Reads a word. 0 or -EFAULT. */
static int unwind__word(const struct stack_copy *m, uint64_t addr, __u64 *out)
{
	uint64_t page = (addr - m->start) / PAGE, at = (addr - m->start) % PAGE;

	if (page >= PYBPF_REST_PAGES || !m->number[page] || at > PAGE - sizeof(*out))
		return -EFAULT;
	memcpy(out, m->bytes.data + (m->number[page] - 1) * PAGE + at, sizeof(*out));
	return 0;
}

#define UNWIND_MEMORY const struct stack_copy
#include "pybpf/unwind_step.h"

/* One stack that is to be finished. */
struct rest {
	struct rec_rest head;
	struct py_entry entries[PYBPF_REST_ENTRIES];
	uint64_t taken_ns;
	struct space *space;
	struct stack_copy copy;
	struct rec_stack *stack; /* NULL: not told yet */
	uint32_t *ids;           /* of its Python frames' code objects */
	size_t told;             /* bytes of these two, as they were told */
	struct rec_sample sample;
	bool sampled, looked;
};

struct rests {
	struct spaces *spaces;
	struct unwinds *unwinds;
	struct hmap by_name; /* the kernel's name of the stack -> struct rest * */
	size_t bytes;
	uint64_t finished;
};

struct rests *rests__new(struct spaces *spaces, struct unwinds *unwinds)
{
	struct rests *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->spaces = spaces;
	all->unwinds = unwinds;
	return all;
}

static size_t stack_bytes(const struct rec_stack *s)
{
	return sizeof(*s) + ((size_t)s->nframes + s->nnative + s->nkernel) * sizeof(struct raw_frame);
}

static size_t size_of(const struct rest *r)
{
	return sizeof(*r) + r->copy.bytes.cap + r->told;
}

static void rest__free(struct rest *r)
{
	space__put(r->space);
	vec__free(&r->copy.bytes);
	free(r->stack);
	free(r->ids);
	free(r);
}

void rests__free(struct rests *all)
{
	size_t pos = 0;
	uint64_t name, *at;

	if (!all)
		return;
	while (hmap__next(&all->by_name, &pos, &name, &at))
		rest__free((struct rest *)(uintptr_t)*at);
	hmap__free(&all->by_name);
	free(all);
}

size_t rests__count(const struct rests *all)
{
	return all->by_name.len;
}

static struct rest *find(const struct rests *all, uint64_t name)
{
	uint64_t *at = hmap__get(&all->by_name, name);

	return at ? (struct rest *)(uintptr_t)*at : NULL;
}

bool rests__has(const struct rests *all, uint64_t identity)
{
	uint64_t name, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_name, &pos, &name, &at)) {
		if (((const struct rest *)(uintptr_t)*at)->head.identity == identity)
			return true;
	}
	return false;
}

void rests__mark_codes(const struct rests *all, bool *used)
{
	uint64_t name, *at;
	size_t pos = 0;

	while (hmap__next(&all->by_name, &pos, &name, &at)) {
		const struct rest *r = (const struct rest *)(uintptr_t)*at;

		for (uint32_t i = 0; r->stack && i < r->stack->nframes; i++) {
			if (r->ids[i] != STACKS_NO_CODE)
				used[r->ids[i]] = true;
		}
	}
}

/* ---- what comes */

static void on_rest(struct rests *all, const struct rec_rest *head, size_t size)
{
	size_t n = head->entries;
	struct rest *r;

	if (n > PYBPF_REST_ENTRIES || size < sizeof(*head) + n * sizeof(struct py_entry) || all->bytes > MAX_BYTES ||
	    find(all, head->stack))
		return; /* what there is of the stack is marked */
	r = calloc(1, sizeof(*r));
	if (!r)
		return;
	r->head = *head;
	memcpy(r->entries, head + 1, n * sizeof(struct py_entry));
	r->copy.start = PYBPF_REST_START(head->regs.sp);
	r->taken_ns = clock_ns(CLOCK_MONOTONIC);
	/* at once: the process may not live for long */
	r->space = spaces__get(all->spaces, head->pid, 0, head->start_stack);
	if (!r->space || hmap__put(&all->by_name, head->stack, (uintptr_t)r)) {
		rest__free(r);
		return;
	}
	all->bytes += size_of(r);
}

static void on_memory(struct rests *all, const struct rec_memory *m)
{
	struct rest *r = find(all, m->stack);
	uint64_t page;
	size_t at, before;

	if (!r)
		return;
	page = (m->addr - r->copy.start) / PAGE;
	at = r->copy.bytes.len;
	before = size_of(r);
	if (page >= PYBPF_REST_PAGES || r->copy.number[page] || vec__reserve(&r->copy.bytes, at + PAGE))
		return;
	memcpy(r->copy.bytes.data + at, m->bytes, sizeof(m->bytes));
	r->copy.bytes.len = at + PAGE;
	r->copy.number[page] = (uint8_t)(r->copy.bytes.len / PAGE);
	all->bytes += size_of(r) - before;
}

static bool on_stack(struct rests *all, struct recorder *to, const struct rec_stack *stack, size_t size)
{
	struct rest *r = find(all, stack->stack);

	if (!r || r->stack)
		return false;
	if (!stack->nnative || stack->nnative > PYBPF_MAX_NATIVE || stack->nframes > PYBPF_MAX_FRAMES ||
	    size < stack_bytes(stack))
		return false;
	r->stack = malloc(stack_bytes(stack));
	r->ids = malloc((stack->nframes + 1) * sizeof(*r->ids));
	if (!r->stack || !r->ids) {
		free(take_ptr(r->stack));
		free(take_ptr(r->ids));
		return false;
	}
	memcpy(r->stack, stack, stack_bytes(stack));
	recorder__resolve(to, stack, r->ids);
	r->told = stack_bytes(stack) + (stack->nframes + 1) * sizeof(*r->ids);
	all->bytes += r->told;
	return true;
}

bool rests__take(struct rests *all, struct recorder *to, const void *record, size_t size)
{
	const uint32_t *type = record;

	if (size >= sizeof(struct rec_stack) && *type == REC_STACK)
		return rests__count(all) && on_stack(all, to, record, size);
	if (size >= sizeof(struct rec_rest) && *type == REC_REST) {
		on_rest(all, record, size);
		return true;
	}
	if (size >= sizeof(struct rec_memory) && *type == REC_MEMORY) {
		on_memory(all, record);
		return true;
	}
	return false;
}

bool rests__hold(struct rests *all, const struct rec_sample *sample)
{
	struct rest *r = rests__count(all) && sample->stack ? find(all, sample->stack) : NULL;

	if (!r || !r->stack || r->sampled)
		return false;
	r->sample = *sample;
	r->sampled = true;
	return true;
}

/* ---- the walk, as bpf/native.bpf.h has it */

/* The rule for an address. An outcome. */
static int find_rule(const struct rests *all, const struct rest *r, const struct unwind_regs *regs,
		     struct unwind_rule *rule)
{
	uint64_t pc = regs->pc - regs->inexact, back;
	const struct code_map *map = space__find(r->space, pc);
	const struct unwind_table *table;
	int err = -ENOENT;

	if (!map)
		return PYBPF_NATIVE_UNMAPPED;
	if (map->binary)
		err = unwinds__table(all->unwinds, map->binary, &table);
	if (err == -EAGAIN)
		return PYBPF_NATIVE_PENDING;
	if (err == -EBADMSG)
		return PYBPF_NATIVE_REFUSED;
	if (!err && !unwind_table__lookup(table, pc - map->bias, rule))
		return PYBPF_OK;
	if (unwind__without_table(regs, &r->copy, (__u64 *)&back, rule) && space__find(r->space, back - 1))
		return PYBPF_OK;
	return PYBPF_NATIVE_NO_TABLE;
}

/* The walk from where the kernel's stopped. Native frames go to out[], the last one of the kernel's being its first. An outcome. */
static int walk(const struct rests *all, const struct rest *r, struct raw_frame *out, uint32_t room, uint32_t *count)
{
	struct unwind_regs regs = r->head.regs;
	uint32_t entry = 0, n = 0;
	int outcome;

	for (;;) {
		struct unwind_rule rule;
		uint64_t pc = regs.pc, sp = regs.sp;

		if (n == room)
			return PYBPF_NATIVE_DEPTH;
		out[n] = (struct raw_frame){.code = pc, .instr = regs.inexact ? 0 : NATIVE_EXACT};
		*count = ++n;
		outcome = find_rule(all, r, &regs, &rule);
		if (outcome == PYBPF_OK)
			outcome = unwind__step(&regs, r->head.words, &rule, &r->copy);
		if (outcome != PYBPF_OK && outcome != PYBPF_NO_PYTHON)
			return outcome;
		if (entry < r->head.entries && r->entries[entry].addr >= sp && r->entries[entry].addr < regs.cfa)
			out[n - 1].instr |= r->entries[entry++].count + 1;
		if (outcome == PYBPF_NO_PYTHON)
			return PYBPF_OK;
	}
}

/* The stack with the rest of it, in the place of its last native frame. */
static void extend(struct rest *r, const struct raw_frame *rest, uint32_t n, int outcome)
{
	size_t before = (size_t)r->stack->nframes + r->stack->nnative - 1;
	struct rec_stack *longer = realloc(r->stack, stack_bytes(r->stack) + n * sizeof(*rest));
	struct raw_frame *at;

	if (!longer)
		return; /* what there was is marked */
	at = (struct raw_frame *)(longer + 1) + before;
	memmove(at + n, at + 1, longer->nkernel * sizeof(*at));
	memcpy(at, rest, n * sizeof(*at));
	longer->nnative = (uint16_t)(longer->nnative + n - 1);
	longer->native_outcome = (uint16_t)outcome;
	r->stack = longer;
}

/* False when it is to wait. */
static bool finish_one(struct rests *all, struct rest *r, bool last)
{
	_cleanup_free_ struct raw_frame *frames = NULL;
	uint32_t n = 0, room = PYBPF_MAX_NATIVE - r->stack->nnative + 1;
	int outcome;

	frames = calloc(room, sizeof(*frames));
	if (!frames)
		return true;
	outcome = walk(all, r, frames, room, &n);
	if (outcome == PYBPF_NATIVE_UNMAPPED && !r->looked) {
		r->looked = true;
		if (spaces__look_again(all->spaces, r->space))
			outcome = walk(all, r, frames, room, &n);
	}
	if (outcome == PYBPF_NATIVE_PENDING && !last)
		return false;
	if (n)
		extend(r, frames, n, outcome);
	all->finished += r->stack->native_outcome == PYBPF_OK;
	return true;
}

uint64_t rests__finished(const struct rests *all)
{
	return all->finished;
}

void rests__finish(struct rests *all, struct recorder *to, bool last)
{
	uint64_t name, *at, now = rests__count(all) ? clock_ns(CLOCK_MONOTONIC) : 0;
	size_t pos = 0;

	while (rests__count(all) && hmap__next(&all->by_name, &pos, &name, &at)) {
		struct rest *r = (struct rest *)(uintptr_t)*at;
		bool over = last || now - r->taken_ns > MAX_NS || all->bytes > MAX_BYTES;

		if (!r->sampled && !over)
			continue;
		if (r->stack && !finish_one(all, r, over))
			continue;
		if (r->stack)
			recorder__take_stack(to, r->stack, stack_bytes(r->stack), r->ids);
		if (r->sampled)
			recorder__sample(to, &r->sample);
		all->bytes -= size_of(r);
		hmap__del(&all->by_name, name);
		rest__free(r);
	}
}
