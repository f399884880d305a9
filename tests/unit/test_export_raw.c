// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "base/vec.h"
#include "test_export_fixture.h"

static void usual_profile(void **state)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {0};
	char *text;

	(void)state;
	text = fixture_export("raw", p, &o);
	fixture_golden("usual.raw", text);
	free(text);
	o.view.process_frames = o.view.thread_frames = true;
	o.view.lines = LINE_FUNCTION;
	text = fixture_export("raw", p, &o);
	fixture_golden("usual-threads-functions.raw", text);
	free(text);
	profile__free(p);
}

static void hostile_names(void **state)
{
	struct profile *p = fixture_hostile();
	struct export_opts o = {.view = {.process_frames = true, .thread_frames = true}};
	char *text = fixture_export("raw", p, &o);

	(void)state;
	fixture_golden("hostile.raw", text);
	free(text);
	profile__free(p);
}

/* ---- parse back: what a reader of the escapes gets is what the view's labels say */

struct line {
	struct str labels; /* each followed by a byte that no label of these tests has: 0x02 */
	uint64_t count;
};

struct lines vec(struct line);

static void count_line(struct lines *lines, struct str *labels, uint64_t count)
{
	vec__foreach (lines, line) {
		if (line->labels.len == labels->len &&
		    !memcmp(line->labels.data, labels->data, labels->len)) {
			line->count += count;
			str__free(labels);
			return;
		}
	}
	assert_int_equal(vec__push(lines, (struct line){*labels, count}), 0);
	*labels = (struct str){0};
}

static unsigned int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, c);

	assert_true(c && at);
	return at - digits;
}

/* One character of a name, with its escape undone; *at moves behind it. */
static char unescaped(const char **at)
{
	char c = *(*at)++;
	unsigned int value;

	if (c != '\\')
		return c;
	c = *(*at)++;
	switch (c) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case '\\':
	case ';':
		return c;
	default:
		assert_int_equal(c, 'x');
		value = hex_digit((*at)[0]) * 16 + hex_digit((*at)[1]);
		*at += 2;
		return (char)value;
	}
}

static void parse(char *text, struct lines *lines)
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *space = strrchr(line, ' '), *after;
		struct str labels = {0};
		uint64_t count;

		assert_non_null(space);
		count = strtoull(space + 1, &after, 10);
		assert_true(after > space + 1 && *after == 0);
		*space = 0;
		for (const char *at = line; *at;) {
			if (*at == ';') {
				at++;
				assert_int_equal(str__addc(&labels, 2), 0);
			} else {
				assert_int_equal(str__addc(&labels, unescaped(&at)), 0);
			}
		}
		assert_int_equal(str__addc(&labels, 2), 0);
		count_line(lines, &labels, count);
	}
}

static void add_stack_labels(const struct profile *p, const struct view_opts *v, uint32_t stack,
			     struct str *labels)
{
	const struct stack_node *node = profile__stack(p, stack);

	if (!node->depth)
		return;
	add_stack_labels(p, v, node->parent, labels);
	assert_int_equal(view__frame_label(p, v, node->frame, labels), 0);
	assert_int_equal(str__addc(labels, 2), 0);
}

static void expect(const struct profile *p, const struct view_opts *v, struct lines *lines)
{
	for (size_t i = 0; i < profile__sample_count(p); i++) {
		const struct profile_sample *s = profile__sample(p, i);
		uint32_t process = profile__thread(p, s->thread)->process;
		struct str labels = {0};

		assert_int_equal(view__process_label(p, process, &labels), 0);
		assert_int_equal(str__addc(&labels, 2), 0);
		assert_int_equal(view__thread_label(p, s->thread, &labels), 0);
		assert_int_equal(str__addc(&labels, 2), 0);
		add_stack_labels(p, v, s->stack, &labels);
		count_line(lines, &labels, s->count);
	}
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->labels.data, ((const struct line *)b)->labels.data);
}

static void free_lines(struct lines *lines)
{
	vec__foreach (lines, line)
		str__free(&line->labels);
	vec__free(lines);
}

static void parses_back(struct profile *p)
{
	struct export_opts o = {.view = {.process_frames = true, .thread_frames = true}};
	struct lines want = {0}, got = {0};
	char *text = fixture_export("raw", p, &o);

	parse(text, &got);
	expect(p, &o.view, &want);
	assert_int_equal(got.len, want.len);
	qsort(got.data, got.len, sizeof(*got.data), compare_lines);
	qsort(want.data, want.len, sizeof(*want.data), compare_lines);
	for (size_t i = 0; i < want.len; i++) {
		assert_string_equal(got.data[i].labels.data, want.data[i].labels.data);
		assert_int_equal(got.data[i].count, want.data[i].count);
	}
	free_lines(&got);
	free_lines(&want);
	free(text);
	profile__free(p);
}

static void parse_back(void **state)
{
	(void)state;
	parses_back(fixture_usual());
	parses_back(fixture_hostile());
}

/* A recursion deeper than any stack of ours, and siblings after it: the way back up must be right.
 */
static void deep_recursion(void **state)
{
	enum { DEEP = 5000 };
	struct profile *p = profile__new(false);
	struct export_opts o = {0};
	uint32_t thread, f, g, stack = 0;
	char *text, *at;
	size_t semicolons = 0;

	(void)state;
	thread = fixture_thread(p, fixture_process(p, 1, 1, ""), 1, "");
	f = fixture_python(p, "f", "a.py", 1, 2);
	g = fixture_python(p, "g", "a.py", 5, 6);
	for (int i = 0; i < DEEP; i++)
		stack = fixture_id(profile__add_stack(p, stack, f));
	fixture_samples(p, thread, stack, 0, 3);
	fixture_samples(p, thread, FIXTURE_STACK(p, f, g), 0, 2);
	fixture_samples(p, thread, FIXTURE_STACK(p, g), 0, 1);
	text = fixture_export("raw", p, &o);
	for (at = text; *at != '\n'; at++)
		semicolons += *at == ';';
	assert_int_equal(semicolons, DEEP - 1);
	assert_memory_equal(at - 2, " 3", 2);
	assert_string_equal(at + 1, "f (a.py:2);g (a.py:6) 2\ng (a.py:6) 1\n");
	free(text);
	profile__free(p);
}

static void empty_profile(void **state)
{
	struct profile *p = profile__new(false);
	struct export_opts o = {0};
	char *text = fixture_export("raw", p, &o);

	(void)state;
	assert_string_equal(text, "");
	free(text);
	profile__free(p);
}

static void full_disk(void **state)
{
	(void)state;
	fixture_full_disk("raw");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_profile), cmocka_unit_test(hostile_names),
		cmocka_unit_test(parse_back),    cmocka_unit_test(deep_recursion),
		cmocka_unit_test(empty_profile), cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
