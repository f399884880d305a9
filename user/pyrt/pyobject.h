/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of a live process: strings, integers, dictionaries, and the attributes of instances. The process goes on
 * meanwhile: each object's type is looked at, lengths are bounded, and what changes under the reader's eyes gives
 * -EFAULT or something that was true a moment ago; whoever needs to be sure reads twice.
 */
#ifndef PYBPF_PYRT_PYOBJECT_H
#define PYBPF_PYRT_PYOBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/vec.h"
#include "pybpf/abi.h"
#include "sys/mem.h"

/* Addresses of the objects of one entry. */
struct pyobject_item {
	uint64_t key, value;
};

struct pyobject_items vec(struct pyobject_item);

/*
 * All of these: 0, -EFAULT when it is not such an object or not there, -ESRCH when the process has ended, -ENOMEM.
 * Outputs are as they were on failure.
 */

/* Adds a str of up to `max` characters to *out, as UTF-8 (see pyrt/pyname.h). -E2BIG: a longer one. */
int pyobject__str(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, size_t max, struct str *out);

/* The value of an int from 0 to 2**60 - 1. */
int pyobject__int(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, uint64_t *out);

/* Adds the entries of a dict. -E2BIG: more than 2**17 of them. */
int pyobject__items(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, struct pyobject_items *out);

/* Likewise of a module. */
int pyobject__module(struct memory_reader *mem, const struct py_layout *l, uint64_t addr, struct pyobject_items *out);

/* The value of the item whose key is the str `name`; 0: none. */
uint64_t pyobject__find(struct memory_reader *mem, const struct py_layout *l, const struct pyobject_items *items,
			const char *name);

/* An attribute that is looked up in many instances; what one has told of their type serves the next: {.name = "x"} at
 * first. */
struct pyobject_attribute {
	const char *name;
	uint64_t key;                                      /* address of that str */
	uint64_t type, flags, basicsize, dictoffset, keys; /* of the last type */
	uint64_t shared, index;                            /* a table of keys, and the attribute's place there */
};

/*
 * Where an instance has the address of an attribute's value; 0 stands there when it is not set. -ENOENT: nothing is,
 * and -EFAULT, -ESRCH, -ENOMEM as above. From 3.11 on an instance need not have a __dict__.
 */
int pyobject__attribute(struct memory_reader *mem, const struct py_layout *l, uint64_t addr,
			struct pyobject_attribute *a, uint64_t *slot);

#endif
