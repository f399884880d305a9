/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every structure that the BPF program and user space share.
 *
 * Fixed width, no padding, sizes asserted: both sides are compiled by different compilers for different
 * machines, and this file is their only contract. BPF includes it after vmlinux.h, user space after
 * <linux/types.h>, so that the __uNN types are there either way.
 */
#ifndef PYBPF_ABI_H
#define PYBPF_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define PYBPF_MAX_FRAMES   4096 /* Python frames of one stack */
#define PYBPF_COMM_LEN     16   /* TASK_COMM_LEN */
#define PYBPF_CMDLINE_MAX  1024 /* bytes of a command line that travel with an introduction */
#define PYBPF_NAME_MAX     2048 /* bytes of a name (as stored: 1, 2 or 4 a character) read in the kernel */
#define PYBPF_LINETAB_MAX  8192 /* bytes of a line table read in the kernel */
#define PYBPF_NO_OFFSET    0xffff
#define PYBPF_FEW_TARGETS  4    /* so many pids may be part of the program's code: PYBPF_TARGET_MARK */
#define PYBPF_TARGET_MARK  0x7069642d6d61726bull /* + 0 ... 3, in an instruction that user space puts a pid into; no pid has upper bits */
/* hierarchy: PYBPF_CGROUP_V2, or the index of a v1 controller (the kernel's enum cgroup_subsys_id); id: of the kernfs node */
#define PYBPF_CGROUP_V2    31
#define PYBPF_CGROUP_KEY(hierarchy, id) ((__u64)(hierarchy) << 58 ^ (id))
#define PYBPF_MAX_NATIVE   1024 /* native frames of one stack */
#define PYBPF_REST_ENTRIES 256  /* calls from C into Python that the rest of a stack may have */
#define PYBPF_REST_PAGES   32   /* of 4 KiB: as much of a stack is copied for user space to finish its walk */
#define PYBPF_RING_BYTES   (4 << 20)
#define PYBPF_RING_NATIVE  (8 << 20) /* with native stacks: their copies come in bursts, when libraries are loaded */
#define PYBPF_RING_RESERVE (2 << 20) /* of that, what is not for copies of stacks, which others than their samples would miss */
#define PYBPF_MAX_KERNEL   127  /* kernel frames of one stack: PERF_MAX_STACK_DEPTH */

#include "pybpf/unwind.h"

enum pybpf_outcome {
#define OUTCOME(id, class_, name, help) PYBPF_##id,
#include "errors.def"
	PYBPF_OUTCOME_COUNT,
};

/* ---------------------------------------------------------------- layouts */

#define PYBPF_TSTATE_MAX 512 /* bytes of a thread state that are read at once */
/* 3.11, 3.12: behind datastack_limit comes exc_state, two words, and the root of the _PyCFrames, three (two in 3.12) */
#define PYBPF_CFRAME_ROOT 40

enum py_layout_flag {
	PY_LAYOUT_CFRAME = 1 << 0,       /* tstate->cframe->current_frame (3.11, 3.12) */
	PY_LAYOUT_FRAME_OBJECTS = 1 << 1, /* a chain of PyFrameObject (<= 3.10) */
	PY_LAYOUT_FREE_THREADED = 1 << 2, /* PyObject header of 32 bytes, thread-local bytecode */
	PY_LAYOUT_DEBUG = 1 << 3,        /* Py_DEBUG build */
	PY_LAYOUT_INSTR_INDEX = 1 << 4,  /* frame.instr is an int f_lasti, not a pointer (<= 3.10) */
	PY_LAYOUT_BARE_KEY = 1 << 5,     /* the key is an int of its own, -1 until there is one (3.6) */
	PY_LAYOUT_UNPROVEN = 1 << 6,     /* only in the kernel: no live process has shown yet that it is true */
};

/*
 * Where one kind of CPython build keeps what the walk reads. All offsets in bytes; PYBPF_NO_OFFSET where a
 * version has no such member. Sources are cited at the rows of user/pyrt/.
 */
