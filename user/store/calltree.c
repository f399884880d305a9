// SPDX-License-Identifier: Apache-2.0
/* The tree of labels. Stacks are trees themselves: a stack's node is found from its parent's, each once. */
#include "store/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"

struct calltree {
	struct vec(struct calltree_node) nodes;
	struct strtab *labels;
	uint32_t depth;
};

/* What is needed while it is put together. */
struct builder {
	const struct profile *profile;
	const struct view_opts *view;
	struct calltree *tree;
	struct hmap children;    /* hash of (parent, label, kinds) -> node index */
	struct hmap stacks;      /* (base node, stack) -> node index */
	struct hmap bases;       /* thread -> node below which its stacks hang */
	uint32_t *frame_labels;  /* frame -> label + 1, 0: not made yet */
	struct vec(uint32_t) path; /* stacks whose nodes are to be made, innermost first */
	struct str scratch;
};

static int64_t child(struct builder *b, uint32_t parent, uint32_t label, uint16_t kind, uint16_t frame_kind)
{
	struct calltree_node node = {.label = label, .parent = parent, .kind = kind, .frame_kind = frame_kind};
	uint64_t key = hash__combine((uint64_t)parent << 32 | label, (uint64_t)kind << 16 | frame_kind);
	uint32_t index = (uint32_t)b->tree->nodes.len;
	int err;

	for (;; key = hash__u64(key + 1)) {
		uint64_t *known = hmap__get(&b->children, key);
		const struct calltree_node *n;

		if (!known)
			break;
		n = &b->tree->nodes.data[*known];
		if (n->parent == parent && n->label == label && n->kind == kind && n->frame_kind == frame_kind)
			return (int64_t)*known;
	}
	if (b->tree->nodes.len >= UINT32_MAX)
		return -ERANGE;
	err = vec__push(&b->tree->nodes, node);
	if (!err)
		err = hmap__put(&b->children, key, index);
	return err ? err : (int64_t)index;
}

static int64_t scratch_label(struct builder *b)
{
	return strtab__add(b->tree->labels, str__cstr(&b->scratch), b->scratch.len);
}

/* The node below which a thread's stacks hang: the root, its process, or the thread itself. */
static int64_t thread_base(struct builder *b, uint32_t thread)
{
	uint64_t *known = hmap__get(&b->bases, thread);
	int64_t node = 0, label;

	if (known)
		return (int64_t)*known;
	if (b->view->process_frames) {
		uint32_t process = profile__thread(b->profile, thread)->process;

		str__reset(&b->scratch);
		if (view__container_label(b->profile, process, &b->scratch))
			return -ENOMEM;
		if (b->scratch.len) {
			label = scratch_label(b);
			node = label < 0 ? label : child(b, 0, (uint32_t)label, NODE_PROCESS, 0);
		}
		str__reset(&b->scratch);
		if (view__process_label(b->profile, process, &b->scratch))
			return -ENOMEM;
		label = node < 0 ? node : scratch_label(b);
		node = label < 0 ? label : child(b, (uint32_t)node, (uint32_t)label, NODE_PROCESS, 0);
	}
	if (b->view->thread_frames && node >= 0) {
		str__reset(&b->scratch);
		if (view__thread_label(b->profile, thread, &b->scratch))
			return -ENOMEM;
		label = scratch_label(b);
		node = label < 0 ? label : child(b, (uint32_t)node, (uint32_t)label, NODE_THREAD, 0);
	}
	if (node >= 0 && hmap__put(&b->bases, thread, (uint64_t)node))
		return -ENOMEM;
	return node;
}

static int64_t frame_label(struct builder *b, uint32_t frame)
{
	int64_t label;

	if (b->frame_labels[frame])
		return b->frame_labels[frame] - 1;
	str__reset(&b->scratch);
	if (view__frame_label(b->profile, b->view, frame, &b->scratch))
		return -ENOMEM;
	label = scratch_label(b);
	if (label >= 0)
		b->frame_labels[frame] = (uint32_t)label + 1;
	return label;
}

static uint64_t stack_key(int64_t base, uint32_t stack)
{
	return (uint64_t)base << 32 | stack;
}

