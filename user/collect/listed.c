// SPDX-License-Identifier: Apache-2.0
#include "collect/listed.h"

#include <errno.h>
#include <stdlib.h>

#include "base/vec.h"
#include "pyrt/threads.h"
#include "sys/proc.h"

struct member {
	struct pyproc proc;
	struct memory_reader *mem;
	bool asked; /* to be looked at soon */
	struct vec(struct tstate_key) told; /* what the kernel has of it */
};

struct listed {
	struct kernel *kernel;
	struct vec(struct member) members;
};

struct listed *listed__new(struct kernel *k)
{
	struct listed *x = calloc(1, sizeof(*x));

	if (x)
		x->kernel = k;
	return x;
}

static void member__leave(struct listed *x, struct member *m)
{
	vec__foreach(&m->told, key)
		kernel__forget_tstate(x->kernel, key);
	vec__free(&m->told);
	memory__close(m->mem);
}

void listed__free(struct listed *x)
{
	if (!x)
		return;
	vec__foreach(&x->members, m)
		member__leave(x, m);
	vec__free(&x->members);
	free(x);
}

/* Threads that are not in the list any more are forgotten: their states may be somebody else's memory. */
static int member__refresh(struct listed *x, struct member *m)
{
	const struct pyrt_layout *l = &m->proc.file->layout;
	struct pyrt_threads threads = {0};
	struct vec(struct tstate_key) fresh = {0};
	int err = pyrt_threads__list(m->mem, l, pyproc__interpreters(&m->proc), &threads);

	if (err == -EFAULT) /* caught in the middle of a change: the next time */
		err = 0;
	vec__foreach(&threads, t) {
		struct tstate_key key = {
			.pid = (uint64_t)m->proc.pid,
			.thread = l->abi.tstate_native_id == PYBPF_NO_OFFSET ? t->thread_id : t->native_id,
		};

		if (key.thread && !err && !kernel__tell_tstate(x->kernel, &key, t->tstate))
			err = vec__push(&fresh, key);
	}
	vec__foreach(&m->told, old) {
		bool stays = false;

		vec__foreach(&fresh, key)
			stays = stays || key->thread == old->thread;
		if (!stays)
			kernel__forget_tstate(x->kernel, old);
	}
	vec__free(&threads);
	vec__free(&m->told);
	m->told.data = fresh.data;
	m->told.len = fresh.len;
	m->told.cap = fresh.cap;
	return err;
}

int listed__add(struct listed *x, const struct pyproc *p)
{
	struct member m = {.proc = *p};
	int err;

	vec__foreach(&x->members, it) {
		if (it->proc.pid == p->pid) { /* another program by now, or told twice */
			member__leave(x, it);
			*it = x->members.data[--x->members.len];
			break;
		}
	}
	if (!pyproc__interpreters(p))
		return 0;
	err = memory__open_process(p->pid, &m.mem, NULL);
	if (err)
		return err == -ENOMEM ? err : 0;
	err = vec__push(&x->members, m);
	if (err) {
		memory__close(m.mem);
		return err;
	}
	member__refresh(x, &x->members.data[x->members.len - 1]);
	return 0;
}

void listed__ask(struct listed *x, uint32_t pid)
{
	vec__foreach(&x->members, m) {
		if ((uint32_t)m->proc.pid == pid)
			m->asked = true;
	}
}

void listed__refresh(struct listed *x, bool all)
{
	for (size_t i = 0; i < x->members.len;) {
		struct member *m = &x->members.data[i];

		if (!all && !m->asked) {
			i++;
			continue;
		}
		m->asked = false;
		if (member__refresh(x, m) == -ESRCH) {
			member__leave(x, m);
			*m = x->members.data[--x->members.len];
		} else {
			i++;
		}
	}
}
