// SPDX-License-Identifier: Apache-2.0
/* Layouts, and ways to a thread's state, that live interpreters confirm or refute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "subject.h"

#include "base/cleanup.h"
#include "pyrt/proof.h"
#include "pyrt/threads.h"

static enum pyrt_proof prove(struct subject *t, const struct pyrt_layout *l, char *why, size_t size)
{
	unsigned int failures = 0;

	return pyrt__prove(t->image.live, t->blocked.pid, l, pyproc__interpreters(&t->proc), &failures, why, size);
}

static void test_every_interpreter_proves_its_layout(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		char why[256] = "";
		struct subject t;

		subject__start(&t, interp, "3");
		assert_true(t.proc.started);
		if (!t.proc.file->proven || prove(&t, &t.proc.file->layout, why, sizeof(why)) != PYRT_PROVEN)
			fail_msg("%s: not proven: %s", interp->id, why);
		subject__end(&t);
	}
}

#define ABI(m)  offsetof(struct pyrt_layout, abi.m)
#define LIST(m) offsetof(struct pyrt_layout, lists.m)

static void test_wrong_layouts_are_refuted(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		int by;
	} wrongs[] = {
		{"frame_code", ABI(frame_code), 16},
		{"frame_previous", ABI(frame_previous), 8},
		{"tstate_frame", ABI(tstate_frame), 8},
		{"tstate_interp", ABI(tstate_interp), 8},
		{"code_type", ABI(code_type), 8},
		{"type_name", ABI(type_name), 8},
		{"tstate_native_id", ABI(tstate_native_id), -8},
		{"frame_instr", ABI(frame_instr), -8},
		{"code_name", ABI(code_name), 8},
		{"code_filename", ABI(code_filename), -8},
		{"code_linetable", ABI(code_linetable), -8},
		{"str_state", ABI(str_state), 8},
		{"str_length", ABI(str_length), -8},
		{"str_ascii", ABI(str_ascii), -8},
		{"interp_threads", LIST(interp_threads), 24},
	};
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "3")) {
		for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
			struct pyrt_layout l = t.proc.file->layout;
			uint16_t *member = (uint16_t *)((char *)&l + wrongs[i].at);
			char why[256] = "";

			if (*member == PYBPF_NO_OFFSET)
				continue;
			*member = (uint16_t)(*member + wrongs[i].by);
			if (prove(&t, &l, why, sizeof(why)) == PYRT_PROVEN)
				fail_msg("%s: proven with %s %+d", t.interp->id, wrongs[i].name, wrongs[i].by);
		}
		subject__end(&t);
	}
}

static void wait_for_state(const struct subject *t, char state)
{
	struct proc_stat stat;

	do
		assert_int_equal(proc__stat(t->blocked.pid, &stat), 0);
	while (stat.state != state);
}

/* One that is stopped may be in the middle of anything. */
static void test_what_does_not_run_is_not_refuted(void **state)
{
	struct subject t;
	size_t at = 0;
	char why[256] = "";

	(void)state;
	while (next_version(&t, &at, "3")) {
		struct pyrt_layout l = t.proc.file->layout;

		l.abi.code_type += 8;
		wait_for_state(&t, 'S');
		assert_int_equal(prove(&t, &l, why, sizeof(why)), PYRT_REFUTED); /* it waits, for us */
		kill(t.blocked.pid, SIGSTOP);
		wait_for_state(&t, 'T');
		assert_int_equal(prove(&t, &l, why, sizeof(why)), PYRT_UNPROVEN);
		assert_int_equal(prove(&t, &t.proc.file->layout, why, sizeof(why)), PYRT_PROVEN);
		kill(t.blocked.pid, SIGCONT);
		subject__end(&t);
	}
}

/* While a thread's frames are read others take their place: that is no fault of the layout. */
static void test_what_never_stands_still_is_not_refuted(void **state)
{
	struct subject t;
	size_t at = 0;
	char why[256] = "";

	(void)state;
	while (next_version(&t, &at, "3+")) {
		unsigned int proven = 0, looks = 400;

		for (unsigned int i = 0; i < looks; i++) {
			enum pyrt_proof was = prove(&t, &t.proc.file->layout, why, sizeof(why));

			if (was == PYRT_REFUTED)
				fail_msg("%s: %s", t.interp->id, why);
			proven += was == PYRT_PROVEN;
		}
		if (proven < looks / 2)
			fail_msg("%s: proven in %u of %u looks", t.interp->id, proven, looks);
		subject__end(&t);
	}
}

static void test_a_reason_is_given(void **state)
{
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "3")) {
		struct pyrt_layout l = t.proc.file->layout;
		char why[256] = "";

		l.abi.code_type = (uint16_t)(l.abi.code_type + 8);
		wait_for_state(&t, 'S');
		assert_int_equal(prove(&t, &l, why, sizeof(why)), PYRT_REFUTED);
		assert_non_null(strstr(why, "code object"));
		subject__end(&t);
	}
}

static void test_threads_are_listed(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		struct pyrt_threads threads = {0};
		struct subject t;
		bool found = false;

		subject__start(&t, interp, "0");
		assert_int_equal(pyrt_threads__list(t.image.live, &t.proc.file->layout, pyproc__interpreters(&t.proc),
						    &threads),
				 0);
		vec__foreach(&threads, thread)
			found = found || thread->thread_id == t.blocked.thread;
		if (!found)
			fail_msg("%s: its thread is not among %zu", interp->id, threads.len);
		vec__free(&threads);
		subject__end(&t);
	}
}

/* The slot as the BPF program has found it, and one that is beside it. */
static void test_ways_to_the_state(void **state)
{
	unsigned int checked = 0;

	(void)state;
	vec__foreach(&interps, interp) {
		struct proc_info info = {0};
		struct subject t;
		__u64 tstate;

		subject__start(&t, interp, "0");
		pyproc__source(&t.proc, &info);
		assert_int_equal(host_find_tstate(&info, t.lay, t.blocked.thread, &tstate), PYBPF_OK);
		if (info.slot[0]) {
			if (!pyproc__check_source(&t.proc, &info))
				fail_msg("%s: its own way is refused", interp->id);
			info.slot[info.flags & PROC_TSS_LEVEL2 ? 1 : 0] -= 8;
			if (pyproc__check_source(&t.proc, &info))
				fail_msg("%s: a way that leads elsewhere is taken", interp->id);
			checked++;
		}
		subject__end(&t);
	}
	assert_true(checked || !interps.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_interpreter_proves_its_layout),
		cmocka_unit_test(test_wrong_layouts_are_refuted),
		cmocka_unit_test(test_what_does_not_run_is_not_refuted),
		cmocka_unit_test(test_what_never_stands_still_is_not_refuted),
		cmocka_unit_test(test_a_reason_is_given),
		cmocka_unit_test(test_threads_are_listed),
		cmocka_unit_test(test_ways_to_the_state),
	};

	return cmocka_run_group_tests(tests, find_all, forget_all);
}
