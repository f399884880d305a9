// SPDX-License-Identifier: Apache-2.0
#include "collect/unwind_arrays.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#if !__has_include(<bpf/libbpf_version.h>) /* libbpf before 0.8 (Ubuntu 22.04) has another name for it */
#define bpf_map_create(type, name, key_size, value_size, entries, opts)                                            \
	bpf_create_map(type, (int)(key_size), (int)(value_size), entries, 0)
#endif

#include "base/cleanup.h"

#define SPARE_BLOCKS 8     /* 512 KB, more than a libpython and a libc take */
#define SPARE_MAX    64    /* where there are many tables: 4 MB */
#define GRACE_US     20000 /* no walk takes longer that has found a table before it was dropped */

void unwind_arrays__init(struct unwind_arrays *u, const struct kernel *k)
{
	kernel__unwind_maps(k, &u->fds);
}

void unwind_arrays__end(struct unwind_arrays *u)
{
	vec__foreach(&u->made, fd) {
		if (*fd >= 0)
			close(*fd);
	}
	vec__free(&u->made);
}

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
static uint32_t spare_blocks(const struct unwind_arrays *u)
{
	uint32_t n = u->block / 2;

	return n < SPARE_BLOCKS ? SPARE_BLOCKS : n < SPARE_MAX ? n : SPARE_MAX;
}

/*
 * Blocks more for the kernel, empty. Putting them into their map waits until all BPF programs that run have ended, 10-20 ms
 * (kernel/bpf/syscall.c, maybe_wait_bpf_programs), once for all from 5.19 on: they are made before they are needed.
 */
static int make_blocks(struct unwind_arrays *u)
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
static int put_block(struct unwind_arrays *u)
{
	uint32_t zero = 0;

	return u->block ? bpf_map_update_elem(u->made.data[u->block - 1], &zero, &u->rows, BPF_ANY) : 0;
}

/* Opens a block that was filled before. */
static int reopen_block(struct unwind_arrays *u, uint32_t index)
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
static int room_for(struct unwind_arrays *u, uint32_t n)
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

int unwind_arrays__put(struct unwind_arrays *u, const struct unwind_table *t, struct unwind_table_info *info)
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
	/* rows and rules first, then the pages that lead to them; nothing leads to the pages yet */
	err = put_block(u);
	if (!err)
		err = put_array(u->fds.rules, u->rules, t->nrules, t->rules);
	if (!err)
		err = put_array(u->fds.pages, u->pages, t->npages, pages);
	if (err)
		return err;
	*info = (struct unwind_table_info){
		.text_start = t->text_start,
		.page_base = u->pages,
		.page_count = t->npages,
		.rule_base = u->rules,
		.state = UNWIND_TABLE_READY,
	};
	u->pages += t->npages;
	u->rules += t->nrules;
	return 0;
}

bool unwind_arrays__spare(struct unwind_arrays *u)
{
	return u->made.len < u->block + spare_blocks(u) / 2 && !make_blocks(u);
}

void unwind_arrays__empty(struct unwind_arrays *u)
{
	usleep(GRACE_US);
	if (u->block && u->made.data[u->block - 1] >= 0) {
		close(u->made.data[u->block - 1]);
		u->made.data[u->block - 1] = -1;
	}
	u->pages = u->rules = u->block = u->block_len = 0;
}
