// SPDX-License-Identifier: Apache-2.0
#include "collect/layouts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"

struct layouts {
	struct kernel *kernel;
	struct vec(struct interp *) known; /* by index; processes keep these addresses */
	struct hmap by_binary;             /* binary_key -> index */
};

struct layouts *layouts__new(struct kernel *k)
{
	struct layouts *all = calloc(1, sizeof(*all));

	if (all)
		all->kernel = k;
	return all;
}

void layouts__free(struct layouts *all)
{
	if (!all)
		return;
	vec__foreach(&all->known, interp)
		free(*interp);
	vec__free(&all->known);
	hmap__free(&all->by_binary);
	free(all);
}

/* Two files with one number hold the same interpreter. What has neither a build id nor an image stands for itself. */
static uint64_t binary_key(const struct pyfile *f)
{
	uint64_t key = hash__bytes(&f->layout.abi, sizeof(f->layout.abi));

	key = hash__combine(key, hash__bytes(&f->layout.lists, sizeof(f->layout.lists)));
	key = hash__combine(key, hash__bytes(f->binary.build_id, f->binary.build_id_len));
	key = hash__combine(hash__combine(key, f->image), f->table);
	if (!f->binary.build_id_len || !f->image)
		key = hash__combine(hash__combine(hash__combine(key, f->key.ino), f->key.dev), f->ctime_ns);
	return key;
}

/* Where the kernel has no room for another one: that of another binary with the same layout. */
static int find_equal(const struct layouts *all, const struct py_layout *layout, uint32_t *index)
{
	for (uint32_t i = 0; i < all->known.len; i++) {
		if (!memcmp(&all->known.data[i]->layout, layout, sizeof(*layout))) {
			*index = i;
			return 0;
		}
	}
	return -ENOSPC;
}

int layouts__add(struct layouts *all, const struct pyfile *file, uint32_t *index)
{
	_cleanup_free_ struct interp *fresh = NULL;
	uint64_t key = binary_key(file), *known = hmap__get(&all->by_binary, key);
	struct str version = {0};
	uint32_t at;
	int err;

	if (known) {
		*index = (uint32_t)*known;
		return 0;
	}
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	fresh->layout = file->layout.abi;
	if (!pyrt_binary__describe(&file->binary, &version))
		snprintf(fresh->version, sizeof(fresh->version), "%s", str__cstr(&version));
	str__free(&version);
	err = vec__push(&all->known, fresh);
	if (err)
		return err;
	err = kernel__add_layout(all->kernel, &file->layout.abi, &at);
	if (err) {
		all->known.len--;
		return err == -ENOSPC ? find_equal(all, &file->layout.abi, index) : err;
	}
	fresh = NULL; /* the list's own */
	*index = at;
	return hmap__put(&all->by_binary, key, at);
}

struct interp *layouts__get(const struct layouts *all, uint32_t index)
{
	return index < all->known.len ? all->known.data[index] : NULL;
}

void layouts__judge(struct layouts *all, const struct pyfile *file)
{
	const uint64_t *index = hmap__get(&all->by_binary, binary_key(file));
	struct interp *interp = index ? layouts__get(all, (uint32_t)*index) : NULL;

	if (!interp || interp->proven || interp->refused)
		return;
	if (!file->usable) {
		interp->refused = true;
	} else if (file->proven) {
		interp->proven = true;
		kernel__prove_layout(all->kernel, &interp->layout, (uint32_t)*index);
	}
}
