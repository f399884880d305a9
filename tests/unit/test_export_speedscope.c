// SPDX-License-Identifier: Apache-2.0
#include "test_export_fixture.h"

/* The exporter's own version is not the golden file's business. */
static void check(const char *golden, const struct profile *p, const struct export_opts *o)
{
	char *text = fixture_export("speedscope", p, o), *at;
	struct str neutral = {0};

	at = strstr(text, "pybpf@" PYBPF_VERSION);
	assert_non_null(at);
	assert_int_equal(str__add(&neutral, text, at - text), 0);
	assert_int_equal(str__adds(&neutral, "pybpf@VERSION"), 0);
	assert_int_equal(str__adds(&neutral, at + strlen("pybpf@" PYBPF_VERSION)), 0);
	fixture_golden(golden, neutral.data);
	str__free(&neutral);
	free(text);
}

static void usual_profile(void **state)
{
	struct profile *p = fixture_usual();
	struct export_opts o = {0};

	(void)state;
	check("usual.speedscope.json", p, &o);
	o.view.lines = LINE_FUNCTION;
	o.view.full_filenames = true;
	check("usual-functions.speedscope.json", p, &o);
	o.view.lines = LINE_NONE;
	o.title = "a \"title\"";
	check("usual-nolineno.speedscope.json", p, &o);
	profile__free(p);
}

static void hostile_names(void **state)
{
	struct profile *p = fixture_hostile();
	struct export_opts o = {0};

	(void)state;
	check("hostile.speedscope.json", p, &o);
	profile__free(p);
}

static size_t occurrences(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* exec: the same pid, tid and start, another command line; a pid that is used again: another start.
 */
static void one_profile_a_thread(void **state)
{
	struct profile *p = profile__new(true);
	struct export_opts o = {0};
	uint32_t shell, python, reused, stack;
	char *text;

	(void)state;
	shell = fixture_thread(p, fixture_process(p, 5, 10, "sh"), 5, "sh");
	reused = fixture_thread(p, fixture_process(p, 5, 99, "python3 b.py"), 5, "again");
	python = fixture_thread(p, fixture_process(p, 5, 10, "python3 a.py"), 5, "MainThread");
	fixture_thread(p, fixture_process(p, 6, 10, "idle"), 6, "without samples");
	stack = FIXTURE_STACK(p, fixture_python(p, "f", "a.py", 1, 2));
	fixture_samples(p, reused, stack, 900000000, 1);
	fixture_samples(p, python, stack, 100000000, 2);
	fixture_samples(p, shell, stack, 0, 1);
	text = fixture_export("speedscope", p, &o);
	assert_int_equal(occurrences(text, "\"type\":\"sampled\""), 2);
	assert_int_equal(occurrences(text, "Thread 5 \\\"MainThread\\\""), 1);
	assert_int_equal(occurrences(text, "Thread 5 \\\"again\\\""), 1);
	assert_non_null(strstr(text, "\"samples\":[[0],[0],[0]],\"weights\":[0.01,0.01,0.01]"));
	assert_non_null(strstr(text, "\"samples\":[[0]],\"weights\":[0.01]"));
	assert_non_null(strstr(text, "\"activeProfileIndex\":0"));
	free(text);
	profile__free(p);
}

static void empty_profile(void **state)
{
	struct profile *p = profile__new(true);
	struct export_opts o = {0};

	(void)state;
	check("empty.speedscope.json", p, &o);
	profile__free(p);
}

static void full_disk(void **state)
{
	(void)state;
	fixture_full_disk("speedscope");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_profile),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(one_profile_a_thread),
		cmocka_unit_test(empty_profile),
		cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
