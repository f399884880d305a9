// SPDX-License-Identifier: Apache-2.0
#include "collect/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/capture.h"

/* What is worth a write, when the profile is small: processes and threads that have ended, or samples that are kept in order. */
#define MANY_ENDED   64
#define MANY_SAMPLES 4096
/* And how much of the profile each of them is worth to be walked through. */
#define BYTES_FOR_ENDED  (64u << 10)
#define BYTES_FOR_SAMPLE (1u << 10)

struct spill {
	FILE *file; /* NULL: nothing was written yet */
	struct capture_writer *writer;
	bool used, broken;
};

struct spill *spill__new(void)
{
	return calloc(1, sizeof(struct spill));
}

void spill__free(struct spill *s)
{
	if (!s)
		return;
	capture_writer__free(s->writer);
	if (s->file)
		fclose(s->file);
	free(s);
}

void spill__restart(struct spill *s)
{
	capture_writer__free(s->writer);
	if (s->file)
		fclose(s->file);
	*s = (struct spill){0};
}

/* On a disk rather than in memory, where there is a choice; no name, so that nothing is ever left. */
static int open_file(struct spill *s)
{
	static const char *const folders[] = {"/var/tmp", "/tmp", "."};
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(folders) / sizeof(folders[0]); i++)
		fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	s->file = fd < 0 ? tmpfile() : fdopen(fd, "w+");
	if (!s->file) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	s->writer = capture_writer__new(s->file);
	return s->writer ? 0 : -ENOMEM;
}

/*
 * A full disk, most likely: what was written up to `end` counts, from here on all stays in memory. What the stream still holds
 * must not come to the file later, behind that.
 */
static void give_up(struct spill *s, off_t end)
{
	s->broken = true;
	if (!s->used) {
		spill__restart(s);
		s->broken = true;
		return;
	}
	__fpurge(s->file);
	clearerr(s->file);
	if (ftruncate(fileno(s->file), end) || fseeko(s->file, end, SEEK_SET))
		return; /* cannot happen; a reader stops at the first block that is not whole */
}

bool spill__is_due(const struct spill *s, const struct profile *p)
{
	size_t ended = profile__ended_count(p), samples = profile__ordered(p) ? profile__sample_count(p) : 0;

	return !s->broken && (ended >= MANY_ENDED || samples >= MANY_SAMPLES) &&
	       ended * BYTES_FOR_ENDED + samples * BYTES_FOR_SAMPLE >= profile__memory(p);
}

int spill__step(struct spill *s, struct profile *p, const struct profile_holder *holder)
{
	struct profile_moves moves;
	off_t before = 0;
	int err = 0;

	if (s->broken)
		return 0;
	if (!s->file)
		err = open_file(s);
	else
		before = ftello(s->file);
	if (!err)
		err = capture_writer__add(s->writer, p, true);
	if (err) {
		give_up(s, before);
		return err;
	}
	s->used = true;
	if (profile__drop_past(p, holder, &moves))
		return 0; /* no memory: the rest goes another time */
	capture_writer__moved(s->writer, &moves);
	profile_moves__free(&moves);
	malloc_trim(0);
	return 0;
}

bool spill__is_used(const struct spill *s)
{
	return s->used;
}

int spill__read_back(struct spill *s, const struct profile *p, struct profile **out, struct err *e)
{
	char *memory = NULL;
	size_t size = 0;
	FILE *rest = open_memstream(&memory, &size);
	bool truncated;
	int err;

	if (!rest)
		return err__errno(e, -errno, "reading samples back");
	if (s->used) {
		err = capture_writer__finish_to(s->writer, p, rest);
	} else { /* all of it is here: no file is needed, which may not be had */
		struct capture_writer *whole = capture_writer__new(rest);

		err = whole ? capture_writer__finish(whole, p) : -ENOMEM;
		capture_writer__free(whole);
	}
	if (fclose(rest) && !err)
		err = -errno;
	rest = !err ? fmemopen(memory, size, "r") : NULL;
	if (!err && (!rest || (s->used && fseeko(s->file, 0, SEEK_SET))))
		err = -errno;
	if (err)
		err__errno(e, err, "reading samples back");
	else if (s->used)
		err = capture__read_both(s->file, rest, out, &truncated, e);
	else
		err = capture__read(rest, out, &truncated, e);
	if (rest)
		fclose(rest);
	free(memory);
	if (s->file)
		fseeko(s->file, 0, SEEK_END);
	return err;
}
