// SPDX-License-Identifier: Apache-2.0
/* The writer of raw captures; store/capture.h describes the format. */
#include "store/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/str.h"
#include "base/vec.h"

#define ENTRIES_PER_BLOCK 4096
#define BYTES_PER_BLOCK   (256u << 10)

struct capture_writer {
	FILE *out;
	bool begun;
	struct vec(uint32_t) ids[PROFILE_TABLES]; /* by the profile's id: that in the file, of those that have been written */
	uint32_t next[PROFILE_TABLES];            /* id in the file of what comes next */
	const struct profile *p; /* during a call */
	struct str payload;
	int err; /* the first failure: later steps do nothing */
};

static void put_u32(unsigned char *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(v >> 8 * i);
}

static void number(struct capture_writer *w, uint64_t v)
{
	char bytes[10];
	size_t n = 0;

	do {
		bytes[n++] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	if (!w->err)
		w->err = str__add(&w->payload, bytes, n);
}

/* An id of the profile, as the file has it. What is not written yet is going to be, in this order. */
static void reference(struct capture_writer *w, enum profile_table table, uint32_t id)
{
	size_t written = w->ids[table].len;

	number(w, id < written ? w->ids[table].data[id] : w->next[table] + (id - written));
}

static void string(struct capture_writer *w, const char *bytes, size_t n)
{
	number(w, n);
	if (!w->err)
		w->err = str__add(&w->payload, bytes, n);
}

static void cstring(struct capture_writer *w, const char *s)
{
	string(w, s ? s : "", s ? strlen(s) : 0);
}

/* Writes the payload as one block, behind the number of its entries unless `count` is negative. */
static void block(struct capture_writer *w, enum capture_block type, int64_t count)
{
	struct str body = w->payload;
	unsigned char head[5] = {(unsigned char)type}, tail[4], counted[10];
	size_t counted_bytes = 0;
	uLong crc;

	if (w->err)
		return;
	if (count >= 0) {
		/* the entries were put together before their number was known */
		w->payload = (struct str){0};
		number(w, (uint64_t)count);
		counted_bytes = w->payload.len;
		memcpy(counted, str__cstr(&w->payload), counted_bytes);
		str__free(&w->payload);
		w->payload = body;
	}
	put_u32(head + 1, (uint32_t)(counted_bytes + body.len));
	crc = crc32(crc32(0, head, sizeof(head)), counted, (uInt)counted_bytes);
	crc = crc32(crc, (const Bytef *)str__cstr(&body), (uInt)body.len);
	put_u32(tail, (uint32_t)crc);
	fwrite(head, 1, sizeof(head), w->out);
	fwrite(counted, 1, counted_bytes, w->out);
	fwrite(str__cstr(&body), 1, body.len, w->out);
	fwrite(tail, 1, sizeof(tail), w->out);
	str__reset(&w->payload);
}

/* A table of `total` entries from `first` on, each put into the payload by `put`. */
static void table(struct capture_writer *w, enum capture_block type, size_t first, size_t total,
		  void (*put)(struct capture_writer *w, size_t id))
{
	size_t in_block = 0;

	for (size_t id = first; id < total && !w->err; id++) {
		put(w, id);
		if (++in_block == ENTRIES_PER_BLOCK || w->payload.len >= BYTES_PER_BLOCK) {
			block(w, type, (int64_t)in_block);
			in_block = 0;
		}
	}
	if (in_block)
		block(w, type, (int64_t)in_block);
}

static void put_string(struct capture_writer *w, size_t id)
{
	size_t n;
	const char *bytes = profile__string(w->p, (uint32_t)id, &n);

	/* a block must hold it; no name comes near */
	string(w, bytes, n < CAPTURE_MAX_BLOCK / 2 ? n : CAPTURE_MAX_BLOCK / 2);
}

static void put_frame(struct capture_writer *w, size_t id)
{
	const struct frame *f = profile__frame(w->p, (uint32_t)id);

	number(w, f->kind);
	reference(w, PROFILE_STRINGS, f->name);
	reference(w, PROFILE_STRINGS, f->file);
	reference(w, PROFILE_STRINGS, f->short_file);
	reference(w, PROFILE_STRINGS, f->module);
	number(w, f->line);
	number(w, f->end_line);
	number(w, f->column);
	number(w, f->end_column);
	number(w, f->first_line);
}

static void put_stack(struct capture_writer *w, size_t id)
{
	const struct stack_node *s = profile__stack(w->p, (uint32_t)id);

	reference(w, PROFILE_STACKS, s->parent);
	reference(w, PROFILE_FRAMES, s->frame);
}

static void put_process(struct capture_writer *w, size_t id)
{
	const struct profile_process *p = profile__process(w->p, (uint32_t)id);

	number(w, p->pid);
	number(w, p->ns_pid);
	number(w, p->ppid);
	number(w, p->uid);
	number(w, p->start_time);
	reference(w, PROFILE_STRINGS, p->comm);
	reference(w, PROFILE_STRINGS, p->cmdline);
	reference(w, PROFILE_STRINGS, p->exe);
	reference(w, PROFILE_STRINGS, p->container);
	reference(w, PROFILE_STRINGS, p->container_name);
	reference(w, PROFILE_STRINGS, p->version);
}

static void put_thread(struct capture_writer *w, size_t id)
{
	const struct profile_thread *t = profile__thread(w->p, (uint32_t)id);

	reference(w, PROFILE_PROCESSES, t->process);
	number(w, t->tid);
	number(w, t->ns_tid);
	reference(w, PROFILE_STRINGS, t->name);
}

static void put_sample(struct capture_writer *w, const struct profile_sample *s, uint64_t before)
{
	int64_t passed = (int64_t)(s->time - before);

	number(w, ((uint64_t)passed << 1) ^ (uint64_t)(passed >> 63));
	reference(w, PROFILE_THREADS, s->thread);
	reference(w, PROFILE_STACKS, s->stack);
	number(w, s->cpu);
	number(w, s->outcome);
	number(w, s->kind);
	number(w, s->count);
	number(w, s->weight);
}

static void put_samples(struct capture_writer *w, bool past_only)
{
	size_t total = profile__sample_count(w->p), in_block = 0;
	uint64_t before = 0;

	for (size_t i = 0; i < total && !w->err; i++) {
		const struct profile_sample *s = profile__sample(w->p, i);

		if (past_only && !profile__is_past(w->p, s))
			continue;
		put_sample(w, s, before);
		before = s->time;
		if (++in_block == ENTRIES_PER_BLOCK) {
			block(w, CAPTURE_SAMPLES, (int64_t)in_block);
			in_block = 0;
			before = 0;
		}
	}
	if (in_block)
		block(w, CAPTURE_SAMPLES, (int64_t)in_block);
}

/* What became known of processes and threads after they were written. */
static void put_changes(struct capture_writer *w)
{
	const uint32_t *processes, *threads;
	size_t thread_count, count = profile__changed(w->p, &processes, &threads, &thread_count), n = 0;

	for (size_t i = 0; i < count; i++) {
		if (processes[i] >= w->ids[PROFILE_PROCESSES].len)
			continue;
		reference(w, PROFILE_PROCESSES, processes[i]);
		put_process(w, processes[i]);
		n++;
	}
	if (n)
		block(w, CAPTURE_PROCESS_FACTS, (int64_t)n);
	n = 0;
	for (size_t i = 0; i < thread_count; i++) {
		if (threads[i] >= w->ids[PROFILE_THREADS].len)
			continue;
		reference(w, PROFILE_THREADS, threads[i]);
		reference(w, PROFILE_STRINGS, profile__thread(w->p, threads[i])->name);
		n++;
	}
	if (n)
		block(w, CAPTURE_THREAD_NAMES, (int64_t)n);
}

static void put_meta(struct capture_writer *w)
{
	const struct profile_meta *m = profile__meta(w->p);

	cstring(w, m->version);
	cstring(w, m->host);
	cstring(w, m->kernel);
	cstring(w, m->machine);
	cstring(w, m->command);
	number(w, m->start_unix_ns);
	number(w, m->duration_ns);
	number(w, m->rate_hz);
	number(w, m->cpus);
	number(w, (profile__ordered(w->p) ? CAPTURE_ORDERED : 0) | (m->by_process ? CAPTURE_BY_PROCESS : 0));
	block(w, CAPTURE_META, -1);
}

static void put_accounts(struct capture_writer *w)
{
	const struct profile_accounts *a = profile__accounts(w->p);

	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
		cstring(w, outcome__name(i));
	block(w, CAPTURE_OUTCOMES, PYBPF_OUTCOME_COUNT);
	number(w, a->taken);
	number(w, a->written);
	number(w, PYBPF_OUTCOME_COUNT);
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		number(w, (uint64_t)i);
		number(w, a->lost[i]);
		number(w, a->truncated[i]);
	}
	number(w, a->processes);
	number(w, a->threads);
	number(w, a->stacks);
	number(w, a->code_objects);
	number(w, a->bpf_run_ns);
	number(w, a->bpf_runs);
	number(w, a->user_cpu_ns);
	number(w, a->peak_rss_bytes);
	block(w, CAPTURE_ACCOUNTS, -1);
}

