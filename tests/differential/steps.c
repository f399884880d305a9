// SPDX-License-Identifier: Apache-2.0
/*
 * The BPF program's walk before each single instruction of a running interpreter: what a tick at that instruction would see.
 * The process is traced, for this test alone.
 *
 * usage: steps PID STEPS
 *
 * Standard output: `stack OUTCOME TORN CODE:LASTI ...`, outermost frame last, for each different walk when it is first met,
 * which gives it the next number from 0 on; `run NUMBER STEPS PC` for instructions one behind the other that have the same.
 * CODE: address; LASTI: in bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "tests/unit/bpf_host.h"

#include "collect/pyproc.h"

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "steps: %s: %s\n", what, why);
	return 1;
}

/* As sample__python of bpf/pybpf.bpf.c, for programs with one interpreter. */
static int walk(struct scratch *s, struct proc_info *p, uint64_t thread_pointer, uint64_t sp)
{
	__u64 current, tstate = tstate__holder(s, p, &s->lay, thread_pointer, sp, &current);
	int outcome = PYBPF_OK;

	s->count = 0;
	s->open = s->linked = 0;
	if (!tstate) {
		outcome = host_find_tstate(p, &s->lay, thread_pointer, &tstate);
		if (outcome == PYBPF_OK)
			outcome = walk__begin(s, &s->lay, tstate);
	} else {
		outcome = walk__start(s, &s->lay, tstate);
	}
	return outcome == PYBPF_OK ? walk__python(s, 0) : outcome;
}

static int64_t lasti_of(const struct py_layout *l, const struct raw_frame *f)
{
	if (l->flags & PY_LAYOUT_INSTR_INDEX)
		return (int64_t)(int32_t)f->instr * (l->version_hex >= 0x030a0000 ? 2 : 1);
	return (int64_t)(f->instr - f->code - l->code_bytecode);
}

/* The number of what was walked; tells of it if it is new. */
static uint64_t number_of(struct hmap *known, const struct scratch *s, int outcome, bool torn)
{
	uint64_t hash = mix(mix(mix(s->hash, s->count ? s->leaf : 0), (uint64_t)outcome << 1 | torn), s->count);
	uint64_t *number = hmap__get(known, hash), fresh = known->len;

	if (number)
		return *number;
	if (hmap__put(known, hash, fresh))
		abort();
	printf("stack %d %d", outcome, torn);
	for (uint32_t i = 0; i < s->count; i++)
		printf(" %" PRIu64 ":%" PRId64, (uint64_t)s->frames[i].code, lasti_of(&s->lay, &s->frames[i]));
	printf("\n");
	return fresh;
}

static int step_through(pid_t pid, long steps, struct proc_info *info)
{
	struct scratch *s = scratch__of(0);
	uint64_t last = UINT64_MAX, pc = 0;
	struct hmap known = {0};
	long same = 0;
	int status = 0;

	for (long i = 0; i < steps; i++) {
		struct user_regs_struct regs;
		uint64_t number;
		int outcome;

		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
			return fail("registers", strerror(errno));
		outcome = walk(s, info, regs.fs_base, regs.rsp);
		number = number_of(&known, s, outcome, walk__is_torn(s, outcome, 0, false));
		if (number != last) {
			if (same)
				printf("run %" PRIu64 " %ld %" PRIx64 "\n", last, same, pc);
			last = number;
			pc = regs.rip;
			same = 0;
		}
		same++;
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
			return fail("step", strerror(errno));
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
			return fail("step", "the process does something else");
	}
	printf("run %" PRIu64 " %ld %" PRIx64 "\n", last, same, pc);
	hmap__free(&known);
	return 0;
}

int main(int argc, char **argv)
{
	struct pyfiles *known = pyfiles__new();
	struct image image = {.moving = true};
	struct proc_info info = {0};
	struct pyproc proc;
	struct err e = {0};
	int status;
	pid_t pid;

	if (argc != 3)
		return fail("usage", "steps PID STEPS");
	pid = atoi(argv[1]);
	if (pyproc__find(known, pid, &proc, &e) != 1 || memory__open_process(pid, &image.live, &e))
		return fail(argv[1], e.text);
	host_image = &image;
	scratch__of(0)->lay = proc.file->layout.abi;
	scratch__of(0)->identity = 1;
	pyproc__source(&proc, &info);
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
	    waitpid(pid, &status, 0) != pid)
		return fail(argv[1], strerror(errno));
	status = step_through(pid, atol(argv[2]), &info);
	image__free(&image);
	pyfiles__free(known);
	host_forget_maps();
	return status;
}
