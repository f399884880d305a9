// SPDX-License-Identifier: Apache-2.0
#include "collect/bpfprogs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"

/* The functions of one program: it and its subprograms. A program that has gone has none. */
static int add_program(struct bpfprog_list *out, int fd)
{
	_cleanup_free_ uint64_t *addrs = NULL;
	_cleanup_free_ uint32_t *sizes = NULL;
	struct bpf_prog_info info = {0};
	__u32 n, len = sizeof(info);
	int err = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	n = info.nr_jited_ksyms < info.nr_jited_func_lens ? info.nr_jited_ksyms : info.nr_jited_func_lens;
	if (!n) /* interpreted */
		return 0;
	addrs = calloc(n, sizeof(*addrs));
	sizes = calloc(n, sizeof(*sizes));
	if (!addrs || !sizes)
		return -ENOMEM;
	info = (struct bpf_prog_info){
		.nr_jited_ksyms = n,
		.jited_ksyms = (uintptr_t)addrs,
		.nr_jited_func_lens = n,
		.jited_func_lens = (uintptr_t)sizes,
	};
	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (!info.jited_ksyms) /* the kernel says so when it does not show addresses: sysctl kernel.kptr_restrict */
		return -EPERM;
	for (__u32 i = 0; i < n && !err; i++)
		err = vec__push(out, ((struct bpfprog){addrs[i], sizes[i]}));
	return err;
}

static int by_addr(const void *a, const void *b)
{
	const struct bpfprog *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

int bpfprogs__read(struct bpfprog_list *out)
{
	__u32 id = 0;
	int err = 0;

	out->len = 0;
	while (!err && !bpf_prog_get_next_id(id, &id)) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0 && errno == ENOENT)
			continue;
		err = fd < 0 ? -errno : add_program(out, fd);
	}
	if (!err && errno != ENOENT) /* which ends the list */
		err = -errno;
	if (err) {
		out->len = 0;
		return err;
	}
	if (out->len)
		qsort(out->data, out->len, sizeof(*out->data), by_addr);
	return 0;
}

bool bpfprogs__have(const struct bpfprog_list *list, uint64_t addr)
{
	size_t low = vec__count_first(list, it, it->addr <= addr);

	return low && addr - list->data[low - 1].addr < list->data[low - 1].size;
}
