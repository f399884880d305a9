/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/pyobject.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "pyrt/binary.h"
#include "pyrt/pyname.h"

#define MAX_ITEMS   (1u << 17)
#define MAX_INDICES 26  /* log2 of the bytes of a table of indices */
#define OBJECT_MAX  32  /* bytes of PyObject in any build */
#define AT_ONCE     128 /* bytes of a str that are read first: most are not longer */

/* Include/object.h: Py_TPFLAGS_*; the same in every version, and the two kinds of attributes from 3.11 and 3.13 on. */
#define INLINE_VALUES (1u << 2)
#define MANAGED_DICT  (1u << 4)
#define LONG_SUBCLASS (1u << 24)
#define STR_SUBCLASS  (1u << 28)
#define DICT_SUBCLASS (1u << 29)

/* Include/cpython/object.h, struct _typeobject (before 3.8 Include/object.h): how far behind tp_name. */
#define TYPE_BASICSIZE  8
#define TYPE_FLAGS      144
#define TYPE_DICTOFFSET 264

/* Include/cpython/dictobject.h, PyDictObject: behind the head, after ma_used and a version or tag. */
#define DICT_KEYS   16
#define DICT_VALUES 24

/* Where an instance has its attributes. */
enum attributes {
	IN_DICT,     /* a dict, tp_dictoffset bytes into the object */
	IN_TWO,      /* two words before it: values, or a dict (3.11) */
	IN_TAGGED,   /* one word before it, whose lowest bit says that it is values, one byte lower (3.12) */
	IN_INSTANCE, /* in the object itself, behind its type's basicsize, as long as that says so; else a dict before
			it (3.13) */
};

/*
 * Objects/dict-common.h until 3.10, Include/internal/pycore_dict.h from 3.11 on: struct _dictkeysobject, PyDictValues.
 * Include/internal/pycore_object.h: the words before an object. Include/cpython/object.h: struct _heaptypeobject.
 */
static const struct form {
	unsigned int minor; /* from this one on */
	bool compact;       /* keys have log2 sizes and a kind */
	uint8_t values;     /* where PyDictValues.values begins */
	enum attributes attributes;
	uint16_t cached_keys; /* PyHeapTypeObject.ht_cached_keys, of a type with a head of 16 bytes */
} forms[] = {
	{6, false, 0, IN_DICT, 0},       {11, true, 0, IN_TWO, 872},      {12, true, 0, IN_TAGGED, 880},
	{13, true, 8, IN_INSTANCE, 880}, {15, true, 8, IN_INSTANCE, 888},
};

static const struct form *form_of(const struct py_layout *l)
{
	const struct form *found = &forms[0];

	for (size_t i = 1; i < ARRAY_SIZE(forms); i++) {
		if (forms[i].minor <= PYRT_MINOR(l->version_hex))
			found = &forms[i];
	}
	return found;
}

/* Bytes of PyObject. */
static uint64_t head(const struct py_layout *l)
{
	return l->code_type + 8u;
}

/* Is the type one of objects of this kind? */
static int check_type(struct memory_reader *mem, const struct py_layout *l, uint64_t type, uint64_t kind)
{
	uint64_t flags;
	int err = !type || type & 7 ? -EFAULT : memory__read_u64(mem, type + l->type_name + TYPE_FLAGS, &flags);

	return err || flags & kind ? err : -EFAULT;
}

/* The beginning of an object of this kind, up to n bytes: how many, at least `least`, or -errno. */
static ssize_t read_start(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, uint64_t kind, void *buf,
			  size_t least, size_t n)
{
	ssize_t got = addr & 7 || !addr ? -EFAULT : memory__read_some(mem, addr, buf, n);
	uint64_t type;
	int err;

	if (got < (ssize_t)least)
		return got < 0 ? got : -EFAULT;
	memcpy(&type, (const char *)buf + l->code_type, sizeof(type));
	err = check_type(mem, l, type, kind);
	return err ? err : got;
}

