// SPDX-License-Identifier: Apache-2.0
#include "store/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/profile_priv.h"

struct profile *profile__new(bool keep_order)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->keep_order = keep_order;
	p->strings = strtab__new();
	if (!p->strings || vec__push(&p->stacks, (struct stack_node){0})) {
		profile__free(p);
		return NULL;
	}
	return p;
}

static void meta__free(struct profile_meta *m)
{
	free(m->version);
	free(m->host);
	free(m->kernel);
	free(m->machine);
	free(m->command);
}

void profile__free(struct profile *p)
{
	if (!p)
		return;
	strtab__free(p->strings);
	vec__free(&p->frames);
	vec__free(&p->stacks);
	vec__free(&p->processes);
	vec__free(&p->threads);
	vec__free(&p->changed_processes);
	vec__free(&p->changed_threads);
	vec__free(&p->samples);
	hmap__free(&p->frame_ids);
	hmap__free(&p->stack_ids);
	hmap__free(&p->sample_ids);
	meta__free(&p->meta);
	free(p);
}

int64_t profile__add_string(struct profile *p, const char *bytes, size_t n)
{
	return strtab__add(p->strings, bytes, n);
}

int64_t profile__find_string(const struct profile *p, const char *bytes, size_t n)
{
	return strtab__find(p->strings, bytes, n);
}

static bool known_string(const struct profile *p, uint32_t id)
{
	return id < strtab__count(p->strings);
}

/* Frames are compared as bytes: they have no padding. */
_Static_assert(sizeof(struct frame) == 10 * sizeof(uint32_t), "struct frame has padding");

uint64_t profile__frame_key(const struct frame *f)
{
	return hash__bytes(f, sizeof(*f));
}

int64_t profile__add_frame(struct profile *p, const struct frame *f)
{
	uint64_t key = profile__frame_key(f);
	int err;

	if (!known_string(p, f->name) || !known_string(p, f->file) || !known_string(p, f->short_file) ||
	    !known_string(p, f->module) || f->kind >= FRAME_KIND_COUNT)
		return -EINVAL;
	for (;; key = hash__u64(key + 1)) {
		uint64_t *id = hmap__get(&p->frame_ids, key);

		if (!id)
			break;
		if (!memcmp(&p->frames.data[*id], f, sizeof(*f)))
			return (int64_t)*id;
	}
	if (p->frames.len >= UINT32_MAX)
		return -ERANGE;
	err = vec__push(&p->frames, *f);
	if (err)
		return err;
	err = hmap__put(&p->frame_ids, key, p->frames.len - 1);
	if (err) {
		p->frames.len--;
		return err;
	}
	return (int64_t)p->frames.len - 1;
}

uint64_t profile__stack_key(uint32_t parent, uint32_t frame)
{
	return (uint64_t)parent << 32 | frame;
}

int64_t profile__add_stack(struct profile *p, uint32_t parent, uint32_t frame)
{
	uint64_t key = profile__stack_key(parent, frame), *known;
	int err;

	if (parent >= p->stacks.len || frame >= p->frames.len)
		return -EINVAL;
	known = hmap__get(&p->stack_ids, key);
	if (known)
		return (int64_t)*known;
	if (p->stacks.len >= UINT32_MAX)
		return -ERANGE;
	err = vec__push(&p->stacks, (struct stack_node){.parent = parent,
							.frame = frame,
							.depth = p->stacks.data[parent].depth + 1});
	if (err)
		return err;
	err = hmap__put(&p->stack_ids, key, p->stacks.len - 1);
	if (err) {
		p->stacks.len--;
		return err;
	}
	return (int64_t)p->stacks.len - 1;
}

static bool valid_process(const struct profile *p, const struct profile_process *process)
{
	return known_string(p, process->comm) && known_string(p, process->cmdline) && known_string(p, process->exe) &&
	       known_string(p, process->container) &&
	       known_string(p, process->container_name) && known_string(p, process->version);
}

int profile__set_process(struct profile *p, uint32_t id, const struct profile_process *process)
{
	if (id >= p->processes.len || !valid_process(p, process))
		return -EINVAL;
	p->processes.data[id].facts = *process;
	return vec__push(&p->changed_processes, id);
}

int64_t profile__add_process(struct profile *p, const struct profile_process *process)
{
	int err;

	if (!valid_process(p, process))
		return -EINVAL;
	if (p->processes.len >= UINT32_MAX)
		return -ERANGE;
	err = vec__push(&p->processes, (struct process_entry){.facts = *process});
	if (err)
		return err;
	p->processes_ever++;
	return (int64_t)p->processes.len - 1;
}

int64_t profile__add_thread(struct profile *p, const struct profile_thread *thread)
{
	int err;

	if (thread->process >= p->processes.len || !known_string(p, thread->name))
		return -EINVAL;
	if (p->threads.len >= UINT32_MAX)
		return -ERANGE;
	err = vec__push(&p->threads, (struct thread_entry){.facts = *thread});
	if (err)
		return err;
	p->threads_ever++;
	return (int64_t)p->threads.len - 1;
}

