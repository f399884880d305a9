/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing array of any type:
 *
 *	struct vec(int) v = {0};
 *	if (vec__push(&v, 7) < 0) ...
 *	vec__foreach(&v, it) printf("%d\n", *it);
 *	vec__free(&v);
 *
 * vec__push evaluates to 0 or -ENOMEM and leaves the array as it was on failure.
 */
#ifndef PYBPF_VEC_H
#define PYBPF_VEC_H

#include <stddef.h>
#include <stdlib.h>

#define vec(type)                                                                                  \
	{                                                                                          \
		type *data;                                                                        \
		size_t len, cap;                                                                   \
	}

/* Makes room for `want` elements of `size` bytes. 0 or -ENOMEM. */
int vec__grow(void **data, size_t *cap, size_t want, size_t size);

#define vec__reserve(v, n) vec__grow((void **)&(v)->data, &(v)->cap, (n), sizeof(*(v)->data))
#define vec__push(v, ...)                                                                          \
	({                                                                                         \
		int err_ = vec__reserve(v, (v)->len + 1);                                          \
		if (!err_)                                                                         \
			(v)->data[(v)->len++] = (__VA_ARGS__);                                     \
		err_;                                                                              \
	})
#define vec__foreach(v, it)                                                                        \
	for (__typeof__((v)->data) it = (v)->data; it && it < (v)->data + (v)->len; it++)
#define vec__free(v)                                                                               \
	do {                                                                                       \
		free((v)->data);                                                                   \
		(v)->data = NULL;                                                                  \
		(v)->len = (v)->cap = 0;                                                           \
	} while (0)

#endif
