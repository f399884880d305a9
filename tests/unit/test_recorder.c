// SPDX-License-Identifier: Apache-2.0
/*
 * From the ring's records to a profile, in every order that they may come in: two CPUs, lost records, exec, exit. The
 * interpreters are this test's own; everything else is the product's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "collect/recorder.h"
#include "pyrt/layout.h"
#include "store/view.h"

#define PID    5000001u /* beyond the greatest that there is: nobody's */
#define CODE_A 0x100000ull
#define CODE_B 0x200000ull
#define HASH   0x777ull
#define PERIOD 10000000ull

/* ---- in place of collect/interps.c */

static struct interp interp = {.version = "3.12.1"};
static bool refused;

const struct interp *interps__get(const struct interps *x, uint32_t layout)
{
	(void)x;
	return layout == 3 ? &interp : NULL;
}

bool interps__is_python(const struct interps *x, uint32_t pid)
{
	(void)x;
	return pid == PID;
}

bool interps__is_refused(const struct interps *x, uint32_t pid)
{
	(void)x;
	(void)pid;
	return refused;
}

/* ---- records */

struct fixture {
	struct profile *profile;
	struct recorder *recorder;
	size_t cut; /* bytes to leave out at the end of each record */
};

/* As the ring has it: memory of its own, of exactly that size. */
static void take(struct fixture *f, const void *head, size_t size, const void *tail, size_t tail_size)
{
	size_t n = size + tail_size > f->cut ? size + tail_size - f->cut : 0;
	unsigned char *record = calloc(1, size + tail_size + 1), *exact = malloc(n ? n : 1);

	memcpy(record, head, size);
	if (tail_size)
		memcpy(record + size, tail, tail_size);
	memcpy(exact, record, n);
	assert_int_equal(recorder__take(f->recorder, exact, n), 0);
	free(record);
	free(exact);
}

static void proc(struct fixture *f, uint64_t identity, const char *command)
{
	struct rec_proc r = {.type = REC_PROC,
			     .pid = PID,
			     .identity = identity,
			     .start_time = 5,
			     .ppid = 1,
			     .ns_pid = 7,
			     .layout = 3,
			     .comm = "python3",
			     .cmdline_bytes = (uint32_t)strlen(command) + 1};
	char words[64];

	snprintf(words, sizeof(words), "%s", command);
	for (char *c = words; *c; c++)
		*c = *c == ' ' ? '\0' : *c;
	take(f, &r, sizeof(r), words, r.cmdline_bytes);
}

static void code_without(struct fixture *f, uint64_t identity, uint64_t addr, const char *name, int line,
			 uint32_t missing)
{
	static const char file[] = "/srv/x.py";
	/* one entry of Objects/locations.md: code 13 (no columns), eight code units, line delta 0 */
	static const unsigned char table[] = {0x80 | 13 << 3 | 7, 0};
	struct rec_code r = {.type = REC_CODE,
			     .pid = PID,
			     .identity = identity,
			     .addr = addr,
			     .firstlineno = line,
			     .name_bytes = (uint16_t)strlen(name),
			     .file_bytes = sizeof(file) - 1,
			     .name_kind = 1,
			     .file_kind = 1,
			     .missing = missing};
	char tail[128];

	r.linetab_bytes = missing & CODE_PART_LINETABLE ? 0 : sizeof(table);

	memcpy(tail, name, r.name_bytes);
	memcpy(tail + r.name_bytes, file, r.file_bytes);
	memcpy(tail + r.name_bytes + r.file_bytes, table, sizeof(table));
	take(f, &r, sizeof(r), tail, (size_t)r.name_bytes + r.file_bytes + r.linetab_bytes);
}

static void code(struct fixture *f, uint64_t identity, uint64_t addr, const char *name, int line)
{
	code_without(f, identity, addr, name, line, 0);
}

/* B called by A. */
static void stack(struct fixture *f, uint64_t identity, uint64_t hash, uint16_t outcome)
{
	uint64_t at = interp.layout.code_bytecode + 4;
	struct raw_frame frames[] = {{CODE_B, 0}, {CODE_A, CODE_A + at}};
	struct rec_stack r = {
		.type = REC_STACK, .pid = PID, .identity = identity, .stack = hash, .nframes = 2, .outcome = outcome};

	take(f, &r, sizeof(r), frames, sizeof(frames));
}

static void end_program(struct fixture *f, uint64_t identity, uint32_t type)
{
	struct rec_life r = {.type = type, .pid = PID, .identity = identity};

	take(f, &r, sizeof(r), NULL, 0);
}

static void leave(struct fixture *f, uint64_t identity)
{
	end_program(f, identity, REC_EXIT);
}