static void begin(struct capture_writer *w)
{
	unsigned char version[4];

	put_u32(version, CAPTURE_VERSION);
	fwrite(CAPTURE_MAGIC, 1, strlen(CAPTURE_MAGIC), w->out);
	fwrite(version, 1, sizeof(version), w->out);
	put_meta(w);
	put_accounts(w);
	w->begun = true;
}

struct capture_writer *capture_writer__new(FILE *out)
{
	struct capture_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->out = out;
	/* string 0 and stack 0 are known */
	if (vec__push(&w->ids[PROFILE_STRINGS], 0) || vec__push(&w->ids[PROFILE_STACKS], 0)) {
		capture_writer__free(w);
		return NULL;
	}
	w->next[PROFILE_STRINGS] = w->next[PROFILE_STACKS] = 1;
	return w;
}

void capture_writer__free(struct capture_writer *w)
{
	if (!w)
		return;
	for (int table = 0; table < PROFILE_TABLES; table++)
		vec__free(&w->ids[table]);
	str__free(&w->payload);
	free(w);
}

static int failure(const struct capture_writer *w)
{
	return w->err ? w->err : ferror(w->out) ? (errno ? -errno : -EIO) : 0;
}

static uint32_t count_of(const struct profile *p, enum profile_table table)
{
	switch (table) {
	case PROFILE_STRINGS:
		return profile__string_count(p);
	case PROFILE_FRAMES:
		return profile__frame_count(p);
	case PROFILE_STACKS:
		return profile__stack_count(p);
	case PROFILE_PROCESSES:
		return profile__process_count(p);
	default:
		return profile__thread_count(p);
	}
}

