// SPDX-License-Identifier: Apache-2.0
#include "store/rebuild.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define UNKNOWN UINT32_MAX

struct rebuild {
	const struct profile *from;
	struct profile *to;
	rebuild_fn fn;
	void *arg;
	/* by frame of `from`: where its new frames begin in `frames`; UNKNOWN: not asked yet */
	uint32_t *first, *count;
	struct frame_list frames;
	uint32_t *stacks; /* by stack of `from`: the new one; UNKNOWN: not made yet */
};

static int copy_tables(struct rebuild *r)
{
	/* string 0 is there already */
	for (uint32_t id = 1; id < profile__string_count(r->from); id++) {
		size_t n;
		const char *bytes = profile__string(r->from, id, &n);
		int64_t err = profile__add_string(r->to, bytes, n);

		if (err < 0)
			return (int)err;
	}
	for (uint32_t id = 0; id < profile__process_count(r->from); id++) {
		int64_t err = profile__add_process(r->to, profile__process(r->from, id));

		if (err < 0)
			return (int)err;
	}
	for (uint32_t id = 0; id < profile__thread_count(r->from); id++) {
		int64_t err = profile__add_thread(r->to, profile__thread(r->from, id));

		if (err < 0)
			return (int)err;
	}
	profile__set_accounts(r->to, profile__accounts(r->from));
	return profile__set_meta(r->to, profile__meta(r->from));
}

static int expand(struct rebuild *r, uint32_t frame)
{
	size_t before = r->frames.len;
	int err;

	if (r->first[frame] != UNKNOWN)
		return 0;
	err = r->fn(r->arg, r->from, r->to, frame, &r->frames);
	if (err)
		return err;
	r->first[frame] = (uint32_t)before;
	r->count[frame] = (uint32_t)(r->frames.len - before);
	return 0;
}

static int expand_in_order(struct rebuild *r, const struct rebuild_order *order)
{
	size_t frames = profile__frame_count(r->from), stacks = profile__stack_count(r->from);
	bool *used = calloc(frames + 1, 1), *seen = calloc(stacks, 1);
	int err = used && seen ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < profile__sample_count(r->from); i++) {
		uint32_t id = profile__sample(r->from, i)->stack;

		for (; id && !seen[id]; id = profile__stack(r->from, id)->parent) {
			seen[id] = true;
			used[profile__stack(r->from, id)->frame] = true;
		}
	}
	for (size_t i = 0; !err && i < order->count; i++)
		if (used[order->frames[i]])
			err = expand(r, order->frames[i]);
	free(used);
	free(seen);
	return err;
}

/* Makes a stack and those that it stands on; a parent's id is always the lower one. */
static int make_stack(struct rebuild *r, uint32_t id, struct frame_list *path)
{
	int64_t stack;

	path->len = 0;
	for (; r->stacks[id] == UNKNOWN; id = profile__stack(r->from, id)->parent) {
		if (vec__push(path, id))
			return -ENOMEM;
	}
	stack = r->stacks[id];
	for (size_t i = path->len; i-- > 0;) {
		uint32_t frame = profile__stack(r->from, path->data[i])->frame;
		int err = expand(r, frame);

		if (err)
			return err;
		for (uint32_t k = 0; k < r->count[frame]; k++) {
			stack = profile__add_stack(r->to, (uint32_t)stack, r->frames.data[r->first[frame] + k]);
			if (stack < 0)
				return (int)stack;
		}
		r->stacks[path->data[i]] = (uint32_t)stack;
	}
	return 0;
}

static int copy_samples(struct rebuild *r)
{
	struct frame_list path = {0};
	int err = 0;

	for (size_t i = 0; !err && i < profile__sample_count(r->from); i++) {
		struct profile_sample s = *profile__sample(r->from, i);

		err = make_stack(r, s.stack, &path);
		if (err)
			break;
		s.stack = r->stacks[s.stack];
		err = profile__add_sample(r->to, &s);
	}
	vec__free(&path);
	return err;
}

int profile__rebuild(const struct profile *from, const struct rebuild_order *order, rebuild_fn fn, void *arg,
		     struct profile **out)
{
	size_t frames = profile__frame_count(from), stacks = profile__stack_count(from);
	struct rebuild r = {.from = from, .fn = fn, .arg = arg};
	int err = -ENOMEM;

	r.to = profile__new(profile__ordered(from));
	r.first = malloc((frames + 1) * sizeof(*r.first));
	r.count = malloc((frames + 1) * sizeof(*r.count));
	r.stacks = malloc(stacks * sizeof(*r.stacks));
	if (!r.to || !r.first || !r.count || !r.stacks)
		goto out;
	for (size_t i = 0; i < frames; i++)
		r.first[i] = UNKNOWN;
	for (size_t i = 0; i < stacks; i++)
		r.stacks[i] = i ? UNKNOWN : 0;
	err = copy_tables(&r);
	if (!err && order)
		err = expand_in_order(&r, order);
	if (!err)
		err = copy_samples(&r);
	if (!err) {
		*out = r.to;
		r.to = NULL;
	}
out:
	profile__free(r.to);
	free(r.first);
	free(r.count);
	free(r.stacks);
	vec__free(&r.frames);
	return err;
}
