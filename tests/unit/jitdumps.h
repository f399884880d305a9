/* SPDX-License-Identifier: Apache-2.0 */
/* Jitdumps for unit tests: how they are written, and what a reader is to know of them. */
#ifndef PYBPF_TEST_JITDUMPS_H
#define PYBPF_TEST_JITDUMPS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "symbolize/jitdump.h"

#define MAGIC 0x4a695444
#define PID   41
#define HEAD  40 /* bytes of the file's header */

enum { LOAD, MOVE, DEBUG_INFO, CLOSE, UNWINDING_INFO };

/* ---- writing one */

static inline void put(struct str *to, uint64_t value, size_t n)
{
	assert_int_equal(str__add(to, (const char *)&value, n), 0);
}

static inline void put_header(struct str *to, uint32_t magic, uint32_t version, uint32_t size)
{
	const uint32_t words[] = {magic, version, size, 62, 0, PID};

	for (size_t i = 0; i < 6; i++)
		put(to, words[i], 4);
	put(to, 0, 8);
	put(to, 0, 8);
}

static inline void put_record(struct str *to, uint32_t type, size_t size)
{
	put(to, type, 4);
	put(to, size, 4);
	put(to, 7777, 8);
}

/* A record of code at an address; in it, behind what both kinds have, come `size` bytes. */
static inline void put_code(struct str *to, uint32_t type, uint64_t addr, size_t size)
{
	put_record(to, type, 32 + size);
	put(to, PID, 4);
	put(to, PID, 4);
	put(to, addr, 8);
}

/* n: bytes of the name as it is in the file. */
static inline void put_load_bytes(struct str *to, uint64_t addr, uint64_t size, uint64_t index, const char *name, size_t n, size_t code)
{
	put_code(to, LOAD, addr, 24 + n + code);
	put(to, addr, 8);
	put(to, size, 8);
	put(to, index, 8);
	assert_int_equal(str__add(to, name, n), 0);
	for (size_t i = 0; i < code; i++)
		put(to, 0xc3, 1);
}

static inline void put_load(struct str *to, uint64_t addr, uint64_t size, uint64_t index, const char *name)
{
	put_load_bytes(to, addr, size, index, name, strlen(name) + 1, (size_t)size);
}

static inline void put_move(struct str *to, uint64_t from, uint64_t addr, uint64_t size, uint64_t index)
{
	put_code(to, MOVE, addr, 32);
	put(to, from, 8);
	put(to, addr, 8);
	put(to, size, 8);
	put(to, index, 8);
}

static inline void put_other(struct str *to, uint32_t type, size_t body)
{
	put_record(to, type, 16 + body);
	for (size_t i = 0; i < body; i++)
		put(to, 0, 1);
}

/* ---- reading it */

struct file {
	struct jitdump *dump;
	struct jitbudget *budget; /* its own */
	uint64_t now;
	int fd; /* to write to */
};

static inline struct file open_file(const char *bytes, size_t n)
{
	struct file f = {.fd = memfd_create("jit", MFD_CLOEXEC), .budget = malloc(sizeof(*f.budget))};

	assert_true(f.fd >= 0 && f.budget);
	*f.budget = jitbudget__whole(1 << 30);
	assert_int_equal(pwrite(f.fd, bytes, n, 0), n);
	f.dump = jitdump__new(dup(f.fd), f.budget);
	assert_non_null(f.dump);
	return f;
}

static inline void close_file(struct file *f)
{
	jitdump__free(f->dump);
	assert_int_equal(f->budget->held, 0);
	free(f->budget);
	close(f->fd);
}

static inline void expect_now(struct file *f, uint64_t addr, const char *want)
{
	const char *name = "untouched";
	int err = jitdump__find(f->dump, addr, f->now, &name);

	assert_int_equal(err, want ? 0 : -ENOENT);
	assert_string_equal(name, want ? want : "untouched");
}

/* A second later: what has come may have been looked at. */
static inline void expect(struct file *f, uint64_t addr, const char *want)
{
	f->now += 1000000000;
	expect_now(f, addr, want);
}

#endif
