// SPDX-License-Identifier: Apache-2.0
/* The reader of raw captures. The file may hold anything: every number is checked, nothing is believed. */
#include "store/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/vec.h"

#define READ_STEP (1u << 20) /* a length that lies costs no more memory than the file has bytes */

struct reader {
	FILE *in, *rest; /* rest: what is read behind in, or NULL */
	struct err *e;
	struct profile *p;
	uint64_t offset; /* of the current block in the file */
	struct vec(unsigned char) payload;
	size_t at;       /* in the payload */
	bool bad;        /* something in the payload was out of range */
	struct vec(uint16_t) outcomes; /* number in the file -> ours */
	struct vec(uint32_t) ids[PROFILE_TABLES]; /* likewise */
};

static int damaged(struct reader *r, const char *what)
{
	return err__set(r->e, -EBADMSG, "damaged at byte %llu: %s; record it anew",
			(unsigned long long)r->offset, what);
}

/* ---- numbers and strings of the payload; after the first bad one all are 0 */

static uint64_t number(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		unsigned char byte;

		if (r->bad || r->at >= r->payload.len)
			break;
		byte = r->payload.data[r->at++];
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static uint32_t number32(struct reader *r)
{
	uint64_t v = number(r);

	if (v > UINT32_MAX)
		r->bad = true;
	return (uint32_t)v;
}

/* An id that a table has, as ours. */
static uint32_t reference(struct reader *r, enum profile_table table)
{
	uint64_t id = number(r);

	if (id >= r->ids[table].len)
		r->bad = true;
	return r->bad ? 0 : r->ids[table].data[id];
}

static const char *bytes(struct reader *r, size_t *n)
{
	uint64_t len = number(r);
	const char *at;

	if (r->bad || len > r->payload.len - r->at) {
		r->bad = true;
		*n = 0;
		return "";
	}
	at = (const char *)r->payload.data + r->at;
	r->at += len;
	*n = (size_t)len;
	return at;
}

/* How many entries follow: each is at least a byte. */
static uint64_t count(struct reader *r)
{
	uint64_t n = number(r);

	if (n > r->payload.len - r->at)
		r->bad = true;
	return r->bad ? 0 : n;
}

/* ---- blocks: 0, -ENOMEM, or -EBADMSG for an entry that refers to what is not there */

/* The next entry of a table in the file is `id` of ours. */
static int note(struct reader *r, enum profile_table table, int64_t id)
{
	if (id == -ENOMEM)
		return -ENOMEM;
	if (id < 0 || r->bad)
		return -EBADMSG;
	return vec__push(&r->ids[table], (uint32_t)id);
}

static int read_strings(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		size_t len;
		const char *s = bytes(r, &len);

		if (!r->bad)
			err = note(r, PROFILE_STRINGS, profile__add_string(r->p, s, len));
	}
	return err;
}

static int read_frames(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		struct frame f = {0};
		uint32_t kind = number32(r);

		f.kind = kind < FRAME_KIND_COUNT ? (enum frame_kind)kind : FRAME_NATIVE;
		f.name = reference(r, PROFILE_STRINGS);
		f.file = reference(r, PROFILE_STRINGS);
		f.short_file = reference(r, PROFILE_STRINGS);
		f.module = reference(r, PROFILE_STRINGS);
		f.line = number32(r);
		f.end_line = number32(r);
		f.column = number32(r);
		f.end_column = number32(r);
		f.first_line = number32(r);
		if (!r->bad)
			err = note(r, PROFILE_FRAMES, profile__add_frame(r->p, &f));
	}
	return err;
}

static int read_stacks(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		uint32_t parent = reference(r, PROFILE_STACKS), frame = reference(r, PROFILE_FRAMES);

		if (!r->bad)
			err = note(r, PROFILE_STACKS, profile__add_stack(r->p, parent, frame));
	}
	return err;
}

static struct profile_process read_process(struct reader *r)
{
	struct profile_process p = {0};

	p.pid = number32(r);
	p.ns_pid = number32(r);
	p.ppid = number32(r);
	p.uid = number32(r);
	p.start_time = number(r);
	p.comm = reference(r, PROFILE_STRINGS);
	p.cmdline = reference(r, PROFILE_STRINGS);
	p.exe = reference(r, PROFILE_STRINGS);
	p.container = reference(r, PROFILE_STRINGS);
	p.container_name = reference(r, PROFILE_STRINGS);
	p.version = reference(r, PROFILE_STRINGS);
	return p;
}

static int read_processes(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		struct profile_process p = read_process(r);

		if (!r->bad)
			err = note(r, PROFILE_PROCESSES, profile__add_process(r->p, &p));
	}
	return err;
}

