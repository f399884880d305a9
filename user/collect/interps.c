// SPDX-License-Identifier: Apache-2.0
#include "collect/interps.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "collect/installed.h"
#include "collect/listed.h"
#include "collect/pyproc.h"

#define MAX_NOTICES   1000
#define MAX_SCANS     4
#define MAX_ASKED     4096
#define MAX_UNCHECKED 256
#define REFRESH_NS    90000000 /* every time that is looked, and no more often while samples come in crowds */
#define PROVE_NS      1000000000 /* for so long samples are held for a process to be proven, and it is looked at whenever some come */
#define CHECK_TRIES   100 /* at some ten a second */
#define RESOLVE_TRIES 10  /* by then an interpreter that runs code has found out where its threads' states are */

/* A process that had not come far enough to be checked. */
struct unchecked {
	uint32_t pid;
	unsigned int tries;
	uint64_t since; /* CLOCK_MONOTONIC */
};

struct interps {
	struct kernel *kernel;
	struct pyfiles *files;
	void (*found)(void *arg, uint32_t pid);
	void *found_arg;
	struct layouts *layouts;
	struct listed *listed;
	uint64_t refreshed; /* CLOCK_MONOTONIC */
	struct vec(char *) notices; /* those from `noticed` on have not been told yet */
	size_t noticed;
	struct vec(struct unchecked) unchecked;
	struct hmap sources; /* ways to a thread's state that were found to be right */
	struct hmap asked; /* identity of a program that the kernel asked about -> whether it is Python; of the last few seconds */
};

struct interps *interps__new(struct kernel *k)
{
	struct interps *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->kernel = k;
	x->files = pyfiles__new();
	x->listed = listed__new(k);
	x->layouts = layouts__new(k);
	if (!x->files || !x->listed || !x->layouts) {
		interps__free(x);
		return NULL;
	}
	return x;
}

void interps__free(struct interps *x)
{
	if (!x)
		return;
	listed__free(x->listed);
	vec__foreach(&x->notices, notice)
		free(*notice);
	vec__free(&x->notices);
	pyfiles__free(x->files);
	layouts__free(x->layouts);
	hmap__free(&x->asked);
	hmap__free(&x->sources);
	vec__free(&x->unchecked);
	free(x);
}

void interps__on_found(struct interps *x, void (*fn)(void *arg, uint32_t pid), void *arg)
{
	x->found = fn;
	x->found_arg = arg;
}

const struct interp *interps__get(const struct interps *x, uint32_t layout)
{
	return layouts__get(x->layouts, layout);
}

/* Once for each file: some lines are compared, of the few that there ever are. */
static void notice(struct interps *x, const struct pyfile *file)
{
	const char *what = file->usable ? file->layout.warning : file->why;
	char *line;

	if (!*what || x->notices.len >= MAX_NOTICES || asprintf(&line, "%s: %s", file->path, what) < 0)
		return;
	vec__foreach(&x->notices, it) {
		if (!strcmp(*it, line)) {
			free(line);
			return;
		}
	}
	if (vec__push(&x->notices, line))
		free(line);
}

/* Is there something to say of the layout? Asked once. */
static bool needs_notice(struct interps *x, uint32_t layout)
{
	struct interp *interp = layouts__get(x->layouts, layout);
	bool asked = !interp || interp->noticed;

	if (!asked)
		interp->noticed = true;
	return !asked;
}

const char *interps__next_notice(struct interps *x)
{
	return x->noticed < x->notices.len ? x->notices.data[x->noticed++] : NULL;
}

/* What the kernel needs to know of a file with a Python. */
static int describe(struct interps *x, const struct pyfile *file, struct file_info *out)
{
	int err;

	*out = (struct file_info){0};
	out->state = FILE_STATE_PYTHON;
	out->ctime_ns = file->ctime_ns;
	out->text_start = file->text[0].vaddr;
	out->runtime = file->binary.runtime;
	out->flags = pyfile__flags(file);
	if (!file->usable)
		return 0;
	err = layouts__add(x->layouts, file, &out->layout);
	if (err)
		return err;
	out->source = file->source.source;
	out->slot[0] = file->source.slot[0];
	out->slot[1] = file->source.slot[1];
	out->tss_base = (uint32_t)file->source.base;
	out->tss_stride = file->source.stride;
	out->table = file->table;
	out->table_words = file->table_words;
	return 0;
}

