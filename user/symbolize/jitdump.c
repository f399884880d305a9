// SPDX-License-Identifier: Apache-2.0
#include "symbolize/jitdump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "symbolize/jittable.h"

#define MAGIC      0x4a695444 /* "JiTD"; another byte order would be that of no process of this machine */
#define VERSION    1
#define MAX_FILE   (1ull << 30) /* what lies behind that is not read */
#define MAX_HEADER 4096
#define MAX_RECORD (64u << 20) /* a longer one is none */
#define MAX_TYPE   31          /* there are 5 */
#define MAX_LOST   (4u << 20)  /* bytes in a file that are no records */
#define MAX_BEGUN  16          /* times that it begins anew */
#define SKIP_WORK  8           /* to look for a record at each byte */
#define INDEX_SIZE 64          /* bytes of an entry of the index, where that has just grown */
#define PART       65536
#define ENOUGH     (sizeof(struct load) + JITTABLE_MAX_NAME + 1) /* of a record to take it */

enum { JIT_CODE_LOAD, JIT_CODE_MOVE, JIT_CODE_DEBUG_INFO, JIT_CODE_CLOSE, JIT_CODE_UNWINDING_INFO };

/* The structures of the specification, sections III to VI. */
struct header {
	uint32_t magic, version, size, machine, pad, pid;
	uint64_t time, flags;
};

struct record {
	uint32_t type, size;
	uint64_t time;
};

struct load {
	struct record head;
	uint32_t pid, tid;
	uint64_t vma, addr, size, index; /* then the name with its NUL, and the code */
};

struct move {
	struct record head;
	uint32_t pid, tid;
	uint64_t vma, old_addr, addr, size, index;
};

_Static_assert(sizeof(struct header) == 40 && sizeof(struct load) == 56 && sizeof(struct move) == 64, "sizes in the file");

struct jitdump {
	int fd;
	uint32_t begun; /* times that it began anew */
	struct header header;
	uint64_t seen;  /* size of the file when it was looked at */
	uint64_t taken; /* bytes of it, whole records; 0: not even the header */
	bool refused;   /* it is none */
	bool lost;      /* no record begins where the last one ends */
	uint64_t skipped;
	struct jittable table;
	struct hmap by_index; /* a function's code_index -> its name in the table */
};

bool jitdump__is_name(const char *path)
{
	const char *name = strrchr(path, '/');
	size_t digits;

	name = name ? name + 1 : path;
	if (strncmp(name, "jit-", 4))
		return false;
	digits = strspn(name + 4, "0123456789");
	return digits && !strcmp(name + 4 + digits, ".dump");
}

struct jitdump *jitdump__new(int fd, struct jitbudget *budget)
{
	struct jitdump *d = calloc(1, sizeof(*d));

	if (d)
		*d = (struct jitdump){.fd = fd, .table = {.budget = budget, .beside = INDEX_SIZE}};
	else
		close(fd);
	return d;
}

static void forget(struct jitdump *d)
{
	jittable__clear(&d->table);
	hmap__free(&d->by_index);
	*d = (struct jitdump){.fd = d->fd, .begun = d->begun, .table = d->table};
}

void jitdump__free(struct jitdump *d)
{
	if (!d)
		return;
	forget(d);
	close(d->fd);
	free(d);
}

/* ---- records. All is there up to their end or, if that comes first, ENOUGH. */

static int take_load(struct jitdump *d, const uint8_t *at, size_t n)
{
	const char *name = (const char *)at + sizeof(struct load);
	struct load load;
	const char *end;
	int added;

	memcpy(&load, at, sizeof(load));
	n = n < ENOUGH ? n - sizeof(load) : ENOUGH - sizeof(load);
	end = memchr(name, '\0', n);
	if (end == name || (!end && n <= JITTABLE_MAX_NAME))
		return 0;
	added = jittable__add(&d->table, load.addr, load.size, name, end ? (size_t)(end - name) : n);
	if (added <= 0)
		return added;
	return hmap__put(&d->by_index, load.index, d->table.entries.data[d->table.entries.len - 1].name);
}

/* The code stays where it was as well, until something else is loaded there. */
static int take_move(struct jitdump *d, const uint8_t *at)
{
	struct move move;
	const uint64_t *name;
	int added;

	memcpy(&move, at, sizeof(move));
	name = hmap__get(&d->by_index, move.index);
	added = name ? jittable__add_again(&d->table, move.addr, move.size, (uint32_t)*name) : 0;
	return added < 0 ? added : 0;
}

/* Is what is there certainly the load of a function? n: what is left of the part, `left`: of the file. */
static bool is_load(const struct jitdump *d, const uint8_t *at, size_t n, uint64_t left)
{
	struct load load;
	uint64_t name;

	if (n < sizeof(load))
		return false;
	memcpy(&load, at, sizeof(load));
	if (load.head.type != JIT_CODE_LOAD || load.head.size <= sizeof(load) || load.head.size > left ||
	    load.head.size > MAX_RECORD || load.pid != d->header.pid || load.vma != load.addr || !load.size ||
	    load.size >= load.head.size - sizeof(load))
		return false;
	name = load.head.size - sizeof(load) - load.size - 1;
	at += sizeof(load);
	return name <= JITTABLE_MAX_NAME && name < n - sizeof(load) && !at[name] && !memchr(at, '\0', name);
}

/*
 * CPython (3.13 to 3.15) writes by stdio, and lets a child that it forks write what its own buffer still holds, which it then writes
 * itself again, from the middle of a record on. Returns how many bytes lie before the next function, n when there is none.
 */
