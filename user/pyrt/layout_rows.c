/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row for each minor version of CPython, for a plain release build with glibc. Where the numbers are from: the structures
 * named at each row, in the headers of that version under Include/ (frameobject.h, code.h, pystate.h, unicodeobject.h; from
 * 3.7 on under Include/internal/ and Include/cpython/ for the private ones). tests/unit/test_layout.c compares every
 * row with a live interpreter where one is installed.
 *
 * Releases of one minor version share their layout but for _PyRuntime and PyInterpreterState, whose members have moved: the
 * offsets in them are confirmed by pyrt/tls.c and by the table of offsets that 3.13 and newer carry.
 */
#include "pyrt/layout.h"

#include "base/cleanup.h"

#define NO PYBPF_NO_OFFSET
#define HEX(minor) (3u << 24 | (minor) << 16)

/* clang-format off */

/* Include/unicodeobject.h: PyASCIIObject with wstr, until 3.11; Include/bytesobject.h; Include/object.h */
#define OBJECTS_WITH_WSTR                                                                          \
	.code_type = 8, .type_name = 24, .bytes_size = 16, .bytes_data = 32, .str_length = 16,     \
	.str_state = 32, .str_ascii = 48, .str_compact = 72, .str_legacy = 72, .str_kind_shift = 2

/* Include/cpython/unicodeobject.h from 3.12 on */
#define OBJECTS                                                                                    \
	.code_type = 8, .type_name = 24, .bytes_size = 16, .bytes_data = 32, .str_length = 16,     \
	.str_state = 32, .str_ascii = 40, .str_compact = 56, .str_legacy = 56, .str_kind_shift = 2

/* Members that only newer versions have. */
#define FRAME_OBJECTS                                                                              \
	.tstate_frame = 24, .tstate_interp = 16, .tstate_native_id = NO, .tstate_chunk = NO,       \
	.cframe_frame = NO, .frame_code = 32, .frame_previous = 24, .frame_owner = NO,             \
	.frame_tlbc = NO, .owner_entry = NO, .code_version = NO, .code_bytecode = NO,              \
	.code_tlbc = NO, .base_frame = NO,                                                         \
	.flags = PY_LAYOUT_FRAME_OBJECTS | PY_LAYOUT_INSTR_INDEX

