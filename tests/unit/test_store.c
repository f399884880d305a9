// SPDX-License-Identifier: Apache-2.0
/* The profile, its tree of labels and its hottest functions, and what is made anew out of a profile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "store/rebuild.h"
#include "store/view.h"

static uint32_t text(struct profile *p, const char *words)
{
	return (uint32_t)profile__add_string(p, words, strlen(words));
}

static uint32_t push_frame(struct profile *p, uint32_t stack, const struct frame *f)
{
	int64_t frame = profile__add_frame(p, f), id;

	assert_true(frame >= 0);
	id = profile__add_stack(p, stack, (uint32_t)frame);
	assert_true(id > 0);
	return (uint32_t)id;
}

/* Pushes function `name` at `line` on a stack of `p`. */
static uint32_t push(struct profile *p, uint32_t stack, const char *name, uint32_t line)
{
	struct frame f = {.kind = FRAME_PYTHON, .name = text(p, name), .file = text(p, "/x.py"), .line = line};

	return push_frame(p, stack, &f);
}

static uint32_t add_thread(struct profile *p, uint32_t pid)
{
	int64_t process = profile__add_process(p, &(struct profile_process){.pid = pid, .cmdline = text(p, "x")});
	int64_t thread = profile__add_thread(p, &(struct profile_thread){.process = (uint32_t)process, .tid = pid});

	assert_true(thread >= 0);
	return (uint32_t)thread;
}

static void sample(struct profile *p, uint32_t thread, uint32_t stack, uint64_t count)
{
	struct profile_sample s = {.thread = thread, .stack = stack, .count = count, .weight = 10 * count};

	assert_int_equal(profile__add_sample(p, &s), 0);
}

static void test_interning(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t a, b;

	(void)state;
	a = push(p, 0, "a", 1);
	b = push(p, a, "b", 2);
	assert_int_equal(push(p, 0, "a", 1), a);
	assert_int_equal(push(p, a, "b", 2), b);
	assert_int_not_equal(push(p, a, "b", 3), b);
	assert_int_equal(profile__stack(p, b)->depth, 2);
	assert_int_equal(profile__stack(p, b)->parent, a);
	assert_int_equal(profile__frame_count(p), 3);
	profile__free(p);
	profile__free(NULL);
}

/* Ids that do not exist are refused, and nothing is added. */
static void test_refused(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t thread = add_thread(p, 1), stack = push(p, 0, "a", 1);
	struct frame f = {.kind = FRAME_PYTHON, .name = 999};

	(void)state;
	assert_int_equal(profile__add_frame(p, &f), -EINVAL);
	f = (struct frame){.kind = FRAME_KIND_COUNT};
	assert_int_equal(profile__add_frame(p, &f), -EINVAL);
	assert_int_equal(profile__add_stack(p, 999, 0), -EINVAL);
	assert_int_equal(profile__add_stack(p, 0, 999), -EINVAL);
	assert_int_equal(profile__add_process(p, &(struct profile_process){.exe = 999}), -EINVAL);
	assert_int_equal(profile__add_thread(p, &(struct profile_thread){.process = 999}), -EINVAL);
	assert_int_equal(profile__add_sample(p, &(struct profile_sample){.thread = 999, .stack = stack}), -EINVAL);
	assert_int_equal(profile__add_sample(p, &(struct profile_sample){.thread = thread, .stack = 999}), -EINVAL);
	assert_int_equal(profile__set_process(p, 999, &(struct profile_process){0}), -EINVAL);
	assert_int_equal(profile__name_thread(p, thread, 999), -EINVAL);
	assert_int_equal(profile__end_process(p, 999), -EINVAL);
	assert_int_equal(profile__process_count(p) + profile__thread_count(p) + profile__frame_count(p), 3);
	assert_int_equal(profile__sample_count(p), 0);
	profile__free(p);
}

