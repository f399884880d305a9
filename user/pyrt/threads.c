/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/threads.h"

#include <errno.h>
#include <string.h>

#define MAX_INTERPS 1024
#define MAX_THREADS 16384 /* in all: lists may be rings, and interpreters share what they lead to */

#define MAX_STATE 512 /* bytes from a state's start that hold all of the below */

/* Reads a thread's state at once: it may be one of thousands. */
static int read_thread(struct memory_reader *mem, const struct pyrt_layout *l, struct pyrt_thread *t, uint64_t *next)
{
	char state[MAX_STATE];
	size_t id = l->abi.tstate_native_id == PYBPF_NO_OFFSET ? 0 : l->abi.tstate_native_id;
	size_t n = (l->lists.tstate_thread_id > id ? l->lists.tstate_thread_id : id) + 8;
	int err;

	n = n < l->lists.tstate_next + 8u ? l->lists.tstate_next + 8u : n;
	err = n > sizeof(state) ? -EFAULT : memory__read(mem, t->tstate, state, n);
	if (err)
		return err;
	memcpy(&t->thread_id, state + l->lists.tstate_thread_id, 8);
	if (id)
		memcpy(&t->native_id, state + id, 4);
	memcpy(next, state + l->lists.tstate_next, 8);
	return 0;
}

static int add_threads(struct memory_reader *mem, const struct pyrt_layout *l, uint64_t tstate,
		       struct pyrt_threads *out)
{
	int err = 0;

	while (tstate && out->len < MAX_THREADS && !err) {
		struct pyrt_thread t = {.tstate = tstate};

		err = read_thread(mem, l, &t, &tstate);
		if (!err)
			err = vec__push(out, t);
	}
	return err;
}

int pyrt_threads__list(struct memory_reader *mem, const struct pyrt_layout *l, uint64_t interpreters,
		       struct pyrt_threads *out)
{
	uint64_t interp, tstate;
	int err = memory__read_u64(mem, interpreters, &interp);

	for (int i = 0; !err && interp && i < MAX_INTERPS && out->len < MAX_THREADS; i++) {
		err = memory__read_u64(mem, interp + l->lists.interp_threads, &tstate);
		if (!err)
			err = add_threads(mem, l, tstate, out);
		if (!err)
			err = memory__read_u64(mem, interp + l->lists.interp_next, &interp);
	}
	return err;
}
