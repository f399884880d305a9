// SPDX-License-Identifier: Apache-2.0
/*
 * From the ring's records to a profile, in every order that they may come in: two CPUs, and lost records. The interpreters are
 * this test's own; everything else is the product's.
 */
#include "recorder_fixture.h"

#include "base/cleanup.h"

static void test_usual_order(void **state)
{
	struct recorder_counts counts;
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	assert_int_equal(profile__sample(f.profile, 0)->time, 900);
	assert_int_equal(profile__sample(f.profile, 0)->weight, PERIOD);
	sample(&f, 1, 0);
	recorder__counts(f.recorder, &counts);
	assert_int_equal(counts.written, 2);
	assert_int_equal(counts.processes, 1);
	assert_int_equal(counts.threads, 1);
	assert_int_equal(counts.code_objects, 2);
	assert_int_equal(recorder__live(f.recorder), 1);
	end(&f);
}

/* Whatever is missing when a sample comes is said; what comes later helps later samples. */
static void test_odd_orders(void **state)
{
	struct recorder_counts counts;
	struct fixture f;

	(void)state;
	begin(&f);
	sample(&f, 1, HASH); /* nothing is known at all */
	assert_string_equal(last(&f), "|[truncated: stack_missing]|stack_missing");
	code(&f, 1, CODE_A, "A", 10); /* nothing says how to read them: lost */
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "|[truncated: stack_missing]|stack_missing");
	proc(&f, 1, "python3 x.py");
	stack(&f, 1, HASH, PYBPF_OK); /* before its code objects */
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|[truncated: code_fault];[truncated: code_fault]|code_fault");
	code(&f, 1, CODE_A, "A", 10);
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|A (x.py:10);[truncated: code_fault]|code_fault");
	code(&f, 1, CODE_B, "B", 20);
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	recorder__counts(f.recorder, &counts);
	assert_int_equal(counts.written, 5);
	assert_int_equal(counts.truncated[PYBPF_STACK_MISSING], 2);
	assert_int_equal(counts.truncated[PYBPF_CODE_FAULT], 2);
	assert_int_equal(counts.processes, 1);
	end(&f);
}

/* The process had ended before what the kernel could not read was asked of it. */
static void test_parts_lost(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	proc(&f, 1, "python3 x.py");
	code_without(&f, 1, CODE_A, "A", 10, CODE_PART_LINETABLE); /* a name without lines is a name */
	code_without(&f, 1, CODE_B, "B", 20, CODE_PART_NAME | CODE_PART_LINETABLE);
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|A (x.py:10);[truncated: code_fault]|code_fault");
	end(&f);
}

static void test_incomplete_stacks(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	stack(&f, 1, HASH + 1, PYBPF_DEPTH_LIMIT);
	sample(&f, 1, HASH + 1);
	assert_string_equal(last(&f), "python3 x.py|[truncated: depth_limit];" WHOLE "|depth_limit");
	end(&f);
}

/* The code object at an address is another one now: samples after that, not those before, have its name. */
static void test_told_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	for (int i = 0; i < 3; i++) {
		code(&f, 1, CODE_B, "C", 30);
		stack(&f, 1, HASH, PYBPF_OK);
		sample(&f, 1, HASH);
		assert_string_equal(last(&f), "python3 x.py|A (x.py:10);C (x.py:30)|ok");
		code(&f, 1, CODE_B, "B", 20);
		stack(&f, 1, HASH, PYBPF_OK);
		sample(&f, 1, HASH);
		assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	}
	assert_int_equal(profile__process_count(f.profile), 1);
	end(&f);
}

/* Memory is short: what was known goes on, what is new has no name, and never that of what was there before. */
static void test_short_of_memory(void **state)
{
	static const char cut[] = "python3 x.py|A (x.py:10);[truncated: code_fault]|code_fault";
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	recorder__limit(f.recorder, true);
	code(&f, 1, CODE_B, "C", 30);
	stack(&f, 1, HASH + 1, PYBPF_OK);
	sample(&f, 1, HASH + 1);
	assert_string_equal(last(&f), "python3 x.py|[truncated: memory_limit]|memory_limit");
	sample(&f, 1, HASH); /* was on its way */
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), cut);
	code(&f, 1, CODE_B, "B", 20); /* it is back */
	stack(&f, 1, HASH, PYBPF_OK);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	code(&f, 1, CODE_B, "C", 30);
	recorder__limit(f.recorder, false);
	stack(&f, 1, HASH + 1, PYBPF_OK);
	sample(&f, 1, HASH + 1);
	assert_string_equal(last(&f), cut);
	code(&f, 1, CODE_B, "C", 30);
	stack(&f, 1, HASH + 1, PYBPF_OK);
	sample(&f, 1, HASH + 1);
	assert_string_equal(last(&f), "python3 x.py|A (x.py:10);C (x.py:30)|ok");
	end(&f);
}

