/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps, the configuration that user space writes before the load, and the per-CPU scratch memory. */
#ifndef PYBPF_MAPS_BPF_H
#define PYBPF_MAPS_BPF_H

#include "pybpf/abi.h"
#include "pybpf/image.h"
#include "pybpf/unwind.h"

#define SEEN_STACKS (1 << 16) /* direct-mapped: a clash only means that a stack is sent again */
#define SEEN_CODES  (1 << 15)
#define SEEN_THREADS (1 << 12)

#define WALK_BATCH    64 /* frames for each call of walk_batch */
#define PAGE_BYTES    4096
#define FRAME_MAX     160 /* bytes of a frame that layouts may reach */
#define CODE_MAX      248 /* bytes of a code object that layouts may reach */
#define FRAMES_ROOM   (PYBPF_MAX_FRAMES + WALK_BATCH + PYBPF_MAX_NATIVE + PYBPF_MAX_KERNEL + 1)
#define MAX_ENTRIES   1024 /* one more than calls from C into Python that a stack may have to be merged with native frames */
#define NO_FRAME      (~0ull)
/* Owners of frames (internal/pycore_frame.h, enum _frameowner): those on the data stack, and in the heap. */
#define OWNER_THREAD    0
#define OWNER_GENERATOR 1

/*
 * One for each CPU: a timer tick runs to its end on its CPU, so nothing here is ever shared. What every tick touches
 * comes first and close together: a page that is not in the TLB costs as much as a read of user memory.
 */
struct scratch {
	struct cpu_shared shared; /* read by user space through a mapping */
	/* the sampling clock, in ns of ticks that have passed; here begins what a tick needs of which no sample is taken: a line */
	__u64 clock __attribute__((aligned(64)));
	__u64 slot; /* start of the current period */
	__u64 due;  /* the random moment of the current period at which to sample */
	__u64 random;
	/* the process that was sampled here last, and the one that was passed over: these need no look-up the next time */
	__u32 known_pid;
	__u32 known_generation;
	__u64 other_mm;
	__u32 other_pid;
	__u32 other_generation;
	__u64 unannounced; /* bytes put into the ring without a wake-up */
	struct proc_info known;
	__u64 tail; /* as last seen: samples that user space has taken */
	/* when jiffies were last seen to move, or another thread to run */
	__u64 jiffies;
	__u64 jiffies_switches; /* the thread's task_view.switches */
	__u32 jiffies_tid;
	__u64 jiffies_clock; /* `clock` at that moment */
	__u64 jiffies_ns;    /* and the time */
	__u64 last_thread; /* pid and tid whose name was told */
	__u64 own_thread, own_program, own_state; /* a thread likewise, its identity, and its first PyThreadState */
	__u32 last_epoch;
	/* the process, for the global functions that take scalars only */
	__u64 identity; /* seed that makes hashes of two processes differ */
	__u32 pid;
	__u32 cpu;
	__u32 proc_flags;
	__u32 rotor; /* which frame to validate next */
	__u32 layout; /* whose copy `lay` is: its index + 1 */
	__u32 layout_void; /* `layouts_void` when it was copied */
	/* the walk */
	__u64 frame; /* next to be read */
	__u64 hash;
	__u64 leaf;
	__u64 chunk; /* lowest address of the data stack chunk that holds the innermost frame */
	__u64 stop;  /* frame that proves the end of the chain (3.15), or 0 */
	__u64 buf_addr;
	__u64 buf_last; /* highest offset in buf at which a whole frame lies */
	__u64 refilled; /* <= 3.10: the frame that buf was filled for */
	__u64 objects_below; /* <= 3.10: how much memory below a frame is read with it */
	__u64 inner;    /* all ones once the innermost frame has been passed */
	__u64 innermost; /* the frame that the walk began at */
	__u64 outer;   /* 3.11, 3.12: the frame that called the evaluator, 0: none; NO_FRAME: never to be met */
	__u64 linked;  /* 3.11, 3.12: the first entry frame must go on to `outer` */
	__u64 met;     /* what the first entry frame goes on to */
	__u64 unmet;   /* all ones until then */
	__u64 open;    /* all ones: the chain ends where none can, for a frame is being unlinked right now */
	__u64 entered; /* all ones: the outermost frame must be an entry frame */
	__u64 entries_shown; /* all ones: entry frames are frames like others */
	__u32 entry_at, entry_from; /* where in a frame a byte tells that it is an entry frame, and from which value on */
	__u32 count;
	__u32 outcome;
	__u32 done;
	__u32 retries; /* walks in a row that did not close */
	/* the native walk: registers of the frame that it stands at */
	struct unwind_regs native;
	__u64 native_leaf;    /* innermost address */
	__u64 entry;          /* stack address of the next entry into Python, while walking Python's: the last; 0: none */
	__u64 cframe;         /* 3.11: the _PyCFrame behind it */
	__u32 native_count, kernel_count;
	__u32 native_outcome;
	__u32 entry_next, entry_count;
	__u32 space_pid, space_generation; /* whose `space` is */
	struct unwind_space space;
	struct py_layout lay;
	__u8 object[256] __attribute__((aligned(8))); /* both are read by words */
	__u8 buf[PAGE_BYTES + 272] __attribute__((aligned(8)));
	struct rec_stack stack;
	/* Directly behind stack: the record is sent in one piece. A batch may run over the limit before that is noticed. */
	struct raw_frame frames[FRAMES_ROOM];
	struct unwind_mapping map; /* the last one that was found */
	struct unwind_rule rule;
	__u64 regs[UNWIND_REGS]; /* words of struct pt_regs, then registers by DWARF number */
	struct py_entry entries[MAX_ENTRIES];
	struct rec_rest rest;
	/* directly behind rest */
	struct py_entry rest_entries[PYBPF_REST_ENTRIES];
	__u64 kernel_ips[PYBPF_MAX_KERNEL + 1];
	struct rec_code code;
	__u8 code_data[2 * PYBPF_NAME_MAX + PYBPF_LINETAB_MAX];
	struct rec_proc proc;
	__u8 cmdline[PYBPF_CMDLINE_MAX];
};

