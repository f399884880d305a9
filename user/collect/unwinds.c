// SPDX-License-Identifier: Apache-2.0
#include "collect/unwinds.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <bpf/bpf.h>
#if !__has_include(<bpf/libbpf_version.h>) /* libbpf before 0.8 (Ubuntu 22.04) has another name for it */
#define bpf_map_create(type, name, key_size, value_size, entries, opts)                                            \
	bpf_create_map(type, (int)(key_size), (int)(value_size), entries, 0)
#endif

#include "base/cleanup.h"
#include "base/vec.h"
#include "sys/elf.h"
#include "unwind/cache.h"
#include "unwind/table.h"

#define SPARE_BLOCKS 8  /* 512 KB, more than a libpython and a libc take */
#define WORTH_WHILE  8  /* what dropped tables must give back: the n-th part of all rows */
#define GRACE_US     20000 /* no walk takes longer that has found a table before it was dropped */
#define SPARE_MAX    64 /* where there are many tables: 4 MB */

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
	struct kernel_unwind_maps fds;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t wanted, idle;
	struct vec(struct request) queue;
	struct vec(struct asked) asked; /* by id of the binary */
	bool busy, stop, ready;
	bool wants_room; /* a table waits */
	bool begin_anew; /* the kernel's tables are void: the thread is to fill the arrays from the beginning */
	struct unwinds_counts counts;
	uint32_t blocks; /* in use */

	/* the thread's own: tables of earlier runs (NULL where there can be none), how far the kernel's arrays are filled */
	struct unwind_cache *cache;
	uint32_t pages, rules;
	uint32_t block;     /* the block being filled, + 1; 0: none yet */
	uint32_t block_len; /* rows in it */
	struct vec(int) made; /* the kernel's blocks; -1 once they are full */
	struct unwind_block rows;
};

/* Elements [first, first + n) of an array map. */
static int put_array(int fd, uint32_t first, uint32_t n, const void *values)
{
	uint32_t *keys = malloc((n + 1) * sizeof(*keys));
	int err;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		keys[i] = first + i;
	err = n ? bpf_map_update_batch(fd, keys, values, &n, NULL) : 0;
	free(keys);
	return err;
}

/* How many to have in hand: the more there are, the more are wanted soon. */
static uint32_t spare_blocks(const struct unwinds *u)
{
	uint32_t n = u->block / 2;

	return n < SPARE_BLOCKS ? SPARE_BLOCKS : n < SPARE_MAX ? n : SPARE_MAX;
}

/*
 * Blocks more for the kernel, empty. Putting them into their map waits until all BPF programs that run have ended, 10-20 ms
 * (kernel/bpf/syscall.c, maybe_wait_bpf_programs), once for all from 5.19 on: they are made before they are needed.
 */
static int make_blocks(struct unwinds *u)
{
	uint32_t first = (uint32_t)u->made.len, keys[SPARE_MAX], n = spare_blocks(u), done;
	int fds[SPARE_MAX], err = 0;

	if (first >= u->fds.max_blocks || vec__reserve(&u->made, first + n))
		return -ENOSPC;
	if (n > u->fds.max_blocks - first)
		n = u->fds.max_blocks - first;
	for (done = 0; done < n; done++) {
		keys[done] = first + done;
		fds[done] = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(uint32_t), sizeof(struct unwind_block), 1, NULL);
		if (fds[done] < 0)
			break;
	}
	n = done;
	if (!n)
		return -ENOMEM;
	if (bpf_map_update_batch(u->fds.blocks, keys, fds, &done, NULL)) {
		for (done = 0; done < n && !err; done += !err)
			err = bpf_map_update_elem(u->fds.blocks, &keys[done], &fds[done], BPF_ANY);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (i >= done || vec__push(&u->made, fds[i]))
			close(fds[i]);
	}
	return done ? 0 : err;
}

/* Writes the block that is being filled. Rows that are there already stay as they are, also while they are read. */
static int put_block(struct unwinds *u)
{
	uint32_t zero = 0;

	return u->block ? bpf_map_update_elem(u->made.data[u->block - 1], &zero, &u->rows, BPF_ANY) : 0;
}

/* Opens a block that was filled before. */
static int reopen_block(struct unwinds *u, uint32_t index)
{
	uint32_t id;
	int fd, err = bpf_map_lookup_elem(u->fds.blocks, &index, &id);

	if (err)
		return err;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	u->made.data[index] = fd;
	return 0;
}

