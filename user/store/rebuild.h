/* SPDX-License-Identifier: Apache-2.0 */
/* A profile made anew out of another one, with other frames in the place of some. */
#ifndef PYBPF_REBUILD_H
#define PYBPF_REBUILD_H

#include "base/vec.h"
#include "store/profile.h"

struct frame_list vec(uint32_t);

/*
 * What stands in the new profile `to` for frame `id` of `from`: adds frames to `to` and pushes their ids, outermost first,
 * none to leave the frame out. Strings of `from` have the same ids in `to`. 0 or -errno.
 */
typedef int (*rebuild_fn)(void *arg, const struct profile *from, struct profile *to, uint32_t id,
			  struct frame_list *out);

/* Frames to be asked about before the others, in this order, as far as they are in use. NULL: none. */
struct rebuild_order {
	const uint32_t *frames;
	size_t count;
};

/*
 * The caller's in *out; frames and stacks that nothing refers to any more are left out. Each frame is asked about once. 0 or
 * -errno.
 */
int profile__rebuild(const struct profile *from, const struct rebuild_order *order, rebuild_fn fn, void *arg,
		     struct profile **out);

#endif
