/* SPDX-License-Identifier: Apache-2.0 */
/* Records as the ring has them, of a recorder whose interpreters are made up, and what became of a sample. */
#ifndef PYBPF_TESTS_RECORDER_FIXTURE_H
#define PYBPF_TESTS_RECORDER_FIXTURE_H

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

static struct interp interp = {.version = "3.12.1", .proven = true};

const struct interp *interps__get(const struct interps *x, uint32_t layout)
{
	(void)x;
	return layout == 3 ? &interp : NULL;
}

bool interps__is_python(const struct interps *x, uint64_t identity)
{
	(void)x;
	return identity == 1;
}

/* ---- records */

struct fixture {
	struct profile *profile;
	struct recorder *recorder;
	uint32_t pid; /* of what comes */
	size_t cut; /* bytes to leave out at the end of each record */
	uint16_t types; /* what the kernel says of code objects */
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
			     .pid = f->pid,
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
			     .pid = f->pid,
			     .identity = identity,
			     .addr = addr,
			     .firstlineno = line,
			     .name_bytes = (uint16_t)strlen(name),
			     .file_bytes = sizeof(file) - 1,
			     .name_kind = 1,
			     .file_kind = 1,
			     .missing = (uint16_t)missing,
			     .types = f->types};
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
		.type = REC_STACK, .pid = f->pid, .identity = identity, .stack = hash, .nframes = 2, .outcome = outcome};

	take(f, &r, sizeof(r), frames, sizeof(frames));
}

static void end_program(struct fixture *f, uint64_t identity, uint32_t type)
{
	struct rec_life r = {.type = type, .pid = f->pid, .identity = identity};

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
			       .pid = f->pid,
			       .tid = f->pid};

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

	*f = (struct fixture){.profile = profile__new(true), .pid = PID};
	interp.proven = true;
	interp.refused = false;
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

#endif
