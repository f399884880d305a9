/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/threadnames.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "pyrt/pyobject.h"
#include "pyrt/threads.h"

#define MAX_INTERPS 64
#define MAX_NAME    1024 /* characters: who has longer ones keeps the kernel's */

/* One reading. */
struct reading {
	struct memory_reader *mem;
	const struct pyrt_layout *l;
	struct hmap ids; /* identifier, as Python has it (pthread_self()) -> thread id in its namespace */
	const struct hmap *wanted;
	struct pyrt_thread_names *out;
	struct hmap told; /* thread id -> its place in out->names */
	struct pyobject_attribute name;
};

/* glibc nptl/descr.h, struct pthread: tid follows the header and the list; the header begins with two pointers to
 * itself. */
#if defined(__x86_64__)
#define PTHREAD_SELF 16
#define PTHREAD_TID  720
#endif

/*
 * Until 3.10 thread states do not hold the kernel's id, and Thread._native_id (3.8) is that of the parent in a child of
 * fork: the C library knows it. 0: not known.
 */
static uint32_t id_of_pthread(struct reading *r, uint64_t self)
{
#ifdef PTHREAD_TID
	uint64_t words[4];
	uint32_t tid;

	/* musl's begins with one such pointer; the others lead to its neighbours */
	if (memory__read(r->mem, self, words, sizeof(words)) || words[0] != self || words[PTHREAD_SELF / 8] != self ||
	    words[3] == self || memory__read_u32(r->mem, self + PTHREAD_TID, &tid))
		return 0;
	return tid;
#else
	(void)r;
	(void)self;
	return 0;
#endif
}

static uint32_t native_id(struct reading *r, uint64_t ident)
{
	const uint64_t *known;

	if (r->l->abi.tstate_native_id == PYBPF_NO_OFFSET)
		return id_of_pthread(r, ident);
	known = hmap__get(&r->ids, ident);
	return known ? (uint32_t)*known : 0;
}

static int learn_ids(struct reading *r, uint64_t interpreters)
{
	struct pyrt_threads threads = {0};
	int err = 0;

	if (r->l->abi.tstate_native_id == PYBPF_NO_OFFSET)
		return 0;
	err = pyrt_threads__list(r->mem, r->l, interpreters, &threads);
	if (err == -EFAULT) /* a list that changed: some are known */
		err = 0;
	vec__foreach(&threads, t) {
		/* the newest come first: an older state may be of a thread that has left it behind, and had the same
		 * identifier */
		if (!err && t->thread_id && t->native_id && !hmap__get(&r->ids, t->thread_id))
			err = hmap__put(&r->ids, t->thread_id, t->native_id);
	}
	vec__free(&threads);
	return err;
}

/* The dict threading._active of an interpreter. 0: `threading` is not there, or no dict. */
static int find_active(struct reading *r, struct pyrt_active *a)
{
	const struct py_layout *l = &r->l->abi;
	struct pyobject_items items = {0};
	uint64_t modules, module;
	int err = memory__read_u64(r->mem, a->interp + r->l->lists.interp_modules, &modules);

	if (!err)
		err = pyobject__items(r->mem, l, modules, &items);
	if (!err && items.len != a->modules) { /* as many as the last time: it is not among them */
		a->modules = items.len;
		module = pyobject__find(r->mem, l, &items, "threading");
		items.len = 0;
		if (module)
			err = pyobject__module(r->mem, l, module, &items);
		if (module && !err)
			a->dict = pyobject__find(r->mem, l, &items, "_active");
		if (module && !a->dict)
			a->modules = 0; /* it is being imported: to be looked at again */
	}
	vec__free(&items);
	return err;
}

/* Reads the name of a Thread object to the end of out->text. */
static int read_name(struct reading *r, uint64_t thread)
{
	const struct py_layout *l = &r->l->abi;
	uint64_t slot, name, again;
	int err = pyobject__attribute(r->mem, l, thread, &r->name, &slot);

	if (!err)
		err = memory__read_u64(r->mem, slot, &name);
	if (!err)
		err = pyobject__str(r->mem, l, name, MAX_NAME, &r->out->text);
	if (!err)
		err = memory__read_u64(r->mem, slot, &again);
	return err || again == name ? err : -EFAULT; /* it was its name all the while */
}

