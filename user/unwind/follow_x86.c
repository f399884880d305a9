// SPDX-License-Identifier: Apache-2.0
#include "unwind/follow_x86.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "unwind/going_x86.h"

#define NOWHERE UINT32_MAX
/*
 * How many instructions are looked at, with those that are met in another state again and what tables lead to.
 * OpenBLAS's need 0.25 for each byte of code; what is made to need more could take 80 times as long.
 */
#define MAX_STEPS(n)   ((n) + 1000)
#define MAX_TURNS      16 /* of a search for what leads to a function's end */
#define MAX_TABLE      1024
#define MAX_BOUND      16 /* instructions from the comparison to the jump */
#define MAX_AWAY       4096 /* bytes, likewise; between them may be what is not reached */
#define READ           32   /* so many instructions take as long as reading a table */
#define ENTRIES        2    /* likewise, going where so many of its entries lead to */
#define MANY           8    /* of them count as one of MAX_STEPS: switches have more of them than of instructions */
#define MAX_DEAD       32 /* instructions of a thread's start, behind the function's own */

/* An entry of a table: the jump by it, and where that leads to. */
struct edge {
	uint32_t from, to;
};

struct follow {
	const struct follow_x86 *what;
	struct follow_found *found;
	uint32_t *at; /* for each byte of code, the index of its state; NOWHERE: no instruction that is reached begins here */
	uint8_t *leaves; /* for each: this instruction leaves the function; or, in the end, leads to one that does */
	struct vec(struct state_x86) states;
	struct vec(uint32_t) todo; /* offsets of instructions */
	struct vec(struct edge) edges;
	addresses lea;
	size_t steps;
	size_t now;   /* the offset of the instruction that is looked at */
	bool is_left; /* it is left somewhere */
	bool returns; /* by a return that it certainly has */
	bool shown;   /* it is a function */
	bool bx_lost; /* somewhere the caller's is not in rbx again when the function is left */
};

static enum follow_function function_at(const struct follow *f, uint64_t addr)
{
	return f->what->function ? f->what->function(f->what->context, addr) : FOLLOW_NONE;
}

static int take(const struct follow *f, uint64_t work)
{
	return f->what->work ? unwind_work__take(f->what->work, work) : 0;
}

static int step(struct follow *f, size_t n)
{
	f->steps += n;
	return f->steps > MAX_STEPS(f->what->n) ? -E2BIG : take(f, n);
}

static bool read_insn(const struct follow *f, size_t at, struct insn_x86 *i)
{
	return insn_x86__read(f->what->code + at, f->what->n - at, i);
}

static struct going going_of(const struct follow *f, size_t at, const struct insn_x86 *i, const struct state_x86 *s)
{
	return going_x86(i, s, at, f->what->start, f->lea.data);
}

static bool is_inside(const struct follow *f, uint64_t addr)
{
	return addr - f->what->start < f->what->n;
}

/* The function is left: by a return, or by a jump to another one, which returns in its place. */
static int leave(struct follow *f, const struct state_x86 *s)
{
	if (!state_x86__can_leave(s))
		return -ENOTSUP;
	f->bx_lost |= !s->is_callers[1];
	f->leaves[f->now] = true;
	f->is_left = true;
	return 0;
}

/* Control comes to the instruction at `to` with a state. */
static int reach(struct follow *f, size_t to, const struct state_x86 *s)
{
	if (to >= f->what->n) {
		if (to == f->what->n && state_x86__can_leave(s) && function_at(f, f->what->start + to) != FOLLOW_NONE)
			return leave(f, s);
		/* what runs into the next function has not come back from a call: it is none of this function's */
		return s->certain ? -ENOTSUP : 0;
	}
	if (f->at[to] != NOWHERE)
		return state_x86__meet(&f->states.data[f->at[to]], s) ? vec__push(&f->todo, (uint32_t)to) : 0;
	f->at[to] = (uint32_t)f->states.len;
	return vec__push(&f->states, *s) || vec__push(&f->todo, (uint32_t)to) ? -ENOMEM : 0;
}

static int jump(struct follow *f, const struct going *g, const struct state_x86 *s)
{
	enum follow_function to;

	if (g->pointer && !state_x86__is_distance(s->regs[X86_RSP]) && !state_x86__is_distance(s->regs[X86_RBP])) {
		f->is_left = true; /* with another stack (longjmp, the end of a dynamic linker): no way back to this function's caller */
		return 0;
	}
	if (g->pointer)
		return leave(f, s);
	if (is_inside(f, g->to))
		return reach(f, g->to - f->what->start, s);
	to = function_at(f, g->to);
	if (!f->what->proven && to == FOLLOW_NONE)
		return -ENOTSUP;
	f->shown |= s->certain && to != FOLLOW_NONE;
	f->returns |= s->certain && to == FOLLOW_RETURNS;
	if (to == FOLLOW_ENDS)
		return state_x86__can_leave(s) ? 0 : -ENOTSUP;
	return leave(f, s);
}