static void test_samples(void **state)
{
	struct profile *sums = profile__new(false), *ordered = profile__new(true);

	(void)state;
	for (int i = 0; i < 6; i++) {
		for (int k = 0; k < 2; k++) {
			struct profile *p = k ? ordered : sums;

			if (!i)
				add_thread(p, 1);
			sample(p, 0, push(p, 0, "a", 1 + (uint32_t)i % 2), 1);
		}
	}
	assert_int_equal(profile__sample_count(sums), 2);
	assert_int_equal(profile__sample(sums, 1)->count, 3);
	assert_int_equal(profile__sample(sums, 1)->weight, 30);
	assert_int_equal(profile__sample_count(ordered), 6);
	profile__free(sums);
	profile__free(ordered);
}

struct held {
	uint32_t stack, thread, text;
};

static void each_held(void *arg, profile_id_fn fn, void *fn_arg)
{
	struct held *h = arg;

	fn(fn_arg, PROFILE_STACKS, &h->stack);
	fn(fn_arg, PROFILE_THREADS, &h->thread);
	fn(fn_arg, PROFILE_STRINGS, &h->text);
}

/* What is past goes, and what only it referred to; who holds something else finds it again. */
static void test_drop_past(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t first = add_thread(p, 1), second = add_thread(p, 2), of_second, stack = push(p, 0, "a", 1), strings;
	struct held held = {.thread = second};
	const struct profile_holder holder = {each_held, &held};
	struct profile_moves moves;

	(void)state;
	of_second = (uint32_t)profile__add_thread(p, &(struct profile_thread){.process = 1, .tid = 22});
	for (uint32_t i = 0; i < 100; i++) {
		sample(p, first, push(p, push(p, stack, "gone", i), "b", i), 1);
		sample(p, second, push(p, stack, "b", i), 1);
		sample(p, of_second, push(p, stack, "b", i), 1);
	}
	held.text = text(p, "held");
	held.stack = push(p, push(p, 0, "nobody's", 1), "held too", 1);
	strings = profile__string_count(p);
	text(p, "not held");
	assert_int_equal(profile__end_process(p, 0), 0);
	assert_int_equal(profile__end_thread(p, of_second), 0);
	assert_int_equal(profile__end_thread(p, of_second), 0);
	assert_int_equal(profile__ended_count(p), 2);
	assert_int_equal(profile__drop_past(p, &holder, &moves), 0);
	assert_int_equal(profile__ended_count(p), 0);
	assert_int_equal(profile__sample_count(p), 100);
	assert_int_equal(profile__process_count(p), 1);
	assert_int_equal(profile__thread_count(p), 1);
	assert_int_equal(profile__processes_ever(p), 2);
	assert_int_equal(profile__threads_ever(p), 3);
	assert_int_equal(profile__stacks_ever(p), 200); /* not the beginnings that they share */
	assert_int_equal(profile__frame_count(p), 103);
	assert_int_equal(profile__stack_count(p), 104);
	assert_int_equal(profile__string_count(p), strings - 1); /* that of the function */
	assert_int_equal(moves.to[PROFILE_THREADS][first], PROFILE_GONE);
	assert_int_equal(moves.to[PROFILE_THREADS][second], 0);
	assert_int_equal(held.thread, 0);
	assert_int_equal(profile__process(p, profile__thread(p, held.thread)->process)->pid, 2);
	assert_string_equal(profile__string(p, held.text, NULL), "held");
	assert_int_equal(push(p, push(p, 0, "nobody's", 1), "held too", 1), held.stack);
	assert_int_equal(push(p, 0, "a", 1), moves.to[PROFILE_STACKS][stack]);
	stack = moves.to[PROFILE_STACKS][stack];
	second = held.thread;
	for (uint32_t id = 1; id < profile__stack_count(p); id++)
		assert_true(profile__stack(p, id)->parent < id);
	sample(p, second, push(p, stack, "b", 7), 1);
	assert_int_equal(profile__sample_count(p), 100); /* found again, not added twice */
	assert_int_equal(profile__stack_count(p), 104);
	assert_int_equal(profile__stacks_ever(p), 200);
	assert_int_equal(add_thread(p, 3), 1);
	profile_moves__free(&moves);
	profile__drop_samples(p);
	assert_int_equal(profile__sample_count(p), 0);
	sample(p, second, stack, 1);
	assert_int_equal(profile__sample_count(p), 1);
	profile__free(p);
}