static int read_facts(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		uint32_t id = reference(r, PROFILE_PROCESSES);
		struct profile_process p = read_process(r);

		if (!r->bad)
			err = profile__set_process(r->p, id, &p);
	}
	return err == -EINVAL ? -EBADMSG : err;
}

static int read_names(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		uint32_t id = reference(r, PROFILE_THREADS), name = reference(r, PROFILE_STRINGS);

		if (!r->bad)
			err = profile__name_thread(r->p, id, name);
	}
	return err == -EINVAL ? -EBADMSG : err;
}

static int read_threads(struct reader *r)
{
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		struct profile_thread t = {0};

		t.process = reference(r, PROFILE_PROCESSES);
		t.tid = number32(r);
		t.ns_tid = number32(r);
		t.name = reference(r, PROFILE_STRINGS);
		if (!r->bad)
			err = note(r, PROFILE_THREADS, profile__add_thread(r->p, &t));
	}
	return err;
}

static uint16_t outcome_of(struct reader *r, uint64_t in_file)
{
	if (in_file >= r->outcomes.len) {
		r->bad = true;
		return 0;
	}
	return r->outcomes.data[in_file];
}

static int read_samples(struct reader *r)
{
	uint64_t time = 0;
	int err = 0;

	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		uint64_t passed = number(r);
		struct profile_sample s = {0};

		time += (passed >> 1) ^ -(passed & 1);
		s.time = time;
		s.thread = reference(r, PROFILE_THREADS);
		s.stack = reference(r, PROFILE_STACKS);
		s.cpu = number32(r);
		s.outcome = outcome_of(r, number(r));
		s.kind = (uint16_t)number32(r);
		s.count = number(r);
		s.weight = number(r);
		if (!r->bad)
			err = profile__add_sample(r->p, &s);
	}
	return err == -EINVAL ? -EBADMSG : err;
}

static int read_outcomes(struct reader *r)
{
	int err = 0;

	r->outcomes.len = 0;
	for (uint64_t n = count(r); n && !err && !r->bad; n--) {
		char name[64] = "";
		size_t len;
		const char *s = bytes(r, &len);
		int ours;

		memcpy(name, s, len < sizeof(name) ? len : sizeof(name) - 1);
		ours = outcome__from_name(name);
		/* one that only a newer version knows: the stack is what counts */
		err = vec__push(&r->outcomes, (uint16_t)(ours < 0 ? PYBPF_OK : ours));
	}
	return err;
}

static int read_accounts(struct reader *r)
{
	struct profile_accounts a = {0};

	a.taken = number(r);
	a.written = number(r);
	for (uint64_t n = count(r); n && !r->bad; n--) {
		uint16_t outcome = outcome_of(r, number(r));

		a.lost[outcome] = number(r);
		a.truncated[outcome] = number(r);
	}
	a.processes = number(r);
	a.threads = number(r);
	a.stacks = number(r);
	a.code_objects = number(r);
	a.bpf_run_ns = number(r);
	a.bpf_runs = number(r);
	a.user_cpu_ns = number(r);
	a.peak_rss_bytes = number(r);
	if (!r->bad)
		profile__set_accounts(r->p, &a);
	return 0;
}

static char *copy(struct reader *r)
{
	size_t n;
	const char *s = bytes(r, &n);

	return strndup(s, n);
}

static int read_meta(struct reader *r)
{
	struct profile_meta m = {0};
	uint64_t flags;
	int err = 0;

	m.version = copy(r);
	m.host = copy(r);
	m.kernel = copy(r);
	m.machine = copy(r);
	m.command = copy(r);
	m.start_unix_ns = number(r);
	m.duration_ns = number(r);
	m.rate_hz = number32(r);
	m.cpus = number32(r);
	flags = number(r);
	m.by_process = flags & CAPTURE_BY_PROCESS;
	if (!r->p && !r->bad) {
		r->p = profile__new(flags & CAPTURE_ORDERED);
		if (!r->p || vec__push(&r->ids[PROFILE_STRINGS], 0) || vec__push(&r->ids[PROFILE_STACKS], 0))
			err = -ENOMEM;
	}
	if (!r->bad && !err)
		err = profile__set_meta(r->p, &m);
	free(m.version);
	free(m.host);
	free(m.kernel);
	free(m.machine);
	free(m.command);
	return err;
}

