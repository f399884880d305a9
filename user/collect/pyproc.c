/* SPDX-License-Identifier: Apache-2.0 */
/* Processes with a Python. What is known of their files is kept by pyfiles.c. */
#include "collect/pyproc.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "pyrt/proof.h"
#include "pyrt/threads.h"

#define SOURCE_ATTEMPTS 5

uint64_t pyproc__interpreters(const struct pyproc *p)
{
	const struct pyfile *f = p->file;

	if (f->binary.interpreters)
		return p->bias + f->binary.interpreters;
	if (!p->runtime || f->layout.lists.runtime_interpreters == PYBPF_NO_OFFSET)
		return 0;
	return p->runtime + f->layout.lists.runtime_interpreters;
}

/* The list of interpreters is empty until Py_Initialize. */
static bool has_started(const struct pyproc *p)
{
	struct memory_reader *mem;
	uint64_t head = 0;

	if (!p->file->usable)
		return false;
	if (!pyproc__interpreters(p))
		return true;
	if (memory__open_process(p->pid, &mem, NULL))
		return false;
	if (memory__read_u64(mem, pyproc__interpreters(p), &head))
		head = 0;
	memory__close(mem);
	return head != 0;
}

bool pyproc__prove(struct pyfiles *files, const struct pyproc *p)
{
	struct pyfile *f = pyfiles__own(files, p->file);
	uint64_t interpreters = pyproc__interpreters(p);
	struct memory_reader *mem;

	if (!f || !f->usable || f->proven || !interpreters || memory__open_process(p->pid, &mem, NULL))
		return p->file->usable;
	switch (pyrt__prove(mem, p->pid, &f->layout, interpreters, &f->failures, f->why, sizeof(f->why))) {
	case PYRT_PROVEN:
		f->proven = true;
		break;
	case PYRT_REFUTED:
		f->usable = false;
		break;
	default:
		break;
	}
	memory__close(mem);
	return f->usable;
}

/* Is `a` the better answer to which interpreter a process runs? */
static bool better(const struct pyproc *a, const struct pyproc *b)
{
	if (!b->file || a->started != b->started)
		return !b->file || a->started;
	return a->file->usable && !b->file->usable;
}

int pyproc__find(struct pyfiles *files, pid_t pid, struct pyproc *out, struct err *e)
{
	struct pyproc best = {0};
	struct proc_maps *maps;
	struct proc_stat st;
	struct proc_map map;
	struct err denied = {0};
	bool part = false; /* the best one is told by a part of its mapping */
	int err;

	err = proc__stat(pid, &st);
	if (err)
		return err__errno(e, err, "process %d", (int)pid);
	if (st.kernel_thread || (st.state == 'Z' && st.threads <= 1) || st.state == 'X')
		return 0;
	err = proc_maps__open(pid, &maps, e);
	if (err)
		return err;
	while ((err = proc_maps__next(maps, &map)) > 0) {
		const struct pyfile *file;
		struct err why = {0};
		struct pyproc p;
		int is_part;

		if (!map.exec || !map.ino)
			continue;
		/* One file that cannot be opened is no reason to give up on the process. */
		err = pyfiles__get(files, pid, &map, &file, &why);
		if (err == -EACCES || err == -EPERM)
			denied = why;
		if (err || !file || (file == best.file && !part))
			continue;
		p = (struct pyproc){
			.pid = pid,
			.start_ticks = st.start_ticks,
			.file = file,
			.map_start = map.start,
			.map_end = map.end,
			.map_offset = map.offset,
		};
		is_part = pyfile__bias(file, map.start, map.offset, &p.bias);
		if (is_part < 0 || (is_part && file == best.file))
			continue;
		p.runtime = p.bias + file->binary.runtime;
		p.started = has_started(&p);
		if (file == best.file || better(&p, &best)) {
			best = p;
			part = is_part;
		}
	}
	proc_maps__close(maps);
	if (err < 0)
		return err__errno(e, err, "cannot read the mappings of process %d", (int)pid);
	if (!best.file && denied.code) { /* that one may be Python's */
		*(e ?: &denied) = denied;
		return denied.code;
	}
	if (!best.file)
		return 0;
	if (best.started)
		best.started = pyproc__prove(files, &best);
	*out = best;
	return 1;
}