static void test_before_the_layout(void **state)
{
	struct rec_sample s = {.identity = 1, .pid = PID, .tid = PID, .outcome = PYBPF_LAYOUT_PENDING};
	struct recorder_counts counts;
	struct fixture f;

	(void)state;
	begin(&f);
	recorder__sample(f.recorder, &s);
	assert_string_equal(last(&f), "|[truncated: layout_pending]|layout_pending");
	s.identity = 2; /* the program that the process ran before, which turned out to be no Python */
	recorder__sample(f.recorder, &s);
	recorder__counts(f.recorder, &counts);
	assert_int_equal(counts.taken, 1);
	assert_int_equal(counts.written, 1);
	end(&f);
}

/* Nothing of a process is shown before its interpreter's layout is proven; what is refuted never is. */
static void test_before_the_proof(void **state)
{
	static const char unsupported[] = "python3 x.py|[truncated: unsupported]|unsupported";
	static const char unproven[] = "python3 x.py|[truncated: unproven]|unproven";
	static const struct {
		bool proven, refused, last;
		uint16_t types;
		const char *becomes; /* NULL: it is held on */
	} cases[] = {
		{.becomes = NULL},
		{.proven = true, .becomes = "python3 x.py|" WHOLE "|ok"},
		{.refused = true, .becomes = unsupported},
		{.refused = true, .types = CODE_TYPES_RIGHT, .becomes = unsupported},
		/* over too soon: by what the kernel saw */
		{.last = true, .becomes = unproven},
		{.last = true, .types = CODE_TYPES_WRONG, .becomes = unproven},
		{.last = true, .types = CODE_TYPES_RIGHT, .becomes = "python3 x.py|" WHOLE "|ok"},
		{.types = CODE_TYPES_RIGHT, .becomes = NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct recorder_counts counts;
		struct fixture f;

		begin(&f);
		interp.proven = false;
		f.types = cases[i].types;
		introduce(&f, 1);
		sample(&f, 1, HASH);
		sample(&f, 1, HASH);
		leave(&f, 1);
		for (int round = 0; round < 3; round++) {
			recorder__settle(f.recorder, false);
			recorder__end_round(f.recorder, NULL); /* the process itself is forgotten */
		}
		assert_int_equal(profile__sample_count(f.profile), 0);
		assert_true(recorder__holds(f.recorder));
		interp.proven = cases[i].proven;
		interp.refused = cases[i].refused;
		recorder__settle(f.recorder, cases[i].last);
		recorder__counts(f.recorder, &counts);
		assert_int_equal(counts.written, cases[i].becomes ? 2 : 0);
		assert_int_equal(recorder__holds(f.recorder), !cases[i].becomes);
		if (cases[i].becomes)
			assert_string_equal(last(&f), cases[i].becomes);
		end(&f);
	}
}

/* What was told before it was refuted, and introduced as unsupported since, is not shown either. */
static void test_refused(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	interp.proven = false;
	interp.refused = true;
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|[truncated: unsupported]|unsupported");
	end(&f);
}

/* Records cut anywhere, and types that nobody knows: passed over, and samples say what is missing. */
static void test_cut_records(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t cut = 1; cut < 140; cut++) {
		begin(&f);
		f.cut = cut;
		introduce(&f, 1);
		leave(&f, 1);
		sample(&f, 1, HASH);
		recorder__end_round(f.recorder, NULL);
		assert_int_equal(profile__sample_count(f.profile), 1);
		end(&f);
	}
	begin(&f);
	for (uint32_t type = 0; type < 300; type++)
		take(&f, (uint32_t[30]){type, PID}, 120, NULL, 0);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual_order),
		cmocka_unit_test(test_odd_orders),
		cmocka_unit_test(test_parts_lost),
		cmocka_unit_test(test_incomplete_stacks),
		cmocka_unit_test(test_told_again),
		cmocka_unit_test(test_short_of_memory),
		cmocka_unit_test(test_before_the_layout),
		cmocka_unit_test(test_before_the_proof),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cut_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
