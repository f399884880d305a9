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

/* Samples of each frame, by itself and at all; recursion counts once. */
static int count_frames(const struct profile *p, uint64_t *self, uint64_t *total)
{
	uint32_t stacks = profile__stack_count(p), frames = profile__frame_count(p);
	uint64_t *at = calloc(stacks, sizeof(*at));
	uint32_t *seen = calloc((size_t)frames + 1, sizeof(*seen));

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
		self[profile__stack(p, id)->frame] += at[id];
		for (uint32_t s = id; s; s = profile__stack(p, s)->parent) {
			uint32_t frame = profile__stack(p, s)->frame;

			if (seen[frame] == id)
				continue;
			seen[frame] = id;
			total[frame] += at[id];
		}
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
	return strcmp(x->label, y->label);
}

/* Sums frames by their function's label into *all, sorted. */
static int sum_functions(const struct profile *p, const uint64_t *self, const uint64_t *total,
			 struct hot_function **all, size_t *count)
{
	struct view_opts v = {.lines = LINE_NONE};
	struct strtab *labels = strtab__new();
	struct vec(struct hot_function) list = {0};
	struct str label = {0};
	int err = labels ? 0 : -ENOMEM;

	for (uint32_t f = 0; !err && f < profile__frame_count(p); f++) {
		int64_t id;

		if (!total[f])
			continue;
		str__reset(&label);
		err = view__frame_label(p, &v, f, &label);
		id = err ? err : strtab__add(labels, str__cstr(&label), label.len);
		if (id < 0) {
			err = (int)id;
			break;
		}
		while (!err && list.len <= (size_t)id)
			err = vec__push(&list, (struct hot_function){0});
		if (err)
			break;
		list.data[id].label = (char *)strtab__get(labels, (uint32_t)id, NULL);
		list.data[id].self += self[f];
		list.data[id].total += total[f];
	}
	if (!err && list.len && !list.data[0].label) /* id 0 is "", which hardly any frame is called */
		list.data[0] = list.data[--list.len];
	if (!err && list.len)
		qsort(list.data, list.len, sizeof(*list.data), hotter);
	for (size_t i = 0; !err && i < list.len; i++) {
		if (i < *count)
			err = (list.data[i].label = strdup(list.data[i].label)) ? 0 : -ENOMEM;
	}
	str__free(&label);
	strtab__free(labels);
	*all = list.data;
	if (list.len < *count)
		*count = list.len;
	return err;
}

int view__hottest(const struct profile *p, struct hot_function *out, size_t max, size_t *count)
{
	size_t frames = profile__frame_count(p);
	uint64_t *self = calloc(frames + 1, sizeof(*self)), *total = calloc(frames + 1, sizeof(*total));
	struct hot_function *all = NULL;
	int err = self && total ? count_frames(p, self, total) : -ENOMEM;

	*count = max;
	if (!err)
		err = sum_functions(p, self, total, &all, count);
	if (!err && *count)
		memcpy(out, all, *count * sizeof(*out));
	free(all);
	free(self);
	free(total);
	return err;
}
