// SPDX-License-Identifier: Apache-2.0
/*
 * Parts of a profile that have been written elsewhere. What is past is dropped, and whatever nobody refers to then: what stays
 * moves together in its order, so that a profile is always without gaps, and all that hold its ids are told the new ones.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/profile_priv.h"

int profile__end_process(struct profile *p, uint32_t id)
{
	if (id >= p->processes.len)
		return -EINVAL;
	p->ended += !p->processes.data[id].ended;
	p->processes.data[id].ended = true;
	return 0;
}

int profile__end_thread(struct profile *p, uint32_t id)
{
	if (id >= p->threads.len)
		return -EINVAL;
	p->ended += !p->threads.data[id].ended;
	p->threads.data[id].ended = true;
	return 0;
}

size_t profile__ended_count(const struct profile *p)
{
	return p->ended;
}

static bool has_ended(const struct profile *p, const struct thread_entry *t)
{
	return t->ended || p->processes.data[t->facts.process].ended;
}

bool profile__is_past(const struct profile *p, const struct profile_sample *s)
{
	return p->keep_order || has_ended(p, &p->threads.data[s->thread]);
}

size_t profile__changed(const struct profile *p, const uint32_t **processes, const uint32_t **threads,
			size_t *thread_count)
{
	*processes = p->changed_processes.data;
	*threads = p->changed_threads.data;
	*thread_count = p->changed_threads.len;
	return p->changed_processes.len;
}

/* ---- which ids are in a structure */

static void each_of_frame(struct frame *f, profile_id_fn fn, void *arg)
{
	fn(arg, PROFILE_STRINGS, &f->name);
	fn(arg, PROFILE_STRINGS, &f->file);
	fn(arg, PROFILE_STRINGS, &f->short_file);
	fn(arg, PROFILE_STRINGS, &f->module);
}

static void each_of_process(struct profile_process *facts, profile_id_fn fn, void *arg)
{
	fn(arg, PROFILE_STRINGS, &facts->comm);
	fn(arg, PROFILE_STRINGS, &facts->cmdline);
	fn(arg, PROFILE_STRINGS, &facts->exe);
	fn(arg, PROFILE_STRINGS, &facts->container);
	fn(arg, PROFILE_STRINGS, &facts->container_name);
	fn(arg, PROFILE_STRINGS, &facts->version);
}

static void each_of_thread(struct profile_thread *facts, profile_id_fn fn, void *arg)
{
	fn(arg, PROFILE_PROCESSES, &facts->process);
	fn(arg, PROFILE_STRINGS, &facts->name);
}

static void each_of_sample(struct profile_sample *s, profile_id_fn fn, void *arg)
{
	fn(arg, PROFILE_THREADS, &s->thread);
	fn(arg, PROFILE_STACKS, &s->stack);
}

/* ---- what stays */

struct drop {
	struct profile *p;
	uint32_t **to; /* by table and id: not 0 when it stays, then its new id */
};

/* It stays, and what it refers to. */
static void keep(void *arg, enum profile_table table, uint32_t *id)
{
	const struct drop *d = arg;
	struct profile *p = d->p;

	/* towards the root, which stays: not by recursion, for a stack has thousands of frames */
	for (uint32_t at = *id; !d->to[table][at]; at = p->stacks.data[at].parent) {
		d->to[table][at] = 1;
		if (table == PROFILE_FRAMES)
			each_of_frame(&p->frames.data[at], keep, arg);
		else if (table == PROFILE_PROCESSES)
			each_of_process(&p->processes.data[at].facts, keep, arg);
		else if (table == PROFILE_THREADS)
			each_of_thread(&p->threads.data[at].facts, keep, arg);
		if (table != PROFILE_STACKS)
			break;
		keep(arg, PROFILE_FRAMES, &p->stacks.data[at].frame);
	}
}

static void keep_all(struct drop *d, const struct profile_holder *holder)
{
	struct profile *p = d->p;

	d->to[PROFILE_STRINGS][0] = d->to[PROFILE_STACKS][0] = 1;
	for (uint32_t id = 0; id < p->processes.len; id++) {
		if (!p->processes.data[id].ended)
			keep(d, PROFILE_PROCESSES, &id);
	}
	for (uint32_t id = 0; id < p->threads.len; id++) {
		if (!has_ended(p, &p->threads.data[id]))
			keep(d, PROFILE_THREADS, &id);
	}
	vec__foreach(&p->samples, s) {
		if (!profile__is_past(p, s))
			each_of_sample(s, keep, d);
	}
	if (holder)
		holder->each(holder->arg, keep, d);
}

static void number(struct profile_moves *m)
{
	for (int table = 0; table < PROFILE_TABLES; table++) {
		uint32_t next = 0;

		for (uint32_t id = 0; id < m->count[table]; id++)
			m->to[table][id] = m->to[table][id] ? next++ : PROFILE_GONE;
	}
}

/* ---- the new ids */

static void move(void *arg, enum profile_table table, uint32_t *id)
{
	const struct drop *d = arg;

	*id = d->to[table][*id];
}

static void drop_samples(struct profile *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->samples.len; i++) {
		if (!profile__is_past(p, &p->samples.data[i]))
			p->samples.data[kept++] = p->samples.data[i];
	}
	p->samples.len = kept;
}