static size_t find_load(const struct jitdump *d, const uint8_t *part, size_t n, uint64_t left)
{
	size_t skipped = 0;

	while (skipped < n && !is_load(d, part + skipped, n - skipped, left - skipped))
		skipped++;
	return skipped;
}

/* Returns how many bytes of what is no record are done with. */
static size_t skip_lost(struct jitdump *d, const uint8_t *part, size_t n, uint64_t left)
{
	size_t skipped = find_load(d, part, n, left);

	d->lost = skipped == n;
	if (d->lost)
		skipped = n > ENOUGH ? n - ENOUGH : 0; /* one may have begun */
	d->skipped += skipped;
	d->refused |= d->skipped > MAX_LOST;
	return skipped;
}

/* Can the record be one of its type? */
static bool is_sound(const struct jitdump *d, const uint8_t *at, const struct record *record)
{
	static const size_t least[] = {sizeof(struct load), sizeof(struct move), 32, 16, 40};
	uint64_t body[2]; /* of DEBUG_INFO: address and entries; of UNWINDING_INFO: size, and that of its header */
	uint32_t pid;

	if (record->type >= ARRAY_SIZE(least) || record->type == JIT_CODE_CLOSE)
		return true;
	if (record->size < least[record->type])
		return false;
	memcpy(&pid, at + sizeof(*record), sizeof(pid));
	memcpy(body, at + sizeof(*record), sizeof(body));
	if (record->type == JIT_CODE_DEBUG_INFO)
		return body[1] <= record->size / 17;
	if (record->type == JIT_CODE_UNWINDING_INFO)
		return body[0] < record->size && body[1] <= body[0];
	return pid == d->header.pid;
}

/* What lies whole in the file, of which there are `left` bytes. Returns how many bytes are done with, or -ENOMEM. */
static int64_t take_records(struct jitdump *d, const uint8_t *part, size_t n, uint64_t left)
{
	struct record record;
	uint64_t done = 0;

	while (!d->table.full && done < n && n - done >= sizeof(record)) {
		const uint8_t *at = part + done;
		int err = 0;

		if (d->lost) {
			done += skip_lost(d, at, n - done, left - done);
			if (d->lost)
				break;
			continue;
		}
		memcpy(&record, at, sizeof(record));
		d->lost = record.type > MAX_TYPE || record.size < sizeof(record) || record.size > MAX_RECORD ||
			  (record.size > left - done && find_load(d, at, n - done, left - done) < n - done);
		if (d->lost)
			continue;
		if (record.size > left - done || (record.size > n - done && n - done < ENOUGH))
			break;
		d->lost = !is_sound(d, at, &record);
		if (d->lost)
			continue;
		if (record.type == JIT_CODE_LOAD)
			err = take_load(d, at, record.size);
		else if (record.type == JIT_CODE_MOVE)
			err = take_move(d, at);
		if (err)
			return err;
		if (d->table.full) /* it is still to be taken */
			break;
		done += record.size;
	}
	return (int64_t)done;
}

/* ---- the file */

/* Reads up to n bytes; how many there were, 0 when it can't be read. */
static size_t read_at(const struct jitdump *d, void *to, size_t n, uint64_t at)
{
	ssize_t got;

	do
		got = pread(d->fd, to, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	return got < 0 ? 0 : (size_t)got;
}

static void take_header(struct jitdump *d, const struct header *header)
{
	d->refused = header->magic != MAGIC || header->version != VERSION || header->size < sizeof(*header) ||
		     header->size > MAX_HEADER;
	d->taken = header->size;
	d->header = *header;
}

/* Takes what was written since the last time, no further than it reaches now: who keeps writing does not keep us here. */
static int take_new(struct jitdump *d, uint64_t now_ns)
{
	_cleanup_free_ uint8_t *part = malloc(PART);
	uint64_t end = d->seen < MAX_FILE ? d->seen : MAX_FILE;

	if (!part)
		return -ENOMEM;
	while (d->taken < end && !d->table.full && !d->refused && jitbudget__may_work(d->table.budget, now_ns)) {
		uint64_t left = end - d->taken, skipped = d->skipped;
		size_t n = read_at(d, part, left < PART ? (size_t)left : PART, d->taken);
		int64_t done = take_records(d, part, n, left);

		jitbudget__worked(d->table.budget, n + (d->skipped - skipped) * SKIP_WORK);
		if (done < 0)
			return (int)done;
		if (!done)
			break;
		d->taken += (uint64_t)done;
	}
	return jittable__settle(&d->table);
}

/* The file may have begun anew, and be longer than it was by now: the header has the time. */
static int refresh(struct jitdump *d, uint64_t now_ns)
{
	struct header header;
	struct stat st;
	bool headed;

	if (d->begun > MAX_BEGUN || !jittable__is_due(&d->table, now_ns) || fstat(d->fd, &st) < 0)
		return 0;
	headed = read_at(d, &header, sizeof(header), 0) == sizeof(header);
	if (d->taken && ((uint64_t)st.st_size < d->seen || !headed || memcmp(&header, &d->header, sizeof(header)) != 0)) {
		d->begun++;
		forget(d);
	}
	d->seen = (uint64_t)st.st_size;
	if (headed && !d->taken)
		take_header(d, &header);
	return !d->taken || d->refused || d->begun > MAX_BEGUN ? 0 : take_new(d, now_ns);
}

int jitdump__find(struct jitdump *d, uint64_t addr, uint64_t now_ns, const char **name)
{
	int err = refresh(d, now_ns);

	return err ? err : jittable__find(&d->table, addr, name);
}
