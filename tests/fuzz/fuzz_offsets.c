// SPDX-License-Identifier: Apache-2.0
/*
 * Any table of offsets at the start of _PyRuntime: refused, or a layout that the walk cannot be led astray by. Input: a
 * byte of flags, then words that replace those of a table: number (1 byte), value (8 bytes).
 */
#include "fuzz.h"

#include "pyrt/binary.h"
#include "pyrt/debugoffsets.h"
#include "pyrt/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pyrt_binary b = {.kind = PYRT_CPYTHON, .machine = 62, .debug_offsets = true, .runtime = 4096};
	uint64_t words[PYRT_DEBUG_MAX / 8] = {0};
	struct pyrt_layout layout;

	if (!size)
		return 0;
	b.debug = data[0] & 1;
	b.trace_refs = data[0] & 2;
	memcpy(words, PYRT_DEBUG_COOKIE, 8);
	for (size_t at = 1; at + 9 <= size; at += 9)
		memcpy(&words[data[at]], data + at + 1, 8);
	b.version_hex = (uint32_t)words[1];
	b.free_threaded = words[2] == 1;
	if (pyrt_layout__from_runtime(&b, words, sizeof(words), &layout, NULL))
		return 0;
	/* what the kernel side copies: include/pybpf/abi.h */
	if (layout.abi.frame_size > 160 || layout.abi.code_size > 248)
		abort();
	if (layout.abi.frame_code + 8 > layout.abi.frame_size ||
	    layout.abi.frame_previous + 8 > layout.abi.frame_size ||
	    (layout.abi.frame_owner != PYBPF_NO_OFFSET && layout.abi.frame_owner >= layout.abi.frame_size) ||
	    layout.abi.code_name + 8 > layout.abi.code_size || layout.abi.code_linetable + 8 > layout.abi.code_size)
		abort();
	return 0;
}
