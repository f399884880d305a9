/* SPDX-License-Identifier: Apache-2.0 */
/* Colours of flame graph frames: the same name has the same colour in every graph. */
#ifndef PYBPF_FLAME_COLORS_H
#define PYBPF_FLAME_COLORS_H

#include <stddef.h>
#include <stdint.h>

#include "store/view.h"

struct flame_palette;

/* The palette of that name (NULL: the default), or NULL when there is none. */
const struct flame_palette *flame_palette__find(const char *name);

/*
 * 0xRRGGBB for a node with that label. The file (or module) of the label chooses the hue within the
 * kind's range, the rest without a line number the shade: functions of one file are seen to belong
 * together, and one function keeps its colour whatever line it is at.
 */
uint32_t flame_palette__color(const struct flame_palette *p, const struct calltree_node *node,
			      const char *label, size_t n);

#endif
