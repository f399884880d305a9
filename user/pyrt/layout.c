/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/layout.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "pyrt/debugoffsets.h"

#define MAX_FRAME 160 /* what the kernel side copies of a frame and of a code object: abi.h */
#define MAX_CODE  248
#define MAX_TSTATE_FRAME 247 /* the walk begins to read a thread state here: bpf/tstate.bpf.h */

#define ABI(member)  offsetof(struct pyrt_layout, abi.member)
#define LIST(member) offsetof(struct pyrt_layout, lists.member)
#define FROM(member) offsetof(struct pyrt_debug_offsets, member)

/* What the interpreter's own table overrides. `fixed`: must be as in the row, for a final release. */
static const struct {
	const char *name;
	size_t to, from;
	bool fixed;
} overlays[] = {
	{"PyThreadState.interp", ABI(tstate_interp), FROM(tstate_interp), true},
	{"PyThreadState.current_frame", ABI(tstate_frame), FROM(tstate_frame), true},
	{"PyThreadState.native_thread_id", ABI(tstate_native_id), FROM(tstate_native_id), true},
	{"PyThreadState.datastack_chunk", ABI(tstate_chunk), FROM(tstate_chunk), true},
	{"PyThreadState.base_frame", ABI(base_frame), FROM(base_frame), true},
	{"_PyInterpreterFrame.f_executable", ABI(frame_code), FROM(frame_code), true},
	{"_PyInterpreterFrame.previous", ABI(frame_previous), FROM(frame_previous), true},
	{"_PyInterpreterFrame.instr_ptr", ABI(frame_instr), FROM(frame_instr), true},
	{"_PyInterpreterFrame.owner", ABI(frame_owner), FROM(frame_owner), true},
	{"_PyInterpreterFrame.tlbc_index", ABI(frame_tlbc), FROM(frame_tlbc), true},
	{"PyCodeObject.co_firstlineno", ABI(code_firstlineno), FROM(code_firstlineno), true},
	{"PyCodeObject.co_filename", ABI(code_filename), FROM(code_filename), true},
	{"PyCodeObject.co_qualname", ABI(code_name), FROM(code_qualname), true},
	{"PyCodeObject.co_linetable", ABI(code_linetable), FROM(code_linetable), true},
	{"PyCodeObject.co_code_adaptive", ABI(code_bytecode), FROM(code_bytecode), true},
	{"PyCodeObject.co_tlbc", ABI(code_tlbc), FROM(code_tlbc), true},
	{"PyObject.ob_type", ABI(code_type), FROM(object_type), true},
	{"PyTypeObject.tp_name", ABI(type_name), FROM(type_name), true},
	{"PyBytesObject.ob_size", ABI(bytes_size), FROM(bytes_length), true},
	{"PyBytesObject.ob_sval", ABI(bytes_data), FROM(bytes_data), true},
	{"PyASCIIObject.length", ABI(str_length), FROM(str_length), true},
	{"PyASCIIObject.state", ABI(str_state), FROM(str_state), true},
	{"sizeof(PyASCIIObject)", ABI(str_ascii), FROM(str_ascii), true},
	{"_PyRuntime.interpreters.head", LIST(runtime_interpreters), FROM(runtime_interpreters), false},
	{"PyInterpreterState.next", LIST(interp_next), FROM(interp_next), false},
	{"PyInterpreterState.threads.head", LIST(interp_threads), FROM(interp_threads), false},
	{"PyInterpreterState.imports.modules", LIST(interp_modules), FROM(interp_modules), false},
	{"PyThreadState.next", LIST(tstate_next), FROM(tstate_next), true},
	{"PyThreadState.thread_id", LIST(tstate_thread_id), FROM(tstate_thread_id), true},
};

static uint16_t *member(struct pyrt_layout *l, size_t at)
{
	return (uint16_t *)((char *)l + at);
}

static bool final_release(uint32_t hex)
{
	return (hex & 0xf0) == 0xf0;
}

static void reach(unsigned int *size, uint16_t offset, unsigned int width)
{
	if (offset != PYBPF_NO_OFFSET && offset + width > *size)
		*size = offset + width;
}