struct py_layout {
	__u32 version_hex; /* PY_VERSION_HEX */
	__u32 flags;       /* enum py_layout_flag */
	/* _PyRuntime */
	__u16 runtime_tss_key; /* Py_tss_t of the gilstate: int is_initialized, then the pthread key at +4 */
	/* PyThreadState */
	__u16 tstate_frame; /* current_frame, or cframe with PY_LAYOUT_CFRAME, or frame (<= 3.10) */
	__u16 tstate_interp;
	__u16 tstate_native_id;
	__u16 tstate_chunk; /* datastack_chunk: lowest address of the current chunk of frames */
	__u16 cframe_frame; /* _PyCFrame.current_frame */
	/* _PyInterpreterFrame, or PyFrameObject */
	__u16 frame_code;
	__u16 frame_previous;
	__u16 frame_instr;
	__u16 frame_owner;
	__u16 frame_tlbc;  /* tlbc_index, free-threaded 3.14+ */
	__u16 frame_size;  /* bytes from the frame's start that hold all of the above; <= 160 */
	__u16 owner_entry; /* owners >= this are entry frames, never shown; PYBPF_NO_OFFSET: none */
	__u16 pointer_tag; /* low bits of frame_code to clear: 0, 1 or 3 */
	/* PyCodeObject */
	__u16 code_size; /* bytes from the object's start that hold all of the below; <= 248 */
	__u16 code_type; /* ob_type */
	__u16 code_flags;
	__u16 code_firstlineno;
	__u16 code_filename;
	__u16 code_name; /* co_qualname from 3.11 on, co_name before it */
	__u16 code_linetable;
	__u16 code_consts;
	__u16 code_names;
	__u16 code_version; /* co_version (3.12+): unique to each code object */
	__u16 code_bytecode; /* co_code_adaptive: the instructions begin here (3.11+) */
	__u16 code_tlbc;     /* co_tlbc, free-threaded 3.14+ */
	/* PyUnicodeObject and PyBytesObject */
	__u16 str_length;
	__u16 str_state;   /* the u32 bit field (or u16 on 3.14+) */
	__u16 str_ascii;   /* data of compact ASCII */
	__u16 str_compact; /* data of compact non-ASCII */
	__u16 str_legacy;  /* data pointer of those that are not compact: legacy (<= 3.11), or of a subclass */
	__u16 str_kind_shift; /* bit position of kind in state; compact and ascii are the bits above its three */
	__u16 bytes_size;
	__u16 bytes_data;
	__u16 type_name; /* unused in the kernel; here so that user space checks a type by its name */
	__u16 frame_entry;     /* is_entry (3.11): set in a frame that C code has called; 0: none */
	__u16 cframe_previous; /* _PyCFrame.previous (3.11, 3.12); 0: none */
	__u16 base_frame; /* 3.15: sentinel frame inside the tstate; reaching it proves completeness */
	__u16 tstate_thread_id; /* pthread_self() of its thread */
	__u16 tstate_cframe; /* cframe (3.10, 3.11): on the C stack of the thread that evaluates in this state; 0: none */
	__u16 tstate_size; /* of a thread state, from tstate_frame on: whatever a walk needs, up to PYBPF_TSTATE_MAX */
	__u16 pad;
	__s32 runtime_current; /* the state that holds the GIL, counted from _PyRuntime (<= 3.11); 0: none */
};

/* How a thread finds its PyThreadState. */
enum py_tstate_source {
	PY_TSTATE_TSS = 1, /* pthread_getspecific of the gilstate's key, read from _PyRuntime */
	PY_TSTATE_TLS,     /* a thread-local variable at a fixed distance from the thread pointer */
	PY_TSTATE_GOT,     /* likewise, but words in the GOT, filled by the dynamic linker, tell where: enum py_got_form */
	PY_TSTATE_DTV,     /* in the TLS block of a module, which the thread's vector of blocks leads to */
	PY_TSTATE_LIST,    /* user space looks it up in the interpreter's list of threads: map tstates */
};