static void sample(struct fixture *f, uint64_t identity, uint64_t hash)
{
	struct rec_sample s = {.time = 1000,
			       .stack = hash,
			       .leaf = CODE_B + interp.layout.code_bytecode,
			       .identity = identity,
			       .pid = PID,
			       .tid = PID};

	assert_int_equal(recorder__sample(f->recorder, &s), 0);
}

/* ---- what has become of them */

/* The last sample as "process cmdline|outer;inner|outcome". */
static const char *last(struct fixture *f)
{
	static char text[512];
	size_t n = profile__sample_count(f->profile);
	const struct profile_sample *s = profile__sample(f->profile, n - 1);
	const struct profile_process *p = profile__process(f->profile, profile__thread(f->profile, s->thread)->process);
	struct view_opts view = {0};
	struct str stack = {0}, label = {0};

	for (uint32_t id = s->stack; id; id = profile__stack(f->profile, id)->parent) {
		str__reset(&label);
		view__frame_label(f->profile, &view, profile__stack(f->profile, id)->frame, &label);
		if (stack.len)
			str__adds(&label, ";");
		str__add(&label, str__cstr(&stack), stack.len);
		str__reset(&stack);
		str__add(&stack, label.data, label.len);
	}
	snprintf(text, sizeof(text), "%s|%s|%s", profile__string(f->profile, p->cmdline, NULL), str__cstr(&stack),
		 outcome__name(s->outcome));
	str__free(&stack);
	str__free(&label);
	return text;
}

static void begin(struct fixture *f)
{
	struct recorder_context context = {.start_ns = 100, .period_ns = PERIOD};

	*f = (struct fixture){.profile = profile__new(true)};
	refused = false;
	interp.layout = pyrt_layout__row(12)->abi;
	context.profile = f->profile;
	f->recorder = recorder__new(&context);
	assert_non_null(f->recorder);
}

static void end(struct fixture *f)
{
	recorder__free(f->recorder);
	profile__free(f->profile);
}

#define WHOLE "A (x.py:10);B (x.py:20)"

static void introduce(struct fixture *f, uint64_t identity)
{
	proc(f, identity, "python3 x.py");
	code(f, identity, CODE_A, "A", 10);
	code(f, identity, CODE_B, "B", 20);
	stack(f, identity, HASH, PYBPF_OK);
}

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
	recorder__end_round(f.recorder);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	recorder__end_round(f.recorder);
	recorder__end_round(f.recorder);
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
	recorder__end_round(f.recorder);
	sample(&f, 1, HASH);
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	assert_int_equal(recorder__live(f.recorder), 0);
	recorder__end_round(f.recorder);
	assert_int_equal(recorder__live(f.recorder), 0);
	leave(&f, 1); /* of one that nobody knows any more, and twice */
	leave(&f, 1);
	assert_int_equal(recorder__live(f.recorder), 0);
	/* the pid is used again */
	introduce(&f, 9);
	leave(&f, 9);
	leave(&f, 9);
	assert_int_equal(recorder__live(f.recorder), 0);
	recorder__end_round(f.recorder);
	recorder__end_round(f.recorder);
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
	recorder__end_round(f.recorder);
	recorder__end_round(f.recorder);
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
	recorder__end_round(f.recorder);
	recorder__end_round(f.recorder);
	assert_int_equal(recorder__live(f.recorder), 1);
	assert_int_equal(profile__ended_count(f.profile), 0);
	gone = PID;
	recorder__sweep(f.recorder, pid_is, &gone);
	sample(&f, 1, HASH); /* from before */
	assert_string_equal(last(&f), "python3 x.py|" WHOLE "|ok");
	recorder__end_round(f.recorder);
	recorder__sweep(f.recorder, pid_is, &gone);
	recorder__end_round(f.recorder);
	assert_int_equal(recorder__live(f.recorder), 0);
	assert_int_equal(profile__ended_count(f.profile), 2);
	assert_int_equal(profile__process_count(f.profile), 2);
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
	recorder__end_round(f.recorder);
	recorder__end_round(f.recorder);
	stack(&f, 2, HASH, PYBPF_OK);
	sample(&f, 2, HASH);
	assert_string_equal(last(&f), "python3 new.py|[truncated: code_fault];[truncated: code_fault]|code_fault");
	assert_int_equal(profile__process_count(f.profile), 2);
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
	s.pid = PID + 1; /* which turned out to be no Python */
	recorder__sample(f.recorder, &s);
	recorder__counts(f.recorder, &counts);
	assert_int_equal(counts.taken, 1);
	assert_int_equal(counts.written, 1);
	end(&f);
	begin(&f);
	refused = true;
	introduce(&f, 1);
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
		recorder__end_round(f.recorder);
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
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_exec_of_another),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_introduced_twice),
		cmocka_unit_test(test_before_the_layout),
		cmocka_unit_test(test_cut_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