/* ---- strings and numbers */

/* Include/cpython/unicodeobject.h: kind, compact and ascii are neighbouring bits of the state. */
int pyobject__str(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, size_t max, struct str *out)
{
	_cleanup_free_ uint8_t *long_one = NULL;
	uint8_t start[AT_ONCE];
	uint64_t length, data = l->str_compact;
	uint32_t state, kind;
	ssize_t got = read_start(mem, l, addr, STR_SUBCLASS, start, l->str_state + 4u, sizeof(start));
	int err;

	if (got < 0)
		return (int)got;
	memcpy(&length, start + l->str_length, sizeof(length));
	memcpy(&state, start + l->str_state, sizeof(state));
	state >>= l->str_kind_shift;
	kind = state & 7;
	if (!(state & 8)) { /* not compact: the characters are elsewhere */
		if (l->str_legacy == PYBPF_NO_OFFSET)
			return -EFAULT;
		err = memory__read_u64(mem, addr + l->str_legacy, &data);
		if (err)
			return err;
		data -= addr;
		kind = kind ? kind : 4; /* not ready: wchar_t */
	} else if (state & 16) {
		data = l->str_ascii;
	}
	if (kind != 1 && kind != 2 && kind != 4)
		return -EFAULT;
	if (length > max)
		return -E2BIG;
	if (data <= (uint64_t)got && length * kind <= (uint64_t)got - data)
		return pyname__decode(out, start + data, length * kind, kind);
	long_one = malloc(length * kind + 1);
	if (!long_one)
		return -ENOMEM;
	err = memory__read(mem, addr + data, long_one, length * kind);
	return err ? err : pyname__decode(out, long_one, length * kind, kind);
}

/* Include/cpython/longintrepr.h: digits of 30 bits behind their number, which from 3.12 on stands above three bits of a
 * tag. */
int pyobject__int(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, uint64_t *out)
{
	uint8_t start[OBJECT_MAX + 16];
	uint64_t size;
	uint32_t digits[2];
	ssize_t got = read_start(mem, l, addr, LONG_SUBCLASS, start, head(l) + 12, head(l) + 16);

	if (got < 0)
		return (int)got;
	memcpy(&size, start + head(l), sizeof(size));
	memcpy(digits, start + head(l) + 8, sizeof(digits));
	if (PYRT_MINOR(l->version_hex) >= 12) {
		if (size & 2) /* negative */
			return -EFAULT;
		size >>= 3;
	}
	if (size > 2 || (size_t)got < head(l) + 8 + size * 4)
		return -EFAULT;
	*out = size ? digits[0] : 0;
	if (size == 2)
		*out |= (uint64_t)digits[1] << 30;
	return 0;
}

/* ---- dictionaries */

/* A table of keys as its head describes it. */
struct keys {
	uint64_t entries; /* address of the first */
	uint64_t count;
	unsigned int words; /* of an entry: hash, key, value; or key, value */
};

static int read_keys(struct memory_reader *mem, const struct form *form, uint64_t addr, struct keys *out)
{
	uint8_t bytes[40];
	uint64_t size, width;
	int err = !addr || addr & 7 ? -EFAULT : memory__read(mem, addr, bytes, sizeof(bytes));

	if (err)
		return err;
	if (form->compact) { /* dk_log2_index_bytes, dk_kind, dk_nentries, dk_indices */
		if (bytes[9] > MAX_INDICES || bytes[10] > 2)
			return -EFAULT;
		out->words = bytes[10] ? 2 : 3;
		memcpy(&out->count, bytes + 24, 8);
		out->entries = addr + 32 + (1ull << bytes[9]);
	} else { /* dk_size, dk_nentries, dk_indices */
		memcpy(&size, bytes + 8, 8);
		memcpy(&out->count, bytes + 32, 8);
		if (!size || size & (size - 1) || size > 1u << MAX_INDICES)
			return -EFAULT;
		width = size <= 0xff ? 1 : size <= 0xffff ? 2 : 4;
		out->words = 3;
		out->entries = addr + 40 + size * width;
	}
	return out->count > MAX_ITEMS ? -E2BIG : 0;
}

