/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/threads.h"

#include <errno.h>

#define MAX_INTERPS 1024
#define MAX_THREADS 8192

static int add_threads(struct memory_reader *mem, const struct pyrt_layout *l, uint64_t tstate,
		       struct pyrt_threads *out)
{
	int err = 0;

	for (int i = 0; tstate && i < MAX_THREADS && !err; i++) {
		struct pyrt_thread t = {.tstate = tstate};

		err = memory__read_u64(mem, tstate + l->lists.tstate_thread_id, &t.thread_id);
		if (!err && l->abi.tstate_native_id != PYBPF_NO_OFFSET)
			err = memory__read_u32(mem, tstate + l->abi.tstate_native_id, &t.native_id);
		if (!err)
			err = vec__push(out, t);
		if (!err)
			err = memory__read_u64(mem, tstate + l->lists.tstate_next, &tstate);
	}
	return err;
}

int pyrt_threads__list(struct memory_reader *mem, const struct pyrt_layout *l, uint64_t interpreters,
		       struct pyrt_threads *out)
{
	uint64_t interp, tstate;
	int err = memory__read_u64(mem, interpreters, &interp);

	for (int i = 0; !err && interp && i < MAX_INTERPS; i++) {
		err = memory__read_u64(mem, interp + l->lists.interp_threads, &tstate);
		if (!err)
			err = add_threads(mem, l, tstate, out);
		if (!err)
			err = memory__read_u64(mem, interp + l->lists.interp_next, &interp);
	}
	return err;
}