/* Tells the kernel of a file with a Python: *info is what. */
static int describe_python(struct interps *x, const struct file_key *key, const struct pyfile *file,
			   struct file_info *info)
{
	int err = describe(x, file, info);

	/* one that can't be read must not stand for one of the same beginning that can */
	if (!err && file->image && file->usable)
		kernel__describe_image(x->kernel, file->image, info); /* no room: user space finds its processes */
	return err ? err : kernel__describe_file(x->kernel, key, info);
}

/* Tells the kernel of an executable; file NULL: it holds no Python itself. */
static int describe_exe(struct interps *x, const struct file_key *key, const struct pyfile *file)
{
	struct file_info info = {.state = FILE_STATE_PLAIN};
	struct pyfile_linked linked;

	if (file)
		return describe_python(x, key, file, &info);
	if (pyfiles__is_linked(x->files, key, &linked)) {
		info.state = FILE_STATE_LINKED;
		info.ctime_ns = linked.ctime_ns;
		info.text_start = linked.text_start;
		info.runtime = linked.debug;
	}
	return kernel__describe_file(x->kernel, key, &info);
}

/* Whether the kernel has found the process's interpreter by itself. */
static bool is_found(struct interps *x, const struct pyproc *p)
{
	struct proc_info now;

	if (kernel__lookup_process(x->kernel, (uint32_t)p->pid, &now) || now.state == PROC_PENDING)
		return false;
	return now.runtime == p->runtime ||
	       (now.runtime && !(now.flags & (PROC_UNSUPPORTED | PROC_LINKED | PROC_NATIVE_ONLY)));
}

/* Tells the kernel of a process, unless it has found the interpreter by itself. 1 if it was told, 0 if it knew, or -errno. */
static int publish(struct interps *x, const struct pyproc *p)
{
	struct proc_info info;
	struct file_info file;
	int err = describe_python(x, &p->file->key, p->file, &file);

	if (err)
		return err;
	layouts__judge(x->layouts, p->file);
	if (x->found)
		x->found(x->found_arg, (uint32_t)p->pid);
	if (is_found(x, p))
		return 0; /* it was faster */
	info = (struct proc_info){.state = PROC_NEW, .layout = file.layout};
	pyproc__source(p, &info);
	err = kernel__publish_process(x->kernel, (uint32_t)p->pid, &info, false);
	if (!err && kill(p->pid, 0) && errno == ESRCH) /* it was too late: the kernel will not forget it by itself */
		kernel__forget_process(x->kernel, (uint32_t)p->pid);
	return err ? err : 1;
}

/* Publishes those that the kernel does not know; `again`: only these. *fresh of them there were. How many run Python, or -errno. */
static int scan(struct interps *x, bool again, int *fresh, struct err *e)
{
	struct pyproc_scan all;
	struct pyproc p;
	int err = pyproc_scan__open(&all, x->files, e), found = 0;

	*fresh = 0;
	if (err)
		return err;
	while ((err = pyproc_scan__next(&all, &p)) > 0) {
		int told = again && is_found(x, &p) ? 0 : publish(x, &p);

		found += told >= 0;
		*fresh += told > 0;
	}
	pyproc_scan__close(&all);
	return err < 0 ? err : found;
}

int interps__scan(struct interps *x, uint32_t pid, struct err *e)
{
	struct pyproc p;
	int err, fresh;

	if (pid) {
		err = pyproc__find(x->files, (pid_t)pid, &p, e);
		if (err <= 0)
			return err;
		err = publish(x, &p);
		return err < 0 ? err : 1;
	}
	err = scan(x, false, &fresh, e);
	/* a child that was born before the kernel knew its parent may have come too late for that look at /proc */
	for (int i = 1; err >= 0 && fresh && i < MAX_SCANS; i++)
		err = scan(x, true, &fresh, e);
	return err;
}