/* A comparison of unsigned numbers (cmp of a constant, ja) among the last instructions in front of `at`: one more, or 0. */
static size_t bound_before(const struct follow *f, size_t at)
{
	size_t least = at > MAX_AWAY ? at - MAX_AWAY : 0;
	bool above = false;
	struct insn_x86 i;
	int seen = 0;

	while (at-- > least && seen < MAX_BOUND) {
		if (f->at[at] == NOWHERE || !read_insn(f, at, &i))
			continue;
		seen++;
		if (above && !i.map && !i.vex &&
		    (((i.op == 0x80 || i.op == 0x81 || i.op == 0x83) && i.group == 7) || i.op == 0x3c || i.op == 0x3d))
			return i.imm >= 0 && i.imm < MAX_TABLE ? (size_t)i.imm + 1 : 0;
		above |= !i.vex && ((!i.map && i.op == 0x77) || (i.map == 1 && i.op == 0x87));
	}
	return 0;
}

/* What a table of a switch has: *n offsets of instructions, MAX_TABLE at most. 0, -ENOTSUP when it is none, -ENOMEM. */
static int read_table(const struct follow *f, const struct going *g, uint32_t targets[MAX_TABLE], size_t *n)
{
	size_t bound = bound_before(f, f->now), most = (bound ? bound : MAX_TABLE) * g->size, got, count = 0;
	uint8_t table[MAX_TABLE * sizeof(uint64_t)];
	uint64_t end = g->to;

	got = f->what->read ? f->what->read(f->what->context, g->to, table, most) : 0;
	for (; got >= g->size; got -= g->size) {
		int64_t entry = 0;
		uint64_t to;

		memcpy(&entry, table + (end - g->to), g->size);
		end += g->size;
		to = g->size == 4 ? g->to + (uint64_t)(int64_t)(int32_t)entry : (uint64_t)entry;
		if (!is_inside(f, to))
			break;
		targets[count++] = (uint32_t)(to - f->what->start);
	}
	if (f->found && end > g->to && vec__push(&f->found->tables, (struct code_range){g->to, end}))
		return -ENOMEM;
	*n = count;
	return !count || count < bound ? -ENOTSUP : 0;
}

/* Control goes on where a table says. How long it is has been guessed at: of what it alone leads to nothing is certain. */
static int jump_by_table(struct follow *f, const struct going *g, struct state_x86 *s)
{
	uint32_t targets[MAX_TABLE];
	size_t n;
	int err = take(f, READ);

	if (!err)
		err = read_table(f, g, targets, &n);
	if (!err)
		err = step(f, n / MANY);
	if (!err)
		err = take(f, n / ENTRIES);
	s->certain &= f->what->whole;
	for (size_t i = 0; !err && i < n; i++) {
		err = reach(f, targets[i], s);
		if (!err && !f->what->whole)
			err = vec__push(&f->edges, (struct edge){(uint32_t)f->now, targets[i]});
	}
	return err;
}

/* Does what is behind a call begin with what the call has returned? No function begins with rax but for saving it. */
static bool uses_result(const struct follow *f, size_t at)
{
	struct insn_x86 i;

	if (at >= f->what->n || !read_insn(f, at, &i) || i.map || i.vex)
		return false;
	return (i.op == 0x89 && i.reg == X86_RAX && i.mod == 3) || (i.op == 0x8b && i.rm == X86_RAX && i.mod == 3) ||
	       (i.op == 0x85 && i.reg == X86_RAX && i.rm == X86_RAX && i.mod == 3);
}

static int call(struct follow *f, const struct going *g, struct state_x86 *s)
{
	enum follow_function to = g->pointer ? FOLLOW_UNKNOWN : function_at(f, g->to);
	int32_t sp = s->regs[X86_RSP];

	if (to == FOLLOW_ENDS)
		return 0;
	if (g->pointer && s->certain) {
		bool aligned = state_x86__is_distance(sp) && !(sp & 15);

		if (!aligned && !f->what->proven)
			return -ENOTSUP;
		f->shown |= aligned;
	}
	state_x86__step_call(s);
	s->certain &= to == FOLLOW_RETURNS || uses_result(f, g->next);
	return reach(f, g->next, s);
}

