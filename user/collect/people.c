// SPDX-License-Identifier: Apache-2.0
#include "collect/people_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collect/codefacts.h"
#include "sys/proc.h"
#include "target/container.h"

struct people *people__new(const struct recorder_context *context, struct codes *codes)
{
	struct people *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->profile = context->profile;
	all->codes = codes;
	all->interps = context->interps;
	all->spaces = context->spaces;
	all->stacks = (struct stacks_context){
		.profile = context->profile,
		.codes = codes,
		.natives = context->natives,
	};
	all->shortfile = shortfile__new(0);
	if (!all->shortfile) {
		free(all);
		return NULL;
	}
	return all;
}

void person__free(struct person *who)
{
	if (!who)
		return;
	if (who->root_fd >= 0)
		close(who->root_fd);
	hmap__free(&who->threads);
	hmap__free(&who->python_names);
	hmap__free(&who->kernel_names);
	hmap__free(&who->codes);
	stacks__free(who->stacks);
	space__put(who->space);
	free(who);
}

void people__free(struct people *all)
{
	size_t pos = 0;
	uint64_t identity, *who;

	if (!all)
		return;
	while (hmap__next(&all->by_identity, &pos, &identity, &who))
		person__free((struct person *)(uintptr_t)*who);
	hmap__free(&all->by_identity);
	hmap__free(&all->by_pid);
	vec__free(&all->leaving);
	vec__free(&all->gone);
	shortfile__free(all->shortfile);
	str__free(&all->scratch[0]);
	str__free(&all->scratch[1]);
	free(all);
}

void people__limit(struct people *all, bool on)
{
	all->limited = on;
}

uint64_t people__live(const struct people *all)
{
	return all->live;
}

struct person *people__find(const struct people *all, uint64_t identity)
{
	uint64_t *known = hmap__get(&all->by_identity, identity);

	return known ? (struct person *)(uintptr_t)*known : NULL;
}

void people__leave(struct people *all, uint64_t identity)
{
	struct person *who = people__find(all, identity);

	if (!who || who->leaving || vec__push(&all->leaving, identity))
		return; /* no memory: it stays until the end */
	who->leaving = true;
	all->live -= who->introduced;
}

struct person *people__of(struct people *all, uint64_t identity, uint32_t pid)
{
	struct person *who = people__find(all, identity);
	int64_t process;

	if (who)
		return who;
	who = calloc(1, sizeof(*who));
	if (!who)
		return NULL;
	who->root_fd = -1;
	who->identity = identity;
	who->pid = pid;
	who->stacks = stacks__new(&all->stacks, &who->codes);
	process = profile__add_process(all->profile, &(struct profile_process){.pid = pid});
	if (!who->stacks || process < 0 || hmap__put(&all->by_identity, identity, (uintptr_t)who)) {
		stacks__free(who->stacks);
		free(who);
		return NULL;
	}
	who->process = (uint32_t)process;
	return who;
}

static uint32_t string(struct people *all, const char *bytes, size_t n)
{
	int64_t id = profile__add_string(all->profile, bytes, n);

	return id < 0 ? 0 : (uint32_t)id;
}

/* Arguments as a line: NULs become spaces, those at the end go. */
static uint32_t command_line(struct people *all, const char *args, size_t n)
{
	struct str *line = &all->scratch[0];

	while (n && !args[n - 1])
		n--;
	str__reset(line);
	if (str__add(line, args, n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!line->data[i])
			line->data[i] = ' ';
	}
	return string(all, str__cstr(line), line->len);
}

/* The arguments of a process whose own memory did not give them to the kernel, as long as it lives. */
static uint32_t command_line_of(struct people *all, const struct rec_proc *r)
{
	_cleanup_(str__free) struct str args = {0};
	struct proc_stat st;

	if (proc__cmdline((pid_t)r->pid, PYBPF_CMDLINE_MAX, &args) || proc__stat((pid_t)r->pid, &st) ||
	    !proc__same_start(r->start_time, st.start_ticks) || st.start_stack != r->start_stack)
		return 0;
	return command_line(all, str__cstr(&args), args.len);
}

/* The container by the process's cgroups, or by its parent's when it has gone already. */
static void find_container(struct people *all, const struct rec_proc *r, struct profile_process *facts)
{
	_cleanup_(str__free) struct str name = {0};
	struct container c;

	if (container__of_process((pid_t)r->pid, &c, NULL) &&
	    container__of_process((pid_t)r->ppid, &c, NULL))
		return;
	if (!c.id[0])
		return;
	facts->container = string(all, c.id, strlen(c.id));
	if (!container__name(&c, "", &name) && name.len)
		facts->container_name = string(all, name.data, name.len);
}

