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
/* Gives back memory, when most of it is unused. */
#define vec__shrink(v)                                                                             \
	do {                                                                                       \
		void *less_ = (v)->cap / 4 > (v)->len                                              \
				      ? realloc((v)->data, ((v)->len + 1) * sizeof(*(v)->data))    \
				      : NULL;                                                      \
		if (less_) {                                                                       \
			(v)->data = less_;                                                         \
			(v)->cap = (v)->len + 1;                                                   \
		}                                                                                  \
	} while (0)
#define vec__foreach(v, it)                                                                        \
	for (__typeof__((v)->data) it = (v)->data; it && it < (v)->data + (v)->len; it++)
/*
 * How many elements there are for which the condition on the pointer `it` holds, when all of them come first: found by
 * halving. In a list that is sorted by .start, vec__count_first(&v, it, it->start <= addr) is the index behind the last that
 * begins at the address or before.
 */
#define vec__count_first(v, it, condition)                                                         \
	({                                                                                         \
		size_t low_ = 0, high_ = (v)->len;                                                 \
		while (low_ < high_) {                                                             \
			size_t middle_ = low_ + (high_ - low_) / 2;                                \
			__typeof__(&(v)->data[0]) it = (v)->data + middle_;                        \
			if (condition)                                                             \
				low_ = middle_ + 1;                                                \
			else                                                                       \
				high_ = middle_;                                                   \
		}                                                                                  \
		low_;                                                                              \
	})
#define vec__free(v)                                                                               \
	do {                                                                                       \
		free((v)->data);                                                                   \
		(v)->data = NULL;                                                                  \
		(v)->len = (v)->cap = 0;                                                           \
	} while (0)

#endif