/* The number of the address that an instruction takes, negative when it takes none. -ENOMEM. */
static int32_t number_of_address(struct follow *f, const struct insn_x86 *i, size_t next)
{
	uint64_t addr = f->what->start + next + (uint64_t)i->disp;

	if (i->vex || i->map || i->op != 0x8d || !i->rex_w || i->mod || i->has_sib || (i->rm & 7) != 5)
		return -1;
	for (size_t k = 0; k < f->lea.len; k++)
		if (f->lea.data[k] == addr)
			return (int32_t)k;
	if (f->lea.len == STATE_ADDRESSES)
		return STATE_ADDRESSES;
	return vec__push(&f->lea, addr) ? -ENOMEM : (int32_t)f->lea.len - 1;
}

static int follow_one(struct follow *f, size_t at)
{
	struct state_x86 s = f->states.data[f->at[at]];
	struct going g;
	struct insn_x86 i;
	int32_t address;
	int err;

	if (!read_insn(f, at, &i))
		return -ENOTSUP;
	f->now = at;
	g = going_of(f, at, &i, &s);
	switch (g.way) {
	case WAY_NONE:
		return -ENOTSUP;
	case WAY_END:
		return 0;
	case WAY_RETURN:
		f->returns |= s.certain;
		f->shown |= s.certain;
		return leave(f, &s);
	case WAY_JUMP:
		return jump(f, &g, &s);
	case WAY_CALL:
		return call(f, &g, &s);
	case WAY_TABLE:
		return jump_by_table(f, &g, &s);
	case WAY_BRANCH:
		state_x86__step(&i, &s, -1);
		err = jump(f, &g, &s);
		return err ? err : reach(f, g.next, &s);
	case WAY_NEXT:
		break;
	}
	address = number_of_address(f, &i, g.next);
	if (address == -ENOMEM)
		return -ENOMEM;
	state_x86__step(&i, &s, address);
	return reach(f, g.next, &s);
}

/* Does what begins at `at` end the thread, without a branch? */
static bool is_dead_end(const struct follow *f, size_t at)
{
	struct insn_x86 i;

	for (int k = 0; k < MAX_DEAD && at < f->what->n && f->at[at] != NOWHERE && read_insn(f, at, &i); k++) {
		struct going g = going_of(f, at, &i, &f->states.data[f->at[at]]);

		if (g.way != WAY_NEXT && g.way != WAY_CALL)
			return g.way == WAY_END;
		at = g.next;
	}
	return false;
}

/*
 * A thread's first function on a stack of its own, behind clone: it has no return address any more, its rbp is 0, as
 * that of the outermost frame is to be (System V ABI x86-64, 3.4.1), and it ends the thread (is_dead_end).
 */
static bool may_be_outermost(const struct state_x86 *s)
{
	int32_t sp = s->regs[X86_RSP];

	return state_x86__is_distance(sp) && sp > STATE_AT_START && s->regs[X86_RBP] == STATE_NUMBER(0);
}

/* Does it come to the instruction behind it? */
static bool goes_on(const struct follow *f, const struct going *g)
{
	if (g->next >= f->what->n)
		return false;
	if (g->way == WAY_CALL)
		return g->pointer || function_at(f, g->to) != FOLLOW_ENDS;
	return g->way == WAY_NEXT || g->way == WAY_BRANCH;
}