/* What the words in the GOT mean (Drepper, "ELF Handling For Thread-Local Storage"). */
enum py_got_form {
	PY_GOT_OFFSET = 1, /* distance from the thread pointer */
	PY_GOT_MODULE,     /* a module's number, and an offset in its TLS block */
	PY_GOT_DESCRIPTOR, /* a function and its argument: a distance from the thread pointer, or the address of such a pair */
};

/* ---------------------------------------------------------------- files and processes */

/*
 * An executable mapping's file as the kernel sees it: the real inode below an overlay, the device of its super
 * block (which stat() does not always tell; /proc/PID/maps and perf's mmap records do).
 */
struct file_key {
	__u64 ino;
	__u32 dev; /* kernel encoding: major << 20 | minor */
	__u32 pad;
};

enum file_state {
	FILE_STATE_PENDING = 1, /* user space has been told */
	FILE_STATE_PLAIN,       /* holds no interpreter */
	FILE_STATE_PYTHON,      /* holds an interpreter */
	FILE_STATE_LINKED,      /* holds none, but needs a libpython: its processes are Python's from the beginning. Of the
				 * rest, only text_start and ctime_ns are set, and in runtime the link-time address of the
				 * word of DT_DEBUG; 0: none */
};

struct file_info {
	__u32 state;
	__u32 layout;        /* index into layouts */
	__u64 ctime_ns;      /* of the inode when it was described: another one is another file; 0: not checked */
	__u64 runtime;       /* link-time address of _PyRuntime */
	__u64 text_start;    /* link-time address of the lowest executable segment */
	__s64 slot[2];       /* proc_info.slot; with PY_TSTATE_GOT, slot[1] is a link-time address */
	__u32 source;        /* enum py_tstate_source */
	__u32 tss_base;      /* of proc_info */
	__u32 tss_stride;
	__u32 flags;         /* enum proc_flag that its processes begin with */
	/* pybpf_image_key of so many words at _PyRuntime, that of the table of its offsets there (3.13+); 0: it has none */
	__u64 table;
	__u32 table_words;
	__u32 pad;
};

enum proc_state {
	PROC_NEW = 1,  /* layout known, filter not asked yet */
	PROC_WANTED,
	PROC_UNWANTED,
	PROC_PENDING,  /* its executable has not been described yet */
};

enum proc_flag {
	PROC_INTRODUCED = 1 << 0, /* its PROC record is in the ring */
	/* Code addresses were seen to be reused, in the epoch of PROC_VOLATILE_EPOCH: every frame is validated for a while. */
	PROC_VOLATILE = 1 << 1,
	PROC_TSS_LEVEL2 = 1 << 2, /* the pthread key's value lies in a block that the thread has a pointer to */
	PROC_UNSUPPORTED = 1 << 3, /* a Python that can't be read: samples say so */
	PROC_NATIVE_ONLY = 1 << 4, /* no Python: a target of -p with --native or --kernel */
	PROC_MUSL = 1 << 5, /* its C library's thread structures: not those of glibc */
	PROC_LISTED = 1 << 6, /* user space tells its threads' states in the map tstates */
	PROC_NAMELESS = 1 << 8, /* its arguments could not be read at its introduction: that is to be repeated, once */
	PROC_LINKED = 1 << 9,   /* its executable needs a libpython, which is not loaded yet */
	PROC_STATES = 1 << 10, /* a thread of it was seen in another state than its first (<= 3.11): map states */
	PROC_UNCHECKED = 1 << 7, /* its frames do not close (walk.bpf.h): they are taken as they are */
};

/* The upper bits of proc_info.flags: the lower ones of an epoch. */
#define PROC_VOLATILE_SHIFT       20
#define PROC_VOLATILE_EPOCH(flags) ((flags) >> PROC_VOLATILE_SHIFT)

