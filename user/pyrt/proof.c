/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/proof.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sys/proc.h"

#define ATTEMPTS     18
#define AT_ONCE      10       /* of them; before each of the others there is a pause, twice as long as the last */
#define PAUSE_NS     1000000  /* the first */
#define PAUSE_MAX_NS 16000000 /* the last ones */
#define TRIES        8        /* at the frames of a thread, which may change while they are read */
/* What a failure counts as: of a process that stood still meanwhile, and of one that ran, where nothing may have been as it was read */
#define STILL          8
#define MOVING         1
#define MAX_MOVING     64          /* of these, beside the attempts */
#define ENOUGH         (8 * STILL) /* each at another moment of the process */
#define LEAST_START_NS 5000000 /* of CPU time */
#define MAX_INTERPS  1024
#define MAX_THREADS  8192
#define MAX_CHECKED  16   /* innermost frames of a thread whose code objects are looked at */
#define MAX_FRAMES   8192 /* that are followed to the chain's end */
#define MAX_READS    (1u << 18) /* of all attempts: 0.2 s; what agrees until then is believed */
#define STATUS_READS 8 /* what looking at the status of a thread counts as */
#define MAX_TEXT     (1u << 20)
#define MAX_CODE     (1u << 28) /* code units */

/* Include/cpython/object.h, PyTypeObject: bytes from tp_name to tp_flags, 3.6 to 3.15; Include/object.h, Py_TPFLAGS_*_SUBCLASS */
#define TYPE_FLAGS 144
#define KINDS      (0xffu << 24)
#define KIND_BYTES (1u << 27)
#define KIND_STR   (1u << 28)

struct trial {
	struct memory_reader *mem;
	pid_t pid;
	const struct pyrt_layout *l;
	uint64_t interpreters;
	uint64_t code_type;  /* of a code object that was found to be one; 0: none yet */
	uint64_t str_type, bytes_type; /* likewise */
	unsigned int reads;  /* that are left */
	unsigned int threads; /* states of threads that were seen */
	unsigned int frames; /* that were seen and hold such a code object */
	bool named, matched; /* a state names a thread; one that the process has */
	bool forked;         /* states may name its parent's, where C code has forked without telling Python */
	const char *why;     /* what does not fit */
	bool gone;
};

/* Takes away from what is left; false when that is nothing any more. */
static bool spend(struct trial *t, unsigned int reads)
{
	t->reads -= t->reads < reads ? t->reads : reads;
	return t->reads;
}

static bool read_u64(struct trial *t, uint64_t addr, uint64_t *out)
{
	int err = memory__read_u64(t->mem, addr, out);

	spend(t, 1);
	if (err == -ESRCH)
		t->gone = true;
	return !err;
}

static bool fails(struct trial *t, const char *why)
{
	t->why = why;
	return false;
}

/* An instance of a class of that kind. */
static bool is_kind(struct trial *t, uint64_t object, uint32_t kind, uint64_t *known)
{
	uint64_t type;
	uint32_t flags;

	if (!read_u64(t, object + t->l->abi.code_type, &type))
		return false;
	if (type && type == *known)
		return true;
	if (memory__read_u32(t->mem, type + t->l->abi.type_name + TYPE_FLAGS, &flags) || (flags & KINDS) != kind)
		return false;
	*known = type;
	return true;
}

/* CPython ends every string's characters with a NUL (Include/cpython/unicodeobject.h). */
static bool check_text(struct trial *t, uint64_t str)
{
	const struct py_layout *a = &t->l->abi;
	uint64_t length, data;
	uint32_t state, kind, end = 0;

	if (memory__read_u32(t->mem, str + a->str_state, &state) || !read_u64(t, str + a->str_length, &length))
		return fails(t, "a name is not readable");
	state >>= a->str_kind_shift;
	kind = state & 7;
	if ((kind != 1 && kind != 2 && kind != 4) || length > MAX_TEXT)
		return fails(t, "a name is no string");
	if (!(state & 8)) /* an instance of a subclass keeps them elsewhere */
		return true;
	data = str + (state & 16 ? a->str_ascii : a->str_compact);
	if (memory__read(t->mem, data + length * kind, &end, kind) || end)
		return fails(t, "a name does not end where it should");
	return true;
}

static bool check_parts(struct trial *t, uint64_t code)
{
	const struct py_layout *a = &t->l->abi;
	uint64_t name, file, table;

	if (!read_u64(t, code + a->code_name, &name) || !read_u64(t, code + a->code_filename, &file) ||
	    !read_u64(t, code + a->code_linetable, &table))
		return fails(t, "a frame does not lead to a code object");
	if (!is_kind(t, name, KIND_STR, &t->str_type) || !is_kind(t, file, KIND_STR, &t->str_type))
		return fails(t, "a code object's name or file is no string");
	if (!is_kind(t, table, KIND_BYTES, &t->bytes_type))
		return fails(t, "a code object's line table is none");
	return check_text(t, name) && check_text(t, file);
}

