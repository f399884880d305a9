/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/threadnames.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"
#include "pyrt/threadnames.h"
#include "sys/mem.h"

#define AGAIN_NS   5000000000ull /* names may change */
#define SOON_NS    100000000ull  /* a thread that starts is not known to `threading` yet */
#define SOON_TRIES 5
#define PAUSE_NS   20000000ull /* at least, between two readings of a process */
#define SHARE      100         /* and so many times as long as the last one took */
/* Processes that are read in one go before samples are taken in again, unless one of them takes so long. */
#define AT_ONCE    64
#define AT_ONCE_NS 20000000ull

struct member {
	uint64_t identity;
	uint32_t pid;
	struct memory_reader *mem;
	struct pyrt_layout layout;
	uint64_t interpreters; /* 0: not known yet */
	struct hmap tids;      /* thread id in the process's own namespace -> ours, of those sampled */
	uint64_t rest, due;    /* CLOCK_MONOTONIC: when it may be read again, and when it is to be */
	unsigned int tries;    /* that are left for threads without a name */
	struct pyrt_thread_names names;
};

struct threadnames {
	struct interps *interps;
	struct hmap by_identity; /* -> place in members */
	struct vec(struct member *) members;
	size_t next; /* the one to begin with the next time */
};

struct threadnames *threadnames__new(struct interps *x)
{
	struct threadnames *t = calloc(1, sizeof(*t));

	if (t)
		t->interps = x;
	return t;
}

static void member__free(struct member *m)
{
	memory__close(m->mem);
	hmap__free(&m->tids);
	pyrt_thread_names__free(&m->names);
	free(m);
}

void threadnames__free(struct threadnames *t)
{
	if (!t)
		return;
	vec__foreach(&t->members, m)
		member__free(*m);
	vec__free(&t->members);
	hmap__free(&t->by_identity);
	free(t);
}

static struct member *find(struct threadnames *t, uint64_t identity)
{
	const uint64_t *at = hmap__get(&t->by_identity, identity);

	return at ? t->members.data[*at] : NULL;
}

static void forget(struct threadnames *t, uint64_t identity)
{
	const uint64_t *at = hmap__get(&t->by_identity, identity);
	size_t place = at ? *at : 0;
	struct member *last;

	if (!at)
		return;
	member__free(t->members.data[place]);
	hmap__del(&t->by_identity, identity);
	last = t->members.data[--t->members.len];
	if (place < t->members.len) {
		t->members.data[place] = last;
		*hmap__get(&t->by_identity, last->identity) = place;
	}
}

/*
 * Its memory is opened at once: that stays with the address space. Had another program taken its place before that, its
 * record of exec or exit would follow in the same round, and the member be forgotten before it is read.
 */
static void on_proc(struct threadnames *t, const struct rec_proc *r)
{
	struct member *m;

	if (r->flags & (PROC_UNSUPPORTED | PROC_NATIVE_ONLY) || find(t, r->identity))
		return;
	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	m->identity = r->identity;
	m->pid = r->pid;
	if (memory__open_process((pid_t)r->pid, &m->mem, NULL) ||
	    hmap__put(&t->by_identity, r->identity, t->members.len)) {
		member__free(m);
	} else if (vec__push(&t->members, m)) {
		hmap__del(&t->by_identity, r->identity);
		member__free(m);
	}
}

static void on_thread(struct threadnames *t, const struct rec_thread *r)
{
	struct member *m = find(t, r->identity);

	const uint64_t *known = m ? hmap__get(&m->tids, r->ns_tid) : NULL;

	if (!m || (known && *known == r->tid) || hmap__put(&m->tids, r->ns_tid, r->tid))
		return;
	m->due = m->rest;
	m->tries = SOON_TRIES;
}

void threadnames__take(struct threadnames *t, const void *record, size_t size)
{
	const uint32_t *type = record;

	if (size < sizeof(*type))
		return;
	if (*type == REC_PROC && size >= sizeof(struct rec_proc))
		on_proc(t, record);
	else if (*type == REC_THREAD && size >= sizeof(struct rec_thread))
		on_thread(t, record);
	else if ((*type == REC_EXIT || *type == REC_EXEC) && size >= sizeof(struct rec_life))
		forget(t, ((const struct rec_life *)record)->identity);
}

void threadnames__end_thread(struct threadnames *t, uint64_t identity, uint32_t tid)
{
	struct member *m = find(t, identity);
	uint64_t ns_tid, *at;
	size_t pos = 0;

	while (m && hmap__next(&m->tids, &pos, &ns_tid, &at)) {
		if (*at == tid)
			hmap__del(&m->tids, ns_tid);
	}
}

static int locate(struct threadnames *t, struct member *m)
{
	struct pyproc p;
	int err = interps__find(t->interps, m->pid, &p);

	if (err <= 0 || !p.file->usable || !p.file->proven)
		return err < 0 ? err : -ENOENT;
	m->layout = p.file->layout;
	m->interpreters = pyproc__interpreters(&p);
	return 0;
}

/* 0, or -ESRCH when the process has ended. */
static int member__read(struct threadnames *t, struct member *m, threadnames_fn fn, void *arg)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), took;
	size_t named = 0;
	int err = m->interpreters ? 0 : locate(t, m);

	if (!err && m->interpreters)
		err = pyrt_thread_names__read(m->mem, &m->layout, m->interpreters, &m->tids, &m->names);
	vec__foreach(&m->names.names, name) {
		const uint64_t *tid = hmap__get(&m->tids, name->native_id);

		if (err || !tid)
			continue;
		fn(arg, m->identity, (uint32_t)*tid, m->names.text.data + name->at, name->n);
		named++;
	}
	took = (clock_ns(CLOCK_MONOTONIC) - start) * SHARE;
	m->rest = start + (took > PAUSE_NS ? took : PAUSE_NS);
	m->due = start + AGAIN_NS;
	if (named < m->tids.len && m->tries) {
		m->tries--;
		m->due = m->rest > start + SOON_NS ? m->rest : start + SOON_NS;
	}
	return err == -ESRCH ? err : 0;
}

void threadnames__read(struct threadnames *t, bool all, threadnames_fn fn, void *arg)
{
	size_t left = t->members.len, read = 0;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	while (left-- && t->members.len && (all || read < AT_ONCE)) {
		struct member *m;

		t->next = t->next < t->members.len ? t->next : 0;
		m = t->members.data[t->next];
		if (!all && m->due > now) {
			t->next++;
			continue;
		}
		read++;
		if (member__read(t, m, fn, arg))
			forget(t, m->identity); /* the last one is in its place now */
		else
			t->next++;
		if (!all && clock_ns(CLOCK_MONOTONIC) - now > AT_ONCE_NS)
			return;
	}
}
