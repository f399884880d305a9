/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a recording knows in the end, and how it is put together.
 *
 * A profile is made of tables (strings, frames, stacks, processes, threads, samples) whose ids count up from 0
 * without gaps; they grow only, but for profile__drop_past. A stack is a node of a tree: its parent (towards the root) and one frame; stack 0 is
 * the empty root. While a recording runs, one owner adds to a `struct profile` through the adders; once
 * finished it is only read. Exporters and the capture format see nothing but this header.
 */
#ifndef PYBPF_PROFILE_H
#define PYBPF_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pybpf/abi.h"

enum frame_kind {
	FRAME_PYTHON,
	FRAME_NATIVE,
	FRAME_KERNEL,
	FRAME_MARKER, /* [truncated: REASON] and the like; name holds the text with its brackets */
	FRAME_KIND_COUNT,
};

/*
 * One place in a program. Strings are UTF-8 (surrogates as "surrogatepass" gives them), raw: escaping is
 * the exporter's work. Lines and columns count from 1; 0 means not known.
 */
struct frame {
	enum frame_kind kind;
	uint32_t name;       /* string ids, 0 is "" */
	uint32_t file;       /* full path as the target names it */
	uint32_t short_file; /* from the topmost package directory on */
	uint32_t module;     /* native: base name of the binary */
	uint32_t line;
	uint32_t end_line;
	uint32_t column;
	uint32_t end_column;
	uint32_t first_line; /* of the function; 1 for a module */
};

struct stack_node {
	uint32_t parent; /* stack id; the root is its own parent */
	uint32_t frame;  /* frame id; meaningless for the root */
	uint32_t depth : 31;   /* frames from the root, 0 for the root */
	uint32_t has_sample : 1; /* it is a whole stack, not only where some have their beginning */
};

/* One program in one process: exec makes another one of the same pid. */
struct profile_process {
	uint32_t pid, ns_pid, ppid, uid;
	uint64_t start_time; /* boot-time ns */
	uint32_t comm;       /* string ids */
	uint32_t cmdline;    /* arguments joined by single spaces */
	uint32_t exe;
	uint32_t container;      /* id, "" for none */
	uint32_t container_name; /* as its runtime calls it */
	uint32_t version; /* "3.11.2", "" when not known */
};

struct profile_thread {
	uint32_t process; /* process id, not pid */
	uint32_t tid, ns_tid;
	uint32_t name; /* "" when not known */
};

struct profile_sample {
	uint64_t time;   /* ns since the start of the recording */
	uint32_t thread; /* thread id */
	uint32_t stack;
	uint32_t cpu;
	uint16_t outcome; /* enum pybpf_outcome */
	uint16_t kind;    /* enum sample_kind */
	uint64_t count;   /* samples that this entry stands for: 1, or more once aggregated */
	uint64_t weight;  /* ns that this entry stands for in all */
};

/* The run as a whole. Strings are owned by the profile. */
struct profile_meta {
	char *version; /* of pybpf */
	char *host, *kernel, *machine;
	char *command;       /* what was asked for: the command line of pybpf itself */
	uint64_t start_unix_ns;
	uint64_t duration_ns;
	uint32_t rate_hz; /* samples a second and CPU */
	uint32_t cpus;
	bool by_process; /* recorded were whatever processes there are: a reader tells them apart, be it one */
};

/* taken = written + sum of lost, always. Indexed by enum pybpf_outcome; entries of other classes are 0. */
struct profile_accounts {
	uint64_t taken, written;
	uint64_t lost[PYBPF_OUTCOME_COUNT];
	uint64_t truncated[PYBPF_OUTCOME_COUNT];
	uint64_t processes, threads, stacks, code_objects;
	uint64_t bpf_run_ns, bpf_runs;
	uint64_t user_cpu_ns, peak_rss_bytes;
};

struct profile;

/*
 * keep_order: samples are kept one by one in the order they came (time lines want that); otherwise equal
 * (thread, stack, outcome, kind) are summed, time being the first one's. NULL when out of memory.
 */
struct profile *profile__new(bool keep_order);
void profile__free(struct profile *p); /* NULL is fine */

/* Adders: the id, or -ENOMEM; -EINVAL for an id that does not exist; -ERANGE when a table is full. Equal
 * strings, frames and stacks get equal ids; processes and threads are added each time. */
