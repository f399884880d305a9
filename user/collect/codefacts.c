// SPDX-License-Identifier: Apache-2.0
#include "collect/codefacts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pyrt/pyname.h"

static int decode(struct str *out, const void *data, size_t n, unsigned int kind)
{
	str__reset(out);
	return pyname__decode(out, data, n, kind);
}

int codefacts__from_record(const struct rec_code *r, size_t size, const struct py_layout *layout,
			   struct codefacts_text *out)
{
	const uint8_t *data = (const uint8_t *)(r + 1);
	int err;

	(void)layout;
	if ((size_t)r->name_bytes + r->file_bytes + r->linetab_bytes > size - sizeof(*r))
		return -EBADMSG;
	out->owned = NULL;
	out->linetable = data + r->name_bytes + r->file_bytes;
	out->linetable_bytes = r->linetab_bytes;
	if (r->missing)
		return -EFAULT;
	err = decode(out->name, data, r->name_bytes, r->name_kind);
	if (!err)
		err = decode(out->file, data + r->name_bytes, r->file_bytes, r->file_kind);
	return err;
}
