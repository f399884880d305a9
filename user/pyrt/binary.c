/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/binary.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "pyrt/binary_version.h"
#include "pyrt/debugoffsets.h"

#define MAX_RUNTIME (4u << 20)

static int unsupported(struct pyrt_binary *b, const char *reason)
{
	b->kind = PYRT_UNSUPPORTED;
	snprintf(b->reason, sizeof(b->reason), "%s", reason);
	return 0;
}

/* Symbols that tell an interpreter which is not read, and nothing else. */
static const struct {
	const char *symbol;
	const char *reason;
} others[] = {
	{"pypy_execute_source", "PyPy: only CPython is supported"},
	{"GraalPy_initialize", "GraalPy: only CPython is supported"},
};

/* What a getter without arguments reads; kind PYRT_ACCESS_NONE when that cannot be told. 0 or -errno. */
static int decode_getter(struct elf *elf, const char *name, struct pyrt_access *out)
{
	struct elf_symbol sym;
	int err = elf__dynamic_symbol(elf, name, &sym);

	*out = (struct pyrt_access){0};
	if (!err)
		err = pyrt_access__find(elf, sym.value, out);
	return err == -ENOENT ? 0 : err;
}

/*
 * Python/pystate.c of 3.6: autoTLSkey and interp_head are variables of their own. The former plays the role of _PyRuntime,
 * and of Py_tss_t without its flag.
 */
static int find_old_state(struct elf *elf, struct pyrt_binary *b)
{
	static const char *const names[] = {"autoTLSkey", "interp_head"};
	struct elf_symbol syms[2];
	bool found[2] = {false, false};
	struct pyrt_access key, head;
	int err = decode_getter(elf, "PyGILState_GetThisThreadState", &key);

	if (!err)
		err = decode_getter(elf, "PyInterpreterState_Head", &head);
	if (err)
		return err;
	elf__static_symbols(elf, names, ARRAY_SIZE(names), syms, found);
	if (found[0] || key.kind == PYRT_ACCESS_MEMORY)
		b->tss_key = found[0] ? syms[0].value : key.address;
	if (found[1] || head.kind == PYRT_ACCESS_MEMORY)
		b->interpreters = found[1] ? syms[1].value : head.address;
	b->runtime = b->tss_key - 4;
	return 0;
}

/* 3.6 and older have no _PyRuntime, but a global pointer to the running thread's state. */
static int probe_old(struct elf *elf, struct pyrt_binary *b, struct err *e)
{
	struct elf_symbol sym;
	int err = elf__dynamic_symbol(elf, "_PyThreadState_Current", &sym);

	if (err)
		return err == -ENOENT ? 0 : err__errno(e, err, "cannot read the symbols");
	if (!elf__dynamic_symbol(elf, "PyString_FromString", &sym))
		return unsupported(b, "Python 2: only CPython 3.6 and newer are supported");
	err = pyrt_version__find(elf, &b->version_hex);
	if (err == -ENOENT)
		return unsupported(b, "a CPython whose version cannot be told");
	if (err)
		return err__errno(e, err, "cannot tell the Python version");
	if (PYRT_MINOR(b->version_hex) < 6) {
		snprintf(b->reason, sizeof(b->reason),
			 "CPython 3.%u: only 3.6 and newer are supported",
			 PYRT_MINOR(b->version_hex));
		b->kind = PYRT_UNSUPPORTED;
		return 0;
	}
	b->current = sym.value;
	err = find_old_state(elf, b);
	if (err)
		return err__errno(e, err, "cannot read the code");
	b->kind = PYRT_CPYTHON;
	return 0;
}

/* Where is _PyRuntime? By symbol, or by its section, which also survives strip in an executable without exports. */
static int find_runtime(struct elf *elf, struct pyrt_binary *b)
{
	struct elf_section section;
	struct elf_symbol sym;
	int err = elf__dynamic_symbol(elf, "_PyRuntime", &sym);

	if (!err) {
		b->runtime = sym.value;
		b->runtime_size = sym.size;
		return 0;
	}
	if (err != -ENOENT)
		return err;
	err = elf__section(elf, ".PyRuntime", &section);
	if (!err) {
		b->runtime = section.addr;
		b->runtime_size = section.size;
	}
	return err;
}

static void read_debug_offsets(struct elf *elf, struct pyrt_binary *b)
{
	struct pyrt_debug_offsets_head head;

	if (elf__read_address(elf, b->runtime, &head, sizeof(head)) ||
	    memcmp(head.cookie, PYRT_DEBUG_COOKIE, sizeof(head.cookie)) != 0)
		return;
	b->debug_offsets = true;
	b->free_threaded = head.free_threaded != 0;
	if (!b->version_hex && head.version <= UINT32_MAX)
		b->version_hex = (uint32_t)head.version;
}

static void read_tls(struct elf *elf, struct pyrt_binary *b)
{
	static const char *const names[] = {"_Py_tss_tstate", "_Py_tss_gilstate"};
	const struct elf_segment *tls = elf__find_segment(elf, PT_TLS);
	struct elf_symbol syms[2];
	bool found[2];

	if (!tls)
		return;
	b->tls_size = tls->memsz;
	b->tls_align = tls->align;
	if (PYRT_MINOR(b->version_hex) < 12 ||
	    elf__static_symbols(elf, names, ARRAY_SIZE(names), syms, found) <= 0)
		return;
	if (found[0] && syms[0].type == STT_TLS && syms[0].value < tls->memsz)
		b->tstate = (struct pyrt_tls_symbol){true, syms[0].value};
	if (found[1] && syms[1].type == STT_TLS && syms[1].value < tls->memsz)
		b->gilstate = (struct pyrt_tls_symbol){true, syms[1].value};
}