int interps__publish_native(struct interps *x, uint32_t pid)
{
	struct proc_info info = {.state = PROC_NEW, .flags = PROC_NATIVE_ONLY};

	if (x->found)
		x->found(x->found_arg, pid);
	return kernel__publish_process(x->kernel, pid, &info, false);
}

void interps__learn_installed(struct interps *x)
{
	struct installed_paths paths = {0};

	installed__find_all(&paths); /* where memory ends, so do they: those that are not known are met when they run */
	vec__foreach(&paths, path) {
		const struct pyfile *file = NULL;
		struct file_key key;

		if (!pyfiles__get_path(x->files, *path, &key, &file, NULL))
			describe_exe(x, &key, file);
	}
	installed__free(&paths);
}

int interps__check_pid(struct interps *x, uint32_t pid, struct err *e)
{
	struct pyproc p;
	int err = pyproc__find(x->files, (pid_t)pid, &p, e);

	if (err <= 0)
		return err;
	if (!p.file->usable)
		return err__set(e, -ENOTSUP, "%s", p.file->why);
	return 1;
}

/* The kernel gets to know anew what is known of the process by now. */
static void publish_again(struct interps *x, const struct pyproc *p)
{
	kernel__forget_process(x->kernel, (uint32_t)p->pid);
	publish(x, p);
}

/* The way that the kernel has found to the states of the process's threads, as a number. */
static uint64_t source_key(const struct proc_info *now)
{
	return hash__combine(hash__combine(now->layout, now->source), (uint64_t)now->slot[0]);
}

/*
 * Do the structures of a process agree with its layout, and with the way that the kernel has found to its threads' states? Each
 * layout and each way is checked once. True when nothing is left to be checked: false while its interpreter starts.
 */
static bool check(struct interps *x, uint32_t pid, unsigned int tries)
{
	struct proc_info now;
	struct pyproc p;
	const struct interp *interp;
	bool resolved;

	if (kernel__lookup_process(x->kernel, pid, &now) || now.state == PROC_PENDING ||
	    now.flags & (PROC_UNSUPPORTED | PROC_NATIVE_ONLY))
		return true;
	interp = layouts__get(x->layouts, now.layout);
	if (!interp)
		return true;
	resolved = now.source == PY_TSTATE_LIST || now.slot[0];
	if (interp->proven && resolved && (now.source == PY_TSTATE_LIST || hmap__get(&x->sources, source_key(&now))))
		return true;
	if (pyproc__find(x->files, (pid_t)pid, &p, NULL) <= 0)
		return true;
	layouts__judge(x->layouts, p.file);
	if (!p.file->usable) {
		notice(x, p.file);
		publish_again(x, &p);
		return true;
	}
	/* one that sleeps from its start on has not been sampled since there was anything to be found */
	if (!interp->proven || (!resolved && (tries < RESOLVE_TRIES || pyproc__will_resolve(&p, &now))))
		return false;
	if (now.source == PY_TSTATE_LIST)
		return true;
	if (resolved && pyproc__check_source(&p, &now)) {
		hmap__put(&x->sources, source_key(&now), 1);
	} else if (p.started) {
		pyfiles__use_list(x->files, p.file);
		publish_again(x, &p);
		listed__add(x->listed, &p);
	}
	return true;
}

void interps__on_proc(struct interps *x, const struct rec_proc *r)
{
	struct unchecked later = {.pid = r->pid, .since = clock_ns(CLOCK_MONOTONIC)};
	struct pyproc p;

	if ((r->flags & (PROC_LISTED | PROC_UNSUPPORTED) || needs_notice(x, r->layout)) &&
	    pyproc__find(x->files, (pid_t)r->pid, &p, NULL) > 0) {
		notice(x, p.file);
		if (r->flags & PROC_LISTED)
			listed__add(x->listed, &p);
	}
	if (!check(x, r->pid, 0) && x->unchecked.len < MAX_UNCHECKED && vec__push(&x->unchecked, later))
		return; /* no memory: it stays unchecked */
}