/* Adds a name, or puts it in place of what a younger interpreter said. */
static int put_name(struct reading *r, struct pyrt_thread_name name)
{
	const uint64_t *known = hmap__get(&r->told, name.native_id);
	int err;

	if (known) {
		r->out->names.data[*known] = name;
		return 0;
	}
	err = vec__push(&r->out->names, name);
	return err ? err : hmap__put(&r->told, name.native_id, r->out->names.len - 1);
}

/* A thread that is still there when its name has been read had it: its memory was not somebody else's meanwhile. */
static int read_threads(struct reading *r, uint64_t active)
{
	const struct py_layout *l = &r->l->abi;
	struct vec(struct pyrt_thread_name) found = {0};
	struct pyobject_items items = {0}, after = {0};
	struct hmap still = {0};
	int err = pyobject__items(r->mem, l, active, &items);

	vec__foreach(&items, it) {
		struct pyrt_thread_name name = {.at = (uint32_t)r->out->text.len};
		uint64_t ident;

		if (err)
			break;
		if (!pyobject__int(r->mem, l, it->key, &ident))
			name.native_id = native_id(r, ident);
		if (r->wanted && !hmap__get(r->wanted, name.native_id))
			name.native_id = 0;
		if (name.native_id && read_name(r, it->value))
			name.native_id = 0;
		name.n = (uint32_t)r->out->text.len - name.at;
		err = vec__push(&found, name);
	}
	if (!err)
		err = pyobject__items(r->mem, l, active, &after);
	vec__foreach(&after, it)
		err = err ?: hmap__put(&still, it->value, it->key);
	for (size_t i = 0; !err && i < items.len; i++) {
		const uint64_t *key = hmap__get(&still, items.data[i].value);

		if (found.data[i].native_id && key && *key == items.data[i].key)
			err = put_name(r, found.data[i]);
	}
	vec__free(&found);
	vec__free(&items);
	vec__free(&after);
	hmap__free(&still);
	return err;
}

/* What is known of an interpreter from before; NULL when out of memory. */
static struct pyrt_active *active_of(struct pyrt_thread_names *out, uint64_t interp)
{
	vec__foreach(&out->active, it) {
		if (it->interp == interp)
			return it;
	}
	if (out->active.len == MAX_INTERPS) /* most have gone, or these are very many */
		out->active.len = 0;
	return vec__push(&out->active, (struct pyrt_active){.interp = interp}) ? NULL
									       : &out->active.data[out->active.len - 1];
}

/* The names that one interpreter knows. What cannot be read is no error, as long as there is a process. */
static int read_interpreter(struct reading *r, uint64_t interp)
{
	struct pyrt_active *a = active_of(r->out, interp);
	int err = 0;

	if (!a)
		return -ENOMEM;
	if (!a->dict)
		err = find_active(r, a);
	if (!err && a->dict)
		err = read_threads(r, a->dict);
	if (err == -ESRCH || err == -ENOMEM)
		return err;
	if (err)
		*a = (struct pyrt_active){.interp = interp}; /* to be looked for again */
	return 0;
}

int pyrt_thread_names__read(struct memory_reader *mem, const struct pyrt_layout *layout, uint64_t interpreters,
			    const struct hmap *wanted, struct pyrt_thread_names *out)
{
	struct reading r = {.mem = mem, .l = layout, .wanted = wanted, .out = out, .name.name = "_name"};
	uint64_t interp;
	int err = memory__read_u64(mem, interpreters, &interp);

	out->names.len = 0;
	str__reset(&out->text);
	if (!err)
		err = learn_ids(&r, interpreters);
	for (int i = 0; !err && interp && i < MAX_INTERPS; i++) { /* from the youngest to the main one */
		err = read_interpreter(&r, interp);
		if (!err)
			err = memory__read_u64(mem, interp + layout->lists.interp_next, &interp);
	}
	hmap__free(&r.ids);
	hmap__free(&r.told);
	return err == -ESRCH || err == -ENOMEM ? err : 0;
}

void pyrt_thread_names__free(struct pyrt_thread_names *names)
{
	vec__free(&names->names);
	vec__free(&names->active);
	str__free(&names->text);
}
