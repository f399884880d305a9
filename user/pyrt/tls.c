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
	/* musl src/internal/pthread_impl.h: struct pthread.tsd, an array of 128 values; 1.2.0 and newer */
	{EM_X86_64, PYRT_MUSL, {0x80, 8, 128, true}},
};

int pyrt_pthread__find(uint16_t machine, enum pyrt_libc libc, struct pyrt_pthread *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].machine == machine && rows[i].libc == libc) {
			*out = rows[i].facts;
			return 0;
		}
	}
	return -ENOENT;
}

/*
 * The executable's own TLS block begins at a fixed distance from the thread pointer: before it on x86-64 (variant II of
 * the ELF TLS ABI), behind two words on arm64 (variant I).
 */
static int64_t executable_tls(const struct pyrt_binary *b, uint64_t offset)
{
	uint64_t align = b->tls_align ? b->tls_align : 1;

	if (b->machine == EM_AARCH64)
		return (int64_t)((16 + align - 1) / align * align + offset);
	return (int64_t)offset - (int64_t)((b->tls_size + align - 1) / align * align);
}

static void from_got(const struct pyrt_access *a, enum py_got_form form, struct pyrt_source *out)
{
	out->source = PY_TSTATE_GOT;
	out->slot[1] = (int64_t)a->address;
	out->base = (int32_t)a->offset;
	out->stride = form;
}

void pyrt_source__find(const struct pyrt_binary *b, const struct py_layout *l, struct pyrt_source *out)
{
	const struct pyrt_access *a = &b->gilstate_access;
	struct pyrt_pthread facts;

	*out = (struct pyrt_source){.source = PY_TSTATE_LIST};
	if (l->runtime_tss_key != PYBPF_NO_OFFSET) {
		if (b->runtime && !pyrt_pthread__find(b->machine, b->libc, &facts))
			*out = (struct pyrt_source){.source = PY_TSTATE_TSS, .base = facts.base, .stride = facts.stride};
		return;
	}
	switch (a->kind) {
	case PYRT_ACCESS_LOCAL_EXEC:
		out->source = PY_TSTATE_TLS;
		out->slot[0] = a->offset;
		break;
	case PYRT_ACCESS_INITIAL_EXEC:
		from_got(a, PY_GOT_OFFSET, out);
		break;
	case PYRT_ACCESS_DYNAMIC:
		from_got(a, PY_GOT_MODULE, out);
		break;
	case PYRT_ACCESS_DESCRIPTOR:
		from_got(a, PY_GOT_DESCRIPTOR, out);
		break;
	default:
		if (b->gilstate.known && !b->shared) {
			out->source = PY_TSTATE_TLS;
			out->slot[0] = executable_tls(b, b->gilstate.offset);
		}
		break;
	}
}