/* fib(3) over two lines: each sample counts once for the function, however often it is on the stack. */
static void test_hottest(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t thread = add_thread(p, 1), main_ = push(p, 0, "main", 1), fib, deep, other;
	struct hot_function hot[4];
	struct frame marker = {.kind = FRAME_MARKER};
	size_t count = 99;

	(void)state;
	assert_int_equal(view__hottest(p, hot, 3, &count), 0);
	assert_int_equal(count, 0);
	fib = push(p, main_, "fib", 5);
	deep = push(p, push(p, fib, "fib", 6), "fib", 5);
	other = push(p, fib, "other", 9);
	sample(p, thread, fib, 1);
	sample(p, thread, deep, 10);
	sample(p, thread, other, 2);
	marker.name = text(p, "[no Python frame]");
	sample(p, thread, push_frame(p, 0, &marker), 100); /* no function */
	assert_int_equal(view__hottest(p, hot, 4, &count), 0);
	assert_int_equal(count, 3);
	assert_string_equal(hot[0].label, "fib (/x.py)");
	assert_int_equal(hot[0].self, 11);
	assert_int_equal(hot[0].total, 13);
	assert_string_equal(hot[1].label, "other (/x.py)");
	assert_int_equal(hot[1].total, 2);
	assert_string_equal(hot[2].label, "main (/x.py)");
	assert_int_equal(hot[2].self, 0);
	assert_int_equal(hot[2].total, 13);
	for (size_t i = 0; i < count; i++)
		free(hot[i].label);
	assert_int_equal(view__hottest(p, hot, 1, &count), 0);
	assert_int_equal(count, 1);
	free(hot[0].label);
	profile__free(p);
}

/* Siblings in order of their labels; totals are sums; the same label twice is one node. */
static void test_calltree(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t one = add_thread(p, 1), two = add_thread(p, 2), a = push(p, 0, "a", 1);
	const struct calltree_node *root, *n;
	struct calltree *t;

	(void)state;
	sample(p, one, push(p, a, "z", 1), 1);
	sample(p, one, push(p, a, "c", 1), 2);
	sample(p, two, push(p, a, "c", 2), 4);
	sample(p, two, a, 8);
	assert_int_equal(calltree__new(p, &(struct view_opts){.lines = LINE_NONE}, &t), 0);
	root = calltree__node(t, 0);
	assert_int_equal(root->total, 15);
	assert_int_equal(root->total_ns, 150);
	assert_int_equal(calltree__depth(t), 2);
	assert_int_equal(calltree__count(t), 4);
	n = calltree__node(t, root->first_child);
	assert_string_equal(calltree__label(t, n->label, NULL), "a (/x.py)");
	assert_int_equal(n->self, 8);
	assert_int_equal(n->next_sibling, 0);
	n = calltree__node(t, n->first_child);
	assert_string_equal(calltree__label(t, n->label, NULL), "c (/x.py)");
	assert_int_equal(n->self, 6);
	n = calltree__node(t, n->next_sibling);
	assert_string_equal(calltree__label(t, n->label, NULL), "z (/x.py)");
	calltree__free(t);
	assert_int_equal(calltree__new(p, &(struct view_opts){.process_frames = true, .thread_frames = true}, &t), 0);
	root = calltree__node(t, 0);
	n = calltree__node(t, root->first_child);
	assert_string_equal(calltree__label(t, n->label, NULL), "process 1:\"x\"");
	assert_int_equal(n->total, 3);
	assert_string_equal(calltree__label(t, calltree__node(t, n->first_child)->label, NULL), "thread (1)");
	assert_int_equal(calltree__node(t, n->next_sibling)->total, 12);
	calltree__free(t);
	profile__free(p);
}

