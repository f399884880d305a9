/* SPDX-License-Identifier: Apache-2.0 */
/* Processes with a Python. What is known of their files is kept by pyfiles.c. */
#include "collect/pyproc.h"

#include <errno.h>
#include <string.h>

/* _PyRuntime holds the list of interpreters; empty until Py_Initialize. 3.6 has no list: its key is enough. */
static bool has_started(const struct pyproc *p)
{
	const struct pyrt_layout *l = &p->file->layout;
	struct memory_reader *mem;
	uint64_t head = 0;

	if (!p->file->usable)
		return false;
	if (l->lists.runtime_interpreters == PYBPF_NO_OFFSET)
		return true;
	if (memory__open_process(p->pid, &mem, NULL))
		return false;
	if (memory__read_u64(mem, p->runtime + l->lists.runtime_interpreters, &head))
		head = 0;
	memory__close(mem);
	return head != 0;
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