/* All entries of a table of keys, those that are empty included. */
static int add_keys(struct memory_reader *mem, const struct keys *k, struct pyobject_items *out)
{
	_cleanup_free_ uint64_t *entries = malloc(k->count * k->words * 8 + 1);
	int err = entries ? vec__reserve(out, out->len + k->count) : -ENOMEM;

	if (!err && k->count)
		err = memory__read(mem, k->entries, entries, k->count * k->words * 8);
	for (size_t i = 0; !err && i < k->count; i++) {
		const uint64_t *entry = entries + (i + 1) * k->words - 2;

		out->data[out->len++] = (struct pyobject_item){entry[0], entry[1]};
	}
	return err;
}

/* The entries of a table of keys, with their values beside them or, if `values` is not 0, in an array of their own. */
static int add_items(struct memory_reader *mem, const struct form *form, uint64_t keys_at, uint64_t values,
		     struct pyobject_items *out)
{
	size_t before = out->len, kept = before;
	struct keys k;
	int err = read_keys(mem, form, keys_at, &k);

	if (!err)
		err = add_keys(mem, &k, out);
	for (size_t i = before; !err && i < out->len; i++) {
		struct pyobject_item item = out->data[i];

		if (values)
			err = memory__read_u64(mem, values + (i - before) * 8, &item.value);
		if (!err && item.key && item.value)
			out->data[kept++] = item;
	}
	out->len = err ? before : kept;
	return err;
}

/* The tables of a dict: of its keys, and of its values or 0. */
static int read_tables(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, uint64_t tables[2])
{
	uint8_t start[OBJECT_MAX + DICT_VALUES + 8];
	size_t n = head(l) + DICT_VALUES + 8;
	ssize_t got = read_start(mem, l, addr, DICT_SUBCLASS, start, n, n);

	if (got < 0)
		return (int)got;
	memcpy(tables, start + head(l) + DICT_KEYS, 16);
	if (tables[1])
		tables[1] += form_of(l)->values;
	return 0;
}

int pyobject__items(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, struct pyobject_items *out)
{
	uint64_t tables[2];
	int err = read_tables(mem, l, addr, tables);

	return err ? err : add_items(mem, form_of(l), tables[0], tables[1], out);
}

/*
 * The place of the item with this name; items->len: none. *hint, if there is one, is the address of the key that had it
 * the last time: such strings are interned, so that as a rule it is the same.
 */
static size_t index_of(struct memory_reader *mem, const struct py_layout *l, const struct pyobject_items *items,
		       const char *name, uint64_t *hint)
{
	_cleanup_(str__free) struct str key = {0};

	for (size_t i = 0; hint && *hint && i < items->len; i++) {
		if (items->data[i].key == *hint)
			return i;
	}
	for (size_t i = 0; i < items->len; i++) {
		uint64_t at = items->data[i].key;

		str__reset(&key);
		if (!at || pyobject__str(mem, l, at, strlen(name), &key) || strcmp(str__cstr(&key), name) != 0)
			continue;
		if (hint)
			*hint = at;
		return i;
	}
	return items->len;
}

/* ---- attributes */

static int read_facts(struct memory_reader *mem, const struct py_layout *l, uint64_t type, struct pyobject_attribute *a)
{
	const struct form *form = form_of(l);
	uint64_t name = type + l->type_name;
	int err = !type || type & 7 ? -EFAULT : memory__read_u64(mem, name + TYPE_FLAGS, &a->flags);

	if (!err)
		err = memory__read_u64(mem, name + TYPE_BASICSIZE, &a->basicsize);
	if (!err)
		err = memory__read_u64(mem, name + TYPE_DICTOFFSET, &a->dictoffset);
	if (!err && form->cached_keys)
		err = memory__read_u64(mem, type + form->cached_keys + head(l) - 16, &a->keys);
	if (err || a->basicsize > UINT16_MAX)
		return err ? err : -EFAULT;
	a->type = type;
	return 0;
}

