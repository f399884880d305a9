/* SPDX-License-Identifier: Apache-2.0 */
/*
 * _Py_DebugOffsets: the table of its own offsets with which _PyRuntime begins since 3.13 (CPython
 * Include/internal/pycore_runtime.h in 3.13, pycore_debug_offsets.h after it). It is initialised at compile time, so the
 * file holds it. Its shape changes between versions; each known shape is one entry of a table.
 */
#ifndef PYBPF_PYRT_DEBUGOFFSETS_H
#define PYBPF_PYRT_DEBUGOFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PYRT_DEBUG_COOKIE "xdebugpy"
#define PYRT_DEBUG_MAX    2048 /* bytes; no known table is longer */

struct pyrt_debug_offsets_head {
	char cookie[8];
	uint64_t version;
	uint64_t free_threaded;
};

/* What is taken from the table. Bytes. Sizes are those of the structures. */
struct pyrt_debug_offsets {
	uint64_t version, free_threaded;
	uint64_t runtime_size, runtime_interpreters;
	uint64_t interp_size, interp_next, interp_threads, interp_modules;
	uint64_t tstate_size, tstate_next, tstate_interp, tstate_frame, tstate_thread_id,
		tstate_native_id, tstate_chunk;
	uint64_t frame_size, frame_previous, frame_code, frame_instr, frame_owner, frame_tlbc;
	uint64_t code_size, code_filename, code_name, code_qualname, code_linetable,
		code_firstlineno, code_bytecode, code_tlbc;
	uint64_t object_size, object_type;
	uint64_t type_size, type_name;
	uint64_t bytes_size, bytes_length, bytes_data;
	uint64_t str_size, str_state, str_length, str_ascii;
	uint64_t base_frame; /* PYRT_ABSENT where the shape has none, as tlbc */
};

#define PYRT_ABSENT UINT64_MAX

/*
 * Reads the first n bytes of _PyRuntime. Every offset is checked against its structure's size and for alignment, and
 * sizes against sane bounds. *newer is set when the version is newer than every known one and the newest shape was
 * assumed. 0, or -ENOTSUP with what is wrong.
 */
int pyrt_debug_offsets__parse(const void *bytes, size_t n, struct pyrt_debug_offsets *out, bool *newer,
			      struct err *e);

/* How many words of 8 bytes the table of a version has, the newest one's for a newer version; 0: it has none. */
unsigned int pyrt_debug_offsets__words(uint32_t version_hex);

#endif