struct proc_info {
	__u64 start_time; /* of the group leader, boot-time ns */
	__u64 mm;         /* address of its mm_struct: another one after exec */
	__u64 identity;   /* tells this program in this process from every other one, also from those before exec */
	__u32 state;
	__u32 flags;
	__u32 layout;
	__u32 source;
	__u64 runtime; /* run-time address of _PyRuntime */
	/*
	 * slot[0] is the thread-pointer offset of the tstate; 0: not known yet. With PROC_TSS_LEVEL2, it is that of a block's
	 * address, and slot[1] the offset inside. PY_TSTATE_DTV: of the module's entry in the vector, and the offset in its block.
	 * PY_TSTATE_GOT: 0, and the address of the words.
	 */
	__s64 slot[2];
	__u32 tss_base;   /* thread-pointer offset of the data of pthread key 0; musl: of the address of all data;
			   * PY_TSTATE_GOT: to be added to what the words tell */
	__u32 tss_stride; /* bytes between two keys; PY_TSTATE_GOT: enum py_got_form */
	struct file_key pending; /* PROC_PENDING: the file whose description is awaited; PROC_LINKED: the executable */
	__u64 reuse; /* part of its stacks' names: another number whenever an address was found to be another code object's */
};

/* ---------------------------------------------------------------- native unwinding */

/*
 * Where a process's code lies: a run of `mappings`, sorted by start and without overlap. Another run is written before
 * the process's entry is changed, and the old one is left alone for as long as a walk may last.
 */
struct unwind_space {
	__u32 first, count;
	__u32 settled; /* not 0: what lies in none of these lies nowhere */
};

struct unwind_mapping {
	__u64 start, length;
	__u64 bias;  /* run-time minus link-time address */
	__u32 table; /* index of its unwind table; beyond the map: there is no file */
	__u32 apart; /* not 0: stacks whose innermost addresses lie here and differ are told apart */
};

enum unwind_table_state {
	UNWIND_TABLE_PENDING = 0, /* being made */
	UNWIND_TABLE_READY,
	UNWIND_TABLE_NONE,    /* the file has no unwind information */
	UNWIND_TABLE_REFUSED, /* it is malformed */
};

struct unwind_table_info {
	__u64 text_start; /* link-time address of its first page: a multiple of 64 KiB */
	__u32 page_base, page_count; /* in unwind_pages */
	__u32 rule_base;             /* in unwind_rules */
	__u32 state;                 /* enum unwind_table_state */
};

/* 64 KiB of code: its rows lie side by side in one block. */
struct unwind_page {
	__u32 block;
	__u16 first, count;
};

/* Rows as include/pybpf/unwind.h has them. */
#define UNWIND_BLOCK_ROWS 16384
struct unwind_block {
	__u32 rows[UNWIND_BLOCK_ROWS];
};

/* A thread of a process that is PROC_LISTED. */
struct tstate_key {
	__u64 pid;    /* in the initial namespace */
	__u64 thread; /* tid in its own namespace where the layout has native ids, else the thread pointer */
};

/* ---------------------------------------------------------------- what a CPU shows to user space */

/* The beginning of each CPU's memory. Lost samples are counted by their outcome. */
struct cpu_shared {
	__u64 head; /* samples that the CPU has written */
	__u64 taken;                     /* samples of wanted processes */
	__u64 lost[PYBPF_OUTCOME_COUNT]; /* by outcome, class LOST only */
	__u64 records_lost;              /* records other than samples that found no room */
	__u64 stacks;                    /* stack records sent */
	__u64 codes;                     /* code records sent */
};

/* ---------------------------------------------------------------- records in the ring */

enum rec_type {
	REC_STACK = 1,
	REC_CODE,
	REC_PROC,
	REC_THREAD,
	REC_FILE,
	REC_EXIT,
	REC_EXEC,
	REC_REST,
	REC_MEMORY,
};

