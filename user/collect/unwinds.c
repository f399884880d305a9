// SPDX-License-Identifier: Apache-2.0
#include "collect/unwinds.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#include "collect/unwind_arrays.h"
#include "sys/elf.h"
#include "unwind/cache.h"
#include "unwind/table.h"

#define WORTH_WHILE 8 /* what dropped tables must give back: the n-th part of all rows */

struct request {
	uint32_t id; /* of the binary, and of its table in the kernel */
	int fd;
};

/* What became of the table of a binary. */
struct asked {
	bool queued, made;
	bool wanted; /* by user space */
	bool waits; /* for room in the kernel */
	int err;     /* why there is none; 0: there is one */
	uint32_t rows; /* in the kernel */
	int fd; /* of the file */
	struct unwind_table *table; /* for user space */
};

struct unwinds {
	pthread_t thread;
	bool started;
	atomic_bool stop; /* also seen while a table is made */

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t wanted, idle;
	struct vec(struct request) queue;
	struct vec(struct asked) asked; /* by id of the binary */
	bool busy, ready;
	bool wants_room; /* a table waits */
	bool begin_anew; /* the kernel's tables are void: the thread is to fill the arrays from the beginning */
	struct unwinds_counts counts;
	uint32_t blocks; /* in use */

	/* the thread's own: tables of earlier runs (NULL where there can be none), and the kernel's arrays */
	struct unwind_cache *cache;
	struct unwind_arrays arrays;
};

/* 0; -EBADMSG when it is malformed, or another error of unwind_table__build. */
static int load_table(struct unwinds *u, const struct request *r, struct unwind_table **out)
{
	struct elf *elf;
	int err = elf__open(r->fd, &elf, NULL);

	if (err)
		return err;
	err = unwind_cache__build(u->cache, elf, &u->stop, out, NULL);
	elf__close(elf);
	/* an ELF file, but not what its headers say: each of these is a way of being malformed */
	return err == -EINVAL || err == -EIO || err == -E2BIG ? -EBADMSG : err;
}

/* The table of a request is there, or err: user space gets it if it wants it. */
static void made(struct unwinds *u, uint32_t id, struct unwind_table **table, int err)
{
	struct asked *a;

	pthread_mutex_lock(&u->lock);
	a = &u->asked.data[id];
	a->queued = false;
	a->made = true;
	a->err = err;
	if (a->wanted && !err && !a->table)
		a->table = take_ptr(*table);
	pthread_mutex_unlock(&u->lock);
}

/* Once more, for user space. */
static void load_again(struct unwinds *u, const struct request *r)
{
	struct unwind_table *table = NULL;
	int err = load_table(u, r, &table);

	if (err != -ECANCELED)
		made(u, r->id, &table, err);
	unwind_table__free(table);
}

static void make_table(struct unwinds *u, const struct request *r)
{
	struct unwind_table_info info = {.state = UNWIND_TABLE_NONE};
	struct unwind_table *table = NULL;
	uint64_t start = clock_ns(CLOCK_MONOTONIC);
	uint32_t rows = 0;
	int err = load_table(u, r, &table);

	if (err == -ECANCELED)
		return;
	if (err == -EBADMSG)
		info.state = UNWIND_TABLE_REFUSED;
	if (!err) {
		rows = table->nrows;
		err = unwind_arrays__put(&u->arrays, table, &info);
	}
	if (err == -ENOSPC) /* until it is known whether others can make room */
		info.state = UNWIND_TABLE_PENDING;
	if (bpf_map_update_elem(u->arrays.fds.tables, &r->id, &info, BPF_ANY) && !err)
		err = -ENOSPC;
	made(u, r->id, &table, err == -ENOSPC ? 0 : err);
	pthread_mutex_lock(&u->lock);
	u->counts.build_ns += clock_ns(CLOCK_MONOTONIC) - start;
	if (!err) {
		u->counts.tables++;
		u->counts.rows += rows;
		u->asked.data[r->id].rows = rows;
	} else if (err == -ENOSPC) {
		u->counts.full++;
		u->asked.data[r->id].waits = u->wants_room = true;
	} else if (err == -EBADMSG) {
		u->counts.refused++;
	} else {
		u->counts.absent++;
	}
	u->counts.rules = u->arrays.rules;
	u->counts.pages = u->arrays.pages;
	u->blocks = u->arrays.block;
	pthread_mutex_unlock(&u->lock);
	unwind_table__free(table);
}