/* How far a thread state has to be copied from its frame on: with the data stack's chunk, the root of the _PyCFrames, its thread. */
static void set_tstate_size(struct py_layout *a)
{
	/* of the chunk also its top and limit */
	unsigned int chunk = a->flags & PY_LAYOUT_CFRAME ? 24 + PYBPF_CFRAME_ROOT : 8, size = 8;
	unsigned int limit = a->tstate_frame + PYBPF_TSTATE_MAX;

	if (a->tstate_chunk < a->tstate_frame || a->tstate_chunk + chunk > limit)
		a->tstate_chunk = PYBPF_NO_OFFSET; /* it only makes walks more certain */
	if (a->tstate_thread_id < a->tstate_frame || a->tstate_thread_id + 8u > limit)
		a->runtime_current = 0;
	if (a->tstate_chunk != PYBPF_NO_OFFSET)
		size = a->tstate_chunk + chunk - a->tstate_frame;
	if (a->runtime_current && a->tstate_thread_id + 8u - a->tstate_frame > size)
		size = a->tstate_thread_id + 8u - a->tstate_frame;
	a->tstate_size = (uint16_t)size;
}

/* How far frames and code objects have to be copied. 0, or -ENOTSUP: farther than the kernel side does. */
static int set_sizes(struct py_layout *a, struct err *e)
{
	unsigned int frame = 0, code = 0;

	reach(&frame, a->frame_code, 8);
	reach(&frame, a->frame_previous, 8);
	reach(&frame, a->frame_instr, a->flags & PY_LAYOUT_INSTR_INDEX ? 4 : 8);
	reach(&frame, a->frame_owner, 1);
	reach(&frame, a->frame_tlbc, 4);
	reach(&code, a->code_type, 8);
	reach(&code, a->code_flags, 4);
	reach(&code, a->code_firstlineno, 4);
	reach(&code, a->code_filename, 8);
	reach(&code, a->code_name, 8);
	reach(&code, a->code_linetable, 8);
	reach(&code, a->code_consts, 8);
	reach(&code, a->code_names, 8);
	reach(&code, a->code_version, 4);
	reach(&code, a->code_tlbc, 8);
	if (!(a->flags & PY_LAYOUT_INSTR_INDEX))
		frame = (frame + 7) & ~7u;
	if (frame > MAX_FRAME || code > MAX_CODE || a->tstate_frame > MAX_TSTATE_FRAME)
		return err__set(e, -ENOTSUP, "frames, code objects or thread states are longer than supported");
	set_tstate_size(a);
	a->frame_size = (uint16_t)frame;
	a->code_size = (uint16_t)code;
	return 0;
}

