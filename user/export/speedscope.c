// SPDX-License-Identifier: Apache-2.0
/*
 * speedscope's own file format (https://www.speedscope.app/file-format-schema.json): one table of
 * frames, and a profile of the kind `sampled` for each thread.
 *
 * Everything is written as it is found; what is kept is one number a frame and one a sample.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "export/formats.h"
#include "export/json.h"

/* What makes two frames one in the file. Written whole, so that no padding comes between. */
struct frame_key {
	uint32_t name, file, line, column, kind;
};

struct scope {
	const struct profile *p;
	const struct export_opts *o;
	struct json j;
	struct strtab *keys; /* of struct frame_key; id - 1 is the place in the file */
	uint32_t *places;    /* frame id -> place in the file */
	uint32_t *threads;   /* thread ids, equal ones side by side, in the order of the profiles */
	uint32_t *groups;    /* thread id -> profile */
	uint32_t group_count;
	size_t *order;  /* sample indices by profile, then by time */
	size_t *starts; /* profile -> its first place in `order`; one more at the end */
	struct vec(uint32_t) path;
};

static uint32_t shown_line(const struct scope *s, const struct frame *f)
{
	if (s->o->view.lines == LINE_NONE)
		return 0;
	if (s->o->view.lines == LINE_FUNCTION)
		return f->kind == FRAME_PYTHON ? f->first_line : 0;
	return f->line;
}

static struct frame_key key_of(const struct scope *s, const struct frame *f)
{
	uint32_t file = s->o->view.full_filenames || !f->short_file ? f->file : f->short_file;

	if (f->kind == FRAME_NATIVE && !file)
		file = f->module;
	return (struct frame_key){
		.name = f->name,
		.file = file,
		.line = shown_line(s, f),
		.column = s->o->view.lines == LINE_EXACT ? f->column : 0,
		.kind = f->kind,
	};
}

static void write_name(struct scope *s, const struct frame_key *key)
{
	size_t n;
	const char *name = profile__string(s->p, key->name, &n);
	struct str with_mark = {0};

	if (key->kind == FRAME_KERNEL && str__add(&with_mark, name, n) == 0 &&
	    str__adds(&with_mark, "_[k]") == 0)
		json__string(&s->j, with_mark.data, with_mark.len);
	else
		json__string(&s->j, name, n);
	str__free(&with_mark);
}

static void write_frame(struct scope *s, const struct frame_key *key)
{
	size_t n;
	const char *file = profile__string(s->p, key->file, &n);

	json__object(&s->j);
	json__key(&s->j, "name");
	write_name(s, key);
	if (n) {
		json__key(&s->j, "file");
		json__string(&s->j, file, n);
	}
	if (key->line) {
		json__key(&s->j, "line");
		json__uint(&s->j, key->line);
	}
	if (key->line && key->column) {
		json__key(&s->j, "col");
		json__uint(&s->j, key->column);
	}
	json__end_object(&s->j);
}

static int write_frames(struct scope *s)
{
	uint32_t count = profile__frame_count(s->p);

	json__key(&s->j, "shared");
	json__object(&s->j);
	json__key(&s->j, "frames");
	json__array(&s->j);
	for (uint32_t i = 0; i < count; i++) {
		struct frame_key key = key_of(s, profile__frame(s->p, i));
		uint32_t known = strtab__count(s->keys);
		int64_t id = strtab__add(s->keys, (const char *)&key, sizeof(key));

		if (id < 0)
			return id;
		s->places[i] = id - 1;
		if (strtab__count(s->keys) > known)
			write_frame(s, &key);
	}
	json__end_array(&s->j);
	json__end_object(&s->j);
	return 0;
}

/* By pid, tid, then by process: exec keeps pid and start time and goes on in the same profile,
 * another process that got the pid later does not. */
static int compare_threads(const void *a, const void *b, void *arg)
{
	const struct profile *p = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct profile_thread *s = profile__thread(p, x), *t = profile__thread(p, y);
	const struct profile_process *q = profile__process(p, s->process);
	const struct profile_process *r = profile__process(p, t->process);

	if (q->pid != r->pid)
		return q->pid < r->pid ? -1 : 1;
	if (s->tid != t->tid)
		return s->tid < t->tid ? -1 : 1;
	if (q->start_time != r->start_time)
		return q->start_time < r->start_time ? -1 : 1;
	return 0;
}