void interps__on_thread(struct interps *x, const struct rec_thread *r)
{
	listed__ask(x->listed, r->pid);
}

void interps__prove(struct interps *x)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	for (size_t i = 0; i < x->unchecked.len;) {
		struct unchecked *u = &x->unchecked.data[i];

		if (now - u->since < PROVE_NS && check(x, u->pid, u->tries))
			*u = x->unchecked.data[--x->unchecked.len];
		else
			i++;
	}
}

void interps__refresh(struct interps *x)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now - x->refreshed < REFRESH_NS) {
		listed__refresh(x->listed, false);
		return;
	}
	x->refreshed = now;
	for (size_t i = 0; i < x->unchecked.len;) {
		struct unchecked *u = &x->unchecked.data[i];

		if (check(x, u->pid, u->tries) || ++u->tries == CHECK_TRIES)
			*u = x->unchecked.data[--x->unchecked.len];
		else
			i++;
	}
	listed__refresh(x->listed, true);
}

int interps__find(struct interps *x, uint32_t pid, struct pyproc *out)
{
	return pyproc__find(x->files, (pid_t)pid, out, NULL);
}

/* The mapping of its executable's code in a process that has just been exec'ed. */
static int exe_mapping(pid_t pid, const struct file_key *key, struct interps *x, const struct pyfile **file)
{
	struct proc_maps *maps;
	struct proc_map map = {0};
	int err = proc_maps__open(pid, &maps, NULL);

	if (err)
		return err;
	while ((err = proc_maps__next(maps, &map)) > 0) {
		if (map.exec && map.ino == key->ino && map.dev == key->dev) {
			err = pyfiles__get(x->files, pid, &map, file, NULL);
			break;
		}
	}
	if (err >= 0 && !(map.exec && map.ino == key->ino && map.dev == key->dev))
		err = -ENOENT;
	proc_maps__close(maps);
	return err;
}

void interps__on_file(struct interps *x, const struct rec_file *r)
{
	const struct pyfile *file = NULL;

	/* One that can't be looked at any more stays pending: the next process that runs it asks again. */
	if (exe_mapping((pid_t)r->pid, &r->key, x, &file) >= 0)
		describe_exe(x, &r->key, file);
	if (x->asked.len >= MAX_ASKED)
		hmap__free(&x->asked);
	hmap__put(&x->asked, r->identity, file || pyfiles__is_linked(x->files, &r->key, NULL));
}

bool interps__is_python(const struct interps *x, uint64_t identity)
{
	uint64_t *answer = hmap__get(&x->asked, identity);

	return answer && *answer;
}

static bool is_mapped(const struct sideband_mmap *m)
{
	struct proc_maps *maps;
	struct proc_map map;
	bool found = false;

	if (proc_maps__open((pid_t)m->pid, &maps, NULL))
		return false;
	while (!found && proc_maps__next(maps, &map) > 0)
		found = map.start == m->map.start && map.ino == m->map.ino && map.dev == m->map.dev;
	proc_maps__close(maps);
	return found;
}

void interps__on_mmap(struct interps *x, const struct sideband_mmap *m)
{
	const struct pyfile *file = NULL;
	struct proc_info before;
	struct pyproc p;
	bool found, known;

	if (!m->map.ino || pyfiles__get(x->files, (pid_t)m->pid, &m->map, &file, NULL) || !file)
		return;
	p = (struct pyproc){
		.pid = (pid_t)m->pid,
		.file = file,
	};
	if (pyfile__bias(file, m->map.start, m->map.offset, &p.bias))
		return;
	p.runtime = p.bias + file->binary.runtime;
	found = is_found(x, &p);
	/* The record may be of the program before: the kernel puts a new one in the place of what it finds, but not of what comes
	 * after that. */
	if (!found && !is_mapped(m))
		return;
	known = !kernel__lookup_process(x->kernel, m->pid, &before);
	publish(x, &p);
	if (found || is_mapped(m)) /* no exec meanwhile */
		return;
	if (known)
		kernel__publish_process(x->kernel, m->pid, &before, false);
	else
		kernel__forget_process(x->kernel, m->pid);
}
