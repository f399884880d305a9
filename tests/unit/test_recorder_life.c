// SPDX-License-Identifier: Apache-2.0
/* What becomes of a process in the records: epochs, exec, exit, pids that were forgotten or told twice. */
#include "recorder_fixture.h"

static bool is_never_gone(void *arg, uint32_t pid)
{
	(void)arg;
	(void)pid;
	return false;
}

/* Each epoch tells what is in use anew: the rest is forgotten, but not before its samples have come. */
static void test_epochs(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	for (uint64_t i = 1; i < 1000; i++)
		stack(&f, 1, HASH + i, PYBPF_OK);
	for (int epoch = 0; epoch < 4; epoch++) {
		sample(&f, 1, HASH + 999);
		assert_string_equal(last(&f), epoch < 2 ? "python3 x.py|" WHOLE "|ok"
							: "python3 x.py|[truncated: stack_missing]|stack_missing");
		sample(&f, 1, HASH);
		assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
		recorder__sweep(f.recorder, is_never_gone, NULL);
		stack(&f, 1, HASH, PYBPF_OK);
	}
	stack(&f, 1, HASH + 999, PYBPF_OK);
	sample(&f, 1, HASH + 999);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	end(&f);
}

/* exec: the same pid, another program. Samples of the old one may come in the same round and the next. */
static void test_exec(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	proc(&f, 2, "python3 new.py");
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	sample(&f, 2, HASH); /* the old program's stacks mean nothing to the new one */
	assert_string_equal(last(&f), "python3 new.py|[truncated: stack_missing]|stack_missing");
	assert_int_equal(recorder__live(f.recorder), 1);
	recorder__end_round(f.recorder, NULL);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	recorder__end_round(f.recorder, NULL);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(recorder__live(f.recorder), 1);
	assert_int_equal(profile__process_count(f.profile), 2);
	sample(&f, 2, 0);
	assert_int_equal(profile__process_count(f.profile), 2);
	end(&f);
}

static void test_exit(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	leave(&f, 1);
	sample(&f, 1, HASH);
	recorder__end_round(f.recorder, NULL);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	assert_int_equal(recorder__live(f.recorder), 0);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(recorder__live(f.recorder), 0);
	leave(&f, 1); /* of one that nobody knows any more, and twice */
	leave(&f, 1);
	assert_int_equal(recorder__live(f.recorder), 0);
	/* the pid is used again */
	introduce(&f, 9);
	leave(&f, 9);
	leave(&f, 9);
	assert_int_equal(recorder__live(f.recorder), 0);
	recorder__end_round(f.recorder, NULL);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(recorder__live(f.recorder), 0);
	assert_int_equal(profile__process_count(f.profile), 2);
	end(&f);
}

/* exec of a program that is no Python: nothing is ever heard of the new one. */
static void test_exec_of_another(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	end_program(&f, 1, REC_EXEC);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	assert_int_equal(recorder__live(f.recorder), 0);
	recorder__end_round(f.recorder, NULL);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(profile__ended_count(f.profile), 1);
	end(&f);
}

static bool pid_is(void *arg, uint32_t pid)
{
	return *(uint32_t *)arg == pid;
}

/* Ends that are never told: of a process that was introduced, and of one that was not. */
static void test_sweep(void **state)
{
	uint32_t gone = PID + 1;
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 2, 0);
	assert_int_equal(recorder__live(f.recorder), 1);
	recorder__sweep(f.recorder, pid_is, &gone);
	recorder__end_round(f.recorder, NULL);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(recorder__live(f.recorder), 1);
	assert_int_equal(profile__ended_count(f.profile), 0);
	gone = PID;
	recorder__sweep(f.recorder, pid_is, &gone);
	sample(&f, 1, HASH); /* from before */
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	recorder__end_round(f.recorder, NULL);
	recorder__sweep(f.recorder, pid_is, &gone);
	recorder__end_round(f.recorder, NULL);
	assert_int_equal(recorder__live(f.recorder), 0);
	assert_int_equal(profile__ended_count(f.profile), 2);
	assert_int_equal(profile__process_count(f.profile), 2);
	end(&f);
}

static bool has_identity(void *arg, uint64_t identity)
{
	return *(uint64_t *)arg == identity;
}

