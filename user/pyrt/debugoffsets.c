/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/debugoffsets.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "pyrt/binary.h"

#define WORDS    (PYRT_DEBUG_MAX / 8)
#define NONE     0 /* a word that no shape can mean: the cookie stands there */
#define MAX_SIZE (64u << 20)

/* Members of struct pyrt_debug_offsets, in its order; `bound` is the structure that an offset lies in. */
enum field {
	RUNTIME_SIZE, RUNTIME_INTERPRETERS,
	INTERP_SIZE, INTERP_NEXT, INTERP_THREADS, INTERP_MODULES,
	TSTATE_SIZE, TSTATE_NEXT, TSTATE_INTERP, TSTATE_FRAME, TSTATE_THREAD_ID,
	TSTATE_NATIVE_ID, TSTATE_CHUNK,
	FRAME_SIZE, FRAME_PREVIOUS, FRAME_CODE, FRAME_INSTR, FRAME_OWNER, FRAME_TLBC,
	CODE_SIZE, CODE_FILENAME, CODE_NAME, CODE_QUALNAME, CODE_LINETABLE,
	CODE_FIRSTLINENO, CODE_BYTECODE, CODE_TLBC,
	OBJECT_SIZE, OBJECT_TYPE,
	TYPE_SIZE, TYPE_NAME,
	BYTES_SIZE, BYTES_LENGTH, BYTES_DATA,
	STR_SIZE, STR_STATE, STR_LENGTH, STR_ASCII,
	BASE_FRAME,
	FIELDS,
};

#define AT(member) offsetof(struct pyrt_debug_offsets, member)