int profile__name_thread(struct profile *p, uint32_t thread, uint32_t name)
{
	if (thread >= p->threads.len || !known_string(p, name))
		return -EINVAL;
	if (p->threads.data[thread].facts.name == name)
		return 0;
	p->threads.data[thread].facts.name = name;
	return vec__push(&p->changed_threads, thread);
}

static bool same_kind(const struct profile_sample *a, const struct profile_sample *b)
{
	return a->thread == b->thread && a->stack == b->stack && a->outcome == b->outcome && a->kind == b->kind;
}

uint64_t profile__sample_key(const struct profile_sample *s)
{
	return hash__combine((uint64_t)s->thread << 32 | s->stack, (uint64_t)s->outcome << 16 | s->kind);
}

static int add_sample(struct profile *p, const struct profile_sample *s)
{
	uint64_t key;
	int err;

	if (p->keep_order)
		return vec__push(&p->samples, *s);
	key = profile__sample_key(s);
	for (;; key = hash__u64(key + 1)) {
		uint64_t *index = hmap__get(&p->sample_ids, key);
		struct profile_sample *known;

		if (!index)
			break;
		known = &p->samples.data[*index];
		if (same_kind(known, s)) {
			known->count += s->count;
			known->weight += s->weight;
			return 0;
		}
	}
	err = vec__push(&p->samples, *s);
	if (err)
		return err;
	err = hmap__put(&p->sample_ids, key, p->samples.len - 1);
	if (err)
		p->samples.len--;
	return err;
}

int profile__add_sample(struct profile *p, const struct profile_sample *s)
{
	struct stack_node *stack;
	int err;

	if (s->thread >= p->threads.len || s->stack >= p->stacks.len)
		return -EINVAL;
	err = add_sample(p, s);
	if (err)
		return err;
	stack = &p->stacks.data[s->stack];
	p->stacks_ever += !stack->has_sample;
	stack->has_sample = 1;
	return 0;
}

int profile__set_meta(struct profile *p, const struct profile_meta *m)
{
	struct profile_meta copy = *m;

	copy.version = strdup(m->version ? m->version : "");
	copy.host = strdup(m->host ? m->host : "");
	copy.kernel = strdup(m->kernel ? m->kernel : "");
	copy.machine = strdup(m->machine ? m->machine : "");
	copy.command = strdup(m->command ? m->command : "");
	if (!copy.version || !copy.host || !copy.kernel || !copy.machine || !copy.command) {
		meta__free(&copy);
		return -ENOMEM;
	}
	meta__free(&p->meta);
	p->meta = copy;
	return 0;
}

void profile__set_accounts(struct profile *p, const struct profile_accounts *a)
{
	p->accounts = *a;
}

uint32_t profile__string_count(const struct profile *p)
{
	return strtab__count(p->strings);
}

uint32_t profile__frame_count(const struct profile *p)
{
	return (uint32_t)p->frames.len;
}

uint32_t profile__stack_count(const struct profile *p)
{
	return (uint32_t)p->stacks.len;
}

uint32_t profile__process_count(const struct profile *p)
{
	return (uint32_t)p->processes.len;
}

uint32_t profile__thread_count(const struct profile *p)
{
	return (uint32_t)p->threads.len;
}

size_t profile__sample_count(const struct profile *p)
{
	return p->samples.len;
}

const char *profile__string(const struct profile *p, uint32_t id, size_t *n)
{
	return strtab__get(p->strings, id, n);
}

const struct frame *profile__frame(const struct profile *p, uint32_t id)
{
	return &p->frames.data[id];
}

const struct stack_node *profile__stack(const struct profile *p, uint32_t id)
{
	return &p->stacks.data[id];
}

const struct profile_process *profile__process(const struct profile *p, uint32_t id)
{
	return &p->processes.data[id].facts;
}

const struct profile_thread *profile__thread(const struct profile *p, uint32_t id)
{
	return &p->threads.data[id].facts;
}

const struct profile_sample *profile__sample(const struct profile *p, size_t index)
{
	return &p->samples.data[index];
}

const struct profile_meta *profile__meta(const struct profile *p)
{
	return &p->meta;
}

const struct profile_accounts *profile__accounts(const struct profile *p)
{
	return &p->accounts;
}

bool profile__ordered(const struct profile *p)
{
	return p->keep_order;
}

static size_t hmap_bytes(const struct hmap *m)
{
	return m->cap * 3 * sizeof(uint64_t);
}

size_t profile__memory(const struct profile *p)
{
	return sizeof(*p) + strtab__memory(p->strings) + p->frames.cap * sizeof(*p->frames.data) +
	       p->stacks.cap * sizeof(*p->stacks.data) + p->samples.cap * sizeof(*p->samples.data) +
	       p->processes.cap * sizeof(*p->processes.data) + p->threads.cap * sizeof(*p->threads.data) +
	       hmap_bytes(&p->frame_ids) + hmap_bytes(&p->stack_ids) + hmap_bytes(&p->sample_ids);
}

uint64_t profile__processes_ever(const struct profile *p)
{
	return p->processes_ever;
}

uint64_t profile__threads_ever(const struct profile *p)
{
	return p->threads_ever;
}

uint64_t profile__stacks_ever(const struct profile *p)
{
	return p->stacks_ever;
}
