/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions by which libgcc delivers an exception (_Unwind_RaiseException, _Unwind_Resume ...; libgcc/unwind.inc),
 * on x86-64.
 *
 * Their last act is uw_install_context: it puts the registers of the frame that is to go on, their own return address
 * among them, over those that they have saved themselves, while their frame is still where it was. From there on call
 * frame information is wrong. What is right is in the context of that frame, a variable of theirs: UNWIND_LANDING.
 */
#ifndef PYBPF_UNWIND_LANDING_X86_H
#define PYBPF_UNWIND_LANDING_X86_H

#include <stddef.h>
#include <stdint.h>

#include "unwind/follow_x86.h"

/*
 * Appends rules for the end of such a function to `out`, one behind the other: from the call of uw_install_context_1 to
 * the jump. The n bytes of code are at link-time address `start`; from `leaves` on, rcx points to the frame that is to
 * go on. 0, -ENOTSUP when the code is another compiler's, -ENOMEM; out is then as it was.
 */
int landing_x86(const uint8_t *code, size_t n, uint64_t start, uint64_t leaves, filler_list *out);

#endif