static const struct {
	const char *name;
	size_t at;        /* in struct pyrt_debug_offsets */
	int bound;        /* field with the size of its structure; -1: this is a size */
	unsigned int width; /* bytes that must fit, and their alignment */
	bool optional;    /* 0 says that the build has none */
} fields[FIELDS] = {
	[RUNTIME_SIZE] = {"runtime_state.size", AT(runtime_size), -1, 8, false},
	[RUNTIME_INTERPRETERS] = {"runtime_state.interpreters_head", AT(runtime_interpreters),
				  RUNTIME_SIZE, 8, false},
	[INTERP_SIZE] = {"interpreter_state.size", AT(interp_size), -1, 8, false},
	[INTERP_NEXT] = {"interpreter_state.next", AT(interp_next), INTERP_SIZE, 8, false},
	[INTERP_THREADS] = {"interpreter_state.threads_head", AT(interp_threads), INTERP_SIZE, 8,
			    false},
	[INTERP_MODULES] = {"interpreter_state.imports_modules", AT(interp_modules), INTERP_SIZE, 8, false},
	[TSTATE_SIZE] = {"thread_state.size", AT(tstate_size), -1, 8, false},
	[TSTATE_NEXT] = {"thread_state.next", AT(tstate_next), TSTATE_SIZE, 8, false},
	[TSTATE_INTERP] = {"thread_state.interp", AT(tstate_interp), TSTATE_SIZE, 8, false},
	[TSTATE_FRAME] = {"thread_state.current_frame", AT(tstate_frame), TSTATE_SIZE, 8, false},
	[TSTATE_THREAD_ID] = {"thread_state.thread_id", AT(tstate_thread_id), TSTATE_SIZE, 8, false},
	[TSTATE_NATIVE_ID] = {"thread_state.native_thread_id", AT(tstate_native_id), TSTATE_SIZE, 8,
			      false},
	[TSTATE_CHUNK] = {"thread_state.datastack_chunk", AT(tstate_chunk), TSTATE_SIZE, 8, false},
	[FRAME_SIZE] = {"interpreter_frame.size", AT(frame_size), -1, 8, false},
	[FRAME_PREVIOUS] = {"interpreter_frame.previous", AT(frame_previous), FRAME_SIZE, 8, false},
	[FRAME_CODE] = {"interpreter_frame.executable", AT(frame_code), FRAME_SIZE, 8, false},
	[FRAME_INSTR] = {"interpreter_frame.instr_ptr", AT(frame_instr), FRAME_SIZE, 8, false},
	[FRAME_OWNER] = {"interpreter_frame.owner", AT(frame_owner), FRAME_SIZE, 1, false},
	[FRAME_TLBC] = {"interpreter_frame.tlbc_index", AT(frame_tlbc), FRAME_SIZE, 4, true},
	[CODE_SIZE] = {"code_object.size", AT(code_size), -1, 8, false},
	[CODE_FILENAME] = {"code_object.filename", AT(code_filename), CODE_SIZE, 8, false},
	[CODE_NAME] = {"code_object.name", AT(code_name), CODE_SIZE, 8, false},
	[CODE_QUALNAME] = {"code_object.qualname", AT(code_qualname), CODE_SIZE, 8, false},
	[CODE_LINETABLE] = {"code_object.linetable", AT(code_linetable), CODE_SIZE, 8, false},
	[CODE_FIRSTLINENO] = {"code_object.firstlineno", AT(code_firstlineno), CODE_SIZE, 4, false},
	[CODE_BYTECODE] = {"code_object.co_code_adaptive", AT(code_bytecode), CODE_SIZE, 2, false},
	[CODE_TLBC] = {"code_object.co_tlbc", AT(code_tlbc), CODE_SIZE, 8, true},
	[OBJECT_SIZE] = {"pyobject.size", AT(object_size), -1, 8, false},
	[OBJECT_TYPE] = {"pyobject.ob_type", AT(object_type), OBJECT_SIZE, 8, false},
	[TYPE_SIZE] = {"type_object.size", AT(type_size), -1, 8, false},
	[TYPE_NAME] = {"type_object.tp_name", AT(type_name), TYPE_SIZE, 8, false},
	[BYTES_SIZE] = {"bytes_object.size", AT(bytes_size), -1, 8, false},
	[BYTES_LENGTH] = {"bytes_object.ob_size", AT(bytes_length), BYTES_SIZE, 8, false},
	[BYTES_DATA] = {"bytes_object.ob_sval", AT(bytes_data), BYTES_SIZE, 1, false},
	[STR_SIZE] = {"unicode_object.size", AT(str_size), -1, 8, false},
	[STR_STATE] = {"unicode_object.state", AT(str_state), STR_SIZE, 4, false},
	[STR_LENGTH] = {"unicode_object.length", AT(str_length), STR_SIZE, 8, false},
	[STR_ASCII] = {"unicode_object.asciiobject_size", AT(str_ascii), STR_SIZE, 8, false},
	[BASE_FRAME] = {"thread_state.base_frame", AT(base_frame), TSTATE_SIZE, 8, false},
};

/* Where a version's table holds each field, in 8-byte words from the cookie on. */
struct shape {
	unsigned int minor;
	unsigned char words; /* in the whole table */
	unsigned char word[FIELDS];
};

