// SPDX-License-Identifier: Apache-2.0
#include "collect/recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "collect/holds.h"
#include "collect/people.h"
#include "collect/stacks.h"
#include "symbolize/codes.h"

struct recorder {
	struct profile *profile;
	struct codes *codes;
	struct people *people;
	struct holds *holds;
	const struct interps *interps;
	uint64_t start_ns, period_ns;
	bool limited; /* memory is short */
	struct recorder_counts counts;
};

struct recorder *recorder__new(const struct recorder_context *context)
{
	struct recorder *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->profile = context->profile;
	r->interps = context->interps;
	r->start_ns = context->start_ns;
	r->period_ns = context->period_ns;
	r->codes = codes__new(r->profile);
	r->people = r->codes ? people__new(context, r->codes) : NULL;
	r->holds = holds__new();
	if (!r->people || !r->holds) {
		recorder__free(r);
		return NULL;
	}
	return r;
}

void recorder__free(struct recorder *r)
{
	if (!r)
		return;
	holds__free(r->holds);
	people__free(r->people);
	codes__free(r->codes);
	free(r);
}

/* A stack that consists of one marker. */
static int64_t marker_stack(struct recorder *r, enum pybpf_outcome outcome)
{
	int64_t frame = stacks__marker(r->profile, outcome);

	return frame < 0 ? frame : profile__add_stack(r->profile, 0, (uint32_t)frame);
}

/* Its time is CLOCK_MONOTONIC. 0 or -ENOMEM. */
static int write_sample(struct recorder *r, const struct profile_sample *s)
{
	struct profile_sample sample = *s;

	sample.time = s->time > r->start_ns ? s->time - r->start_ns : 0;
	if (profile__add_sample(r->profile, &sample))
		return -ENOMEM;
	r->counts.written++;
	if (outcome__class(sample.outcome) == OUTCOME_TRUNCATED)
		r->counts.truncated[sample.outcome]++;
	return 0;
}

/* One that was held. */
static void release_sample(void *arg, const struct profile_sample *held, enum pybpf_outcome outcome)
{
	struct recorder *r = arg;
	struct profile_sample sample = *held;
	int64_t stack = sample.stack;

	if (outcome != PYBPF_OK) {
		sample.outcome = outcome;
		stack = marker_stack(r, outcome);
	}
	sample.stack = (uint32_t)stack;
	if (stack < 0 || write_sample(r, &sample))
		r->counts.lost[PYBPF_NO_MEMORY]++;
}

void recorder__settle(struct recorder *r, bool last)
{
	holds__settle(r->holds, last, release_sample, r);
}

bool recorder__holds(const struct recorder *r)
{
	return holds__count(r->holds);
}

/* The stack of a sample that has one, or why it has none. */
static int64_t find_stack(struct recorder *r, struct person *person, const struct rec_sample *s, uint16_t *outcome)
{
	int64_t stack = -ENOENT;

	if (s->stack && people__trust(person) == TRUST_NONE && people__has_python(person, s->stack)) {
		*outcome = PYBPF_UNSUPPORTED;
	} else if (s->stack) {
		stack = people__stack(person, s, outcome);
		if (stack == -ENOENT)
			*outcome = r->limited ? PYBPF_MEMORY_LIMIT : PYBPF_STACK_MISSING;
	}
	return stack == -ENOENT ? marker_stack(r, *outcome) : stack;
}

static int add_sample(struct recorder *r, const struct rec_sample *s)
{
	struct profile_sample sample = {
		.time = s->time,
		.cpu = s->cpu,
		.outcome = s->outcome,
		.kind = s->kind,
		.count = 1,
		.weight = r->period_ns,
	};
	struct person *person = people__of(r->people, s->identity, s->pid);
	const struct interp *interp;
	int64_t thread, stack;
	uint16_t types;

	if (!person)
		return -ENOMEM;
	thread = people__thread(r->people, person, s->tid);
	if (thread < 0)
		return (int)thread;
	stack = find_stack(r, person, s, &sample.outcome);
	if (stack < 0)
		return (int)stack;
	sample.thread = (uint32_t)thread;
	sample.stack = (uint32_t)stack;
	/* native frames need no layout */
	if (!s->stack || people__trust(person) != TRUST_OPEN || !people__has_python(person, s->stack))
		return write_sample(r, &sample);
	interp = people__interp(person, &types);
	return holds__add(r->holds, s->identity, interp, types, &sample);
}