static int read_payload(struct reader *r, unsigned int type)
{
	static int (*const readers[])(struct reader *) = {
		[CAPTURE_META] = read_meta,           [CAPTURE_OUTCOMES] = read_outcomes,
		[CAPTURE_ACCOUNTS] = read_accounts,   [CAPTURE_STRINGS] = read_strings,
		[CAPTURE_FRAMES] = read_frames,       [CAPTURE_STACKS] = read_stacks,
		[CAPTURE_PROCESSES] = read_processes, [CAPTURE_THREADS] = read_threads,
		[CAPTURE_SAMPLES] = read_samples,     [CAPTURE_PROCESS_FACTS] = read_facts,
		[CAPTURE_THREAD_NAMES] = read_names,
	};
	int err;

	if (type >= sizeof(readers) / sizeof(readers[0]) || !readers[type])
		return 0; /* of a newer version */
	if (type != CAPTURE_META && !r->p)
		return damaged(r, "it does not begin with what the recording was");
	r->at = 0;
	r->bad = false;
	err = readers[type](r);
	if (err == -ENOMEM)
		return err__errno(r->e, err, "reading the capture");
	return err || r->bad ? damaged(r, "a table refers to what is not there") : 0;
}

/* Reads n bytes behind what the payload has. 1, or 0 when the file ends before, or -errno. */
static int read_more(struct reader *r, size_t n)
{
	while (n) {
		size_t step = n < READ_STEP ? n : READ_STEP, got;

		if (vec__reserve(&r->payload, r->payload.len + step))
			return err__errno(r->e, -ENOMEM, "reading the capture");
		got = fread(r->payload.data + r->payload.len, 1, step, r->in);
		r->payload.len += got;
		if (got < step)
			return ferror(r->in) ? err__errno(r->e, errno ? -errno : -EIO, "reading the capture") : 0;
		n -= step;
	}
	return 1;
}

static uint32_t get_u32(const unsigned char *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* One block. 1, 0 at the file's end (inside a block as well), or -errno. *type gets its type. */
static int read_block(struct reader *r, unsigned int *type)
{
	unsigned char head[5];
	uint32_t length;
	int err;

	r->payload.len = 0;
	err = read_more(r, sizeof(head));
	if (!err && !r->payload.len && r->rest) {
		r->in = r->rest;
		r->rest = NULL;
		err = read_more(r, sizeof(head));
	}
	if (err <= 0)
		return err;
	memcpy(head, r->payload.data, sizeof(head));
	length = get_u32(head + 1);
	if (length > CAPTURE_MAX_BLOCK)
		return damaged(r, "a block is too long");
	err = read_more(r, (size_t)length + 4);
	if (err <= 0)
		return err;
	if (crc32(0, r->payload.data, (uInt)(sizeof(head) + length)) !=
	    get_u32(r->payload.data + sizeof(head) + length))
		return damaged(r, "a checksum does not match");
	memmove(r->payload.data, r->payload.data + sizeof(head), length);
	r->payload.len = length;
	*type = head[0];
	err = read_payload(r, head[0]);
	r->offset += sizeof(head) + length + 4;
	return err ? err : 1;
}

static int read_head(struct reader *r)
{
	unsigned char head[12];
	uint32_t version;

	if (fread(head, 1, sizeof(head), r->in) != sizeof(head) || memcmp(head, CAPTURE_MAGIC, 8))
		return err__set(r->e, -EBADMSG, "not a pybpf capture; `pybpf record -f pybpf` makes one");
	version = get_u32(head + 8);
	if (!version)
		return damaged(r, "it has no version");
	if (version > CAPTURE_VERSION)
		return err__set(r->e, -ENOTSUP, "a capture of version %u, this pybpf knows up to %u; use a newer one",
				version, CAPTURE_VERSION);
	r->offset = sizeof(head);
	return 0;
}

int capture__read(FILE *in, struct profile **out, bool *truncated, struct err *e)
{
	return capture__read_both(in, NULL, out, truncated, e);
}

int capture__read_both(FILE *in, FILE *rest, struct profile **out, bool *truncated, struct err *e)
{
	struct reader r = {.in = in, .rest = rest, .e = e};
	unsigned int type = 0;
	int err = read_head(&r);

	if (!err) {
		do
			err = read_block(&r, &type);
		while (err > 0 && type != CAPTURE_END);
	}
	if (err >= 0 && !r.p)
		err = damaged(&r, "it ends before the first block does");
	vec__free(&r.payload);
	vec__free(&r.outcomes);
	for (int table = 0; table < PROFILE_TABLES; table++)
		vec__free(&r.ids[table]);
	if (err < 0) {
		profile__free(r.p);
		return err;
	}
	*truncated = type != CAPTURE_END;
	*out = r.p;
	return 0;
}
