/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes run CPython, and where in them it lies: joins the mappings of processes with what pyrt tells of
 * files. Each file is looked into once.
 */
#ifndef PYBPF_PYPROC_H
#define PYBPF_PYPROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "pybpf/abi.h"
#include "pyrt/binary.h"
#include "pyrt/layout.h"
#include "pyrt/tls.h"
#include "sys/mem.h"
#include "sys/proc.h"

/* One executable segment; link-time. */
struct pyfile_text {
	uint64_t vaddr, offset, size;
};

#define PYFILE_TEXTS 8 /* more than any linker or optimiser makes */

/* What is known of one file. Owned by the cache, valid as long as it. */
struct pyfile {
	struct file_key key; /* as /proc/PID/maps shows it */
	char *path;          /* of the mapping that was looked into */
	struct pyrt_binary binary;
	struct pyrt_layout layout; /* when `usable` */
	struct pyrt_source source;
	bool usable;  /* a CPython with a layout that nothing speaks against */
	bool proven;  /* a live process has shown that the layout is true */
	unsigned int failures; /* of those that have not: pyrt__prove */
	char why[256]; /* a Python, but not usable: the reason */
	uint64_t ctime_ns;   /* of the inode when it was looked into */
	uint64_t image;      /* what its image in memory is known by (pybpf/image.h); 0: nothing */
	uint64_t table;      /* and its table of offsets, of table_words words; 0: it has none */
	uint32_t table_words;
	struct pyfile_text text[PYFILE_TEXTS]; /* in order of address */
	size_t text_count;
};

/*
 * The load address (what to add to link-time addresses) that an executable mapping of the file tells. 0; 1 when it begins inside of
 * a segment: part of a segment's mapping, or pages that somebody has mapped once more elsewhere, as libffi does with those of its
 * trampolines (src/tramp.c), which are in the interpreter's file where libffi is linked into it; -ENOENT.
 */
int pyfile__bias(const struct pyfile *f, uint64_t map_start, uint64_t map_offset, uint64_t *bias);

struct pyfiles;
struct pyfiles *pyfiles__new(void);         /* NULL when out of memory */
void pyfiles__free(struct pyfiles *files); /* NULL is fine */

/*
 * The file behind an executable mapping, looked into when it was not before or has changed since. *out is NULL when it
 * holds no Python. 0, or -errno when the file cannot be opened or read.
 */
int pyfiles__get(struct pyfiles *files, pid_t pid, const struct proc_map *map,
		 const struct pyfile **out, struct err *e);

/* As above for a path, for files that are not mapped yet (an installed interpreter). *key is set as well. */
int pyfiles__get_path(struct pyfiles *files, const char *path, struct file_key *key, const struct pyfile **out,
		      struct err *e);

/* An executable that holds no Python itself, but needs a library that does (DT_NEEDED of a libpython). */
struct pyfile_linked {
	uint64_t ctime_ns;   /* of the inode when it was looked into */
	uint64_t text_start; /* link-time address of its lowest executable segment */
	uint64_t debug;      /* elf__debug_word; 0: none */
};
/* Is it such a file, and one that was looked into? `out` may be NULL. */
bool pyfiles__is_linked(const struct pyfiles *files, const struct file_key *key, struct pyfile_linked *out);

/* The interpreter of a process. */
struct pyproc {
	pid_t pid;
	uint64_t start_ticks; /* with the pid, the process' identity: proc_stat.start_ticks */
	const struct pyfile *file;
	uint64_t map_start, map_end, map_offset; /* of the executable mapping that gave it away */
	uint64_t bias;    /* load address: what to add to link-time addresses */
	uint64_t runtime; /* run-time address of _PyRuntime */
	bool started;     /* it has an interpreter already, as opposed to just being loaded */
};

/* Run-time address of the head of its list of interpreters; 0: not known. */
uint64_t pyproc__interpreters(const struct pyproc *p);

/*
 * Compares the layout of a live process's interpreter with its structures, unless that has been done with its file before.
 * Where they differ, the file is not usable from now on. Returns whether it is.
 */
bool pyproc__prove(struct pyfiles *files, const struct pyproc *p);

/* For pyproc__prove only: a file that is the cache's own may change. */
struct pyfile *pyfiles__own(struct pyfiles *files, const struct pyfile *file);

/* No way to the states of the threads of this file's processes is known but the interpreter's own list. */
void pyfiles__use_list(struct pyfiles *files, const struct pyfile *file);

/*
 * The interpreter of a process. When several files with one are mapped, the one that has been started counts. Returns 1
 * with *out set (out->file->usable tells whether it can be read), 0 when the process runs no Python, or -errno: -ESRCH gone,
 * -EACCES or -EPERM not ours to see.
 */
int pyproc__find(struct pyfiles *files, pid_t pid, struct pyproc *out, struct err *e);

/* The enum proc_flag that processes of the file begin with. */
uint32_t pyfile__flags(const struct pyfile *f);

/* What the kernel side has to know to find the states of its threads: sets runtime, source and its facts, and flags. */
void pyproc__source(const struct pyproc *p, struct proc_info *out);

/*
 * The kernel side has not found the way to the states of its threads yet: will it, at the next sample? True when the interpreter
 * has made its key, or the dynamic linker has filled the words in the GOT.
 */
bool pyproc__will_resolve(const struct pyproc *p, const struct proc_info *now);

/*
 * What the kernel side has found out of a process (`now`): does it lead to the states that the interpreter's own list has? False
 * only when it is sure to lead elsewhere.
 */
bool pyproc__check_source(const struct pyproc *p, const struct proc_info *now);

/*
 * All processes with a Python:
 *
 *	struct pyproc_scan scan;
 *	pyproc_scan__open(&scan, files, e);
 *	while (pyproc_scan__next(&scan, &p) > 0) ...
 *	pyproc_scan__close(&scan);
 *
 * Processes that end meanwhile or cannot be seen are passed over and counted.
 */
struct pyproc_scan {
	struct pyfiles *files;
	struct proc_pids pids;
	unsigned int seen;   /* processes looked at, kernel threads not among them */
	unsigned int hidden; /* those that could not be looked into for lack of permission */
};
int pyproc_scan__open(struct pyproc_scan *scan, struct pyfiles *files, struct err *e);
int pyproc_scan__next(struct pyproc_scan *scan, struct pyproc *out); /* 1, 0 at the end, -ENOMEM */
void pyproc_scan__close(struct pyproc_scan *scan);

#endif
