// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>
#include <unistd.h>

#include "export/flame_colors.h"
#include "export/flame_layout.h"
#include "test_export_fixture.h"

/* Title, subtitle and frames: all but the attributes of the whole, the style sheet and the script.
 */
static void check(const char *golden, const struct profile *p, const struct export_opts *o)
{
	char *text = fixture_export("flamegraph", p, o);
	char *from = strstr(text, "<rect class=\"ground\""), *to = strstr(text, "<script>");

	assert_true(from && to && from < to);
	*to = 0;
	fixture_golden(golden, from);
	free(text);
}

static void usual_profile(void **state)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {0};

	(void)state;
	check("usual.svg-frames", p, &o);
	o.view.process_frames = o.view.thread_frames = true;
	o.view.lines = LINE_NONE;
	o.inverted = true;
	o.width = 500;
	o.colors = "colorblind";
	o.title = "A <b> & \"c\"";
	check("usual-inverted.svg-frames", p, &o);
	profile__free(p);
}

static void hostile_names(void **state)
{
	struct profile *p = fixture_hostile();
	struct export_opts o = {.view = {.process_frames = true, .thread_frames = true}};

	(void)state;
	check("hostile.svg-frames", p, &o);
	profile__free(p);
}

static void subtitle_says_what_is_missing(void **state)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {0};
	struct profile_accounts a = {.taken = 30, .written = 20};
	char *text;

	(void)state;
	a.lost[PYBPF_RING_FULL] = 9;
	a.lost[PYBPF_NO_MEMORY] = 1;
	a.truncated[PYBPF_FRAME_FAULT] = 3;
	profile__set_accounts(p, &a);
	text = fixture_export("flamegraph", p, &o);
	assert_non_null(strstr(text, ">pybpf record --all-python · host · 10.0 s · 100 Hz · "
				     "20 samples · 10 lost · 3 truncated</text>"));
	free(text);
	profile__free(p);
}

/* What does not fit at the static width is cut; the script gets all of it. */
static void long_command(void **state)
{
	struct profile *p = fixture_usual();
	struct profile_meta m = *profile__meta(p);
	struct export_opts o = {.width = 600};
	char command[600], *text, *shown;

	(void)state;
	memset(command, 'x', sizeof(command) - 1);
	command[sizeof(command) - 1] = 0;
	m.command = command;
	m.host = strdup("host");
	assert_int_equal(profile__set_meta(p, &m), 0);
	free(m.host);
	text = fixture_export("flamegraph", p, &o);
	assert_non_null(strstr(text, command));
	shown = strstr(text, ">xxx");
	assert_non_null(shown);
	assert_non_null(strstr(shown, "xxx.. · host"));
	assert_true(strstr(shown, "</text>") - shown < 110);
	free(text);
	profile__free(p);
}

static size_t count_frames(const struct profile *p, struct export_opts o)
{
	char *text = fixture_export("flamegraph", p, &o);
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, "<g><title>")); at++)
		n++;
	free(text);
	return n;
}

/* 1000 samples in `wide`, 1 in `thin` below it with `under` on top of that, 1 in `wide` alone. */
static void least_width(void **state)
{
	struct profile *p = profile__new(false);
	uint32_t thread, wide, thin, under;
	char *text;

	(void)state;
	thread = fixture_thread(p, fixture_process(p, 1, 1, "x"), 1, "");
	wide = fixture_python(p, "wide", "a.py", 1, 1);
	thin = fixture_python(p, "thin", "a.py", 2, 2);
	under = fixture_python(p, "under", "a.py", 3, 3);
	fixture_samples(p, thread, FIXTURE_STACK(p, wide), 0, 999);
	fixture_samples(p, thread, FIXTURE_STACK(p, wide, thin, under), 0, 1);
	assert_int_equal(count_frames(p, (struct export_opts){0}), 4);
	assert_int_equal(count_frames(p, (struct export_opts){.min_width = -1}), 4);
	assert_int_equal(count_frames(p, (struct export_opts){.min_width = 1.1}), 4);
	assert_int_equal(count_frames(p, (struct export_opts){.min_width = 1.3}), 2);
	assert_int_equal(
		count_frames(p, (struct export_opts){.min_width = 0.1, .min_width_percent = true}),
		4);
	assert_int_equal(
		count_frames(p, (struct export_opts){.min_width = 0.11, .min_width_percent = true}),
		2);
	/* 0.1 of 180 pixels is more than one sample of 1000. */
	assert_int_equal(count_frames(p, (struct export_opts){.width = 110}), 2);
	/* Samples of what is not shown stay in what is. */
	text = fixture_export("flamegraph", p, &(struct export_opts){.min_width = 2});
	assert_non_null(strstr(text, "<title>wide (a.py:1) (1000 samples, 100.00%)</title>"));
	assert_null(strstr(text, "thin (a.py"));
	free(text);
	profile__free(p);
}

static void bad_options(void **state)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {.colors = "no such"};
	struct err e = {0};
	char *data = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&data, &n);

	(void)state;
	assert_int_equal(export__by_name("svg")->write(p, &o, out, &e), -EINVAL);
	assert_non_null(strstr(e.text, "no such"));
	o.colors = NULL;
	o.width = 20;
	assert_int_equal(export__by_name("svg")->write(p, &o, out, &e), -EINVAL);
	assert_non_null(strstr(e.text, "20 pixels"));
	fclose(out);
	assert_int_equal(n, 0);
	free(data);
	profile__free(p);
}

