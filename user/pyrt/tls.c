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

/* Can the interpreter's own list of threads be found and understood? */
static bool has_list(const struct pyrt_binary *b, const struct pyrt_layout *l)
{
	bool found = b->interpreters || (b->runtime && l->lists.runtime_interpreters != PYBPF_NO_OFFSET);

	return found && (l->abi.tstate_native_id != PYBPF_NO_OFFSET || b->machine == EM_X86_64);
}

int pyrt_source__find(const struct pyrt_binary *b, const struct pyrt_layout *l, struct pyrt_source *out,
		      struct err *e)
{
	const struct pyrt_access *a = &b->gilstate_access;
	struct pyrt_source source = {.source = PY_TSTATE_LIST};
	struct pyrt_pthread facts;
	/* 3.6 has its key where its code says, and nowhere else */
	bool has_key = l->abi.runtime_tss_key != PYBPF_NO_OFFSET &&
		       (b->tss_key || !(l->abi.flags & PY_LAYOUT_BARE_KEY));

	if (has_key && !pyrt_pthread__find(b->machine, b->libc, &facts))
		source = (struct pyrt_source){.source = PY_TSTATE_TSS, .base = facts.base, .stride = facts.stride};
	else if (a->kind == PYRT_ACCESS_LOCAL_EXEC)
		source = (struct pyrt_source){.source = PY_TSTATE_TLS, .slot = {a->offset}};
	else if (a->kind == PYRT_ACCESS_INITIAL_EXEC)
		from_got(a, PY_GOT_OFFSET, &source);
	else if (a->kind == PYRT_ACCESS_DYNAMIC)
		from_got(a, PY_GOT_MODULE, &source);
	else if (a->kind == PYRT_ACCESS_DESCRIPTOR)
		from_got(a, PY_GOT_DESCRIPTOR, &source);
	else if (b->gilstate.known && !b->shared)
		source = (struct pyrt_source){.source = PY_TSTATE_TLS, .slot = {executable_tls(b, b->gilstate.offset)}};
	else if (!has_list(b, l))
		return err__set(e, -ENOTSUP, "where CPython 3.%u keeps its threads' states cannot be told in this build",
				PYRT_MINOR(b->version_hex));
	*out = source;
	return 0;
}