/* What was last told of the code object at an address of a process; see code.bpf.h. */
struct seen_code {
	__u32 tag;
	__u32 fingerprint; /* of the object itself; 0: it could not be read */
	__u32 content;     /* of its name and line table, where the version needs that */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set to the number of possible CPUs */
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct proc_info);
} procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct file_key);
	__type(value, struct file_info);
} files SEC(".maps");

/* Files that hold an interpreter, by what their image in memory is known by: include/pybpf/image.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct file_info);
} images SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct py_layout);
} layouts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768); /* set to 1 when nothing is filtered: before 6.1 only preallocated maps are let in */
	__type(key, __u32);
	__type(value, __u32);
} pids SEC(".maps"); /* the targets of -p and of command mode; written in process context only */

/* The cgroups of --cgroup and --container: CGROUP_KEY(hierarchy, id) -> 1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct tstate_key);
	__type(value, __u64); /* address of its PyThreadState */
} tstates SEC(".maps"); /* threads of processes that are PROC_LISTED; written by user space only */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);   /* pid << 32 | tid */
	__type(value, __u64);
} states SEC(".maps"); /* PROC_STATES: the last PyThreadState that held the GIL in the thread. PROC_LISTED: when it was asked for, ns | 1 */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PYBPF_RING_BYTES);
} ring SEC(".maps");

/* The samples, by CPU: cfg_cpu_samples elements each, a power of two. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct rec_sample);
} samples SEC(".maps");

/* How many samples of each CPU user space has taken; written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} tails SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN_STACKS);
	__type(key, __u32);
	__type(value, __u64);
} seen_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN_CODES);
	__type(key, __u32);
	__type(value, struct seen_code);
} seen_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN_THREADS);
	__type(key, __u32);
	__type(value, __u64);
} seen_threads SEC(".maps");

/* Native unwinding. One element each unless it is asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); /* pid */
	__type(value, struct unwind_space);
} spaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_mapping);
} mappings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_table_info);
} unwind_tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_page);
} unwind_pages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_rule);
} unwind_rules SEC(".maps");

struct unwind_block_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct unwind_block));
};

/* Blocks come and go one by one: memory is used for the rows that there are. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct unwind_block_map);
} unwind_blocks SEC(".maps");

/* Written before the load, constant to the verifier. */
const volatile __u64 cfg_period_ns = 10000000; /* of sampling */
const volatile __u64 cfg_tick_ns = 6180000;    /* of the timer */
const volatile __u32 cfg_cpu_samples = 1024;   /* room for samples on each CPU */
const volatile __u64 cfg_wakeup_bytes = 256 << 10; /* wake user space after so many unannounced bytes a CPU */
const volatile __u32 cfg_cpus = 1;
const volatile bool cfg_native; /* native frames */
const volatile bool cfg_kernel; /* kernel frames */
const volatile bool cfg_filter_pids;
const volatile bool cfg_follow_children; /* children of a target are targets */
const volatile bool cfg_filter_comm;
const volatile bool cfg_filter_uid;
const volatile bool cfg_filter_cgroup;
const volatile __u32 cfg_hierarchies; /* bits: those that have entries in cgroups */
const volatile char cfg_comm[PYBPF_COMM_LEN];
const volatile __u32 cfg_uid;
const volatile __u32 cfg_self; /* tgid of the profiler */

/* Advanced by user space every few seconds: what was validated before is validated anew. */
__u32 epoch;

/* Changes when user space has forgotten code objects that it was told of: all are told anew. */
__u32 codes_void;

/* Changes with every entry of procs that comes or goes: what CPUs remember of processes is void then. */
__u32 generation;

/* Changes when a layout has been proven: CPUs' copies are void then. */
__u32 layouts_void;

/* How many files could not be announced for want of room: user space must look at every process then. */
__u32 files_missed;

static __always_inline void procs__changed(void)
{
	__sync_fetch_and_add(&generation, 1);
}

static __always_inline struct scratch *scratch__of(__u32 cpu)
{
	return bpf_map_lookup_elem(&scratches, &cpu);
}

#endif