/*
 * A sample does not go through the ring: each CPU has an array of its own that it alone writes and user space alone
 * reads, which costs a few ns in place of some 200. Positions only grow; the element is the position modulo the
 * array's length. User space reads the CPUs' heads first, then takes in the ring, then the samples below those heads:
 * whatever a sample refers to is then known.
 */
struct rec_sample {
	__u64 time;     /* CLOCK_MONOTONIC ns */
	__u64 stack;    /* hash that names the stack; 0: no frames */
	__u64 leaf;     /* instruction (or f_lasti) of the innermost frame, which is not part of the hash */
	__u64 identity; /* of the program in the process: rec_proc.identity */
	__u64 pc;       /* innermost native or kernel address, which is not part of the hash either; 0: none */
	__u32 pid;      /* tgid, in the initial pid namespace */
	__u32 tid;
	__u16 cpu;
	__u8 outcome; /* enum pybpf_outcome */
	__u8 kind;    /* enum sample_kind */
	__u32 pad;
};

enum sample_kind {
	SAMPLE_ON_CPU,
};

struct raw_frame {
	__u64 code;
	__u64 instr; /* as the frame holds it: pointer, or f_lasti */
};

/*
 * A native frame is a raw_frame, too: `code` is its address, `instr` these bits. Addresses are return addresses, one behind
 * their call, unless they are exact.
 */
#define NATIVE_EXACT (1ull << 63) /* where the thread stands, or was interrupted by a signal */
#define NATIVE_CUT   0xffffffffull /* not 0: it runs Python code; so many Python frames + 1 lie inwards of it */

/*
 * Followed by nframes raw_frame of Python, innermost first; then nnative native ones, then nkernel addresses of the kernel
 * as raw_frame. What travels in the sample instead of here is meaningless: frames[0].instr (rec_sample.leaf), and the
 * innermost address of the kernel, or else of the native frames (rec_sample.pc).
 */
struct rec_stack {
	__u32 type;
	__u32 pid;
	__u64 identity;
	__u64 stack;
	__u32 nframes;
	__u16 nnative;
	__u16 nkernel;
	__u16 outcome;        /* of the Python frames */
	__u16 native_outcome; /* of the native ones; OK when they were not asked for */
	__u32 elsewhere;      /* 1: until 3.11, the thread runs in another state than its first: native frames may run others' frames */
};

/* Bits of rec_code.missing: what user space has to read itself. */
enum code_part {
	CODE_PART_NAME = 1 << 0,
	CODE_PART_FILENAME = 1 << 1,
	CODE_PART_LINETABLE = 1 << 2,
	CODE_PART_OBJECT = 1 << 3, /* the object itself was unreadable: nothing below is set */
};

/* While the layout is unproven: what the types of the code object and of its name, file name and line table are. */
enum code_types {
	CODE_TYPES_UNKNOWN, /* not looked at, or not there */
	CODE_TYPES_RIGHT,
	CODE_TYPES_WRONG,
};

/* A call from C into Python: `count` Python frames lie inwards of it. */
struct py_entry {
	__u64 addr; /* on the C stack: of what the evaluator keeps there, an entry frame (3.12+) or a _PyCFrame (3.11) */
	__u64 count;
};

/*
 * What is left of the native stack called `stack`, whose walk stopped at its last frame for want of a table or a mapping.
 * Followed by as many py_entry as there are entries. Its memory comes in REC_MEMORY, page by page, then its REC_STACK. The name
 * is that of one sample alone.
 */
struct rec_rest {
	__u32 type;
	__u32 pid;
	__u64 identity;
	__u64 start_stack; /* rec_proc.start_stack */
	__u64 stack;
	struct unwind_regs regs;
	__u64 words[32]; /* of the innermost frame, by DWARF number */
	__u32 entries;
	__u32 pad;
};

#define PYBPF_REST_START(sp) (((sp) - 128) & ~4095ull) /* of its memory: with the red zone (psABI x86-64, 3.2.2) */