/* clang-format off */
static const struct shape shapes[] = {
	/* 3.13: Include/internal/pycore_runtime.h, struct _Py_DebugOffsets */
	{13, 73, {
		[RUNTIME_SIZE] = 3, [RUNTIME_INTERPRETERS] = 5,
		[INTERP_SIZE] = 6, [INTERP_NEXT] = 8, [INTERP_THREADS] = 9, [INTERP_MODULES] = 11,
		[TSTATE_SIZE] = 19, [TSTATE_NEXT] = 21, [TSTATE_INTERP] = 22, [TSTATE_FRAME] = 23,
		[TSTATE_THREAD_ID] = 24, [TSTATE_NATIVE_ID] = 25, [TSTATE_CHUNK] = 26,
		[FRAME_SIZE] = 28, [FRAME_PREVIOUS] = 29, [FRAME_CODE] = 30, [FRAME_INSTR] = 31,
		[FRAME_OWNER] = 33,
		[CODE_SIZE] = 34, [CODE_FILENAME] = 35, [CODE_NAME] = 36, [CODE_QUALNAME] = 37,
		[CODE_LINETABLE] = 38, [CODE_FIRSTLINENO] = 39, [CODE_BYTECODE] = 43,
		[OBJECT_SIZE] = 44, [OBJECT_TYPE] = 45, [TYPE_SIZE] = 46, [TYPE_NAME] = 47,
		[BYTES_SIZE] = 64, [BYTES_LENGTH] = 65, [BYTES_DATA] = 66,
		[STR_SIZE] = 67, [STR_STATE] = 68, [STR_LENGTH] = 69, [STR_ASCII] = 70,
	}},
	/* 3.14: Include/internal/pycore_debug_offsets.h */
	{14, 95, {
		[RUNTIME_SIZE] = 3, [RUNTIME_INTERPRETERS] = 5,
		[INTERP_SIZE] = 6, [INTERP_NEXT] = 8, [INTERP_THREADS] = 9, [INTERP_MODULES] = 12,
		[TSTATE_SIZE] = 22, [TSTATE_NEXT] = 24, [TSTATE_INTERP] = 25, [TSTATE_FRAME] = 26,
		[TSTATE_THREAD_ID] = 27, [TSTATE_NATIVE_ID] = 28, [TSTATE_CHUNK] = 29,
		[FRAME_SIZE] = 31, [FRAME_PREVIOUS] = 32, [FRAME_CODE] = 33, [FRAME_INSTR] = 34,
		[FRAME_OWNER] = 36, [FRAME_TLBC] = 38,
		[CODE_SIZE] = 39, [CODE_FILENAME] = 40, [CODE_NAME] = 41, [CODE_QUALNAME] = 42,
		[CODE_LINETABLE] = 43, [CODE_FIRSTLINENO] = 44, [CODE_BYTECODE] = 48, [CODE_TLBC] = 49,
		[OBJECT_SIZE] = 50, [OBJECT_TYPE] = 51, [TYPE_SIZE] = 52, [TYPE_NAME] = 53,
		[BYTES_SIZE] = 74, [BYTES_LENGTH] = 75, [BYTES_DATA] = 76,
		[STR_SIZE] = 77, [STR_STATE] = 78, [STR_LENGTH] = 79, [STR_ASCII] = 80,
	}},
	/* 3.15: likewise; pre-releases before 3.15.0b4 lack some words, and are refused by the checks */
	{15, 111, {
		[RUNTIME_SIZE] = 3, [RUNTIME_INTERPRETERS] = 5,
		[INTERP_SIZE] = 6, [INTERP_NEXT] = 8, [INTERP_THREADS] = 9, [INTERP_MODULES] = 12,
		[TSTATE_SIZE] = 22, [TSTATE_NEXT] = 24, [TSTATE_INTERP] = 25, [TSTATE_FRAME] = 26,
		[BASE_FRAME] = 27,
		[TSTATE_THREAD_ID] = 30, [TSTATE_NATIVE_ID] = 31, [TSTATE_CHUNK] = 32,
		[FRAME_SIZE] = 39, [FRAME_PREVIOUS] = 40, [FRAME_CODE] = 41, [FRAME_INSTR] = 42,
		[FRAME_OWNER] = 44, [FRAME_TLBC] = 46,
		[CODE_SIZE] = 47, [CODE_FILENAME] = 48, [CODE_NAME] = 49, [CODE_QUALNAME] = 50,
		[CODE_LINETABLE] = 51, [CODE_FIRSTLINENO] = 52, [CODE_BYTECODE] = 56, [CODE_TLBC] = 57,
		[OBJECT_SIZE] = 58, [OBJECT_TYPE] = 59, [TYPE_SIZE] = 60, [TYPE_NAME] = 61,
		[BYTES_SIZE] = 86, [BYTES_LENGTH] = 87, [BYTES_DATA] = 88,
		[STR_SIZE] = 89, [STR_STATE] = 90, [STR_LENGTH] = 91, [STR_ASCII] = 92,
	}},
};
/* clang-format on */