int64_t profile__add_string(struct profile *p, const char *bytes, size_t n);
int64_t profile__find_string(const struct profile *p, const char *bytes, size_t n); /* of those added; -ENOENT */
int64_t profile__add_frame(struct profile *p, const struct frame *f);
int64_t profile__add_stack(struct profile *p, uint32_t parent, uint32_t frame);
int64_t profile__add_process(struct profile *p, const struct profile_process *process);
int64_t profile__add_thread(struct profile *p, const struct profile_thread *thread);
int profile__add_sample(struct profile *p, const struct profile_sample *s); /* 0 or -errno */
/* What became known of a process later. 0 or -EINVAL. */
int profile__set_process(struct profile *p, uint32_t id, const struct profile_process *process);
/* A thread's name that became known later (a string id). 0 or -EINVAL. */
int profile__name_thread(struct profile *p, uint32_t thread, uint32_t name);
/* Copies the strings of *m (NULL is taken as ""). 0 or -ENOMEM. */
int profile__set_meta(struct profile *p, const struct profile_meta *m);
void profile__set_accounts(struct profile *p, const struct profile_accounts *a);

/* Readers. Ids must be below the count. Addresses stay valid until the next adder. */
uint32_t profile__string_count(const struct profile *p);
uint32_t profile__frame_count(const struct profile *p);
uint32_t profile__stack_count(const struct profile *p);
uint32_t profile__process_count(const struct profile *p);
uint32_t profile__thread_count(const struct profile *p);
size_t profile__sample_count(const struct profile *p);
const char *profile__string(const struct profile *p, uint32_t id, size_t *n); /* n may be NULL */
const struct frame *profile__frame(const struct profile *p, uint32_t id);
const struct stack_node *profile__stack(const struct profile *p, uint32_t id);
const struct profile_process *profile__process(const struct profile *p, uint32_t id);
const struct profile_thread *profile__thread(const struct profile *p, uint32_t id);
const struct profile_sample *profile__sample(const struct profile *p, size_t index);
const struct profile_meta *profile__meta(const struct profile *p);
const struct profile_accounts *profile__accounts(const struct profile *p);
bool profile__ordered(const struct profile *p);
size_t profile__memory(const struct profile *p); /* bytes held */
/* How many were added, those that were dropped included. */
uint64_t profile__processes_ever(const struct profile *p);
uint64_t profile__threads_ever(const struct profile *p);
/* How many different stacks samples had; one that was dropped and comes again counts again. */
uint64_t profile__stacks_ever(const struct profile *p);

/*
 * A long recording writes what is past elsewhere (store/capture.h) and drops it. Past are the samples of processes and threads that
 * have ended, and all samples that are kept in order.
 */
int profile__end_process(struct profile *p, uint32_t id); /* no sample of it comes any more; 0 or -EINVAL */
int profile__end_thread(struct profile *p, uint32_t id);  /* likewise, of a process that goes on */
size_t profile__ended_count(const struct profile *p);      /* processes and threads that were not dropped */
bool profile__is_past(const struct profile *p, const struct profile_sample *s);
/* Processes and threads that were set or named anew since the last drop; how many processes. */
size_t profile__changed(const struct profile *p, const uint32_t **processes, const uint32_t **threads,
			size_t *thread_count);

enum profile_table {
	PROFILE_STRINGS,
	PROFILE_FRAMES,
	PROFILE_STACKS,
	PROFILE_PROCESSES,
	PROFILE_THREADS,
	PROFILE_TABLES,
};

/* Somebody who keeps ids of a profile's tables: `each` calls fn for every one, at its place; fn may change it. */
typedef void (*profile_id_fn)(void *fn_arg, enum profile_table table, uint32_t *id);
struct profile_holder {
	void (*each)(void *arg, profile_id_fn fn, void *fn_arg);
	void *arg;
};

#define PROFILE_GONE UINT32_MAX
/* What has become of ids, by table and old id: the new one, or PROFILE_GONE. They stay in their order. */
struct profile_moves {
	uint32_t *to[PROFILE_TABLES];
	uint32_t count[PROFILE_TABLES];
};
void profile_moves__free(struct profile_moves *m);

/*
 * Drops past samples, processes and threads that have ended, and whatever is then referred to by nothing in the profile nor by the
 * holder (NULL: nobody). Then ids are others: the holder's are changed in place, *moves (the caller frees) tells of all. Takes a walk
 * through the whole profile. 0, or -ENOMEM: then past samples are gone, and all else is as before.
 */
int profile__drop_past(struct profile *p, const struct profile_holder *holder, struct profile_moves *moves);
void profile__drop_samples(struct profile *p); /* all of them; everything else stays */

/* Names and classes out of errors.def. */
enum outcome_class { OUTCOME_COMPLETE, OUTCOME_TRUNCATED, OUTCOME_LOST };
const char *outcome__name(enum pybpf_outcome o);
enum outcome_class outcome__class(enum pybpf_outcome o);
/* The outcome of that name, or -ENOENT. */
int outcome__from_name(const char *name);

#endif