static void every_palette_is_offered_and_works(void **state)
{
	const char *const *names = flamegraph__palettes();
	struct profile *p = fixture_usual();

	(void)state;
	assert_ptr_equal(flame_palette__find(NULL), flame_palette__find(names[0]));
	for (; *names; names++) {
		struct export_opts o = {.colors = *names};

		assert_non_null(flame_palette__find(*names));
		assert_int_equal(count_frames(p, o), 10);
	}
	assert_null(flame_palette__find(""));
	profile__free(p);
}

static uint32_t color(const char *palette, enum frame_kind kind, const char *label)
{
	struct calltree_node node = {.kind = NODE_FRAME, .frame_kind = kind};

	return flame_palette__color(flame_palette__find(palette), &node, label, strlen(label));
}

static int red(uint32_t c)
{
	return c >> 16;
}

static int green(uint32_t c)
{
	return c >> 8 & 255;
}

static int blue(uint32_t c)
{
	return c & 255;
}

static void colors(void **state)
{
	uint32_t five = color(NULL, FRAME_PYTHON, "burn (app/core.py:5)");

	(void)state;
	/* The line does not matter, function and file do. */
	assert_int_equal(five, color(NULL, FRAME_PYTHON, "burn (app/core.py:66)"));
	assert_int_equal(five, color(NULL, FRAME_PYTHON, "burn (app/core.py)"));
	assert_int_not_equal(five, color(NULL, FRAME_PYTHON, "turn (app/core.py:5)"));
	assert_int_not_equal(five, color(NULL, FRAME_PYTHON, "burn (app/cure.py:5)"));
	/* Warm for Python, green for native, violet for the kernel, grey for markers. */
	for (int c = 'a'; c <= 'z'; c++) {
		char label[32];
		uint32_t x;

		snprintf(label, sizeof(label), "f%c (%c.py:1)", c, c);
		x = color(NULL, FRAME_PYTHON, label);
		assert_true(red(x) > green(x) && green(x) > blue(x));
		x = color(NULL, FRAME_NATIVE, label);
		assert_true(green(x) > red(x) && blue(x) > red(x));
		x = color(NULL, FRAME_KERNEL, label);
		assert_true(red(x) > green(x) && blue(x) > green(x));
		x = color(NULL, FRAME_MARKER, label);
		assert_true(red(x) == green(x) && green(x) == blue(x));
	}
	/* Labels of every shape. */
	color(NULL, FRAME_PYTHON, "");
	color(NULL, FRAME_PYTHON, ")");
	color(NULL, FRAME_PYTHON, " (:)");
	color(NULL, FRAME_PYTHON, " (1)");
	color(NULL, FRAME_PYTHON, "()()()");
}

static void empty_profile(void **state)
{
	struct profile *p = profile__new(false);
	struct export_opts o = {0};
	char *text = fixture_export("flamegraph", p, &o);

	(void)state;
	assert_non_null(strstr(text, "<title>all (0 samples, 0.00%)</title>"));
	assert_non_null(strstr(text, ">0 samples</text>"));
	free(text);
	profile__free(p);
}

/* Boxes of 20,000 nested frames: rows and starts, and no recursion of ours. */
static void deep_layout(void **state)
{
	enum { DEEP = 20000 };
	struct profile *p = profile__new(false);
	struct view_opts v = {0};
	struct flame_layout l = {0};
	struct calltree *t;
	uint32_t thread, f, g, stack = 0;

	(void)state;
	thread = fixture_thread(p, fixture_process(p, 1, 1, ""), 1, "");
	f = fixture_python(p, "f", "a.py", 1, 2);
	g = fixture_python(p, "g", "a.py", 5, 6);
	for (int i = 0; i < DEEP; i++)
		stack = fixture_id(profile__add_stack(p, stack, f));
	fixture_samples(p, thread, stack, 0, 3);
	fixture_samples(p, thread, FIXTURE_STACK(p, g), 0, 1);
	assert_int_equal(calltree__new(p, &v, &t), 0);
	assert_int_equal(flame_layout__build(&l, t, 0), 0);
	assert_int_equal(l.rows, DEEP + 1);
	assert_int_equal(l.boxes.len, DEEP + 2);
	assert_int_equal(l.boxes.data[DEEP].row, DEEP);
	assert_int_equal(l.boxes.data[DEEP].start, 0);
	assert_int_equal(l.boxes.data[DEEP + 1].row, 1);
	assert_int_equal(l.boxes.data[DEEP + 1].start, 3);
	flame_layout__free(&l);
	assert_int_equal(flame_layout__build(&l, t, 2), 0);
	assert_int_equal(l.boxes.len, DEEP + 1);
	flame_layout__free(&l);
	calltree__free(t);
	profile__free(p);
}

/* Whatever is in the names, an XML parser takes the file. */
static void well_formed(void **state)
{
	char path[] = "/tmp/pybpf-svg-XXXXXX", command[128];
	struct profile *p = fixture_hostile();
	struct export_opts o = {.title = FIXTURE_HOSTILE_NAME,
				.view = {.process_frames = true, .thread_frames = true}};
	char *text = fixture_export("flamegraph", p, &o);
	int fd = mkstemp(path), status;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	snprintf(command, sizeof(command), "xmllint --noout %s", path);
	status = system(command);
	unlink(path);
	free(text);
	profile__free(p);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		skip();
	assert_int_equal(status, 0);
}

static void full_disk(void **state)
{
	(void)state;
	fixture_full_disk("flamegraph");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_profile),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(subtitle_says_what_is_missing),
		cmocka_unit_test(long_command),
		cmocka_unit_test(least_width),
		cmocka_unit_test(bad_options),
		cmocka_unit_test(every_palette_is_offered_and_works),
		cmocka_unit_test(colors),
		cmocka_unit_test(empty_profile),
		cmocka_unit_test(deep_layout),
		cmocka_unit_test(well_formed),
		cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