static void find_facts(struct people *all, const struct rec_proc *r, const struct interp *interp,
		       struct profile_process *facts)
{
	facts->comm = string(all, r->comm, strnlen(r->comm, sizeof(r->comm)));
	facts->cmdline = command_line(all, (const char *)(r + 1), r->cmdline_bytes);
	if (!facts->cmdline)
		facts->cmdline = command_line_of(all, r);
	if (!facts->cmdline)
		facts->cmdline = facts->comm;
	if (interp)
		facts->version = string(all, interp->version, strlen(interp->version));
	str__reset(&all->scratch[0]);
	if (!proc__exe((pid_t)r->pid, &all->scratch[0]))
		facts->exe = string(all, str__cstr(&all->scratch[0]), all->scratch[0].len);
	find_container(all, r, facts);
}

enum trust people__trust(const struct person *who)
{
	if (who->refused || (who->interp && who->interp->refused))
		return TRUST_NONE;
	return !who->interp || who->interp->proven ? TRUST_FULL : TRUST_OPEN;
}

const struct interp *people__interp(const struct person *who, uint16_t *types)
{
	*types = who->types;
	return who->interp;
}

int people__on_proc(struct people *all, const struct rec_proc *r, size_t size)
{
	struct profile_process facts = {
		.pid = r->pid,
		.ppid = r->ppid,
		.ns_pid = r->ns_pid,
		.uid = r->uid,
		.start_time = r->start_time,
	};
	const struct interp *interp =
		r->flags & (PROC_UNSUPPORTED | PROC_NATIVE_ONLY) ? NULL : interps__get(all->interps, r->layout);
	struct person *who;
	uint64_t *before;
	char path[64];

	if (r->cmdline_bytes > size - sizeof(*r))
		return -EBADMSG;
	who = people__of(all, r->identity, r->pid);
	if (!who)
		return -ENOMEM;
	/* Two CPUs may introduce it at the same time; with native frames also before its interpreter has been found. */
	if (who->introduced && (who->interp || !interp) && (who->named || !r->cmdline_bytes))
		return 0;
	find_facts(all, r, interp, &facts);
	before = hmap__get(&all->by_pid, r->pid);
	if (before && *before != r->identity)
		people__leave(all, *before); /* exec: the same pid, another program */
	profile__set_process(all->profile, who->process, &facts);
	all->live += !who->introduced && !who->leaving;
	who->introduced = true;
	who->named = facts.cmdline != facts.comm;
	who->refused = people__trust(who) == TRUST_NONE;
	who->interp = interp;
	if (all->spaces && !who->space)
		who->space = spaces__get(all->spaces, r->pid, r->ppid, r->start_stack);
	stacks__set_process(who->stacks, who->interp ? &who->interp->layout : &(struct py_layout){0}, who->space);
	memcpy(who->comm, r->comm, sizeof(r->comm));
	snprintf(path, sizeof(path), "/proc/%u/root", r->pid);
	if (who->root_fd < 0)
		who->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return hmap__put(&all->by_pid, r->pid, r->identity);
}

int64_t people__thread(struct people *all, struct person *who, uint32_t tid)
{
	uint64_t *known = hmap__get(&who->threads, tid);
	struct profile_thread thread = {.process = who->process, .tid = tid, .ns_tid = tid};
	int64_t id;

	if (known)
		return (uint32_t)*known;
	if (tid == who->pid)
		thread.name = string(all, "MainThread", strlen("MainThread"));
	id = profile__add_thread(all->profile, &thread);
	if (id >= 0 && hmap__put(&who->threads, tid, (uint64_t)id))
		return -ENOMEM;
	return id;
}

/* Such as Python makes up itself: Thread-1, Thread-1 (function), Dummy-1 (Lib/threading.py). */
static bool is_made_up(const char *name)
{
	size_t n = !strncmp(name, "Thread-", 7) ? 7 : !strncmp(name, "Dummy-", 6) ? 6 : 0;
	const char *end = name + n + strspn(name + n, "0123456789");

	return n && end > name + n && (!*end || !strncmp(end, " (", 2));
}

/*
 * Python's name goes before the kernel's, unless it is a mere number and the thread has given itself another one; what
 * the kernel has may be the beginning of Python's (3.14+).
 */
static int choose_name(struct people *all, struct person *who, uint32_t tid, uint32_t thread)
{
	const uint64_t *python = hmap__get(&who->python_names, tid), *kernel = hmap__get(&who->kernel_names, tid);
	uint64_t name = python ? *python : kernel ? *kernel : 0;
	const struct profile_thread *now = profile__thread(all->profile, thread);
	size_t n;

	if (python && kernel) {
		const char *own = profile__string(all->profile, (uint32_t)*kernel, &n);
		const char *given = profile__string(all->profile, (uint32_t)*python, NULL);

		if (is_made_up(given) && strncmp(given, own, n) != 0)
			name = *kernel;
	}
	return !now || now->name == name ? 0 : profile__name_thread(all->profile, thread, (uint32_t)name);
}