static int compare_ids(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int by_thread = compare_threads(a, b, arg);

	if (by_thread)
		return by_thread;
	return x < y ? -1 : x > y;
}

static void group_threads(struct scope *s)
{
	uint32_t count = profile__thread_count(s->p);
	void *p = (void *)s->p;

	for (uint32_t i = 0; i < count; i++)
		s->threads[i] = i;
	qsort_r(s->threads, count, sizeof(*s->threads), compare_ids, p);
	for (uint32_t i = 0; i < count; i++) {
		if (i && compare_threads(&s->threads[i - 1], &s->threads[i], p) != 0)
			s->group_count++;
		s->groups[s->threads[i]] = s->group_count;
	}
	if (count)
		s->group_count++;
}

static int compare_samples(const void *a, const void *b, void *arg)
{
	const struct scope *s = arg;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	const struct profile_sample *t = profile__sample(s->p, x), *u = profile__sample(s->p, y);
	uint32_t g = s->groups[t->thread], h = s->groups[u->thread];

	if (g != h)
		return g < h ? -1 : 1;
	if (t->time != u->time)
		return t->time < u->time ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void sort_samples(struct scope *s)
{
	size_t count = profile__sample_count(s->p), at = 0;

	for (size_t i = 0; i < count; i++)
		s->order[i] = i;
	qsort_r(s->order, count, sizeof(*s->order), compare_samples, s);
	for (uint32_t g = 0; g < s->group_count; g++) {
		s->starts[g] = at;
		while (at < count && s->groups[profile__sample(s->p, s->order[at])->thread] == g)
			at++;
	}
	s->starts[s->group_count] = at;
}

static int write_stack(struct scope *s, uint32_t stack)
{
	const struct stack_node *node = profile__stack(s->p, stack);
	int err = vec__reserve(&s->path, node->depth);

	if (err)
		return err;
	for (uint32_t i = node->depth; i-- > 0; node = profile__stack(s->p, node->parent))
		s->path.data[i] = s->places[node->frame];
	s->path.len = profile__stack(s->p, stack)->depth;
	json__array(&s->j);
	vec__foreach (&s->path, place)
		json__uint(&s->j, *place);
	json__end_array(&s->j);
	return 0;
}

static bool names_processes(const struct scope *s)
{
	uint32_t count = profile__process_count(s->p);

	if (s->o->view.process_frames)
		return true;
	for (uint32_t i = 1; i < count; i++) {
		if (profile__process(s->p, i)->pid != profile__process(s->p, 0)->pid)
			return true;
	}
	return false;
}

/* The last of a profile's threads speaks for it: exec comes with another name. */
static const struct profile_thread *thread_of_group(const struct scope *s, uint32_t group)
{
	const struct profile_thread *thread = NULL;
	uint32_t count = profile__thread_count(s->p);

	for (uint32_t low = 0, high = count; low < high;) {
		uint32_t middle = low + (high - low) / 2;

		if (s->groups[s->threads[middle]] <= group) {
			thread = profile__thread(s->p, s->threads[middle]);
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return thread;
}

static int write_profile_name(struct scope *s, uint32_t group)
{
	const struct profile_thread *thread = thread_of_group(s, group);
	struct str name = {0};
	size_t n;
	const char *own = profile__string(s->p, thread->name, &n);
	int err = 0;

	if (names_processes(s))
		err = str__addf(&name, "Process %" PRIu32 " ",
				profile__process(s->p, thread->process)->pid);
	if (!err)
		err = str__addf(&name, "Thread %" PRIu32 " \"", thread->tid);
	if (!err)
		err = str__add(&name, own, n);
	if (!err)
		err = str__addc(&name, '"');
	if (!err) {
		json__key(&s->j, "name");
		json__string(&s->j, name.data, name.len);
	}
	str__free(&name);
	return err;
}

static uint64_t group_weight(const struct scope *s, uint32_t group)
{
	uint64_t ns = 0;

	for (size_t i = s->starts[group]; i < s->starts[group + 1]; i++)
		ns += profile__sample(s->p, s->order[i])->weight;
	return ns;
}

static int write_profile(struct scope *s, uint32_t group)
{
	int err;

	json__object(&s->j);
	json__key(&s->j, "type");
	json__cstring(&s->j, "sampled");
	err = write_profile_name(s, group);
	if (err)
		return err;
	json__key(&s->j, "unit");
	json__cstring(&s->j, "seconds");
	json__key(&s->j, "startValue");
	json__uint(&s->j, 0);
	json__key(&s->j, "endValue");
	json__seconds(&s->j, group_weight(s, group));
	json__key(&s->j, "samples");
	json__array(&s->j);
	for (size_t i = s->starts[group]; i < s->starts[group + 1]; i++) {
		err = write_stack(s, profile__sample(s->p, s->order[i])->stack);
		if (err)
			return err;
	}
	json__end_array(&s->j);
	json__key(&s->j, "weights");
	json__array(&s->j);
	for (size_t i = s->starts[group]; i < s->starts[group + 1]; i++)
		json__seconds(&s->j, profile__sample(s->p, s->order[i])->weight);
	json__end_array(&s->j);
	json__end_object(&s->j);
	return 0;
}

static int write_profiles(struct scope *s)
{
	uint32_t shown = 0, heaviest = 0;
	uint64_t most = 0;
	int err;

	json__key(&s->j, "profiles");
	json__array(&s->j);
	for (uint32_t g = 0; g < s->group_count; g++) {
		uint64_t ns = group_weight(s, g);

		if (s->starts[g] == s->starts[g + 1])
			continue;
		if (ns > most) {
			most = ns;
			heaviest = shown;
		}
		err = write_profile(s, g);
		if (err)
			return err;
		shown++;
	}
	json__end_array(&s->j);
	if (shown) {
		json__key(&s->j, "activeProfileIndex");
		json__uint(&s->j, heaviest);
	}
	return 0;
}

static int write_name_of_file(struct scope *s)
{
	const struct profile_meta *m = profile__meta(s->p);
	const char *name = s->o->title;

	if (!name)
		name = m->command && *m->command ? m->command : "pybpf";
	json__key(&s->j, "name");
	json__cstring(&s->j, name);
	return 0;
}

static int write_file(struct scope *s)
{
	int err;

	json__object(&s->j);
	json__key(&s->j, "$schema");
	json__cstring(&s->j, "https://www.speedscope.app/file-format-schema.json");
	json__key(&s->j, "exporter");
	json__cstring(&s->j, "pybpf@" PYBPF_VERSION);
	write_name_of_file(s);
	err = write_frames(s);
	if (!err)
		err = write_profiles(s);
	json__end_object(&s->j);
	putc('\n', s->j.out);
	return err;
}

static int scope_alloc(struct scope *s)
{
	uint32_t threads = profile__thread_count(s->p);

	s->keys = strtab__new();
	s->places = calloc(profile__frame_count(s->p) + 1, sizeof(*s->places));
	s->threads = calloc(threads + 1, sizeof(*s->threads));
	s->groups = calloc(threads + 1, sizeof(*s->groups));
	s->starts = calloc(threads + 1, sizeof(*s->starts));
	s->order = calloc(profile__sample_count(s->p) + 1, sizeof(*s->order));
	if (!s->keys || !s->places || !s->threads || !s->groups || !s->starts || !s->order)
		return -ENOMEM;
	return 0;
}

static void scope_free(struct scope *s)
{
	strtab__free(s->keys);
	free(s->places);
	free(s->threads);
	free(s->groups);
	free(s->starts);
	free(s->order);
	vec__free(&s->path);
}

static int speedscope_write(const struct profile *p, const struct export_opts *o, FILE *out,
			    struct err *e)
{
	struct scope s = {.p = p, .o = o, .j = {.out = out}};
	int err = scope_alloc(&s);

	if (!err) {
		group_threads(&s);
		sort_samples(&s);
		err = write_file(&s);
	}
	err = err ? err__errno(e, err, "cannot write the profile") : export__finish(out, e);
	scope_free(&s);
	return err;
}

const struct export_format export_speedscope = {
	.name = "speedscope",
	.suffixes = (const char *const[]){".speedscope.json", ".json", NULL},
	.help = "for https://www.speedscope.app: a time line of every thread",
	.words = "speedscope data",
	.threads = true,
	.ordered = true,
	.write = speedscope_write,
};
