// SPDX-License-Identifier: Apache-2.0
#include "collect/natives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "collect/bpfprogs.h"
#include "collect/spaces.h"
#include "store/rebuild.h"
#include "symbolize/kallsyms.h"
#include "symbolize/native.h"

/* The work of a tail-calling evaluator is in other functions: its own is short (some 50 KB in other builds). */
#define SHORT_EVALUATOR 4096

/* What stands behind a frame of the profile that has no name yet. */
struct place {
	const struct binary *binary; /* NULL: the kernel */
	uint64_t addr;               /* link-time; the kernel's own */
	bool exact;
};

struct natives {
	struct profile *profile;
	struct binaries *binaries;
	bool keep_evaluator;
	struct jitbudget jit;
	/* for naming */
	struct symbolizer *symbolizer;
	struct kallsyms *kallsyms;
	struct bpfprog_list programs;
	struct err kernel_error; /* why functions of the kernel have no names */
	struct vec(struct symbol_file *) files; /* by id of the binary; NULL: not opened yet */
};

struct natives *natives__new(struct profile *p, struct binaries *binaries, bool keep_evaluator, uint64_t jit_bytes)
{
	struct natives *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->profile = p;
	n->binaries = binaries;
	n->keep_evaluator = keep_evaluator;
	n->jit = jitbudget__whole(jit_bytes);
	n->symbolizer = symbolizer__new(&(struct symbolizer_config){.debuginfod = getenv("DEBUGINFOD_URLS") != NULL});
	n->kallsyms = kallsyms__new(NULL);
	if (!n->symbolizer || !n->kallsyms) {
		natives__free(n);
		return NULL;
	}
	return n;
}

void natives__free(struct natives *n)
{
	if (!n)
		return;
	symbolizer__free(n->symbolizer);
	kallsyms__free(n->kallsyms);
	vec__free(&n->programs);
	vec__free(&n->files);
	free(n);
}

/* ---- while recording */

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

/*
 * A frame that is only an address until it is named: what tells it from others stands in members that have another meaning once
 * it has a name.
 */
static int64_t add_place(struct natives *n, const struct place *p)
{
	struct frame frame = {
		.kind = p->binary ? FRAME_NATIVE : FRAME_KERNEL,
		.line = (uint32_t)p->addr,
		.end_line = (uint32_t)(p->addr >> 32),
		.column = p->exact,
		.end_column = p->binary ? p->binary->id + 1 : 0,
	};

	return profile__add_frame(n->profile, &frame);
}

/* Whether the frame is a place, and which. */
static bool is_place(const struct natives *n, const struct frame *f, struct place *out)
{
	if ((f->kind != FRAME_NATIVE && f->kind != FRAME_KERNEL) || f->name || f->module)
		return false;
	*out = (struct place){
		.binary = f->end_column ? binaries__at(n->binaries, f->end_column - 1) : NULL,
		.addr = (uint64_t)f->end_line << 32 | f->line,
		.exact = f->column,
	};
	return true;
}

/* Code without a file is a JIT compiler's: what it says of itself is read while the process lives. */
static int64_t add_jit(struct natives *n, struct space *space, uint64_t addr, uint64_t mapped)
{
	const char *name;

	if (jitcode__name(space__jitcode(space), &n->jit, addr, mapped, &name))
		return add_named(n->profile, FRAME_NATIVE, "[unknown]", "[jit]");
	/* CPython Python/perf_trampoline.c: the Python frame is there already */
	if (!n->keep_evaluator && !strncmp(name, "py::", 4))
		return -ENOENT;
	return add_named(n->profile, FRAME_NATIVE, name, "[jit]");
}

int64_t natives__frame(struct natives *n, struct space *space, uint64_t addr, bool exact)
{
	const struct code_map *map = space ? space__find(space, exact ? addr : addr - 1) : NULL;

	if (!map)
		return add_named(n->profile, FRAME_NATIVE, "[unknown]", NULL);
	if (!map->binary)
		return add_jit(n, space, exact ? addr : addr - 1, map->start);
	return add_place(n, &(struct place){.binary = map->binary, .addr = addr - map->bias, .exact = exact});
}