int people__on_thread(struct people *all, const struct rec_thread *r)
{
	struct person *who = people__of(all, r->identity, r->pid);
	size_t n = strnlen(r->comm, sizeof(r->comm));
	int64_t thread;

	if (!who)
		return -ENOMEM;
	thread = people__thread(all, who, r->tid);
	if (thread < 0)
		return (int)thread;
	/* a thread that nobody named carries its process's name: that says nothing */
	if (r->tid == r->pid || !strncmp(r->comm, who->comm, PYBPF_COMM_LEN))
		return 0;
	if (hmap__put(&who->kernel_names, r->tid, string(all, r->comm, n)))
		return -ENOMEM;
	return choose_name(all, who, r->tid, (uint32_t)thread);
}

void people__name_thread(struct people *all, uint64_t identity, uint32_t tid, const char *name, size_t n)
{
	struct person *who = people__find(all, identity);
	const uint64_t *id = who ? hmap__get(&who->threads, tid) : NULL;

	if (id && !hmap__put(&who->python_names, tid, string(all, name, n)))
		choose_name(all, who, tid, (uint32_t)*id);
}

/*
 * A child has the addresses of its parent until it calls exec, which may be long before its records are read: by then
 * another program would be asked what lies there. Returns `type` when it is the parent's type of code objects, else 0.
 */
static uint64_t parents_code_type(const struct people *all, const struct person *who, uint64_t type)
{
	uint64_t *identity = hmap__get(&all->by_pid, profile__process(all->profile, who->process)->ppid);
	const struct person *parent = identity ? people__find(all, *identity) : NULL;

	return parent && parent->code_type == type ? type : 0;
}

/* A string of a code object: while memory is short, -ENOENT unless it is there already. */
static int64_t code_string(struct people *all, const struct str *text)
{
	if (all->limited)
		return profile__find_string(all->profile, str__cstr(text), text->len);
	return profile__add_string(all->profile, str__cstr(text), text->len);
}

/* The id in codes of what a record tells, completed by `text`, or -errno. */
static int64_t intern_code(struct people *all, const struct person *who, const struct rec_code *r,
			   const struct codefacts_text *text)
{
	_cleanup_(str__free) struct str short_file = {0};
	int err = shortfile__name(all->shortfile, who->root_fd, str__cstr(text->file), text->file->len, &short_file);
	int64_t name = code_string(all, text->name), file = code_string(all, text->file);
	int64_t shortened = err < 0 ? file : code_string(all, &short_file);
	struct code_facts facts = {
		.name = (uint32_t)name,
		.file = (uint32_t)file,
		.short_file = (uint32_t)shortened,
		.first_line = r->firstlineno,
		.flags = r->flags,
		.version_hex = who->interp->layout.version_hex,
		.linetable = text->linetable,
		.linetable_bytes = text->linetable_bytes,
	};

	if (name < 0 || file < 0 || shortened < 0)
		return name < 0 ? name : file < 0 ? file : shortened;
	return all->limited ? codes__find(all->codes, &facts) : codes__intern(all->codes, &facts);
}

int people__on_code(struct people *all, const struct rec_code *record, size_t size)
{
	struct rec_code copy = *record, *r = &copy;
	struct person *who = people__of(all, r->identity, r->pid);
	struct codefacts_text text = {.name = &all->scratch[0], .file = &all->scratch[1]};
	int64_t code;

	if (!who)
		return -ENOMEM;
	if (!who->interp) /* its introduction was lost: nothing says how to read it */
		return -ENOENT;
	if (r->types > who->types)
		who->types = r->types;
	if (!who->code_type)
		who->code_type = parents_code_type(all, who, r->type_addr);
	code = codefacts__check_type(r, &who->interp->layout, &who->code_type);
	if (!code)
		code = codefacts__from_record(r, size - sizeof(*r), &who->interp->layout, record + 1, &text);
	if (!code) {
		code = intern_code(all, who, r, &text);
		free(text.owned);
	}
	if (code < 0) { /* whatever was there before: this is something else */
		hmap__del(&who->codes, r->addr);
		return (int)code;
	}
	return hmap__put(&who->codes, r->addr, (uint64_t)code);
}

int people__on_stack(struct people *all, const struct rec_stack *r, size_t size, const uint32_t *ids)
{
	struct person *who = people__of(all, r->identity, r->pid);

	if (!who)
		return -ENOMEM;
	if (!who->introduced) /* its introduction was lost: nothing says how to read it */
		return -ENOENT;
	if (all->limited && !stacks__knows(who->stacks, r->stack))
		return -ENOENT;
	return stacks__tell(who->stacks, r, size, ids);
}

void people__resolve(struct people *all, const struct rec_stack *r, uint32_t *ids)
{
	const struct person *who = people__find(all, r->identity);

	if (who)
		stacks__resolve(who->stacks, r, ids);
	else
		memset(ids, 0xff, r->nframes * sizeof(*ids)); /* STACKS_NO_CODE */
}

bool people__has_python(const struct person *who, uint64_t stack)
{
	return stacks__has_python(who->stacks, stack);
}

int64_t people__stack(struct person *who, const struct rec_sample *s, uint16_t *outcome)
{
	return stacks__find(who->stacks, s, outcome);
}
