/* SPDX-License-Identifier: Apache-2.0 */
/* A real interpreter that blocks, as the BPF program would see it: its memory, its layout, its thread's state. */
#ifndef PYBPF_TEST_SUBJECT_H
#define PYBPF_TEST_SUBJECT_H

#include "interpreter.h"

#include "bpf_host.h"
#include "collect/pyproc.h"

static struct interpreter_list interps;

/* A blocked interpreter and what is known of it. */
struct subject {
	const struct interpreter *interp;
	struct blocked blocked;
	struct pyfiles *files;
	struct pyproc proc;
	const struct py_layout *lay;
	struct image image;
	uint64_t tstate;
};

/* The state of the thread that told its chain, by the interpreter's list of threads. */
static uint64_t tstate_by_list(struct subject *t)
{
	const struct pyrt_lists *l = &t->proc.file->layout.lists;
	uint64_t interp, tstate = 0;

	if (l->runtime_interpreters == PYBPF_NO_OFFSET)
		return 0;
	interp = image__u64(&t->image, t->proc.runtime + l->runtime_interpreters);
	if (interp)
		tstate = image__u64(&t->image, interp + l->interp_threads);
	while (tstate && image__u64(&t->image, tstate + l->tstate_thread_id) != t->blocked.thread)
		tstate = image__u64(&t->image, tstate + l->tstate_next);
	return tstate;
}

/* As the BPF program finds it. False where it can't. */
static bool find_tstate(struct subject *t, uint64_t *tstate)
{
	struct proc_info info = {0};
	__u64 found = 0;

	pyproc__source(&t->proc, &info);
	if (info.source == PY_TSTATE_LIST || !t->proc.file->usable)
		return false;
	assert_int_equal(host_find_tstate(&info, t->lay, t->blocked.thread, &found), PYBPF_OK);
	*tstate = found;
	return true;
}

static void subject__start(struct subject *t, const struct interpreter *interp, const char *depth)
{
	struct err e = {0};

	*t = (struct subject){.interp = interp, .files = pyfiles__new()};
	blocked__start(&t->blocked, interp, depth);
	if (pyproc__find(t->files, t->blocked.pid, &t->proc, &e) != 1)
		fail_msg("%s: no interpreter found: %s", interp->id, e.text);
	if (!t->proc.file->layout.abi.version_hex)
		fail_msg("%s: no layout: %s", interp->id, t->proc.file->why);
	t->lay = &t->proc.file->layout.abi;
	assert_int_equal(memory__open_process(t->blocked.pid, &t->image.live, &e), 0);
	host_image = &t->image;
	t->tstate = tstate_by_list(t);
	if (!t->tstate && !find_tstate(t, &t->tstate))
		print_message("%s: no way to the thread's state yet\n", interp->id);
}

static void subject__end(struct subject *t)
{
	image__free(&t->image);
	blocked__end(&t->blocked);
	pyfiles__free(t->files);
	host_forget_maps();
}

/* Starts one interpreter of each minor version. False at the end. */
static inline bool next_version(struct subject *t, size_t *at, const char *depth)
{
	for (; *at < interps.len; ++*at) {
		const struct interpreter *i = &interps.data[*at];

		if (*at && i[-1].hex >> 16 == i->hex >> 16)
			continue;
		subject__start(t, i, depth);
		++*at;
		if (t->tstate)
			return true;
		subject__end(t);
	}
	return false;
}

static int find_all(void **state)
{
	(void)state;
	interpreters__find(&interps);
	return 0;
}

static int forget_all(void **state)
{
	(void)state;
	vec__free(&interps);
	return 0;
}

#endif