bool natives__is_of_file(struct space *space, uint64_t addr)
{
	const struct code_map *map = space ? space__find(space, addr) : NULL;

	return map && map->binary;
}

int64_t natives__kernel_frame(struct natives *n, uint64_t addr, bool exact)
{
	return add_place(n, &(struct place){.addr = addr, .exact = exact});
}

bool natives__jit_refused(const struct natives *n)
{
	return n->jit.refused;
}

bool natives__keeps_evaluator(const struct natives *n)
{
	return n->keep_evaluator;
}

static bool inside(const struct binary_range *r, uint64_t addr)
{
	return addr >= r->start && addr < r->end;
}

static uint64_t size_of(const struct binary_range *r)
{
	return r->end - r->start;
}

static bool is_short(const struct binary *b)
{
	return size_of(&b->evaluator) + size_of(&b->evaluator_cold) < SHORT_EVALUATOR;
}

bool natives__is_evaluator(struct space *space, uint64_t addr)
{
	const struct code_map *map = space ? space__find(space, addr - 1) : NULL;

	if (!map || !map->binary || is_short(map->binary))
		return false;
	addr -= map->bias + 1;
	return inside(&map->binary->evaluator, addr) || inside(&map->binary->evaluator_cold, addr);
}

bool natives__is_greenlet(struct space *space, uint64_t addr)
{
	const struct code_map *map = space ? space__find(space, addr - 1) : NULL;

	return map && map->binary && map->binary->greenlets;
}

bool natives__is_exchange(struct space *space, uint64_t addr, bool exact, bool innermost)
{
	const struct code_map *map;

	addr -= !exact;
	map = space ? space__find(space, addr) : NULL;
	if (!map || !map->binary || !map->binary->greenlets)
		return false;
	addr -= map->bias;
	return map->binary->exchange.end ? inside(&map->binary->exchange, addr) || inside(&map->binary->exchange_stack, addr) :
					   !innermost;
}

bool natives__has_helpers(struct space *space, uint64_t addr, uint64_t inner)
{
	const struct code_map *map = space ? space__find(space, addr - 1) : NULL, *other;
	const struct binary *b = map ? map->binary : NULL;

	if (!b || !b->evaluator.end || !is_short(b))
		return false;
	other = space__find(space, inner - 1);
	return other && other->binary == b;
}

/* ---- afterwards */

static struct symbol_file *file_of(struct natives *n, const struct binary *b)
{
	while (n->files.len <= b->id) {
		if (vec__push(&n->files, (struct symbol_file *)NULL))
			return NULL;
	}
	/* what was written over a file says nothing of what was there */
	if (!n->files.data[b->id] &&
	    symbolizer__file(n->symbolizer, binary__is_unchanged(b) ? b->fd : -1, b->root_fd, b->path, &n->files.data[b->id]))
		n->files.data[b->id] = NULL;
	return n->files.data[b->id];
}

/* Functions that do nothing but run Python frames, which stand in their place. */
static bool is_evaluator(const char *name)
{
	static const char main[] = "_PyEval_EvalFrameDefault", part[] = "_TAIL_CALL_";
	size_t n = sizeof(main) - 1;

	/* behind the name: nothing, .cold and the like, or @plt of its stub */
	return (!strncmp(name, main, n) && (!name[n] || strchr(".@", name[n]))) || !strncmp(name, part, sizeof(part) - 1);
}

static int name_kernel(struct natives *n, const struct place *p, struct profile *to, struct frame_list *out)
{
	const char *name, *module;
	char text[256];
	int64_t frame;

	if (kallsyms__find(n->kallsyms, p->addr, !p->exact, &name, &module))
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)p->addr);
	else if (!strcmp(module, "bpf") && !strncmp(name, "bpf_prog_", 9) && !bpfprogs__have(&n->programs, p->addr - !p->exact))
		snprintf(text, sizeof(text), "bpf_prog [bpf]"); /* one without a name, such as a seccomp filter */
	else
		snprintf(text, sizeof(text), *module ? "%s [%s]" : "%s", name, module);
	frame = add_named(to, FRAME_KERNEL, text, NULL);
	return frame < 0 ? (int)frame : vec__push(out, (uint32_t)frame);
}