/* How the running thread's state is found: the code tells the key's place, or where the thread-local variable lies. */
static int read_gilstate(struct elf *elf, struct pyrt_binary *b)
{
	struct pyrt_access a;
	int err = decode_getter(elf, "PyGILState_GetThisThreadState", &a);

	if (err)
		return err;
	if (a.kind == PYRT_ACCESS_INDIRECT) { /* the word in the GOT is the address of _PyRuntime */
		a.kind = PYRT_ACCESS_MEMORY;
		a.address = b->runtime + (uint64_t)a.offset;
	}
	if (a.kind != PYRT_ACCESS_MEMORY)
		b->gilstate_access = a;
	else if (a.address > b->runtime && a.address - b->runtime < MAX_RUNTIME)
		b->tss_key = a.address;
	return 0;
}

static void read_build(struct elf *elf, struct pyrt_binary *b)
{
	const struct elf_info *info = elf__info(elf);
	struct elf_symbol sym;
	int n;

	b->machine = info->machine;
	b->shared = info->type == ET_DYN && !elf__find_segment(elf, PT_INTERP) &&
		    elf__needs(elf, "lib");
	b->libc = elf__needs(elf, "libc.musl-") || elf__needs(elf, "ld-musl-") ||
				  (elf__needs(elf, "libc.so") && !elf__needs(elf, "libc.so.6"))
			  ? PYRT_MUSL
			  : PYRT_GLIBC;
	/* Object/object.c: defined under Py_REF_DEBUG, which Py_DEBUG sets. */
	b->debug = !elf__dynamic_symbol(elf, "_Py_NegativeRefcount", &sym);
	/* Include/modsupport.h: renamed under Py_TRACE_REFS, so that no module of another build is loaded */
	b->trace_refs = !elf__dynamic_symbol(elf, "PyModule_Create2TraceRefs", &sym);
	n = elf__build_id(elf, b->build_id, sizeof(b->build_id));
	b->build_id_len = n > 0 ? (size_t)n : 0;
}

static int probe_elf(struct elf *elf, struct pyrt_binary *b, struct err *e)
{
	struct elf_symbol sym;
	int err = find_runtime(elf, b);

	if (err == -ENOENT) {
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			if (!elf__dynamic_symbol(elf, others[i].symbol, &sym))
				return unsupported(b, others[i].reason);
		err = probe_old(elf, b, e);
		if (err || b->kind != PYRT_CPYTHON)
			return err;
	} else if (err) {
		return err__errno(e, err, "cannot look for _PyRuntime");
	} else {
		err = pyrt_version__symbol(elf, &b->version_hex);
		if (err && err != -ENOENT)
			return err__errno(e, err, "cannot read Py_Version");
		read_debug_offsets(elf, b);
		if (!b->version_hex)
			err = pyrt_version__find(elf, &b->version_hex);
		if (!b->version_hex)
			return err == -ENOENT
				       ? unsupported(b, "a CPython whose version cannot be told")
				       : err__errno(e, err, "cannot tell the Python version");
		err = read_gilstate(elf, b);
		if (err)
			return err__errno(e, err, "cannot read the code");
		b->kind = PYRT_CPYTHON;
	}
	read_build(elf, b);
	read_tls(elf, b);
	if (b->machine != EM_X86_64 && b->machine != EM_AARCH64)
		return unsupported(b, "a CPython for a processor other than x86-64 and arm64");
	return 0;
}

int pyrt_binary__probe(int fd, struct pyrt_binary *out, struct err *e)
{
	struct pyrt_binary b = {0};
	struct elf *elf;
	int err = elf__open(fd, &elf, e);

	if (err == -ENOEXEC || err == -ENOTSUP) {
		*out = b;
		return 0;
	}
	if (err)
		return err;
	err = probe_elf(elf, &b, e);
	elf__close(elf);
	if (!err)
		*out = b;
	return err;
}

int pyrt_version__format(uint32_t hex, struct str *out)
{
	static const char *const levels[16] = {[0xa] = "a", [0xb] = "b", [0xc] = "rc"};
	const char *level = levels[hex >> 4 & 0xf];

	if (level)
		return str__addf(out, "%u.%u.%u%s%u", hex >> 24, hex >> 16 & 0xff, hex >> 8 & 0xff,
				 level, hex & 0xf);
	return str__addf(out, "%u.%u.%u", hex >> 24, hex >> 16 & 0xff, hex >> 8 & 0xff);
}

int pyrt_binary__describe(const struct pyrt_binary *b, struct str *out)
{
	int err;

	if (b->kind != PYRT_CPYTHON)
		return str__adds(out, b->reason);
	err = pyrt_version__format(b->version_hex, out);
	if (!err && b->free_threaded)
		err = str__adds(out, " free-threaded");
	if (!err && b->debug)
		err = str__adds(out, " debug");
	return err;
}