/* Room for n rows that lie side by side; the block before is written when it is full. */
static int room_for(struct unwinds *u, uint32_t n)
{
	int err;

	if (n > UNWIND_BLOCK_ROWS)
		return -E2BIG;
	if (u->block && u->block_len + n <= UNWIND_BLOCK_ROWS)
		return 0;
	err = put_block(u);
	if (!err && u->made.len <= u->block)
		err = make_blocks(u);
	if (!err && u->made.data[u->block] < 0)
		err = reopen_block(u, u->block);
	if (err)
		return err;
	if (u->block) {
		close(u->made.data[u->block - 1]);
		u->made.data[u->block - 1] = -1;
	}
	u->block++;
	u->block_len = 0;
	memset(&u->rows, 0, sizeof(u->rows));
	return 0;
}

/* Rows and rules first, then the pages that lead to them; nothing leads to the pages yet. */
static int put_table(struct unwinds *u, const struct unwind_table *t)
{
	_cleanup_free_ struct unwind_page *pages = calloc(t->npages + 1, sizeof(*pages));
	int err;

	if (!pages)
		return -ENOMEM;
	if (t->npages > u->fds.max_pages - u->pages || t->nrules > u->fds.max_rules - u->rules)
		return -ENOSPC;
	for (uint32_t i = 0; i < t->npages; i++) {
		uint32_t first = t->pages[i], n = t->pages[i + 1] - first;

		err = room_for(u, n);
		if (err)
			return err;
		memcpy(u->rows.rows + u->block_len, t->rows + first, n * sizeof(*t->rows));
		pages[i] = (struct unwind_page){u->block - 1, (uint16_t)u->block_len, (uint16_t)n};
		u->block_len += n;
	}
	err = put_block(u);
	if (!err)
		err = put_array(u->fds.rules, u->rules, t->nrules, t->rules);
	if (!err)
		err = put_array(u->fds.pages, u->pages, t->npages, pages);
	return err;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0; -EBADMSG when it is malformed, or another error of unwind_table__build. */
static int load_table(struct unwinds *u, const struct request *r, struct unwind_table **out)
{
	struct elf *elf;
	int err = elf__open(r->fd, &elf, NULL);

	if (err)
		return err;
	err = unwind_cache__build(u->cache, elf, out, NULL);
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

	made(u, r->id, &table, err);
	unwind_table__free(table);
}

static void make_table(struct unwinds *u, const struct request *r)
{
	struct unwind_table_info info = {.state = UNWIND_TABLE_NONE};
	struct unwind_table *table = NULL;
	uint64_t start = now_ns();
	uint32_t rows = 0;
	int err = load_table(u, r, &table);

	if (err == -EBADMSG)
		info.state = UNWIND_TABLE_REFUSED;
	if (!err) {
		rows = table->nrows;
		err = put_table(u, table);
	}
	if (!err) {
		info = (struct unwind_table_info){
			.text_start = table->text_start,
			.page_base = u->pages,
			.page_count = table->npages,
			.rule_base = u->rules,
			.state = UNWIND_TABLE_READY,
		};
		u->pages += table->npages;
		u->rules += table->nrules;
	}
	if (err == -ENOSPC) /* until it is known whether others can make room */
		info.state = UNWIND_TABLE_PENDING;
	if (bpf_map_update_elem(u->fds.tables, &r->id, &info, BPF_ANY) && !err)
		err = -ENOSPC;
	made(u, r->id, &table, err == -ENOSPC ? 0 : err);
	pthread_mutex_lock(&u->lock);
	u->counts.build_ns += now_ns() - start;
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
	u->counts.rules = u->rules;
	u->counts.pages = u->pages;
	u->blocks = u->block;
	pthread_mutex_unlock(&u->lock);
	unwind_table__free(table);
}

/* The arrays are filled from the beginning. Walks that have found a table in them end first. */
static void begin_anew(struct unwinds *u)
{
	usleep(GRACE_US);
	if (u->block && u->made.data[u->block - 1] >= 0) {
		close(u->made.data[u->block - 1]);
		u->made.data[u->block - 1] = -1;
	}
	u->pages = u->rules = u->block = u->block_len = 0;
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
			spare = u->made.len < u->block + spare_blocks(u) / 2 && !make_blocks(u);
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
			begin_anew(u);
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
	kernel__unwind_maps(k, &u->fds);
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
	vec__foreach(&u->made, fd) {
		if (*fd >= 0)
			close(*fd);
	}
	vec__free(&u->made);
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
			bpf_map_update_elem(u->fds.tables, &id, &none, BPF_ANY);
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
		bpf_map_update_elem(u->fds.tables, &id, &pending, BPF_ANY);
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
			    (uint64_t)u->fds.max_pages * sizeof(struct unwind_page) +
			    (uint64_t)u->fds.max_rules * sizeof(struct unwind_rule) +
			    (uint64_t)u->fds.max_tables * sizeof(struct unwind_table_info) +
			    (uint64_t)u->fds.max_mappings * sizeof(struct unwind_mapping);
	pthread_mutex_unlock(&u->lock);
}