/* The instruction that a frame is at lies in its code. */
static bool check_instruction(struct trial *t, uint64_t frame, uint64_t code)
{
	const struct py_layout *a = &t->l->abi;
	uint64_t instr, begin = code + a->code_bytecode, units, bytecode;
	uint32_t last;

	if (a->flags & PY_LAYOUT_INSTR_INDEX) {
		/* co_code is before co_consts in all of these (Include/code.h); -1: not begun; 3.10 counts units of two bytes */
		if (memory__read_u32(t->mem, frame + a->frame_instr, &last) ||
		    !read_u64(t, code + a->code_consts - 8u, &bytecode) || !read_u64(t, bytecode + a->bytes_size, &units))
			return fails(t, "a frame's instruction is not readable");
		return last == UINT32_MAX || last < units || fails(t, "a frame's instruction lies outside of its code");
	}
	if (a->frame_tlbc != PYBPF_NO_OFFSET) /* in a thread's own copy, maybe */
		return true;
	/* Include/object.h, PyVarObject.ob_size: the code units */
	if (!read_u64(t, frame + a->frame_instr, &instr) || !read_u64(t, code + a->code_type + 8u, &units))
		return fails(t, "a frame's instruction is not readable");
	return (units <= MAX_CODE && instr + 2 - begin <= 2 * units + 2) ||
	       fails(t, "a frame's instruction lies outside of its code");
}

/* Its type must be the type `code` (Objects/codeobject.c, PyCode_Type), and what is read of it what it should be. */
static bool check_code(struct trial *t, uint64_t frame, uint64_t code)
{
	uint64_t type, name;
	char text[5];

	if (!read_u64(t, code + t->l->abi.code_type, &type))
		return fails(t, "a frame does not lead to a code object");
	if (!type || type != t->code_type) {
		if (!read_u64(t, type + t->l->abi.type_name, &name) || memory__read(t->mem, name, text, sizeof(text)) ||
		    memcmp(text, "code", sizeof(text)) != 0)
			return fails(t, "what a frame executes is not a code object");
		t->code_type = type;
	}
	return check_parts(t, code) && check_instruction(t, frame, code);
}

static bool check_frames(struct trial *t, uint64_t tstate)
{
	const struct py_layout *a = &t->l->abi;
	uint64_t stop = a->base_frame == PYBPF_NO_OFFSET ? 0 : tstate + a->base_frame, frame, code;
	uint8_t owner;

	if (!read_u64(t, tstate + a->tstate_frame, &frame))
		return fails(t, "a thread's state is not readable");
	if (a->flags & PY_LAYOUT_CFRAME && frame && !read_u64(t, frame + a->cframe_frame, &frame))
		return fails(t, "a thread's innermost frame is not readable");
	for (unsigned int i = 0; frame && frame != stop; i++) {
		bool entry = false;

		if (i == MAX_FRAMES || !t->reads)
			return true;
		if (a->owner_entry != PYBPF_NO_OFFSET) {
			if (memory__read(t->mem, frame + a->frame_owner, &owner, 1))
				return fails(t, "the chain of frames leads nowhere");
			entry = owner >= a->owner_entry;
		}
		if (i < MAX_CHECKED && !entry) {
			if (!read_u64(t, frame + a->frame_code, &code))
				return fails(t, "the chain of frames leads nowhere");
			if (!check_code(t, frame, code & ~(uint64_t)a->pointer_tag))
				return false;
			t->frames++;
		}
		if (!read_u64(t, frame + a->frame_previous, &code) || code == frame)
			return fails(t, "the chain of frames leads nowhere");
		frame = code;
	}
	return true;
}

/* They are called and return in less time than a look at them takes. */
static bool try_frames(struct trial *t, uint64_t tstate)
{
	unsigned int before = t->frames;

	for (int i = 0; i < TRIES && !t->gone; i++) {
		t->frames = before;
		if (check_frames(t, tstate))
			return true;
	}
	return false;
}

/* By its id in the process's own pid namespace, which is the one that the interpreter knows. */
static bool is_thread_of(struct trial *t, uint32_t native_id)
{
	struct proc_pids it;
	struct proc_status status;
	bool found = false;
	pid_t tid;

	if (proc_threads__open(&it, t->pid, NULL))
		return true; /* cannot be told */
	while (!found && spend(t, STATUS_READS) && (tid = proc_pids__next(&it)))
		found = (uint32_t)tid == native_id ||
			(!proc__status(tid, &status) && (uint32_t)status.ns_pid == native_id);
	proc_pids__close(&it);
	return found;
}