/* The node of a stack below `base`. Goes up to the first stack that has one, then down again. */
static int64_t stack_node(struct builder *b, int64_t base, uint32_t stack)
{
	int64_t node = base;

	b->path.len = 0;
	for (; stack; stack = profile__stack(b->profile, stack)->parent) {
		uint64_t *known = hmap__get(&b->stacks, stack_key(base, stack));

		if (known) {
			node = (int64_t)*known;
			break;
		}
		if (vec__push(&b->path, stack))
			return -ENOMEM;
	}
	while (b->path.len && node >= 0) {
		uint32_t next = b->path.data[--b->path.len], frame = profile__stack(b->profile, next)->frame;
		int64_t label = frame_label(b, frame);

		if (label < 0)
			return label;
		node = child(b, (uint32_t)node, (uint32_t)label, NODE_FRAME, profile__frame(b->profile, frame)->kind);
		if (node >= 0 && hmap__put(&b->stacks, stack_key(base, next), (uint64_t)node))
			return -ENOMEM;
	}
	return node;
}

static int add_samples(struct builder *b)
{
	for (size_t i = 0; i < profile__sample_count(b->profile); i++) {
		const struct profile_sample *s = profile__sample(b->profile, i);
		int64_t node = thread_base(b, s->thread);
		struct calltree_node *n;

		if (node >= 0)
			node = stack_node(b, node, s->stack);
		if (node < 0)
			return (int)node;
		n = &b->tree->nodes.data[node];
		n->self += s->count;
		n->self_ns += s->weight;
	}
	return 0;
}

struct by_label {
	uint32_t parent, node;
	const char *label;
	size_t n;
};

static int compare_siblings(const void *a, const void *b)
{
	const struct by_label *x = a, *y = b;
	size_t n = x->n < y->n ? x->n : y->n;
	int order;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	order = memcmp(x->label, y->label, n);
	if (order)
		return order;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return x->node < y->node ? -1 : 1; /* same label, another kind */
}

/* Links siblings in order of their labels, and sums up: children come after their parents in the array. */
static int finish(struct calltree *t)
{
	size_t count = t->nodes.len;
	struct by_label *order = calloc(count, sizeof(*order));
	uint32_t *depth = calloc(count, sizeof(*depth));

	if (!order || !depth) {
		free(order);
		free(depth);
		return -ENOMEM;
	}
	for (size_t i = 1; i < count; i++) {
		struct calltree_node *n = &t->nodes.data[i];

		order[i - 1] = (struct by_label){.parent = n->parent, .node = (uint32_t)i};
		order[i - 1].label = strtab__get(t->labels, n->label, &order[i - 1].n);
		depth[i] = depth[n->parent] + 1;
		if (depth[i] > t->depth)
			t->depth = depth[i];
	}
	qsort(order, count - 1, sizeof(*order), compare_siblings);
	for (size_t i = count - 1; i > 0; i--) {
		struct calltree_node *parent = &t->nodes.data[order[i - 1].parent];

		t->nodes.data[order[i - 1].node].next_sibling = parent->first_child;
		parent->first_child = order[i - 1].node;
	}
	for (size_t i = count; i-- > 0;) {
		struct calltree_node *n = &t->nodes.data[i];

		n->total += n->self;
		n->total_ns += n->self_ns;
		if (i) {
			t->nodes.data[n->parent].total += n->total;
			t->nodes.data[n->parent].total_ns += n->total_ns;
		}
	}
	free(order);
	free(depth);
	return 0;
}

int calltree__new(const struct profile *p, const struct view_opts *v, struct calltree **out)
{
	struct builder b = {.profile = p, .view = v, .tree = calloc(1, sizeof(*b.tree))};
	int err = -ENOMEM;

	b.frame_labels = calloc((size_t)profile__frame_count(p) + 1, sizeof(*b.frame_labels));
	if (b.tree && b.frame_labels)
		b.tree->labels = strtab__new();
	if (b.tree && b.tree->labels && !vec__push(&b.tree->nodes, (struct calltree_node){.kind = NODE_ROOT}))
		err = add_samples(&b);
	if (!err)
		err = finish(b.tree);
	hmap__free(&b.children);
	hmap__free(&b.stacks);
	hmap__free(&b.bases);
	free(b.frame_labels);
	vec__free(&b.path);
	str__free(&b.scratch);
	if (err)
		calltree__free(b.tree);
	else
		*out = b.tree;
	return err;
}

void calltree__free(struct calltree *t)
{
	if (!t)
		return;
	vec__free(&t->nodes);
	strtab__free(t->labels);
	free(t);
}

uint32_t calltree__count(const struct calltree *t)
{
	return (uint32_t)t->nodes.len;
}

const struct calltree_node *calltree__node(const struct calltree *t, uint32_t index)
{
	return &t->nodes.data[index];
}

const char *calltree__label(const struct calltree *t, uint32_t label, size_t *n)
{
	return strtab__get(t->labels, label, n);
}

uint32_t calltree__depth(const struct calltree *t)
{
	return t->depth;
}
