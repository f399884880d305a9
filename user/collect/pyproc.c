/* SPDX-License-Identifier: Apache-2.0 */
/* Processes with a Python. What is known of their files is kept by pyfiles.c. */
#include "collect/pyproc.h"

#include <errno.h>
#include <string.h>

#include "pyrt/proof.h"

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
	switch (pyrt__prove(mem, p->pid, &f->layout, interpreters, f->why, sizeof(f->why))) {
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
	int err;

	err = proc__stat(pid, &st);
	if (err)
		return err__errno(e, err, "process %d", (int)pid);
	if (st.kernel_thread || st.state == 'Z' || st.state == 'X')
		return 0;
	err = proc_maps__open(pid, &maps, e);
	if (err)
		return err;
	while ((err = proc_maps__next(maps, &map)) > 0) {
		const struct pyfile *file;
		struct pyproc p;

		if (!map.exec || !map.ino)
			continue;
		/* One file that cannot be opened is no reason to give up on the process. */
		if (pyfiles__get(files, pid, &map, &file, NULL) || !file || file == best.file)
			continue;
		p = (struct pyproc){
			.pid = pid,
			.start_ticks = st.start_ticks,
			.file = file,
			.map_start = map.start,
			.map_end = map.end,
			.map_offset = map.offset,
		};
		if (pyfile__bias(file, map.start, map.offset, &p.bias))
			continue;
		p.runtime = p.bias + file->binary.runtime;
		p.started = has_started(&p);
		if (better(&p, &best))
			best = p;
	}
	proc_maps__close(maps);
	if (err < 0)
		return err__errno(e, err, "cannot read the mappings of process %d", (int)pid);
	if (!best.file)
		return 0;
	if (best.started)
		best.started = pyproc__prove(files, &best);
	*out = best;
	return 1;
}

void pyproc__source(const struct pyproc *p, struct proc_info *out)
{
	const struct pyrt_source *s = &p->file->source;

	out->runtime = p->runtime;
	out->source = s->source;
	out->flags = p->file->binary.libc == PYRT_MUSL ? PROC_MUSL : 0;
	out->slot[0] = s->slot[0];
	out->slot[1] = s->slot[1] + (s->source == PY_TSTATE_GOT ? (int64_t)p->bias : 0);
	out->tss_base = (uint32_t)s->base;
	out->tss_stride = s->stride;
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