/* The states of an interpreter's threads. */
static bool check_threads(struct trial *t, uint64_t interp)
{
	const struct pyrt_layout *l = t->l;
	uint64_t tstate, back;
	uint32_t native_id;

	if (!read_u64(t, interp + l->lists.interp_threads, &tstate))
		return fails(t, "the list of interpreters leads nowhere");
	for (unsigned int i = 0; tstate && t->reads; i++) {
		if (i == MAX_THREADS)
			return fails(t, "the list of threads has no end");
		if (!read_u64(t, tstate + l->abi.tstate_interp, &back))
			return fails(t, "the list of threads leads nowhere");
		if (back != interp)
			return fails(t, "a thread's state belongs to no interpreter");
		if (l->abi.tstate_native_id != PYBPF_NO_OFFSET && !t->matched) {
			if (memory__read_u32(t->mem, tstate + l->abi.tstate_native_id, &native_id))
				return fails(t, "a thread's state is not readable");
			if (native_id) { /* 0: not in use yet; and a thread may have left its state behind */
				t->named = true;
				t->matched = is_thread_of(t, native_id);
			}
		}
		t->threads++;
		if (!try_frames(t, tstate))
			return false;
		if (!read_u64(t, tstate + l->lists.tstate_next, &tstate))
			return fails(t, "the list of threads leads nowhere");
	}
	return true;
}

static bool check_interpreters(struct trial *t)
{
	uint64_t interp;

	if (!read_u64(t, t->interpreters, &interp))
		return fails(t, "the list of interpreters is not where it should be");
	for (unsigned int i = 0; interp && t->reads; i++) {
		if (i == MAX_INTERPS)
			return fails(t, "the list of interpreters has no end");
		if (!check_threads(t, interp))
			return false;
		if (!read_u64(t, interp + t->l->lists.interp_next, &interp))
			return fails(t, "the list of interpreters leads nowhere");
	}
	if (!t->threads)
		return fails(t, "its interpreters have no thread");
	return t->matched || !t->named || t->forked || !t->reads || fails(t, "no thread's state belongs to a thread of the process");
}

/* The CPU time of a process, and whether it is on a CPU or waits for one. */
struct moment {
	uint64_t ran;
	bool busy;
	bool known;
};

static struct moment moment__now(const struct trial *t)
{
	struct moment m = {0};

	m.known = !proc__run_time(t->pid, &m.ran, &m.busy);
	return m;
}

/*
 * What a failure between two moments counts as; *counted is the CPU time at the last one that did. Nothing where the process may
 * still be where it was then, in the middle of a change: it has hardly been on a CPU since. An interpreter that is just being made
 * is without threads for a while.
 */
static unsigned int weigh(const struct trial *t, const struct moment *begin, const struct moment *end, uint64_t *counted)
{
	uint64_t least = t->threads ? 1 : LEAST_START_NS;

	if (!begin->known || !end->known)
		return STILL;
	if (end->busy && end->ran - *counted < least)
		return 0;
	*counted = end->ran;
	return t->threads && begin->ran != end->ran ? MOVING : STILL;
}

/* One look at everything, and at the CPU time before and after it. */
static bool attempt(struct trial *t, struct moment *begin, struct moment *end)
{
	bool fits;

	t->threads = t->frames = 0;
	t->named = t->matched = false;
	*begin = moment__now(t);
	fits = check_interpreters(t);
	*end = moment__now(t);
	return fits;
}

enum pyrt_proof pyrt__prove(struct memory_reader *mem, pid_t pid, const struct pyrt_layout *layout,
			    uint64_t interpreters, unsigned int *failures, char *why, size_t size)
{
	struct trial t = {.mem = mem, .pid = pid, .l = layout, .interpreters = interpreters, .reads = MAX_READS};
	struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct proc_stat stat;
	uint64_t counted = 0;
	bool failed = false;
	int moving = 0;

	t.forked = !proc__stat(pid, &stat) && stat.forked;
	for (int i = 0; i < ATTEMPTS && !t.gone && *failures < ENOUGH;) {
		struct moment begin, end;
		unsigned int weight;

		if (i >= AT_ONCE) {
			nanosleep(&pause, NULL);
			pause.tv_nsec = pause.tv_nsec < PAUSE_MAX_NS ? 2 * pause.tv_nsec : PAUSE_MAX_NS;
		}
		/* what was seen before no reads were left is believed, unless something did not fit before */
		if (attempt(&t, &begin, &end))
			return t.frames && (t.reads || !failed) ? PYRT_PROVEN : PYRT_UNPROVEN;
		failed = true;
		weight = weigh(&t, &begin, &end, &counted);
		*failures += weight;
		i += weight != MOVING || moving++ >= MAX_MOVING;
	}
	if (t.gone || *failures < ENOUGH || !t.why)
		return PYRT_UNPROVEN;
	snprintf(why, size, "its structures are not those of its version: %s", t.why);
	return PYRT_REFUTED;
}