/* One function at a place, as a frame. */
static int add_symbol(const struct symbol *s, const char *module, struct profile *to, struct frame_list *out)
{
	struct frame frame = {.kind = FRAME_NATIVE, .line = s->line};
	int64_t name = profile__add_string(to, s->name, strlen(s->name)), id;
	int64_t path = profile__add_string(to, s->file, strlen(s->file));
	int64_t in = profile__add_string(to, module, strlen(module));

	if (name < 0 || path < 0 || in < 0)
		return -ENOMEM;
	frame.name = (uint32_t)name;
	frame.file = (uint32_t)path;
	frame.module = (uint32_t)in;
	id = profile__add_frame(to, &frame);
	return id < 0 ? (int)id : vec__push(out, (uint32_t)id);
}

static int name_native(struct natives *n, const struct place *p, struct profile *to, struct frame_list *out)
{
	struct symbol_file *file = file_of(n, p->binary);
	struct symbols symbols;
	int err = file ? symbolizer__resolve(n->symbolizer, file, p->addr, !p->exact, &symbols) : -ENOMEM;

	if (err)
		return err;
	if (!n->keep_evaluator && is_evaluator(symbols.list[symbols.count - 1].name))
		return 0;
	for (size_t i = symbols.count; i-- > 0 && !err;) {
		/* CPython Include/internal/pycore_ceval.h: an inline function around the evaluator */
		if (n->keep_evaluator || strcmp(symbols.list[i].name, "_PyEval_EvalFrame"))
			err = add_symbol(&symbols.list[i], symbols.known ? p->binary->name : "", to, out);
	}
	return err;
}

static int name_place(void *arg, const struct profile *from, struct profile *to, uint32_t id, struct frame_list *out)
{
	const struct frame *f = profile__frame(from, id);
	struct natives *n = arg;
	struct place place;
	int64_t frame;

	if (is_place(n, f, &place))
		return place.binary ? name_native(n, &place, to, out) : name_kernel(n, &place, to, out);
	frame = profile__add_frame(to, f);
	return frame < 0 ? (int)frame : vec__push(out, (uint32_t)frame);
}

static int by_binary(const void *a, const void *b, void *profile)
{
	const struct frame *x = profile__frame(profile, *(const uint32_t *)a), *y = profile__frame(profile, *(const uint32_t *)b);
	uint64_t of_x = (uint64_t)x->end_line << 32 | x->line, of_y = (uint64_t)y->end_line << 32 | y->line;

	if (x->end_column != y->end_column)
		return x->end_column < y->end_column ? -1 : 1;
	return of_x < of_y ? -1 : of_x > of_y;
}

/* Modules and BPF programs come and go. */
static void refresh_kernel(struct natives *n)
{
	n->kernel_error = (struct err){0};
	kallsyms__load(n->kallsyms, true, &n->kernel_error);
	bpfprogs__read(&n->programs); /* where that fails, no address is one of a program with a name */
}

/* The places' frames, file by file. 0 or -ENOMEM. */
static int frames_by_binary(const struct natives *n, const struct profile *p, struct frame_list *out)
{
	struct place place;

	for (uint32_t id = 0; id < profile__frame_count(p); id++) {
		if (is_place(n, profile__frame(p, id), &place) && vec__push(out, id))
			return -ENOMEM;
	}
	if (out->len)
		qsort_r(out->data, out->len, sizeof(*out->data), by_binary, (void *)p);
	return 0;
}

int natives__name(struct natives *n, const struct profile *p, struct profile **out)
{
	/* the DWARF of a few files only is at hand at a time, and takes a second to be read */
	struct frame_list frames = {0};
	int err = frames_by_binary(n, p, &frames);

	if (!err && frames.len && profile__frame(p, frames.data[0])->kind == FRAME_KERNEL) /* these come first */
		refresh_kernel(n);
	if (!err)
		err = profile__rebuild(p, &(struct rebuild_order){frames.data, frames.len}, name_place, n, out);
	vec__free(&frames);
	return err;
}

const char *natives__kernel_error(const struct natives *n)
{
	return n->kernel_error.code ? n->kernel_error.text : NULL;
}
