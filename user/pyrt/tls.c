/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/tls.h"

#include <elf.h>
#include <errno.h>

#include "base/cleanup.h"

static const struct {
	uint16_t machine;
	enum pyrt_libc libc;
	struct pyrt_pthread facts;
} rows[] = {
	/*
	 * glibc nptl/descr.h: struct pthread, to which the thread pointer points; specific_1stblock at 0x310 holds 32 pairs of
	 * a sequence number and the value. The same since 2.3 (x86-64).
	 */
	{EM_X86_64, PYRT_GLIBC, {0x310 + 8, 16, 32, false}},
};

int pyrt_pthread__find(uint16_t machine, enum pyrt_libc libc, struct pyrt_pthread *out,
		       struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].machine == machine && rows[i].libc == libc) {
			*out = rows[i].facts;
			return 0;
		}
	}
	return err__set(e, -ENOTSUP, "thread-specific data of %s on this processor is not known",
			libc == PYRT_MUSL ? "musl" : "glibc");
}