/* Objects whose head is `by` bytes longer. */
static void shift_objects(struct py_layout *a, int by)
{
	uint16_t *const members[] = {
		&a->code_type,      &a->code_flags, &a->code_firstlineno, &a->code_filename, &a->code_name,
		&a->code_linetable, &a->code_consts, &a->code_names,      &a->code_version,  &a->code_bytecode,
		&a->str_length,     &a->str_state,  &a->str_ascii,        &a->str_compact,   &a->str_legacy,
		&a->bytes_size,     &a->bytes_data, &a->type_name,
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (*members[i] != PYBPF_NO_OFFSET)
			*members[i] = (uint16_t)(*members[i] + by);
}

/*
 * Py_TRACE_REFS put two pointers before each object's reference count (Include/object.h, _PyObject_HEAD_EXTRA) until 3.12;
 * before 3.8 every debug build had it.
 */
static void trace_refs(struct py_layout *a)
{
	uint16_t *const frames[] = {&a->frame_code, &a->frame_previous, &a->frame_instr};

	shift_objects(a, 16);
	for (size_t i = 0; i < ARRAY_SIZE(frames) && a->flags & PY_LAYOUT_FRAME_OBJECTS; i++)
		*frames[i] = (uint16_t)(*frames[i] + 16);
}

/*
 * Py_GIL_DISABLED: Include/object.h (PyObject of 32 bytes); from 3.14 on internal/pycore_interpframe_structs.h (tlbc_index
 * before return_offset), cpython/code.h (co_tlbc before co_code_adaptive) and cpython/unicodeobject.h (`interned` is a byte of
 * its own).
 */
static void free_threaded(struct py_layout *a, unsigned int minor)
{
	a->flags |= PY_LAYOUT_FREE_THREADED;
	shift_objects(a, 16);
	if (minor < 14)
		return;
	a->frame_tlbc = (uint16_t)(a->frame_owner - 2);
	a->frame_owner = (uint16_t)(a->frame_owner + 4);
	a->code_tlbc = a->code_bytecode;
	a->code_bytecode = (uint16_t)(a->code_bytecode + 8);
	a->str_kind_shift = 8;
}

static int overlay(const struct pyrt_binary *b, const void *runtime, size_t n, struct pyrt_layout *l,
		   struct err *e)
{
	bool newer = false, released, known = pyrt_layout__row(PYRT_MINOR(b->version_hex)) != NULL;
	struct pyrt_debug_offsets o;
	int err = pyrt_debug_offsets__parse(runtime, n, &o, &newer, e);

	if (err)
		return err;
	if (o.version != b->version_hex && b->version_hex & 0xff)
		return err__set(e, -ENOTSUP,
				"the interpreter's table of offsets is of version %#llx, not %#x",
				(unsigned long long)o.version, b->version_hex);
	released = known && final_release(b->version_hex);
	if (o.free_threaded)
		free_threaded(&l->abi, PYRT_MINOR(b->version_hex));
	for (size_t i = 0; i < ARRAY_SIZE(overlays); i++) {
		uint64_t v = *(const uint64_t *)((const char *)&o + overlays[i].from);
		uint16_t *to = member(l, overlays[i].to);

		if (v == PYRT_ABSENT)
			v = PYBPF_NO_OFFSET;
		else if (v >= PYBPF_NO_OFFSET)
			return err__set(e, -ENOTSUP, "%s is at %llu, farther than supported",
					overlays[i].name, (unsigned long long)v);
		if (released && overlays[i].fixed && *to != v)
			return err__set(e, -ENOTSUP,
					"the interpreter's table of offsets says %s at %llu; in this version it is at %u",
					overlays[i].name, (unsigned long long)v, *to);
		*to = (uint16_t)v;
	}
	l->abi.str_compact = l->abi.str_legacy = (uint16_t)(l->abi.str_ascii + 16); /* behind utf8_length, utf8 */
	if (newer)
		snprintf(l->warning, sizeof(l->warning),
			 "CPython 3.%u is newer than this program: it is read by its own table of offsets",
			 PYRT_MINOR(b->version_hex));
	return 0;
}

/* Where the code says that the key is; what stands beside it in _PyRuntime moves with it. */
static void set_key(const struct pyrt_binary *b, struct py_layout *a)
{
	uint64_t key = b->tss_key - b->runtime - 4;

	if (b->tss_key && key < PYBPF_NO_OFFSET) {
		if (a->runtime_current)
			a->runtime_current += (int32_t)key - a->runtime_tss_key;
		a->runtime_tss_key = (uint16_t)key;
	}
	if (b->current && (int64_t)(b->current - b->runtime) == (int32_t)(b->current - b->runtime))
		a->runtime_current = (int32_t)(b->current - b->runtime);
}

int pyrt_layout__from_runtime(const struct pyrt_binary *b, const void *runtime, size_t n,
			      struct pyrt_layout *out, struct err *e)
{
	unsigned int minor = PYRT_MINOR(b->version_hex);
	const struct pyrt_layout *row = pyrt_layout__row(minor);
	struct pyrt_layout l;
	int err;

	if (b->kind != PYRT_CPYTHON)
		return err__set(e, -ENOTSUP, "%s", b->reason[0] ? b->reason : "no Python");
	if (!row && minor > PYRT_NEWEST_MINOR && b->debug_offsets)
		row = pyrt_layout__row(PYRT_NEWEST_MINOR);
	if (!row)
		return err__set(e, -ENOTSUP, "CPython 3.%u is not supported", minor);
	l = *row;
	if (b->debug)
		l.abi.flags |= PY_LAYOUT_DEBUG;
	if (b->trace_refs && minor <= 12)
		trace_refs(&l.abi);
	if (minor >= 13) {
		if (!b->debug_offsets)
			return err__set(e, -ENOTSUP,
					"CPython 3.%u without its table of offsets is not supported",
					minor);
		err = overlay(b, runtime, n, &l, e);
		if (err)
			return err;
	}
	l.abi.version_hex = b->version_hex;
	set_key(b, &l.abi);
	l.abi.tstate_thread_id = l.lists.tstate_thread_id;
	err = set_sizes(&l.abi, e);
	if (err)
		return err;
	*out = l;
	return 0;
}

int pyrt_layout__find(int fd, const struct pyrt_binary *b, struct pyrt_layout *out, struct err *e)
{
	char runtime[PYRT_DEBUG_MAX] = {0};
	size_t n = 0;
	struct elf *elf;
	int err;

	if (b->debug_offsets) {
		n = sizeof(runtime);
		if (b->runtime_size && b->runtime_size < n)
			n = b->runtime_size;
		err = elf__open(fd, &elf, e);
		if (err)
			return err;
		err = elf__read_address(elf, b->runtime, runtime, n);
		elf__close(elf);
		if (err)
			return err__errno(e, err, "cannot read _PyRuntime");
	}
	return pyrt_layout__from_runtime(b, runtime, n, out, e);
}