struct rec_memory {
	__u32 type;
	__u32 pid;
	__u64 stack;
	__u64 addr;
	__u8 bytes[4096];
};

/*
 * A code object. Followed by name_bytes, file_bytes and linetab_bytes one after the other; names are as
 * CPython stores them: name_kind/file_kind bytes (1, 2, 4) a character, kind 1 being ASCII or Latin-1.
 */
struct rec_code {
	__u32 type;
	__u32 pid;
	__u64 identity;
	__u64 addr;
	__u64 type_addr; /* of its type: that of every code object of the process */
	__u64 name_addr; /* of the objects themselves, for what is missing */
	__u64 file_addr;
	__u64 linetab_addr;
	__u32 fingerprint;
	__s32 firstlineno;
	__u32 flags; /* co_flags */
	__u16 name_bytes;
	__u16 file_bytes;
	__u16 linetab_bytes;
	__u8 name_kind;
	__u8 file_kind;
	__u16 missing; /* enum code_part */
	__u16 types;   /* enum code_types */
};

/* The first sample of a process, or the first after exec. Followed by cmdline_bytes of its arguments, NUL separated. */
struct rec_proc {
	__u32 type;
	__u32 pid;
	__u64 identity; /* tells it from every other program in any process */
	__u64 start_time;
	__u64 start_stack; /* mm_struct.start_stack, also in /proc/PID/stat: another one, another program */
	__u32 ppid;
	__u32 uid;
	__u32 ns_pid; /* in its own pid namespace */
	__u32 layout;
	__u64 cgroup; /* cgroup v2 id */
	__u64 runtime;
	char comm[PYBPF_COMM_LEN];
	__u32 cmdline_bytes;
	__u32 flags; /* enum proc_flag */
};

/* The first sample of a thread. */
struct rec_thread {
	__u32 type;
	__u32 pid;
	__u64 identity;
	__u32 tid;
	__u32 ns_tid;
	char comm[PYBPF_COMM_LEN];
};

/* A process has started a program whose file user space has not described yet. */
struct rec_file {
	__u32 type;
	__u32 pid;
	struct file_key key;
	__u64 identity; /* of the program that waits for it */
};

/*
 * REC_EXIT: the end of a process that was introduced, or whose mappings user space may know, or whose pid another one has by now.
 * REC_EXEC: that of a program that was introduced, by exec. identity: 0 where the process was never met.
 */
struct rec_life {
	__u32 type;
	__u32 pid;
	__u64 identity;
	__u64 start_time;
	__u64 time;
};

#define PYBPF_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed its size")
PYBPF_ASSERT_SIZE(struct py_layout, 96);
PYBPF_ASSERT_SIZE(struct file_key, 16);
PYBPF_ASSERT_SIZE(struct tstate_key, 16);
PYBPF_ASSERT_SIZE(struct file_info, 80);
PYBPF_ASSERT_SIZE(struct proc_info, 96);
PYBPF_ASSERT_SIZE(struct unwind_mapping, 32);
PYBPF_ASSERT_SIZE(struct unwind_table_info, 24);
PYBPF_ASSERT_SIZE(struct unwind_page, 8);
PYBPF_ASSERT_SIZE(struct rec_sample, 56);
PYBPF_ASSERT_SIZE(struct rec_stack, 40);
PYBPF_ASSERT_SIZE(struct rec_code, 80);
PYBPF_ASSERT_SIZE(struct rec_proc, 88);
PYBPF_ASSERT_SIZE(struct rec_thread, 40);
PYBPF_ASSERT_SIZE(struct rec_file, 32);
PYBPF_ASSERT_SIZE(struct rec_life, 32);
PYBPF_ASSERT_SIZE(struct py_entry, 16);
PYBPF_ASSERT_SIZE(struct rec_rest, 360);
PYBPF_ASSERT_SIZE(struct rec_memory, 4120);

#endif