/* A sample of it is held back: it stays until that has been taken, while others go. */
static void test_held(void **state)
{
	uint64_t held = 1;
	struct recorder_held who = {has_identity, &held};
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	end_program(&f, 1, REC_EXEC);
	introduce(&f, 2);
	leave(&f, 2);
	for (int round = 0; round < 3; round++)
		recorder__end_round(f.recorder, &who);
	assert_int_equal(profile__ended_count(f.profile), 1);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	held = 0;
	recorder__end_round(f.recorder, &who);
	assert_int_equal(profile__ended_count(f.profile), 2);
	end(&f);
}

static void count_threads(void *arg, uint64_t identity, uint32_t tid)
{
	assert_int_equal(identity, 1);
	assert_int_equal(tid, PID); /* nobody's: it is gone */
	++*(int *)arg;
}

/* A thread that is gone is forgotten by the second sweep: its last samples may come in between. */
static void test_threads(void **state)
{
	struct fixture f;
	int ended = 0;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	recorder__sweep_threads(f.recorder, count_threads, &ended);
	sample(&f, 1, HASH);
	assert_int_equal(ended, 0);
	assert_int_equal(profile__thread_count(f.profile), 1);
	recorder__sweep_threads(f.recorder, count_threads, &ended);
	recorder__sweep_threads(f.recorder, count_threads, &ended);
	assert_int_equal(ended, 1);
	assert_int_equal(profile__ended_count(f.profile), 1);
	sample(&f, 1, HASH);
	assert_int_equal(profile__thread_count(f.profile), 2); /* another one of that id */
	end(&f);
}

static int drop_past(struct fixture *f)
{
	const struct profile_holder holder = {recorder__each_id, f->recorder};
	uint32_t n = recorder__code_count(f->recorder);
	bool *used = calloc(n + 1, sizeof(*used));
	struct profile_moves moves;
	int in_use = 0;

	recorder__mark_codes(f->recorder, used);
	for (uint32_t i = 0; i < n; i++)
		in_use += used[i];
	recorder__drop_codes(f->recorder, used);
	free(used);
	assert_int_equal(profile__drop_past(f->profile, &holder, &moves), 0);
	profile_moves__free(&moves);
	return in_use;
}

/* Programs come and go, each with functions of its own: what is kept is as much as if there had been none. One lives on. */
static void test_churn(void **state)
{
	uint32_t strings = 0, codes = 0;
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	sample(&f, 1, HASH);
	for (uint64_t identity = 2; identity < 200; identity++) {
		char text[64];

		f.pid = PID + 1;
		snprintf(text, sizeof(text), "python3 number_%u.py", (unsigned int)identity);
		proc(&f, identity, text);
		snprintf(text, sizeof(text), "f%u", (unsigned int)identity);
		code(&f, identity, CODE_A, text, 10);
		code(&f, identity, CODE_B, text, 20);
		stack(&f, identity, HASH + identity, PYBPF_OK);
		sample(&f, identity, HASH + identity);
		end_program(&f, identity, REC_EXEC);
		recorder__end_round(f.recorder, NULL);
		recorder__end_round(f.recorder, NULL);
		assert_int_equal(drop_past(&f), 2);
		if (identity == 20) {
			strings = profile__string_count(f.profile);
			codes = recorder__code_count(f.recorder);
		}
	}
	assert_int_equal(profile__process_count(f.profile), 1);
	assert_int_equal(profile__thread_count(f.profile), 1);
	assert_int_equal(profile__string_count(f.profile), strings);
	assert_int_equal(recorder__code_count(f.recorder), codes);
	assert_int_equal(profile__frame_count(f.profile), 1); /* of the caller: the innermost one is the sample's */
	assert_int_equal(profile__stack_count(f.profile), 2);
	assert_int_equal(profile__sample_count(f.profile), 0);
	f.pid = PID;
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	stack(&f, 1, HASH + 1, PYBPF_OK);
	sample(&f, 1, HASH + 1);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	assert_int_equal(profile__stack_count(f.profile), 3);
	end(&f);
}

/* Introduced by two CPUs at the same time; the second one may even come late. */
static void test_introduced_twice(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	introduce(&f, 1);
	introduce(&f, 1);
	proc(&f, 2, "python3 new.py");
	proc(&f, 1, "python3 x.py");
	recorder__end_round(f.recorder, NULL);
	recorder__end_round(f.recorder, NULL);
	stack(&f, 2, HASH, PYBPF_OK);
	sample(&f, 2, HASH);
	assert_string_equal(last(&f), "python3 new.py|[truncated: code_fault];[truncated: code_fault]|code_fault");
	assert_int_equal(profile__process_count(f.profile), 2);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_exec_of_another),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_introduced_twice),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