static void *work(void *arg)
{
	struct unwinds *u = arg;
	bool spare, again;

	/* samples are marked until a table is there: it is wanted before others have had their turns */
	setpriority(PRIO_PROCESS, 0, -20);
	unwind_cache__open(UNWIND_CACHE_DIR, UNWIND_CACHE_MAX, &u->cache, NULL);
	pthread_mutex_lock(&u->lock);
	for (;;) {
		struct request r;

		while (!u->queue.len && !u->begin_anew && !u->stop) {
			pthread_mutex_unlock(&u->lock);
			spare = unwind_arrays__spare(&u->arrays);
			pthread_mutex_lock(&u->lock);
			u->ready |= !spare;
			if (u->ready)
				pthread_cond_broadcast(&u->idle);
			if (!spare && !u->queue.len && !u->begin_anew && !u->stop)
				pthread_cond_wait(&u->wanted, &u->lock);
		}
		if (u->stop)
			break;
		if (u->begin_anew) {
			u->begin_anew = false;
			u->busy = true;
			pthread_mutex_unlock(&u->lock);
			unwind_arrays__empty(&u->arrays);
			pthread_mutex_lock(&u->lock);
			u->busy = false;
			continue;
		}
		r = u->queue.data[0];
		memmove(u->queue.data, u->queue.data + 1, --u->queue.len * sizeof(r));
		u->busy = true;
		again = u->asked.data[r.id].made;
		pthread_mutex_unlock(&u->lock);
		if (again)
			load_again(u, &r);
		else
			make_table(u, &r);
		pthread_mutex_lock(&u->lock);
		u->busy = false;
		if (!u->queue.len)
			pthread_cond_broadcast(&u->idle);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

int unwinds__new(struct kernel *k, struct unwinds **out, struct err *e)
{
	struct unwinds *u = calloc(1, sizeof(*u));
	pthread_condattr_t attr;
	sigset_t all, before;
	int err;

	if (!u)
		return err__errno(e, -ENOMEM, "starting to unwind");
	unwind_arrays__init(&u->arrays, k);
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->wanted, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->idle, &attr);
	pthread_condattr_destroy(&attr);
	/* signals are for the main thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&u->thread, NULL, work, u);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		unwinds__free(u);
		return err__errno(e, err, "starting the thread that makes unwind tables");
	}
	u->started = true;
	*out = u;
	return 0;
}

void unwinds__free(struct unwinds *u)
{
	if (!u)
		return;
	if (u->started) {
		pthread_mutex_lock(&u->lock);
		u->stop = true;
		pthread_cond_signal(&u->wanted);
		pthread_mutex_unlock(&u->lock);
		pthread_join(u->thread, NULL);
	}
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->wanted);
	pthread_cond_destroy(&u->idle);
	vec__free(&u->queue);
	vec__foreach(&u->asked, a)
		unwind_table__free(a->table);
	vec__free(&u->asked);
	unwind_arrays__end(&u->arrays);
	unwind_cache__close(u->cache);
	free(u);
}

/* With the lock held. */
static void enqueue(struct unwinds *u, const struct binary *b)
{
	struct asked *a = &u->asked.data[b->id];

	if (a->queued || vec__push(&u->queue, (struct request){.id = b->id, .fd = b->fd}))
		return;
	a->queued = true;
	a->fd = b->fd;
	pthread_cond_signal(&u->wanted);
}

/* With the lock held: what is known of the binary's table, NULL when out of memory. */
static struct asked *asked_of(struct unwinds *u, const struct binary *b)
{
	while (u->asked.len <= b->id) {
		if (vec__push(&u->asked, (struct asked){0}))
			return NULL;
	}
	return &u->asked.data[b->id];
}

void unwinds__request(struct unwinds *u, const struct binary *b)
{
	const struct asked *a;

	pthread_mutex_lock(&u->lock);
	a = asked_of(u, b);
	if (a && !a->made)
		enqueue(u, b);
	pthread_mutex_unlock(&u->lock);
}

int unwinds__table(struct unwinds *u, const struct binary *b, const struct unwind_table **out)
{
	struct asked *a;
	int err = -EAGAIN;

	pthread_mutex_lock(&u->lock);
	a = asked_of(u, b);
	if (a && a->table) {
		*out = a->table;
		err = 0;
	} else if (!a || a->err) {
		err = a ? a->err : -ENOENT;
	} else {
		a->wanted = true;
		enqueue(u, b);
	}
	pthread_mutex_unlock(&u->lock);
	return err;
}

bool unwinds__wants_room(struct unwinds *u)
{
	bool wants;

	pthread_mutex_lock(&u->lock);
	wants = u->wants_room && !u->busy;
	pthread_mutex_unlock(&u->lock);
	return wants;
}

/* With the lock held: those that wait have none. */
static void give_up_waiting(struct unwinds *u)
{
	const struct unwind_table_info none = {.state = UNWIND_TABLE_NONE};

	for (uint32_t id = 0; id < u->asked.len; id++) {
		if (u->asked.data[id].waits)
			bpf_map_update_elem(u->arrays.fds.tables, &id, &none, BPF_ANY);
		u->asked.data[id].waits = false;
	}
}

/* With the lock held: nothing leads to what is in the arrays any more, and who is in use is in the queue. */
static void drop_all(struct unwinds *u, const bool *in_use, size_t count)
{
	const struct unwind_table_info pending = {.state = UNWIND_TABLE_PENDING};

	u->queue.len = 0;
	for (uint32_t id = 0; id < u->asked.len; id++) {
		struct asked *a = &u->asked.data[id];
		bool used = id < count && in_use[id], had = a->rows;

		if (a->err)
			continue;
		u->counts.dropped += had && !used;
		bpf_map_update_elem(u->arrays.fds.tables, &id, &pending, BPF_ANY);
		a->made = a->queued = a->waits = false;
		a->rows = 0;
		if (used && !vec__push(&u->queue, (struct request){.id = id, .fd = a->fd}))
			a->queued = true;
	}
	u->counts.tables = 0;
	u->counts.rows = 0;
	u->begin_anew = true;
	pthread_cond_signal(&u->wanted);
}

void unwinds__make_room(struct unwinds *u, const bool *in_use, size_t count)
{
	uint64_t all = 0, unused = 0;

	pthread_mutex_lock(&u->lock);
	for (size_t id = 0; id < u->asked.len; id++) {
		all += u->asked.data[id].rows;
		unused += id < count && in_use[id] ? 0 : u->asked.data[id].rows;
	}
	if (u->busy) /* it may be writing a table: the next time */
		goto out;
	u->wants_room = false;
	if (unused && unused >= all / WORTH_WHILE)
		drop_all(u, in_use, count);
	else
		give_up_waiting(u);
out:
	pthread_mutex_unlock(&u->lock);
}

void unwinds__drop_tables(struct unwinds *u)
{
	pthread_mutex_lock(&u->lock);
	vec__foreach(&u->asked, a) {
		unwind_table__free(take_ptr(a->table));
		a->wanted = false;
	}
	pthread_mutex_unlock(&u->lock);
}

bool unwinds__wait(struct unwinds *u, uint64_t timeout_ns)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(timeout_ns / 1000000000u);
	until.tv_nsec += (long)(timeout_ns % 1000000000u);
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&u->lock);
	while ((u->queue.len || u->busy || !u->ready) && pthread_cond_timedwait(&u->idle, &u->lock, &until) != ETIMEDOUT)
		;
	done = !u->queue.len && !u->busy && u->ready;
	pthread_mutex_unlock(&u->lock);
	return done;
}

void unwinds__counts(struct unwinds *u, struct unwinds_counts *out)
{
	pthread_mutex_lock(&u->lock);
	*out = u->counts;
	out->block_bytes = (uint64_t)u->blocks * sizeof(struct unwind_block);
	out->kernel_bytes = out->block_bytes +
			    (uint64_t)u->arrays.fds.max_pages * sizeof(struct unwind_page) +
			    (uint64_t)u->arrays.fds.max_rules * sizeof(struct unwind_rule) +
			    (uint64_t)u->arrays.fds.max_tables * sizeof(struct unwind_table_info) +
			    (uint64_t)u->arrays.fds.max_mappings * sizeof(struct unwind_mapping);
	pthread_mutex_unlock(&u->lock);
}