static void put_new(struct capture_writer *w, enum profile_table which, enum capture_block type,
		    void (*put)(struct capture_writer *w, size_t id))
{
	table(w, type, w->ids[which].len, count_of(w->p, which), put);
}

/* All that was not written yet, and samples. */
static int put_all(struct capture_writer *w, const struct profile *p, bool past_only)
{
	w->p = p;
	if (!w->begun)
		begin(w);
	put_new(w, PROFILE_STRINGS, CAPTURE_STRINGS, put_string);
	put_new(w, PROFILE_FRAMES, CAPTURE_FRAMES, put_frame);
	put_new(w, PROFILE_STACKS, CAPTURE_STACKS, put_stack);
	put_changes(w);
	put_new(w, PROFILE_PROCESSES, CAPTURE_PROCESSES, put_process);
	put_new(w, PROFILE_THREADS, CAPTURE_THREADS, put_thread);
	put_samples(w, past_only);
	return failure(w);
}

int capture_writer__add(struct capture_writer *w, const struct profile *p, bool past_only)
{
	for (int table = 0; table < PROFILE_TABLES; table++) {
		if (vec__reserve(&w->ids[table], count_of(p, table)))
			return -ENOMEM;
	}
	/* what counts as written is in the file, not in the stream's memory */
	if (!put_all(w, p, past_only) && fflush(w->out))
		w->err = -errno;
	if (failure(w))
		return failure(w);
	for (int table = 0; table < PROFILE_TABLES; table++) {
		while (w->ids[table].len < count_of(p, table))
			w->ids[table].data[w->ids[table].len++] = w->next[table]++;
	}
	return 0;
}

void capture_writer__moved(struct capture_writer *w, const struct profile_moves *moves)
{
	for (int table = 0; table < PROFILE_TABLES; table++) {
		size_t kept = 0;

		for (size_t id = 0; id < w->ids[table].len; id++) {
			if (moves->to[table][id] != PROFILE_GONE)
				w->ids[table].data[kept++] = w->ids[table].data[id];
		}
		w->ids[table].len = kept;
		vec__shrink(&w->ids[table]);
	}
}

static int put_end(struct capture_writer *w, const struct profile *p)
{
	int err = put_all(w, p, false);

	if (err)
		return err;
	put_meta(w);
	put_accounts(w);
	block(w, CAPTURE_END, -1);
	return failure(w);
}

int capture_writer__finish_to(const struct capture_writer *w, const struct profile *p, FILE *out)
{
	struct capture_writer rest = *w;
	int err;

	rest.out = out;
	rest.payload = (struct str){0};
	rest.err = 0;
	err = put_end(&rest, p);
	str__free(&rest.payload);
	return err;
}

int capture_writer__finish(struct capture_writer *w, const struct profile *p)
{
	return put_end(w, p);
}