static const struct pyrt_layout rows[] = {
	{ /* 3.6: Include/frameobject.h struct _frame, code.h PyCodeObject, pystate.h struct _ts;
	   * the key is Python/pystate.c's autoTLSkey, which stands alone: pyrt_binary.runtime is 4 bytes before it */
		.abi = {
			.version_hex = HEX(6), FRAME_OBJECTS | PY_LAYOUT_BARE_KEY, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 0,
			.tstate_size = 8, .frame_instr = 120, .frame_size = 124,
			.code_size = 120, .code_flags = 32, .code_firstlineno = 36,
			.code_filename = 96, .code_name = 104, .code_linetable = 112,
			.code_consts = 48, .code_names = 56,
		},
		.lists = {.runtime_interpreters = NO, .interp_next = 0, .interp_threads = 8,
			  .tstate_next = 8, .tstate_thread_id = 152, .interp_modules = 16},
	},
	{ /* 3.7: as 3.6; Include/internal/pystate.h struct pyruntimestate */
		.abi = {
			.version_hex = HEX(7), FRAME_OBJECTS, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 1504, .runtime_current = 1480,
			.tstate_size = 160, .frame_instr = 104, .frame_size = 108,
			.code_size = 120, .code_flags = 32, .code_firstlineno = 36,
			.code_filename = 96, .code_name = 104, .code_linetable = 112,
			.code_consts = 48, .code_names = 56,
		},
		.lists = {.runtime_interpreters = 24, .interp_next = 0, .interp_threads = 8,
			  .tstate_next = 8, .tstate_thread_id = 176, .interp_modules = 40},
	},
	{ /* 3.8: code.h (co_posonlyargcount); Include/internal/pycore_pystate.h struct pyruntimestate */
		.abi = {
			.version_hex = HEX(8), FRAME_OBJECTS, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 1392, .runtime_current = 1368,
			.tstate_size = 160, .frame_instr = 104, .frame_size = 108,
			.code_size = 128, .code_flags = 36, .code_firstlineno = 40,
			.code_filename = 104, .code_name = 112, .code_linetable = 120,
			.code_consts = 56, .code_names = 64,
		},
		.lists = {.runtime_interpreters = 32, .interp_next = 0, .interp_threads = 8,
			  .tstate_next = 8, .tstate_thread_id = 176, .interp_modules = 56},
	},
	{ /* 3.9: Include/cpython/frameobject.h, cpython/code.h; internal/pycore_runtime.h */
		.abi = {
			.version_hex = HEX(9), FRAME_OBJECTS, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 584, .runtime_current = 568,
			.tstate_size = 160, .frame_instr = 104, .frame_size = 108,
			.code_size = 128, .code_flags = 36, .code_firstlineno = 40,
			.code_filename = 104, .code_name = 112, .code_linetable = 120,
			.code_consts = 56, .code_names = 64,
		},
		.lists = {.runtime_interpreters = 32, .interp_next = 0, .interp_threads = 8,
			  .tstate_next = 8, .tstate_thread_id = 176, .interp_modules = 856},
	},
	{ /* 3.10: as 3.9, with f_stackdepth in place of f_stacktop, and co_linetable; f_lasti in code units */
		.abi = {
			.version_hex = HEX(10), FRAME_OBJECTS, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 584, .runtime_current = 568, .tstate_cframe = 48,
			.tstate_size = 160, .frame_instr = 96, .frame_size = 100,
			.code_size = 128, .code_flags = 36, .code_firstlineno = 40,
			.code_filename = 104, .code_name = 112, .code_linetable = 120,
			.code_consts = 56, .code_names = 64,
		},
		.lists = {.runtime_interpreters = 32, .interp_next = 0, .interp_threads = 8,
			  .tstate_next = 8, .tstate_thread_id = 176, .interp_modules = 856},
	},
	{ /* 3.11: internal/pycore_frame.h struct _PyInterpreterFrame, cpython/pystate.h _PyCFrame and struct _ts,
	   * cpython/code.h _PyCode_DEF, internal/pycore_runtime.h */
		.abi = {
			.version_hex = HEX(11), .flags = PY_LAYOUT_CFRAME, OBJECTS_WITH_WSTR,
			.runtime_tss_key = 592, .runtime_current = 576, .tstate_cframe = 56,
			.tstate_frame = 56, .cframe_frame = 8, .tstate_interp = 16,
			.tstate_native_id = 160, .tstate_chunk = 296, .tstate_size = 304,
			.frame_entry = 68, .cframe_previous = 16, .frame_code = 32, .frame_previous = 48, .frame_instr = 56, .frame_owner = 69,
			.frame_tlbc = NO, .frame_size = 72, .owner_entry = NO,
			.code_size = 144, .code_flags = 48, .code_firstlineno = 72,
			.code_filename = 112, .code_name = 128, .code_linetable = 136,
			.code_consts = 24, .code_names = 32, .code_version = NO,
			.code_bytecode = 184, .code_tlbc = NO, .base_frame = NO,
		},
		.lists = {.runtime_interpreters = 40, .interp_next = 0, .interp_threads = 16,
			  .tstate_next = 8, .tstate_thread_id = 152, .interp_modules = 888},
	},
	{ /* 3.12: likewise; internal/pycore_interp.h struct _is */
		.abi = {
			.version_hex = HEX(12), .flags = PY_LAYOUT_CFRAME, OBJECTS,
			.runtime_tss_key = 1544,
			.tstate_frame = 56, .cframe_frame = 0, .tstate_interp = 16,
			.tstate_native_id = 144, .tstate_chunk = 232, .tstate_size = 240,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_tlbc = NO, .frame_size = 72, .owner_entry = 3,
			.code_size = 144, .code_flags = 48, .code_firstlineno = 68,
			.code_filename = 112, .code_name = 128, .code_linetable = 136,
			.code_consts = 24, .code_names = 32, .code_version = 92,
			.code_bytecode = 192, .code_tlbc = NO, .base_frame = NO,
		},
		.lists = {.runtime_interpreters = 40, .interp_next = 0, .interp_threads = 72,
			  .tstate_next = 8, .tstate_thread_id = 136, .interp_modules = 944},
	},
	{ /* 3.13: likewise, with current_frame, f_executable and instr_ptr */
		.abi = {
			.version_hex = HEX(13), .flags = 0, OBJECTS,
			.runtime_tss_key = 2160,
			.tstate_frame = 72, .cframe_frame = NO, .tstate_interp = 16,
			.tstate_native_id = 160, .tstate_chunk = 232, .tstate_size = 168,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_tlbc = NO, .frame_size = 72, .owner_entry = 3,
			.code_size = 144, .code_flags = 48, .code_firstlineno = 68,
			.code_filename = 112, .code_name = 128, .code_linetable = 136,
			.code_consts = 24, .code_names = 32, .code_version = 92,
			.code_bytecode = 200, .code_tlbc = NO, .base_frame = NO,
		},
		.lists = {.runtime_interpreters = 632, .interp_next = 7264, .interp_threads = 7344,
			  .tstate_next = 8, .tstate_thread_id = 152, .interp_modules = 7656},
	},
	{ /* 3.14: internal/pycore_interpframe_structs.h struct _PyInterpreterFrame (f_executable is tagged),
	   * internal/pycore_runtime_structs.h, internal/pycore_interp_structs.h */
		.abi = {
			.version_hex = HEX(14), .flags = 0, OBJECTS,
			.runtime_tss_key = 2336,
			.tstate_frame = 72, .cframe_frame = NO, .tstate_interp = 16,
			.tstate_native_id = 160, .tstate_chunk = 232, .tstate_size = 168,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 74,
			.frame_tlbc = NO, .frame_size = 80, .owner_entry = 3, .pointer_tag = 1,
			.code_size = 144, .code_flags = 48, .code_firstlineno = 68,
			.code_filename = 112, .code_name = 128, .code_linetable = 136,
			.code_consts = 24, .code_names = 32, .code_version = 92,
			.code_bytecode = 208, .code_tlbc = NO, .base_frame = NO,
		},
		.lists = {.runtime_interpreters = 808, .interp_next = 7272, .interp_threads = 7344,
			  .tstate_next = 8, .tstate_thread_id = 152, .interp_modules = 7688},
	},
	{ /* 3.15: likewise; autoTSSkey is gone, _Py_tss_gilstate is thread-local (internal/pycore_pystate.h) */
		.abi = {
			.version_hex = HEX(15), .flags = 0, OBJECTS,
			.runtime_tss_key = NO,
			.tstate_frame = 72, .cframe_frame = NO, .tstate_interp = 16,
			.tstate_native_id = 184, .tstate_chunk = 256, .tstate_size = 192,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 74,
			.frame_tlbc = NO, .frame_size = 80, .owner_entry = 3, .pointer_tag = 3,
			.code_size = 144, .code_flags = 48, .code_firstlineno = 68,
			.code_filename = 112, .code_name = 128, .code_linetable = 136,
			.code_consts = 24, .code_names = 32, .code_version = 92,
			.code_bytecode = 208, .code_tlbc = NO, .base_frame = 80,
		},
		.lists = {.runtime_interpreters = 936, .interp_next = 7264, .interp_threads = 7336,
			  .tstate_next = 8, .tstate_thread_id = 176, .interp_modules = 7592},
	},
};
/* clang-format on */

_Static_assert(ARRAY_SIZE(rows) == PYRT_NEWEST_MINOR - PYRT_OLDEST_MINOR + 1, "a row is missing");

const struct pyrt_layout *pyrt_layout__row(unsigned int minor)
{
	if (minor < PYRT_OLDEST_MINOR || minor > PYRT_NEWEST_MINOR)
		return NULL;
	return &rows[minor - PYRT_OLDEST_MINOR];
}
