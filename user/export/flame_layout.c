// SPDX-License-Identifier: Apache-2.0
#include "export/flame_layout.h"

#include <stdbool.h>

/* A node whose children are being laid out: a recursion of thousands of frames must not become one
 * of ours. */
struct open_node {
	uint32_t next_child;
	uint64_t cursor;
};

struct open_nodes vec(struct open_node);

static int add_box(struct flame_layout *l, struct open_nodes *open, const struct calltree *t,
		   uint32_t index, uint64_t start)
{
	uint32_t row = open->len;
	int err = vec__push(&l->boxes, (struct flame_box){index, row, start});

	if (row + 1 > l->rows)
		l->rows = row + 1;
	if (err)
		return err;
	return vec__push(open, (struct open_node){calltree__node(t, index)->first_child, start});
}

int flame_layout__build(struct flame_layout *l, const struct calltree *t, double least)
{
	struct flame_layout made = {0};
	struct open_nodes open = {0};
	int err = add_box(&made, &open, t, 0, 0);

	while (!err && open.len) {
		struct open_node *top = &open.data[open.len - 1];
		uint32_t index = top->next_child;
		const struct calltree_node *node = calltree__node(t, index);
		uint64_t start = top->cursor;

		if (!index) {
			open.len--;
			continue;
		}
		top->next_child = node->next_sibling;
		top->cursor += node->total;
		if (node->total && (double)node->total >= least)
			err = add_box(&made, &open, t, index, start);
	}
	vec__free(&open);
	if (err) {
		flame_layout__free(&made);
		return err;
	}
	*l = made;
	return 0;
}

void flame_layout__free(struct flame_layout *l)
{
	vec__free(&l->boxes);
	l->rows = 0;
}