/* The tables that the attributes of an object are in, as read_tables. */
static int find_tables(struct memory_reader *mem, const struct py_layout *l, const struct pyobject_attribute *a,
		       uint64_t addr, uint64_t tables[2])
{
	const struct form *form = form_of(l);
	uint64_t before[2]; /* the fourth and the third word before the object */
	uint8_t state[8];   /* capacity, size, embedded, valid */
	int err;

	if (form->attributes == IN_DICT || !(a->flags & MANAGED_DICT)) {
		if (!a->dictoffset || a->dictoffset > UINT16_MAX)
			return -EFAULT;
		err = memory__read_u64(mem, addr + a->dictoffset, &before[1]);
		return err ? err : read_tables(mem, l, before[1], tables);
	}
	tables[0] = a->keys;
	if (form->attributes == IN_INSTANCE && a->flags & INLINE_VALUES) {
		err = memory__read(mem, addr + a->basicsize, state, sizeof(state));
		tables[1] = addr + a->basicsize + form->values;
		if (err || state[3])
			return err;
	}
	if (l->flags & PY_LAYOUT_FREE_THREADED) /* MANAGED_DICT_OFFSET */
		err = memory__read_u64(mem, addr - 8, &before[1]);
	else
		err = memory__read(mem, addr - 32, before, sizeof(before));
	if (err)
		return err;
	tables[1] = form->attributes == IN_TWO ? before[0] : before[1] & 1 ? before[1] + 1 : 0;
	if (tables[1] && form->attributes != IN_INSTANCE)
		return 0;
	return read_tables(mem, l, before[1], tables);
}

/* Its place in a table. A key keeps it as long as the table: where values are apart, many objects share that. */
static int find_slot(struct memory_reader *mem, const struct py_layout *l, struct pyobject_attribute *a,
		     const uint64_t tables[2], uint64_t *slot)
{
	struct pyobject_items items = {0};
	struct keys k;
	size_t i;
	int err;

	if (!tables[1] || !tables[0] || tables[0] != a->shared) {
		err = read_keys(mem, form_of(l), tables[0], &k);
		if (!err)
			err = add_keys(mem, &k, &items);
		i = err ? 0 : index_of(mem, l, &items, a->name, &a->key);
		if (!err && i == items.len)
			err = -ENOENT;
		vec__free(&items);
		if (err)
			return err;
		if (!tables[1]) {
			*slot = k.entries + (i * k.words + k.words - 1) * 8;
			return 0;
		}
		a->shared = tables[0];
		a->index = i;
	}
	*slot = tables[1] + a->index * 8;
	return 0;
}

int pyobject__attribute(struct memory_reader *mem, const struct py_layout *l, uint64_t addr,
			struct pyobject_attribute *a, uint64_t *slot)
{
	uint64_t type, tables[2];
	int err = addr & 7 || !addr ? -EFAULT : memory__read_u64(mem, addr + l->code_type, &type);

	if (!err && type != a->type)
		err = read_facts(mem, l, type, a);
	if (!err)
		err = find_tables(mem, l, a, addr, tables);
	return err ? err : find_slot(mem, l, a, tables, slot);
}

/* Include/internal/pycore_moduleobject.h (before 3.11 Objects/moduleobject.c): md_dict follows the head. */
int pyobject__module(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, struct pyobject_items *out)
{
	uint64_t dict;
	int err = memory__read_u64(mem, addr + head(l), &dict);

	return err ? err : pyobject__items(mem, l, dict, out);
}

uint64_t pyobject__find(struct memory_reader *mem, const struct py_layout *l, const struct pyobject_items *items,
			const char *name)
{
	size_t i = index_of(mem, l, items, name, NULL);

	return i < items->len ? items->data[i].value : 0;
}
