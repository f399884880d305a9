// SPDX-License-Identifier: Apache-2.0
#include "collect/codefacts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "pyrt/pyname.h"
#include "pyrt/pyobject.h"
#include "sys/mem.h"

/* More than any name or table that CPython makes; a length beyond is that of something else. */
#define MAX_TEXT  (1u << 20)
#define MAX_TABLE (64u << 20)

static int decode(struct str *out, const void *data, size_t n, unsigned int kind)
{
	str__reset(out);
	return pyname__decode(out, data, n, kind);
}

/* The bytes of a bytes object. 0 and *out (to be freed), or -errno. */
static int read_table(struct memory_reader *m, const struct py_layout *l, uint64_t addr, uint8_t **out, size_t *n)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint64_t size;
	int err = memory__read_u64(m, addr + l->bytes_size, &size);

	if (err)
		return err;
	if (size > MAX_TABLE)
		return -EFAULT;
	bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	err = memory__read(m, addr + l->bytes_data, bytes, size);
	if (err)
		return err;
	*out = take_ptr(bytes);
	*n = size;
	return 0;
}

static int read_string(struct memory_reader *m, const struct py_layout *l, uint64_t addr, struct str *out)
{
	str__reset(out);
	return pyobject__str(m, l, addr, MAX_TEXT, out);
}

/*
 * Whether the code object is the one that the kernel saw, so that what was read of its parts was theirs. It may be freed at
 * any time: its memory then still looks like it, but for the first word, where allocators keep their lists. That is its
 * count of references, no pointer (Include/object.h; from 3.12 on flags may stand in the upper bits).
 */
static int check_alive(struct memory_reader *m, const struct py_layout *l, const struct rec_code *r)
{
	uint64_t name, file, linetab, references;
	int err = memory__read_u64(m, r->addr + l->code_name, &name);

	if (!err)
		err = memory__read_u64(m, r->addr + l->code_filename, &file);
	if (!err)
		err = memory__read_u64(m, r->addr + l->code_linetable, &linetab);
	if (!err)
		err = memory__read_u64(m, r->addr + l->code_type - 8, &references);
	if (err)
		return err;
	if (name != r->name_addr || file != r->file_addr || linetab != r->linetab_addr)
		return -EFAULT;
	if (l->flags & PY_LAYOUT_FREE_THREADED) /* two counts, either of which may be 0 */
		return 0;
	return !(uint32_t)references || references >> 32 & 0xffff ? -EFAULT : 0;
}

/*
 * Reads what the kernel could not: a page that was not there is faulted in, a long table has no bound. Where just the table
 * can't be had any more, as the process has ended, there are no lines; the names are worth having all the same.
 */
static int read_missing(const struct rec_code *r, const struct py_layout *l, struct codefacts_text *out)
{
	struct memory_reader *m = NULL;
	size_t n = 0;
	int err = memory__open_process((pid_t)r->pid, &m, NULL);

	if (!err && (r->missing & CODE_PART_NAME))
		err = read_string(m, l, r->name_addr, out->name);
	if (!err && (r->missing & CODE_PART_FILENAME))
		err = read_string(m, l, r->file_addr, out->file);
	if (r->missing & CODE_PART_LINETABLE) {
		if (!err) {
			err = read_table(m, l, r->linetab_addr, &out->owned, &n);
			if (err == -ESRCH || err == -EFAULT)
				err = 0;
		} else if (r->missing == CODE_PART_LINETABLE && err == -ESRCH) {
			err = 0;
		}
		out->linetable = out->owned;
		out->linetable_bytes = n;
	}
	if (!err && m && check_alive(m, l, r) == -EFAULT) {
		/* gone, but for what the kernel read */
		err = r->missing == CODE_PART_LINETABLE ? 0 : -EFAULT;
		out->linetable_bytes = 0;
	}
	memory__close(m);
	return err;
}

/*
 * The object itself was not there when the kernel looked: nothing of it is known but its address. What stands there now
 * is read in its place.
 */
static int read_object(struct rec_code *r, const struct py_layout *l)
{
	struct memory_reader *m;
	uint64_t name, file, linetab;
	int err = memory__open_process((pid_t)r->pid, &m, NULL);

	if (err)
		return err;
	err = memory__read_u64(m, r->addr + l->code_name, &name);
	if (!err)
		err = memory__read_u64(m, r->addr + l->code_filename, &file);
	if (!err)
		err = memory__read_u64(m, r->addr + l->code_linetable, &linetab);
	if (!err)
		err = memory__read_u32(m, r->addr + l->code_firstlineno, (uint32_t *)&r->firstlineno);
	if (!err)
		err = memory__read_u32(m, r->addr + l->code_flags, &r->flags);
	memory__close(m);
	if (err)
		return err;
	r->name_addr = name;
	r->file_addr = file;
	r->linetab_addr = linetab;
	r->missing = CODE_PART_NAME | CODE_PART_FILENAME | CODE_PART_LINETABLE;
	return 0;
}

int codefacts__check_type(const struct rec_code *r, const struct py_layout *l, uint64_t *type)
{
	struct memory_reader *m;
	uint64_t name, type_now;
	char text[5];
	int err;

	if (r->missing & CODE_PART_OBJECT)
		return 0;
	if (*type)
		return r->type_addr == *type ? 0 : -EBADMSG;
	if (memory__open_process((pid_t)r->pid, &m, NULL))
		return 0;
	err = memory__read_u64(m, r->addr + l->code_type, &type_now);
	if (err || type_now != r->type_addr) {
		memory__close(m);
		return 0;
	}
	err = memory__read_u64(m, r->type_addr + l->type_name, &name);
	if (!err)
		err = memory__read(m, name, text, sizeof(text));
	memory__close(m);
	if (err == -EFAULT || (!err && memcmp(text, "code", sizeof(text)) != 0))
		return -EBADMSG;
	if (!err)
		*type = r->type_addr;
	return 0;
}

int codefacts__from_record(struct rec_code *r, size_t size, const struct py_layout *layout, const void *data,
			   struct codefacts_text *out)
{
	const uint8_t *bytes = data;
	int err = 0;

	out->owned = NULL;
	if ((size_t)r->name_bytes + r->file_bytes + r->linetab_bytes > size)
		return -EBADMSG;
	out->linetable = bytes + r->name_bytes + r->file_bytes;
	out->linetable_bytes = r->linetab_bytes;
	if (r->missing & CODE_PART_OBJECT)
		err = read_object(r, layout);
	if (!err && !(r->missing & CODE_PART_NAME))
		err = decode(out->name, bytes, r->name_bytes, r->name_kind);
	if (!err && !(r->missing & CODE_PART_FILENAME))
		err = decode(out->file, bytes + r->name_bytes, r->file_bytes, r->file_kind);
	if (!err && r->missing)
		err = read_missing(r, layout, out);
	if (err) {
		free(out->owned);
		out->owned = NULL;
	}
	return err;
}
