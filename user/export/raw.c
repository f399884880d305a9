// SPDX-License-Identifier: Apache-2.0
/*
 * Collapsed stacks: a line for each distinct stack, `root;...;leaf COUNT`, in the order of the
 * labels.
 *
 * In labels `\\` stands for a backslash, `\;` for a semicolon, `\n` and `\t` for line feed and tab
 * and `\xHH` for any byte that would break a line in some reader, or that is not UTF-8. So each
 * line is valid UTF-8 and gives back the exact bytes.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/str.h"
#include "base/vec.h"
#include "export/formats.h"
#include "export/text.h"

static bool breaks_lines(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

static bool is_surrogate(uint32_t c)
{
	return c >= 0xd800 && c <= 0xdfff;
}

static int add_bytes_as_hex(struct str *out, const char *from, const char *to)
{
	int err = 0;

	for (; !err && from < to; from++)
		err = str__addf(out, "\\x%02x", (unsigned char)*from);
	return err;
}

static int add_escaped(struct str *out, const char *label, size_t n)
{
	const char *at = label, *end = label + n;
	int err = 0;

	while (!err && at < end) {
		const char *from = at;
		uint32_t c = text__next(&at, end);

		if (c == '\\')
			err = str__adds(out, "\\\\");
		else if (c == ';')
			err = str__adds(out, "\\;");
		else if (c == '\n')
			err = str__adds(out, "\\n");
		else if (c == '\t')
			err = str__adds(out, "\\t");
		else if ((c & TEXT_BAD) || breaks_lines(c) || is_surrogate(c))
			err = add_bytes_as_hex(out, from, at);
		else
			err = str__add(out, from, at - from);
	}
	return err;
}

/* The walk keeps the line of the current node, and where each ancestor's part of it ends. */
struct raw_walk {
	const struct calltree *tree;
	FILE *out;
	struct str line;
	struct vec(size_t) ends;
};

static int enter_node(struct raw_walk *w, const struct calltree_node *node)
{
	size_t n;
	const char *label = calltree__label(w->tree, node->label, &n);
	int err;

	if (w->line.len && (err = str__addc(&w->line, ';')) < 0)
		return err;
	err = add_escaped(&w->line, label, n);
	if (!err)
		err = vec__push(&w->ends, w->line.len);
	if (!err && node->self)
		fprintf(w->out, "%s %" PRIu64 "\n", str__cstr(&w->line), node->self);
	return err;
}

static void leave_node(struct raw_walk *w)
{
	w->ends.len--;
	w->line.len = w->ends.len ? w->ends.data[w->ends.len - 1] : 0;
	w->line.data[w->line.len] = 0;
}

static int walk_tree(struct raw_walk *w)
{
	uint32_t index = calltree__node(w->tree, 0)->first_child;

	while (index) {
		const struct calltree_node *node = calltree__node(w->tree, index);
		int err = enter_node(w, node);

		if (err)
			return err;
		if (node->first_child) {
			index = node->first_child;
			continue;
		}
		leave_node(w);
		while (index && !(node = calltree__node(w->tree, index))->next_sibling) {
			index = node->parent;
			if (index)
				leave_node(w);
		}
		index = index ? node->next_sibling : 0;
	}
	return 0;
}

static int raw_write(const struct profile *p, const struct export_opts *o, FILE *out, struct err *e)
{
	struct calltree *tree;
	struct raw_walk w = {.out = out};
	uint64_t bare;
	int err;

	err = calltree__new(p, &o->view, &tree);
	if (err)
		return err__errno(e, err, "cannot build the call tree");
	w.tree = tree;
	bare = calltree__node(tree, 0)->self;
	if (bare)
		fprintf(out, "[no frames] %" PRIu64 "\n", bare);
	err = walk_tree(&w);
	err = err ? err__errno(e, err, "cannot write the stacks") : export__finish(out, e);
	str__free(&w.line);
	vec__free(&w.ends);
	calltree__free(tree);
	return err;
}

const struct export_format export_raw = {
	.name = "raw",
	.aliases = (const char *const[]){"collapsed", "folded", NULL},
	.suffixes = (const char *const[]){".txt", ".raw", ".collapsed", ".folded", NULL},
	.help = "collapsed stacks: one line a stack, root first, and its samples",
	.words = "raw data",
	.write = raw_write,
};
