/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF program while it is loaded: its configuration, its maps, its ring. The only file that knows the
 * skeleton; everything else in collect/ goes through here.
 */
#ifndef PYBPF_KERNEL_H
#define PYBPF_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pybpf/abi.h"
#include "target/cgroups.h"

struct kernel;

struct kernel_config {
	uint32_t rate_hz;      /* samples a second and CPU */
	uint64_t tick_ns;      /* period of the clocks: clock__period */
	const uint32_t *pids;  /* only processes added by kernel__add_target: these, and others with follow_children */
	size_t pid_count;      /* 0: any */
	bool follow_children;  /* children of these too */
	const char *comm;      /* NULL: any; cut to 15 bytes as the kernel does */
	bool filter_uid;
	uint32_t uid;
	const struct cgroup_ref *cgroups; /* only processes in these and below; none: any */
	size_t cgroup_count;
	bool native;           /* walk native stacks */
	bool kernel;           /* and the kernel's */
};

/*
 * Loads the program, with every map in place and nothing running yet. Errors: -EPERM (not permitted), -ENOTSUP
 * (the kernel lacks something), -ENOMEM; *e says what is missing and how to get it.
 */
int kernel__load(const struct kernel_config *config, struct kernel **out, struct err *e);
/* Attaches the hooks that follow processes. From now on forks, execs and exits are seen. */
int kernel__attach(struct kernel *k, struct err *e);
/* Detaches everything and frees; NULL is fine. */
void kernel__free(struct kernel *k);

/* The program that samples, for clock.h: a struct bpf_program. */
struct bpf_program;
struct bpf_program *kernel__tick_program(struct kernel *k);

/* A target by pid (initial namespace). 0 or -errno. */
int kernel__add_target(struct kernel *k, uint32_t pid);
void kernel__remove_target(struct kernel *k, uint32_t pid);

/* Whether it was added, or is a child of one that was and is followed. */
bool kernel__is_target(struct kernel *k, uint32_t pid);

/* Makes a layout known, unproven; its index, one more than the last one's, goes to *index. 0, -ENOSPC when all are taken. */
int kernel__add_layout(struct kernel *k, const struct py_layout *layout, uint32_t *index);
/* It is true of a live process. 0 or -errno. */
int kernel__prove_layout(struct kernel *k, const struct py_layout *layout, uint32_t index);

/* Describes a file. 0 or -errno. */
int kernel__describe_file(struct kernel *k, const struct file_key *key, const struct file_info *info);

/* Describes it once more, for its images in the memory of processes: pybpf/image.h. 0 or -errno (-E2BIG: too many). */
int kernel__describe_image(struct kernel *k, uint64_t key, const struct file_info *info);

/*
 * Publishes a process whose interpreter user space has found. start_time and mm may be 0: the kernel fills them in
 * at the first tick. Only where none is known yet if `weak`. 0, -EEXIST, -E2BIG (too many processes).
 */
int kernel__publish_process(struct kernel *k, uint32_t pid, const struct proc_info *info, bool weak);
void kernel__forget_process(struct kernel *k, uint32_t pid);
/* The state of a thread of a process that is PROC_LISTED: told, and forgotten. 0 or -errno (-E2BIG: too many). */
int kernel__tell_tstate(struct kernel *k, const struct tstate_key *key, uint64_t tstate);
void kernel__forget_tstate(struct kernel *k, const struct tstate_key *key);
/* Every pid that some map has: start with both 0; 0, or -ENOENT at the end. One that goes meanwhile may start a map anew. */
int kernel__next_pid(struct kernel *k, int *map, uint32_t *pid);
/* From all of these. */
void kernel__forget_pid(struct kernel *k, uint32_t pid);
/* What is published of a process. 0 or -ENOENT. */
int kernel__lookup_process(struct kernel *k, uint32_t pid, struct proc_info *out);
/* The targets one after the other: start with *pid = 0; 0 and the next in *pid, -ENOENT at the end. */
int kernel__next_target(struct kernel *k, uint32_t *pid);

/*
 * The maps of native unwinding (bpf/maps.bpf.h, include/pybpf/abi.h), for collect/unwinds.h and collect/spaces.h, which fill
 * them: descriptors that stay the kernel's, and how many elements each has.
 */
struct kernel_unwind_maps {
	int spaces, mappings, tables, pages, rules, blocks;
	uint32_t max_spaces, max_mappings, max_tables, max_pages, max_rules, max_blocks;
};
void kernel__unwind_maps(const struct kernel *k, struct kernel_unwind_maps *out);
/* What CPUs remember of processes and their mappings is void from now on. */
void kernel__processes_changed(struct kernel *k);

/* Starts another epoch: stacks are told anew, and code objects validated, when next seen. */
void kernel__next_epoch(struct kernel *k);

/* Another epoch, in which code objects are told anew, too: user space has forgotten some. */
void kernel__retell_codes(struct kernel *k);

/* How often a program was started whose file could not be asked about: it is not sampled until it is looked for. */
uint32_t kernel__files_missed(const struct kernel *k);

/* Sums over all CPUs; head is meaningless. */
void kernel__counters(const struct kernel *k, struct cpu_shared *sum);
/* Memory of the kernel for all maps, bytes, as far as it tells (memlock in /proc/self/fdinfo, since 4.11). */
uint64_t kernel__map_bytes(const struct kernel *k);
/* Time and number of runs of all programs since the load. */
int kernel__run_stats(struct kernel *k, uint64_t *ns, uint64_t *runs);

/* Descriptor to poll for records. */
int kernel__ring_fd(struct kernel *k);
typedef int (*kernel_record_fn)(void *arg, const void *record, size_t size);
typedef int (*kernel_sample_fn)(void *arg, const struct rec_sample *sample);
/*
 * Takes in what there is: first the records of the ring, then the samples that were there before, in order of time. How
 * many of both, or the first negative result of a function.
 */
int kernel__drain(struct kernel *k, kernel_record_fn on_record, kernel_sample_fn on_sample, void *arg);

#endif