static int by_from(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Does the table of the jump at `at` lead to what leaves? The first *n edges may be of it; then, those of jumps in front. */
static bool leads_by_table(const struct follow *f, size_t at, size_t *n)
{
	bool leads = false;

	for (; *n && f->edges.data[*n - 1].from >= at; --*n)
		leads |= f->edges.data[*n - 1].from == at && f->leaves[f->edges.data[*n - 1].to];
	return leads;
}

/* Spreads `leaves` to what leads there; not to all of it where that takes too long. */
static int find_leads(struct follow *f)
{
	bool more = true;

	if (f->edges.len)
		qsort(f->edges.data, f->edges.len, sizeof(*f->edges.data), by_from);
	for (int turn = 0; turn < MAX_TURNS && more; turn++) {
		size_t edges = f->edges.len;
		int err = take(f, f->states.len + f->edges.len);

		if (err)
			return err;
		more = false;
		for (size_t at = f->what->n; at-- > 0;) {
			struct insn_x86 i;
			struct going g;

			if (f->at[at] == NOWHERE || f->leaves[at] || !read_insn(f, at, &i))
				continue;
			g = going_of(f, at, &i, &f->states.data[f->at[at]]);
			if ((g.way == WAY_JUMP || g.way == WAY_BRANCH) && !g.pointer && is_inside(f, g.to))
				f->leaves[at] = f->leaves[g.to - f->what->start];
			if (g.way == WAY_TABLE)
				f->leaves[at] = leads_by_table(f, at, &edges);
			if (goes_on(f, &g))
				f->leaves[at] |= f->leaves[g.next];
			more |= f->leaves[at];
		}
	}
	return 0;
}

/* The other functions that an instruction tells of. */
static int find_others(const struct follow *f, const struct going *g, int32_t address)
{
	struct follow_found *found = f->found;

	if (address >= 0)
		return address < (int32_t)f->lea.len ? vec__push(&found->taken, f->lea.data[address]) : 0;
	if (g->pointer || (g->way != WAY_CALL && ((g->way != WAY_JUMP && g->way != WAY_BRANCH) || is_inside(f, g->to))))
		return 0;
	return vec__push(&found->called, g->to);
}

static int append_one(struct follow *f, size_t at, size_t before, filler_list *out)
{
	struct filler one = {.start = f->what->start + at};
	struct filler *last = out->len > before ? &out->data[out->len - 1] : NULL;
	const struct state_x86 *s = &f->states.data[f->at[at]];
	bool outermost = may_be_outermost(s);
	struct insn_x86 i;
	struct going g;
	int err = take(f, outermost ? MAX_DEAD : 1);

	if (err)
		return err;
	if (!f->what->whole && !s->certain && !f->leaves[at]) {
		if (f->found)
			f->found->partial = true;
		return 0;
	}
	if (!read_insn(f, at, &i))
		return 0;
	one.end = one.start + i.length;
	outermost = outermost && is_dead_end(f, at);
	one.rule = outermost ? (struct unwind_rule){.cfa = UNWIND_END} : state_x86__rule(s, f->bx_lost);
	/* while the kernel makes the child, its rax is 0, and the parent's is not */
	if (one.rule.cfa != UNWIND_UNKNOWN && state_x86__forks(&i, s))
		one.rule.flags |= UNWIND_FORKS;
	if (last && last->end > one.start) /* jumped into the middle of an instruction */
		return -ENOTSUP;
	if (last && last->end == one.start && !memcmp(&last->rule, &one.rule, sizeof(one.rule))) {
		last->end = one.end;
		err = 0;
	} else {
		err = vec__push(out, one);
	}
	g = going_of(f, at, &i, s);
	return err || !f->found ? err : find_others(f, &g, number_of_address(f, &i, g.next));
}

static int append(struct follow *f, filler_list *out)
{
	struct follow_found *found = f->found;
	size_t before = out->len, called = found ? found->called.len : 0, taken = found ? found->taken.len : 0;
	int err = f->what->whole ? 0 : find_leads(f);

	for (size_t at = 0; at < f->what->n && !err; at++)
		if (f->at[at] != NOWHERE)
			err = append_one(f, at, before, out);
	if (err) {
		out->len = before;
		if (found) {
			found->called.len = called;
			found->taken.len = taken;
		}
		return err;
	}
	if (found)
		found->is = !f->is_left ? FOLLOW_ENDS : f->returns ? FOLLOW_RETURNS : FOLLOW_UNKNOWN;
	return 0;
}

static int run(struct follow *f, filler_list *out)
{
	const struct state_x86 first = state_x86__start();
	int err = reach(f, 0, &first);

	while (!err && f->todo.len) {
		err = step(f, 1);
		f->todo.len--;
		err = err ? err : follow_one(f, f->todo.data[f->todo.len]);
	}
	if (!err && (f->found ? !f->shown && !f->what->proven : !f->is_left))
		err = -ENOTSUP;
	return err ? err : append(f, out);
}

int follow_x86__run(const struct follow_x86 *what, struct follow_found *found, filler_list *out)
{
	struct follow f = {.what = what, .found = found};
	int err = -ENOMEM;

	if (!what->n)
		return -ENOTSUP;
	if (what->n > FOLLOW_MAX_CODE)
		return -E2BIG;
	f.at = malloc(what->n * sizeof(*f.at));
	f.leaves = calloc(what->n, 1);
	if (f.at && f.leaves) {
		memset(f.at, 0xff, what->n * sizeof(*f.at));
		err = run(&f, out);
	}
	free(f.at);
	free(f.leaves);
	vec__free(&f.states);
	vec__free(&f.todo);
	vec__free(&f.edges);
	vec__free(&f.lea);
	return err;
}

int follow_x86(const uint8_t *code, size_t n, uint64_t start, filler_list *out)
{
	const struct follow_x86 what = {.code = code, .n = n, .start = start, .whole = true, .proven = true};

	return follow_x86__run(&what, NULL, out);
}
