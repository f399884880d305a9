/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "sys/proc.h"

struct mem_file {
	struct memory_reader reader;
	int fd;
};

struct vm_process {
	struct memory_reader reader;
	pid_t pid;
};

struct mem_buffer {
	struct memory_reader reader;
	uint64_t base;
	const char *bytes;
	size_t n;
};

static ssize_t mem_file_read(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	const struct mem_file *m = (struct mem_file *)r;
	ssize_t got;

	if (addr > INT64_MAX) /* no user address; pread refuses negative offsets in its own words */
		return -EFAULT;
	do
		got = pread(m->fd, buf, n, (off_t)addr);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EIO ? -EFAULT : -errno;
	return got ? got : -ESRCH; /* end of file: the address space is gone */
}

static void mem_file_close(struct memory_reader *r)
{
	close(((struct mem_file *)r)->fd);
	free(r);
}

static ssize_t vm_read(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	const struct vm_process *p = (struct vm_process *)r;
	struct iovec local = {buf, n};
	/* Split at page ends: process_vm_readv gives nothing at all of an element that is partly unmapped. */
	struct iovec remote[16];
	size_t count = 0, done = 0;
	ssize_t got;

	while (done < n && count < ARRAY_SIZE(remote)) {
		size_t room = 4096 - (size_t)((addr + done) & 4095);

		if (room > n - done)
			room = n - done;
		remote[count++] = (struct iovec){(void *)(uintptr_t)(addr + done), room};
		done += room;
	}
	local.iov_len = done;
	got = process_vm_readv(p->pid, &local, 1, remote, count, 0);
	return got < 0 ? -errno : got ? got : -EFAULT;
}

static void plain_close(struct memory_reader *r)
{
	free(r);
}

static ssize_t buffer_read(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	const struct mem_buffer *b = (struct mem_buffer *)r;

	if (addr < b->base || addr - b->base >= b->n)
		return -EFAULT;
	addr -= b->base;
	if (n > b->n - addr)
		n = b->n - addr;
	memcpy(buf, b->bytes + addr, n);
	return (ssize_t)n;
}

static const struct memory_ops mem_file_ops = {mem_file_read, mem_file_close};
static const struct memory_ops vm_ops = {vm_read, plain_close};
static const struct memory_ops buffer_ops = {buffer_read, plain_close};

int memory__open_process(pid_t pid, struct memory_reader **out, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct vm_process *p;
	struct mem_file *m;
	char path[64];
	int why;

	pid = proc__thread_with_memory(pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		m = malloc(sizeof(*m));
		if (!m)
			return err__set(e, -ENOMEM, "out of memory");
		*m = (struct mem_file){{&mem_file_ops}, take_fd(fd)};
		*out = &m->reader;
		return 0;
	}
	why = -errno;
	/* With no element to read, only the permission and the process' being there are checked. */
	if (why == -ENOENT || process_vm_readv(pid, NULL, 0, NULL, 0, 0) < 0)
		return err__errno(e, why == -ENOENT ? -ESRCH : why,
				  "cannot read the memory of process %d", (int)pid);
	p = malloc(sizeof(*p));
	if (!p)
		return err__set(e, -ENOMEM, "out of memory");
	*p = (struct vm_process){{&vm_ops}, pid};
	*out = &p->reader;
	return 0;
}

struct memory_reader *memory__from_buffer(uint64_t base, const void *bytes, size_t n)
{
	struct mem_buffer *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	*b = (struct mem_buffer){{&buffer_ops}, base, bytes, n};
	return &b->reader;
}

void memory__close(struct memory_reader *r)
{
	if (r)
		r->ops->close(r);
}

ssize_t memory__read_some(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = r->ops->read(r, addr + done, (char *)buf + done, n - done);

		if (got <= 0)
			return done ? (ssize_t)done : got;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int memory__read(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	ssize_t got = memory__read_some(r, addr, buf, n);

	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : -EFAULT;
}

int memory__read_u64(struct memory_reader *r, uint64_t addr, uint64_t *value)
{
	uint64_t v;
	int err = memory__read(r, addr, &v, sizeof(v));

	if (!err)
		*value = v;
	return err;
}

int memory__read_u32(struct memory_reader *r, uint64_t addr, uint32_t *value)
{
	uint32_t v;
	int err = memory__read(r, addr, &v, sizeof(v));

	if (!err)
		*value = v;
	return err;
}