/* "a" goes, "b" becomes two frames, others stay. arg: the frames' names, in the order in which they are asked about. */
static int other_frames(void *arg, const struct profile *from, struct profile *to, uint32_t id, struct frame_list *out)
{
	struct frame f = *profile__frame(from, id);
	const char *name = profile__string(from, f.name, NULL);
	struct str *calls = arg;

	if (str__adds(calls, name))
		return -ENOMEM;
	if (!strcmp(name, "fail"))
		return -EIO;
	if (!strcmp(name, "a"))
		return 0;
	if (!strcmp(name, "b")) {
		struct frame outer = {.kind = FRAME_NATIVE, .name = text(to, "outer")};

		if (vec__push(out, (uint32_t)profile__add_frame(to, &outer)))
			return -ENOMEM;
	}
	return vec__push(out, (uint32_t)profile__add_frame(to, &f));
}

static void test_rebuild(void **state)
{
	struct profile *p = profile__new(false), *q = NULL;
	uint32_t thread = add_thread(p, 1), a = push(p, 0, "a", 1), b = push(p, a, "b", 1), stack;
	_cleanup_(str__free) struct str calls = {0};
	const struct rebuild_order order = {(uint32_t[]){2, 1, 0}, 3};

	(void)state;
	profile__set_meta(p, &(struct profile_meta){.host = (char *)"here", .rate_hz = 100});
	profile__set_accounts(p, &(struct profile_accounts){.taken = 9, .written = 7});
	push(p, 0, "nobody's", 1);
	sample(p, thread, b, 3);
	sample(p, thread, push(p, push(p, b, "a", 1), "c", 1), 2);
	sample(p, thread, push(p, b, "c", 1), 1); /* the same once "a" is gone */
	sample(p, thread, a, 1);                  /* nothing is left of it */
	assert_int_equal(profile__rebuild(p, NULL, other_frames, &calls, &q), 0);
	assert_string_equal(str__cstr(&calls), "abc"); /* each frame once, and only those in use */
	profile__free(q);
	str__reset(&calls);
	assert_int_equal(profile__rebuild(p, &order, other_frames, &calls, &q), 0);
	assert_string_equal(str__cstr(&calls), "bac"); /* no need for "nobody's" */
	assert_int_equal(profile__sample_count(q), 3);
	assert_int_equal(profile__sample(q, 0)->count, 3);
	stack = profile__sample(q, 0)->stack;
	assert_int_equal(profile__stack(q, stack)->depth, 2);
	assert_string_equal(profile__string(q, profile__frame(q, profile__stack(q, stack)->frame)->name, NULL), "b");
	stack = profile__stack(q, stack)->parent;
	assert_string_equal(profile__string(q, profile__frame(q, profile__stack(q, stack)->frame)->name, NULL), "outer");
	assert_int_equal(profile__sample(q, 1)->count, 3);
	assert_int_equal(profile__stack(q, profile__sample(q, 1)->stack)->depth, 3);
	assert_int_equal(profile__sample(q, 2)->stack, 0);
	assert_int_equal(profile__accounts(q)->written, 7);
	assert_string_equal(profile__meta(q)->host, "here");
	assert_int_equal(profile__process(q, 0)->pid, 1);
	profile__free(q);
	q = p;
	sample(p, thread, push(p, 0, "fail", 1), 1);
	assert_int_equal(profile__rebuild(p, NULL, other_frames, &calls, &q), -EIO);
	assert_ptr_equal(q, p); /* untouched */
	profile__free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interning), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_samples),   cmocka_unit_test(test_drop_past),
		cmocka_unit_test(test_hottest),   cmocka_unit_test(test_calltree),
		cmocka_unit_test(test_rebuild),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
