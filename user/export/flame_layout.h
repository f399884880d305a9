/* SPDX-License-Identifier: Apache-2.0 */
/* Where each node of a call tree stands in a flame graph, counted in samples and rows. */
#ifndef PYBPF_FLAME_LAYOUT_H
#define PYBPF_FLAME_LAYOUT_H

#include <stdint.h>

#include "base/vec.h"
#include "store/view.h"

struct flame_box {
	uint32_t node;  /* of the call tree */
	uint32_t row;   /* 0: the root */
	uint64_t start; /* samples to the left of it */
};

struct flame_layout {
	struct vec(struct flame_box) boxes; /* parents before children, left before right */
	uint32_t rows;
};

/* Lays out every node of at least `least` samples (the root always; a node that is left out takes
 * its children with it). 0, or -ENOMEM. */
int flame_layout__build(struct flame_layout *l, const struct calltree *t, double least);
void flame_layout__free(struct flame_layout *l);

#endif
