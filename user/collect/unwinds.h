/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwind tables in the kernel: compiled by a thread of their own, so that the ring is drained meanwhile, and published for all
 * processes that run the file.
 */
#ifndef PYBPF_UNWINDS_H
#define PYBPF_UNWINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "collect/binaries.h"
#include "collect/kernel.h"
#include "unwind/table.h"

struct unwinds;

/* Starts the thread. k must outlive it. 0 or -errno. */
int unwinds__new(struct kernel *k, struct unwinds **out, struct err *e);
/* Ends the thread, which leaves the table that it is at; NULL is fine. */
void unwinds__free(struct unwinds *u);

/* Asks for a file's table, once. Binaries must live as long as this. */
void unwinds__request(struct unwinds *u, const struct binary *b);

/*
 * The table of a file for user space itself: 0 and *out, valid until unwinds__drop_tables; -ENOENT when it has none, -EBADMSG
 * when it has a bad one; -EAGAIN while it is being made or read, which the thread is asked for.
 */
int unwinds__table(struct unwinds *u, const struct binary *b, const struct unwind_table **out);
/* Nobody uses the tables any more. */
void unwinds__drop_tables(struct unwinds *u);

/* Whether a table waits for room. */
bool unwinds__wants_room(struct unwinds *u);
/*
 * Where that is worth while, drops the tables of all files but those with in_use[id]; of these each one is made anew. Files that wait
 * for room find it then, or have no table. Until a table is there again samples are finished in user space.
 */
void unwinds__make_room(struct unwinds *u, const bool *in_use, size_t count);

/* Waits until all that was asked for is published, but no longer than that. True if it is. */
bool unwinds__wait(struct unwinds *u, uint64_t timeout_ns);

struct unwinds_counts {
	uint32_t tables; /* published */
	uint32_t absent; /* files without unwind information, or that can't be read */
	uint32_t refused; /* files whose information is malformed */
	uint32_t full;   /* files that there was no more room for */
	uint32_t dropped; /* tables that had to make room for others */
	uint64_t rows, rules, pages;
	uint64_t kernel_bytes; /* memory of the kernel that they take */
	uint64_t block_bytes;  /* of that, what is in no map that the BPF program names */
	uint64_t build_ns;
};
void unwinds__counts(struct unwinds *u, struct unwinds_counts *out);

#endif