uint32_t pyfile__flags(const struct pyfile *f)
{
	if (!f->usable)
		return PROC_UNSUPPORTED;
	return (f->binary.libc == PYRT_MUSL ? PROC_MUSL : 0) | (f->source.source == PY_TSTATE_LIST ? PROC_LISTED : 0);
}

void pyproc__source(const struct pyproc *p, struct proc_info *out)
{
	const struct pyrt_source *s = &p->file->source;

	out->runtime = p->runtime;
	out->source = s->source;
	out->flags = pyfile__flags(p->file);
	out->slot[0] = s->slot[0];
	out->slot[1] = s->slot[1] + (s->source == PY_TSTATE_GOT ? (int64_t)p->bias : 0);
	out->tss_base = (uint32_t)s->base;
	out->tss_stride = s->stride;
}

bool pyproc__will_resolve(const struct pyproc *p, const struct proc_info *now)
{
	const struct py_layout *l = &p->file->layout.abi;
	uint64_t words[2] = {0};
	uint32_t key[2]; /* whether it is there, and the key; one alone is -1 until it is */
	struct memory_reader *mem;
	bool will = false;

	if (memory__open_process(p->pid, &mem, NULL))
		return false;
	if (now->source == PY_TSTATE_TSS)
		will = !memory__read(mem, p->runtime + l->runtime_tss_key, key, sizeof(key)) && key[1] < 1024 &&
		       (l->flags & PY_LAYOUT_BARE_KEY ? key[1] != UINT32_MAX : key[0] != 0);
	else if (now->source == PY_TSTATE_GOT)
		will = !memory__read(mem, (uint64_t)now->slot[1], words, now->tss_stride == PY_GOT_OFFSET ? 8 : 16) &&
		       (words[0] | words[1]) != 0;
	memory__close(mem);
	return will;
}

/* The thread's state as the kernel side reads it: tstate__find of bpf/tstate.bpf.h. */
static uint64_t state_of(struct memory_reader *mem, const struct proc_info *info, uint64_t thread_pointer)
{
	uint64_t value;

	if (memory__read_u64(mem, thread_pointer + (uint64_t)info->slot[0], &value))
		return 0;
	if (info->flags & PROC_TSS_LEVEL2 && memory__read_u64(mem, value + (uint64_t)info->slot[1], &value))
		return 0;
	return value;
}

static bool is_listed(struct pyrt_threads *threads, uint64_t tstate)
{
	vec__foreach(threads, t) {
		if (t->tstate == tstate)
			return true;
	}
	return false;
}

bool pyproc__check_source(const struct pyproc *p, const struct proc_info *now)
{
	const struct pyfile *f = p->file;
	uint64_t interpreters = pyproc__interpreters(p);
	struct pyrt_threads threads = {0};
	struct memory_reader *mem;
	bool agrees = false;

	/* the id of a thread is its thread pointer: so is pthread_self() of glibc and musl on x86-64 */
	if (!interpreters || f->binary.machine != EM_X86_64 ||
	    now->source == PY_TSTATE_DTV || memory__open_process(p->pid, &mem, NULL))
		return true;
	for (int i = 0; i < SOURCE_ATTEMPTS && !agrees; i++) {
		threads.len = 0;
		if (pyrt_threads__list(mem, &f->layout, interpreters, &threads) || !threads.len) {
			agrees = true; /* it has ended, or nearly: nothing can be said */
			break;
		}
		vec__foreach(&threads, t)
			agrees = agrees || (t->thread_id && is_listed(&threads, state_of(mem, now, t->thread_id)));
	}
	vec__free(&threads);
	memory__close(mem);
	return agrees;
}

int pyproc_scan__open(struct pyproc_scan *scan, struct pyfiles *files, struct err *e)
{
	memset(scan, 0, sizeof(*scan));
	scan->files = files;
	return proc_pids__open(&scan->pids, e);
}

int pyproc_scan__next(struct pyproc_scan *scan, struct pyproc *out)
{
	pid_t pid;

	while ((pid = proc_pids__next(&scan->pids))) {
		int found = pyproc__find(scan->files, pid, out, NULL);

		if (found == -ENOMEM)
			return found;
		if (found != -ESRCH)
			scan->seen++;
		if (found == -EACCES || found == -EPERM)
			scan->hidden++;
		if (found > 0)
			return 1;
	}
	return 0;
}

void pyproc_scan__close(struct pyproc_scan *scan)
{
	proc_pids__close(&scan->pids);
}