static void move_tables(struct drop *d)
{
	struct profile *p = d->p;
	size_t kept[PROFILE_TABLES] = {0};

	for (size_t id = 0; id < p->frames.len; id++) {
		struct frame f = p->frames.data[id];

		if (d->to[PROFILE_FRAMES][id] == PROFILE_GONE)
			continue;
		each_of_frame(&f, move, d);
		p->frames.data[kept[PROFILE_FRAMES]++] = f;
	}
	for (size_t id = 0; id < p->stacks.len; id++) {
		struct stack_node s = p->stacks.data[id];

		if (d->to[PROFILE_STACKS][id] == PROFILE_GONE)
			continue;
		if (id) { /* the root has neither */
			move(d, PROFILE_STACKS, &s.parent);
			move(d, PROFILE_FRAMES, &s.frame);
		}
		p->stacks.data[kept[PROFILE_STACKS]++] = s;
	}
	for (size_t id = 0; id < p->processes.len; id++) {
		struct process_entry process = p->processes.data[id];

		if (d->to[PROFILE_PROCESSES][id] == PROFILE_GONE)
			continue;
		each_of_process(&process.facts, move, d);
		p->processes.data[kept[PROFILE_PROCESSES]++] = process;
	}
	for (size_t id = 0; id < p->threads.len; id++) {
		struct thread_entry thread = p->threads.data[id];

		if (d->to[PROFILE_THREADS][id] == PROFILE_GONE)
			continue;
		each_of_thread(&thread.facts, move, d);
		p->threads.data[kept[PROFILE_THREADS]++] = thread;
	}
	p->frames.len = kept[PROFILE_FRAMES];
	p->stacks.len = kept[PROFILE_STACKS];
	p->processes.len = kept[PROFILE_PROCESSES];
	p->threads.len = kept[PROFILE_THREADS];
	vec__foreach(&p->samples, s)
		each_of_sample(s, move, d);
}

/* Puts an entry behind those of the same hash. There is room: hmap__clear has left it. */
static void index_anew(struct hmap *m, uint64_t key, size_t id)
{
	while (hmap__get(m, key))
		key = hash__u64(key + 1);
	hmap__put(m, key, id);
}

static void index_samples(struct profile *p)
{
	hmap__clear(&p->sample_ids, p->keep_order ? 0 : p->samples.len);
	for (size_t i = 0; !p->keep_order && i < p->samples.len; i++)
		index_anew(&p->sample_ids, profile__sample_key(&p->samples.data[i]), i);
}

static void index_tables(struct profile *p)
{
	hmap__clear(&p->frame_ids, p->frames.len);
	hmap__clear(&p->stack_ids, p->stacks.len);
	for (size_t id = 0; id < p->frames.len; id++)
		index_anew(&p->frame_ids, profile__frame_key(&p->frames.data[id]), id);
	for (size_t id = 1; id < p->stacks.len; id++)
		index_anew(&p->stack_ids, profile__stack_key(p->stacks.data[id].parent, p->stacks.data[id].frame), id);
}

static void give_memory_back(struct profile *p)
{
	vec__shrink(&p->frames);
	vec__shrink(&p->stacks);
	vec__shrink(&p->processes);
	vec__shrink(&p->threads);
	vec__shrink(&p->samples);
}

static void count_ended(struct profile *p)
{
	p->ended = 0;
	vec__foreach(&p->processes, process)
		p->ended += process->ended;
	vec__foreach(&p->threads, thread)
		p->ended += thread->ended;
}

void profile_moves__free(struct profile_moves *m)
{
	for (int table = 0; table < PROFILE_TABLES; table++)
		free(m->to[table]);
	*m = (struct profile_moves){0};
}

static int moves__init(struct profile_moves *m, const struct profile *p)
{
	*m = (struct profile_moves){.count = {
		[PROFILE_STRINGS] = profile__string_count(p), [PROFILE_FRAMES] = profile__frame_count(p),
		[PROFILE_STACKS] = profile__stack_count(p), [PROFILE_PROCESSES] = profile__process_count(p),
		[PROFILE_THREADS] = profile__thread_count(p),
	}};
	for (int table = 0; table < PROFILE_TABLES; table++) {
		m->to[table] = calloc((size_t)m->count[table] + 1, sizeof(*m->to[table]));
		if (!m->to[table])
			return -ENOMEM;
	}
	return 0;
}

int profile__drop_past(struct profile *p, const struct profile_holder *holder, struct profile_moves *moves)
{
	struct profile_moves m;
	struct drop d = {.p = p, .to = m.to};
	int err = moves__init(&m, p);

	if (!err) {
		keep_all(&d, holder);
		number(&m);
		err = strtab__keep(p->strings, m.to[PROFILE_STRINGS], PROFILE_GONE);
	}
	drop_samples(p);
	if (err) {
		index_samples(p);
		profile_moves__free(&m);
		return err;
	}
	move_tables(&d);
	if (holder)
		holder->each(holder->arg, move, &d);
	index_samples(p);
	index_tables(p);
	give_memory_back(p);
	count_ended(p);
	vec__free(&p->changed_processes);
	vec__free(&p->changed_threads);
	*moves = m;
	return 0;
}

void profile__drop_samples(struct profile *p)
{
	vec__free(&p->samples);
	hmap__free(&p->sample_ids);
}
