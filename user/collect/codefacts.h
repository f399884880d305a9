/* SPDX-License-Identifier: Apache-2.0 */
/* What a record says of a code object, completed from the live process where the kernel could not read it all. */
#ifndef PYBPF_CODEFACTS_H
#define PYBPF_CODEFACTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "pybpf/abi.h"

struct codefacts_text {
	struct str *name, *file; /* the caller's: emptied and filled with UTF-8 */
	const uint8_t *linetable; /* inside the record, or `owned` */
	size_t linetable_bytes;
	uint8_t *owned; /* to be freed by the caller; NULL is fine */
};

/*
 * *r is a copy of the record that this may complete; `data` are the `size` bytes behind the record itself. 0; -EBADMSG when
 * its sizes disagree; -ESRCH, -EFAULT or -EPERM when what is missing could not be read from the process either (but a line
 * table that is gone is empty); -ENOMEM.
 */
int codefacts__from_record(struct rec_code *r, size_t size, const struct py_layout *layout, const void *data,
			   struct codefacts_text *out);

/*
 * Is the object that a record tells of a code object? Its type is compared with *type, that of those of the process that were
 * found to be ones; while it is 0, by its name, read from the live process. 0, or -EBADMSG when it is something else. A
 * process that has ended cannot be asked, nor can one in which the object is not there any more, as after exec: what it told is taken.
 */
int codefacts__check_type(const struct rec_code *r, const struct py_layout *layout, uint64_t *type);

#endif
