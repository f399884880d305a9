/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a profile is looked at: which frames are shown and how they are called. Every exporter goes through
 * a view, so that an option means the same in each format.
 */
#ifndef PYBPF_VIEW_H
#define PYBPF_VIEW_H

#include "store/profile.h"
#include "base/str.h"

enum line_mode {
	LINE_EXACT,    /* qualname (short file:line) */
	LINE_FUNCTION, /* -F: qualname (short file:first line), a module's being 1 */
	LINE_NONE,     /* --nolineno: qualname (short file) */
};

struct view_opts {
	bool process_frames; /* process PID:"cmdline" at the root, below `container ID (NAME)` for one in a container */
	bool thread_frames;  /* thread (TID): NAME below it */
	bool full_filenames;
	enum line_mode lines;
};

/* Adds the frame's label: `qualname (short file:line)`, `symbol (module)`, `symbol_[k]`, a marker's own text.
 * 0 or -ENOMEM. */
int view__frame_label(const struct profile *p, const struct view_opts *v, uint32_t frame, struct str *out);
/* `process PID:"cmdline"` */
int view__process_label(const struct profile *p, uint32_t process, struct str *out);
/* `container ID (NAME)`, or `container ID` where there is no name; nothing for a process of the host. */
int view__container_label(const struct profile *p, uint32_t process, struct str *out);
/* `thread (TID): NAME`, or `thread (TID)` where there is no name */
int view__thread_label(const struct profile *p, uint32_t thread, struct str *out);

/*
 * All samples as one tree of labels, root first: what flame graphs and collapsed stacks are made of. Two
 * frames with the same label, kind and parent are one node. Children are sorted by label.
 */
enum node_kind { NODE_ROOT, NODE_PROCESS, NODE_THREAD, NODE_FRAME };

struct calltree_node {
	uint32_t label;      /* id in the tree's own labels */
	uint32_t parent;     /* node index; the root (0) is its own parent */
	uint32_t first_child, next_sibling; /* node indices, 0: none */
	uint16_t kind;       /* enum node_kind */
	uint16_t frame_kind; /* enum frame_kind where kind is NODE_FRAME */
	uint64_t self, total;       /* samples */
	uint64_t self_ns, total_ns;
};

struct calltree;
/* 0 and *out (the caller frees), or -ENOMEM. */
int calltree__new(const struct profile *p, const struct view_opts *v, struct calltree **out);
void calltree__free(struct calltree *t);
uint32_t calltree__count(const struct calltree *t);
const struct calltree_node *calltree__node(const struct calltree *t, uint32_t index);
const char *calltree__label(const struct calltree *t, uint32_t label, size_t *n);
uint32_t calltree__depth(const struct calltree *t); /* nodes on the longest path, without the root */

/* A function, whichever of its lines were met. */
struct hot_function {
	char *label; /* without lines */
	uint64_t self, total; /* samples: by itself, and with what it calls; a stack counts once, recursive or not */
};
/*
 * The functions with samples that were hottest by themselves, at most `max` of them, hottest first, in *out; their labels are the
 * caller's. 0 and *count, or -ENOMEM.
 */
int view__hottest(const struct profile *p, struct hot_function *out, size_t max, size_t *count);

#endif
