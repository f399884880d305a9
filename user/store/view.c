// SPDX-License-Identifier: Apache-2.0
#include "store/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"

static int add_string(const struct profile *p, uint32_t id, struct str *out)
{
	size_t n;
	const char *bytes = profile__string(p, id, &n);

	return str__add(out, bytes, n);
}

static int python_label(const struct profile *p, const struct view_opts *v, const struct frame *f, struct str *out)
{
	uint32_t line = v->lines == LINE_EXACT ? f->line : v->lines == LINE_FUNCTION ? f->first_line : 0;
	uint32_t file = v->full_filenames || !f->short_file ? f->file : f->short_file;
	int err = add_string(p, f->name, out);

	if (!err)
		err = str__adds(out, " (");
	if (!err)
		err = add_string(p, file, out);
	if (!err && line)
		err = str__addf(out, ":%u", line);
	return err ? err : str__addc(out, ')');
}

int view__frame_label(const struct profile *p, const struct view_opts *v, uint32_t frame, struct str *out)
{
	const struct frame *f = profile__frame(p, frame);
	int err;

	switch (f->kind) {
	case FRAME_PYTHON:
		return python_label(p, v, f, out);
	case FRAME_NATIVE:
		err = add_string(p, f->name, out);
		if (!err && f->module)
			err = str__adds(out, " (") ?: add_string(p, f->module, out) ?: str__addc(out, ')');
		return err;
	case FRAME_KERNEL:
		return add_string(p, f->name, out) ?: str__adds(out, "_[k]");
	default:
		return add_string(p, f->name, out);
	}
}

int view__process_label(const struct profile *p, uint32_t process, struct str *out)
{
	const struct profile_process *of = profile__process(p, process);

	return str__addf(out, "process %u:\"", of->pid) ?: add_string(p, of->cmdline, out) ?: str__addc(out, '"');
}

int view__container_label(const struct profile *p, uint32_t process, struct str *out)
{
	const struct profile_process *of = profile__process(p, process);
	int err;

	if (!of->container)
		return 0;
	err = str__adds(out, "container ") ?: add_string(p, of->container, out);
	if (!err && of->container_name)
		err = str__adds(out, " (") ?: add_string(p, of->container_name, out) ?: str__addc(out, ')');
	return err;
}

int view__thread_label(const struct profile *p, uint32_t thread, struct str *out)
{
	const struct profile_thread *of = profile__thread(p, thread);
	int err = str__addf(out, "thread (%u)", of->tid);

	if (!err && of->name)
		err = str__adds(out, ": ") ?: add_string(p, of->name, out);
	return err;
}

/* The functions of a profile, each once however many of its lines there are. */
struct functions {
	struct strtab *labels;
	uint32_t *of; /* by frame: id of its label, frames without samples included */
	struct vec(struct hot_function) list; /* by id of the label */
};

static int find_functions(struct functions *all, const struct profile *p)
{
	struct view_opts v = {.lines = LINE_NONE};
	struct str label = {0};
	int err = 0;

	all->labels = strtab__new();
	all->of = calloc((size_t)profile__frame_count(p) + 1, sizeof(*all->of));
	if (!all->labels || !all->of)
		return -ENOMEM;
	for (uint32_t f = 0; !err && f < profile__frame_count(p); f++) {
		int64_t id;

		str__reset(&label);
		err = view__frame_label(p, &v, f, &label);
		id = err ? err : strtab__add(all->labels, str__cstr(&label), label.len);
		if (id < 0)
			err = (int)id;
		else
			all->of[f] = (uint32_t)id;
	}
	for (uint32_t id = 0; !err && id < strtab__count(all->labels); id++)
		err = vec__push(&all->list, (struct hot_function){.label = (char *)strtab__get(all->labels, id, NULL)});
	str__free(&label);
	return err;
}

/* Samples of each function, by itself and at all; recursion counts once. A marker is no function. */
static int count_functions(struct functions *all, const struct profile *p)
{
	uint32_t stacks = profile__stack_count(p);
	uint64_t *at = calloc(stacks, sizeof(*at));
	uint32_t *seen = calloc(all->list.len + 1, sizeof(*seen)); /* by function: the last stack that counted it */

	if (!at || !seen) {
		free(at);
		free(seen);
		return -ENOMEM;
	}
	for (size_t i = 0; i < profile__sample_count(p); i++)
		at[profile__sample(p, i)->stack] += profile__sample(p, i)->count;
	for (uint32_t id = 1; id < stacks; id++) {
		if (!at[id])
			continue;
		all->list.data[all->of[profile__stack(p, id)->frame]].self += at[id];
		for (uint32_t s = id; s; s = profile__stack(p, s)->parent) {
			uint32_t function = all->of[profile__stack(p, s)->frame];

			if (seen[function] == id)
				continue;
			seen[function] = id;
			all->list.data[function].total += at[id];
		}
	}
	for (uint32_t f = 0; f < profile__frame_count(p); f++) {
		if (profile__frame(p, f)->kind == FRAME_MARKER)
			all->list.data[all->of[f]].self = all->list.data[all->of[f]].total = 0;
	}
	free(at);
	free(seen);
	return 0;
}

static int hotter(const void *a, const void *b)
{
	const struct hot_function *x = a, *y = b;

	if (x->self != y->self)
		return x->self < y->self ? 1 : -1;
	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return strcmp(x->label, y->label);
}

int view__hottest(const struct profile *p, struct hot_function *out, size_t max, size_t *count)
{
	struct functions all = {0};
	int err = find_functions(&all, p) ?: count_functions(&all, p);
	size_t n = 0;

	if (!err && all.list.len)
		qsort(all.list.data, all.list.len, sizeof(*all.list.data), hotter);
	while (!err && n < max && n < all.list.len && all.list.data[n].total) {
		out[n] = all.list.data[n];
		out[n].label = strdup(all.list.data[n].label);
		if (out[n].label)
			n++;
		else
			err = -ENOMEM;
	}
	while (err && n)
		free(out[--n].label);
	if (!err)
		*count = n;
	vec__free(&all.list);
	strtab__free(all.labels);
	free(all.of);
	return err;
}
