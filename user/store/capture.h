/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw capture, `-f pybpf`: a profile as a file. This is the authority on the format.
 *
 *	file   = magic version block*
 *	magic  = the 8 bytes "PYBPFCAP"
 *	version = u32, little endian, now 1; readers refuse newer ones
 *	block  = type length payload crc
 *	         type u8; length u32 little endian, bytes of the payload, at most 16 MiB; crc u32 little endian,
 *	         CRC-32 (that of zlib) over type, length and payload
 *
 * Payloads are made of n = unsigned LEB128 numbers (up to 64 bits) and s = a number of bytes, then the bytes.
 *
 *	 1 meta      s version, host, kernel, machine, command; n start_unix_ns, duration_ns, rate_hz, cpus, flags (1: ordered,
 *	             2: stacks begin with their processes)
 *	 2 outcomes  n count; s name each: what the outcome numbers below stand for, in this file
 *	 3 accounts  n taken, written; n count, then n outcome, lost, truncated each; n processes, threads, stacks,
 *	             code_objects, bpf_run_ns, bpf_runs, user_cpu_ns, peak_rss_bytes
 *	 4 strings   n count; s each
 *	 5 frames    n count; n kind, name, file, short_file, module, line, end_line, column, end_column, first_line each
 *	 6 stacks    n count; n parent, frame each
 *	 7 processes n count; n pid, ns_pid, ppid, uid, start_time, comm, cmdline, exe, container, container_name,
 *	             version each
 *	 8 threads   n count; n process, tid, ns_tid, name each
 *	 9 samples   n count; n time, thread, stack, cpu, outcome, kind, count, weight each; time as the zigzag-coded
 *	             difference to the sample before in the block, 0 before the first
 *	10 end       empty: the capture is whole
 *	11 facts     n count; n process, then as in 7, each: what became known of a process later
 *	12 names     n count; n thread, name each: likewise of a thread
 *
 * Blocks of tables carry on where the one before of that type ended: ids count up through the file, and nothing refers to
 * what comes later. Two ids may stand for equal strings, frames or stacks. String 0 is "" and stack 0 the empty root; neither is in
 * the file. meta comes first; outcomes before accounts and samples; a later meta or accounts replaces the one before. So a writer
 * may append as it records. Readers pass over types that they do not know.
 */
#ifndef PYBPF_CAPTURE_H
#define PYBPF_CAPTURE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "store/profile.h"

#define CAPTURE_MAGIC     "PYBPFCAP"
#define CAPTURE_VERSION   1u
#define CAPTURE_MAX_BLOCK (16u << 20)
#define CAPTURE_ORDERED    1u
#define CAPTURE_BY_PROCESS 2u

enum capture_block {
	CAPTURE_META = 1,
	CAPTURE_OUTCOMES,
	CAPTURE_ACCOUNTS,
	CAPTURE_STRINGS,
	CAPTURE_FRAMES,
	CAPTURE_STACKS,
	CAPTURE_PROCESSES,
	CAPTURE_THREADS,
	CAPTURE_SAMPLES,
	CAPTURE_END,
	CAPTURE_PROCESS_FACTS,
	CAPTURE_THREAD_NAMES,
};

/*
 * Writes a capture bit by bit, as a recording goes on. `out` stays the caller's. What was added of a profile may be dropped by
 * profile__drop_past. After a failure the file holds a
 * broken piece behind what was added before; cut off there, it may be carried on by capture_writer__finish_to.
 */
struct capture_writer;
struct capture_writer *capture_writer__new(FILE *out); /* NULL when out of memory */
void capture_writer__free(struct capture_writer *w);    /* NULL is fine */
/* All that the profile's tables have and that was not added yet, and samples: those that are past, or all. 0 or -errno. */
int capture_writer__add(struct capture_writer *w, const struct profile *p, bool past_only);
/* The profile was added whole, and its ids are others now: profile__drop_past has told them. */
void capture_writer__moved(struct capture_writer *w, const struct profile_moves *moves);
/* Adds what is left, and ends the capture; then no more is added. `out` is not flushed. 0 or -errno. */
int capture_writer__finish(struct capture_writer *w, const struct profile *p);
/* The same to another file, which carries on what `out` has; the writer stays as it is and may go on. 0 or -errno. */
int capture_writer__finish_to(const struct capture_writer *w, const struct profile *p, FILE *out);

/*
 * Reads a capture from where `in` stands. The profile is the caller's. *truncated is set when the file ends before its end
 * block: the profile holds what came before. Errors, with *e set: -EBADMSG (not a capture, or damaged), -ENOTSUP (of a
 * newer version), -EIO and the like, -ENOMEM.
 */
int capture__read(FILE *in, struct profile **out, bool *truncated, struct err *e);
/* As above, of two files as if they were one; `in` must end with a whole block. */
int capture__read_both(FILE *in, FILE *rest, struct profile **out, bool *truncated, struct err *e);

#endif