int recorder__sample(struct recorder *r, const struct rec_sample *s)
{
	if (s->outcome == PYBPF_LAYOUT_PENDING) {
		if (!interps__is_python(r->interps, s->identity))
			return 0; /* some other program that had not been looked at yet */
		r->counts.taken++;
	}
	if (add_sample(r, s))
		r->counts.lost[PYBPF_NO_MEMORY]++;
	return 0;
}

void recorder__name_thread(struct recorder *r, uint64_t identity, uint32_t tid, const char *name, size_t n)
{
	people__name_thread(r->people, identity, tid, name, n);
}

void recorder__restart(struct recorder *r, uint64_t start_ns)
{
	r->start_ns = start_ns;
}

void recorder__limit(struct recorder *r, bool on)
{
	r->limited = on;
	people__limit(r->people, on);
}

void recorder__end_round(struct recorder *r, const struct recorder_held *held)
{
	people__end_round(r->people, held);
}

int recorder__take(struct recorder *r, const void *record, size_t size)
{
	uint32_t type;

	if (size < sizeof(type))
		return 0;
	memcpy(&type, record, sizeof(type));
	/* A record that memory does not suffice for is missed by the samples that need it: these count as truncated. */
	switch (type) {
	case REC_STACK:
		if (size >= sizeof(struct rec_stack))
			people__on_stack(r->people, record, size, NULL);
		break;
	case REC_CODE:
		if (size >= sizeof(struct rec_code))
			people__on_code(r->people, record, size);
		break;
	case REC_PROC:
		if (size >= sizeof(struct rec_proc))
			people__on_proc(r->people, record, size);
		break;
	case REC_THREAD:
		if (size >= sizeof(struct rec_thread))
			people__on_thread(r->people, record);
		break;
	case REC_EXIT:
		if (size >= sizeof(struct rec_life))
			people__on_exit(r->people, record);
		break;
	case REC_EXEC:
		if (size >= sizeof(struct rec_life))
			people__on_exec(r->people, record);
		break;
	}
	return 0;
}

void recorder__resolve(struct recorder *r, const struct rec_stack *stack, uint32_t *ids)
{
	people__resolve(r->people, stack, ids);
}

void recorder__take_stack(struct recorder *r, const struct rec_stack *stack, size_t size, const uint32_t *ids)
{
	people__on_stack(r->people, stack, size, ids);
}

void recorder__sweep(struct recorder *r, bool (*is_gone)(void *arg, uint32_t pid), void *arg)
{
	people__sweep(r->people, is_gone, arg);
}

void recorder__sweep_threads(struct recorder *r, recorder_thread_fn ended, void *arg)
{
	people__sweep_threads(r->people, ended, arg);
}

uint32_t recorder__code_count(const struct recorder *r)
{
	return codes__count(r->codes);
}

void recorder__mark_codes(const struct recorder *r, bool *used)
{
	people__mark_codes(r->people, used);
}

void recorder__drop_codes(struct recorder *r, const bool *used)
{
	codes__drop(r->codes, used);
}

void recorder__each_id(void *arg, profile_id_fn fn, void *fn_arg)
{
	struct recorder *r = arg;

	codes__each_id(r->codes, fn, fn_arg);
	people__each_id(r->people, fn, fn_arg);
	holds__each_id(r->holds, fn, fn_arg);
}

void recorder__counts(const struct recorder *r, struct recorder_counts *out)
{
	*out = r->counts;
	out->processes = profile__processes_ever(r->profile);
	out->threads = profile__threads_ever(r->profile);
	out->stacks = profile__stacks_ever(r->profile);
	out->code_objects = codes__ever(r->codes);
}

uint64_t recorder__live(const struct recorder *r)
{
	return people__live(r->people);
}