static uint64_t *value_of(struct pyrt_debug_offsets *o, enum field f)
{
	return (uint64_t *)((char *)o + fields[f].at);
}

/* Can the table's numbers be what their names say? */
static int check(struct pyrt_debug_offsets *o, struct err *e)
{
	for (int f = 0; f < FIELDS; f++) {
		uint64_t v = *value_of(o, f), bound;

		if (v == PYRT_ABSENT)
			continue;
		if (fields[f].bound < 0) {
			if (v < 16 || v > MAX_SIZE || v % 8)
				return err__set(e, -ENOTSUP,
						"the interpreter's table of offsets says %s = %llu",
						fields[f].name, (unsigned long long)v);
			continue;
		}
		bound = *value_of(o, fields[f].bound);
		if (v % fields[f].width || v > bound || fields[f].width > bound - v)
			return err__set(e, -ENOTSUP,
					"the interpreter's table of offsets says %s = %llu, of %llu bytes",
					fields[f].name, (unsigned long long)v,
					(unsigned long long)bound);
	}
	/* A word too many or too few would pass the above by luck; these tie different structures together. */
	if (o->object_size != (o->free_threaded ? 32 : 16) || o->object_type != o->object_size - 8 ||
	    o->bytes_length != o->object_size || o->bytes_data != o->object_size + 16 ||
	    o->str_length != o->object_size || o->str_state != o->object_size + 16 ||
	    o->str_ascii != o->str_state + 8 || o->type_name != o->object_size + 8 ||
	    o->tstate_next != 8 || o->code_qualname != o->code_name + 8)
		return err__set(e, -ENOTSUP,
				"the interpreter's table of offsets contradicts its objects' layout");
	return 0;
}

static const struct shape *shape_of(unsigned int minor)
{
	const struct shape *newest = &shapes[ARRAY_SIZE(shapes) - 1];

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (shapes[i].minor == minor)
			return &shapes[i];
	return minor > newest->minor ? newest : NULL;
}

unsigned int pyrt_debug_offsets__words(uint32_t version_hex)
{
	const struct shape *shape = shape_of(PYRT_MINOR(version_hex));

	return shape ? shape->words : 0;
}

int pyrt_debug_offsets__parse(const void *bytes, size_t n, struct pyrt_debug_offsets *out, bool *newer,
			      struct err *e)
{
	const struct shape *shape;
	struct pyrt_debug_offsets o = {0};
	uint64_t words[WORDS];
	unsigned int minor;
	int err;

	if (n < sizeof(struct pyrt_debug_offsets_head) || memcmp(bytes, PYRT_DEBUG_COOKIE, 8) != 0)
		return err__set(e, -ENOTSUP, "the interpreter has no table of offsets");
	memset(words, 0, sizeof(words));
	memcpy(words, bytes, n < sizeof(words) ? n : sizeof(words));
	o.version = words[1];
	o.free_threaded = words[2];
	if (o.version >> 24 != 3 || o.free_threaded > 1)
		return err__set(e, -ENOTSUP, "the interpreter's table of offsets says version %#llx",
				(unsigned long long)o.version);
	minor = PYRT_MINOR(o.version);
	shape = shape_of(minor);
	if (!shape)
		return err__set(e, -ENOTSUP,
				"the interpreter's table of offsets is of the unknown version 3.%u",
				minor);
	if (n < (size_t)shape->words * 8)
		return err__set(e, -ENOTSUP, "the interpreter's table of offsets is cut off");
	for (int f = 0; f < FIELDS; f++) {
		uint64_t v = shape->word[f] != NONE ? words[shape->word[f]] : PYRT_ABSENT;

		if (shape->word[f] != NONE && v == PYRT_ABSENT)
			return err__set(e, -ENOTSUP, "the interpreter's table of offsets says %s = %llu", fields[f].name,
					(unsigned long long)v);
		*value_of(&o, f) = v == 0 && fields[f].optional ? PYRT_ABSENT : v;
	}
	err = check(&o, e);
	if (err)
		return err;
	*out = o;
	*newer = shape->minor != minor;
	return 0;
}
