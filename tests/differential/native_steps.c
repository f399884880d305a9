// SPDX-License-Identifier: Apache-2.0
/*
 * The walk of the native stack before each single instruction of a running program: what a tick at that instruction
 * would see, compared with the calls that have been made and not returned from. The program's main thread is traced,
 * for this test alone.
 *
 * usage: native_steps PID STEPS [FILE]     FILE: only at instructions of files whose name contains this
 *
 * The truth is kept beside: a call pushes its return address, which is there for as long as the stack pointer is not
 * above it. Where libgcc is about to go on behind an exception, the stack may be the one that it will go on with;
 * whether it does is seen then.
 *
 * Standard output: `marked OUTCOME N FILE+OFFSET` where walks ended early, `wrong N FILE+OFFSET` and at the end
 * `steps N equal N landing N marked N wrong N`; what the first wrong ones look like to standard error.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/vec.h"
#include "unwind/insn_x86.h"
#include "unwind/table.h"

#define WINDOW     ((size_t)16 << 10)
#define MAX_FRAMES 1024
#define SHOWN      5
#define SAVED_PC                                                                                                       \
	176 /* from a signal handler's stack pointer at its start (Linux, struct rt_sigframe): the interrupted         \
	       instruction */

struct memory {
	pid_t pid;
	uint64_t start; /* of the copy */
	size_t size;
	uint8_t bytes[WINDOW];
};

static int peek(const struct memory *m, uint64_t addr, void *out, size_t n)
{
	struct iovec to = {out, n}, from = {(void *)(uintptr_t)addr, n};

	return process_vm_readv(m->pid, &to, 1, &from, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

static int unwind__word(const struct memory *m, uint64_t addr, __u64 *out)
{
	if (addr - m->start > WINDOW || addr - m->start + 8 > m->size)
		return peek(m, addr, out, 8);
	memcpy(out, m->bytes + (addr - m->start), 8);
	return 0;
}

#define UNWIND_MEMORY const struct memory
#include "pybpf/unwind_step.h"

struct code {
	uint64_t start, end, bias;
	char name[64];
	struct unwind_table *table; /* NULL: none */
};

/* A return address on the stack. */
struct call {
	uint64_t slot, pc;
};

struct list {
	size_t n;
	uint64_t pc[MAX_FRAMES], slot[MAX_FRAMES]; /* slot: where the address of the frame before was found */
};

struct program {
	struct memory memory;
	struct vec(struct code) code;
	struct vec(struct call) calls;
	struct hmap marked, wrong; /* (address, outcome) -> count */
	const char *only;
	uint64_t landing_pc, landing_rest; /* what has been claimed; 0: nothing */
	long claims;
	bool returned; /* the last instruction was a return */
	long equal, landings, nmarked, nwrong;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "native_steps: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- its code */

static int open_vdso(struct program *p, uint64_t start, uint64_t end)
{
	_cleanup_free_ uint8_t *bytes = malloc(end - start);
	int fd = memfd_create("vdso", 0);

	if (!bytes || peek(&p->memory, start, bytes, end - start) ||
	    write(fd, bytes, end - start) != (ssize_t)(end - start))
		fail("vdso");
	return fd;
}

static void add_code(struct program *p, uint64_t start, uint64_t end, uint64_t offset, const char *path)
{
	struct code c = {.start = start, .end = end};
	const char *slash = strrchr(path, '/');
	char at[4096];
	struct elf *elf;
	int fd;

	snprintf(c.name, sizeof(c.name), "%s", slash ? slash + 1 : path);
	snprintf(at, sizeof(at), "/proc/%d/root%s", p->memory.pid, path);
	fd = !strcmp(path, "[vdso]") ? open_vdso(p, start, end) : path[0] == '/' ? elf__open_path(at) : -1;
	if (fd >= 0 && !elf__open(fd, &elf, NULL)) {
		uint64_t addr;

		if (!elf__text_address(elf, offset, &addr) && !unwind_table__build(elf, &c.table, NULL))
			c.bias = start - addr;
		else
			c.bias = start - offset;
		elf__close(elf);
	}
	if (fd >= 0)
		close(fd);
	if (vec__push(&p->code, c))
		fail("memory");
}

static void read_maps(struct program *p)
{
	_cleanup_free_ char *line = NULL;
	char path[64], name[4096], flags[8];
	uint64_t start, end, offset;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", p->memory.pid);
	f = fopen(path, "r");
	if (!f)
		fail(path);
	while (getline(&line, &size, f) > 0) {
		name[0] = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %4095s", &start, &end, flags, &offset,
			   name) >= 4 &&
		    flags[2] == 'x')
			add_code(p, start, end, offset, name);
	}
	fclose(f);
}

static struct code *code_at(struct program *p, uint64_t pc)
{
	vec__foreach(&p->code, c)
		if (pc >= c->start && pc < c->end)
			return c;
	return NULL;
}

static const char *place(struct program *p, uint64_t pc, char text[128])
{
	const struct code *c = code_at(p, pc);

	if (c)
		snprintf(text, 128, "%s+0x%" PRIx64, c->name, pc - c->bias);
	else
		snprintf(text, 128, "0x%" PRIx64, pc);
	return text;
}

/* ---- the walk, as user/collect/rests.c has it */

static int find_rule(struct program *p, const struct unwind_regs *r, struct unwind_rule *rule)
{
	uint64_t pc = r->pc - r->inexact;
	const struct code *c = code_at(p, pc);
	__u64 back;

	if (!c)
		return PYBPF_NATIVE_UNMAPPED;
	if (c->table && !unwind_table__lookup(c->table, pc - c->bias, rule))
		return PYBPF_OK;
	if (unwind__without_table(r, &p->memory, &back, rule) && code_at(p, back - 1))
		return PYBPF_OK;
	return PYBPF_NATIVE_NO_TABLE;
}

static int walk(struct program *p, const struct user_regs_struct *u, struct list *out)
{
	__u64 words[UNWIND_REGS] = {u->rax, u->rdx, u->rcx, u->rbx, u->rsi, u->rdi, u->rbp, u->rsp,
				    u->r8,  u->r9,  u->r10, u->r11, u->r12, u->r13, u->r14, u->r15};
	struct unwind_regs r;
	int outcome;

	unwind__begin(&r, u->rip, u->rsp, u->rbp, u->rcx);
	r.inexact = 0;
	for (out->n = 0; out->n < MAX_FRAMES;) {
		struct unwind_rule rule;

		out->slot[out->n] = r.cfa - 8;
		out->pc[out->n++] = r.pc;
		outcome = find_rule(p, &r, &rule);
		if (outcome == PYBPF_OK)
			outcome = unwind__step(&r, words, &rule, &p->memory);
		if (outcome != PYBPF_OK)
			return outcome == PYBPF_NO_PYTHON ? PYBPF_OK : outcome;
	}
	return PYBPF_NATIVE_DEPTH;
}

/* ---- the truth */

static void truth(const struct program *p, uint64_t pc, struct list *out)
{
	out->n = 0;
	out->pc[out->n++] = pc;
	for (size_t i = p->calls.len; i-- > 0 && out->n < MAX_FRAMES;)
		out->pc[out->n++] = p->calls.data[i].pc;
}

static void push_call(struct program *p, uint64_t slot)
{
	struct call c = {.slot = slot};

	if (peek(&p->memory, slot, &c.pc, 8) || vec__push(&p->calls, c))
		fail("a call");
}

/* Does the instruction call? And does it return? */
static bool calls(struct program *p, uint64_t pc)
{
	struct insn_x86 i;
	uint8_t code[15];

	p->returned = false;
	if (peek(&p->memory, pc, code, sizeof(code)) || !insn_x86__read(code, sizeof(code), &i) || i.vex || i.map)
		return false;
	p->returned = i.op == 0xc3;
	return i.op == 0xe8 || (i.op == 0xff && i.group == 2);
}

static uint64_t hash_of(const struct list *l, size_t from)
{
	uint64_t h = l->n - from;

	for (size_t i = from; i < l->n; i++)
		h = hash__combine(h, l->pc[i]);
	return h;
}

static void count(struct hmap *in, uint64_t pc, int outcome)
{
	uint64_t key = pc << 8 | (unsigned int)outcome, *known = hmap__get(in, key);

	if (hmap__put(in, key, known ? *known + 1 : 1))
		fail("memory");
}

static void wrong(struct program *p, const struct list *ours, const struct list *is, long n)
{
	char text[128];

	if (!p->nwrong || p->nwrong < SHOWN) {
		fprintf(stderr, "wrong at %s: %zu frames, not %zu\n", place(p, ours->pc[0], text), ours->n, is->n);
		for (size_t i = 0; i < 16 && (i < ours->n || i < is->n); i++) {
			fprintf(stderr, "  %-48s", i < ours->n ? place(p, ours->pc[i], text) : "");
			fprintf(stderr, "  %s\n", i < is->n ? place(p, is->pc[i], text) : "");
		}
	}
	p->nwrong += n;
	count(&p->wrong, ours->pc[0], 0);
}

/* The program has gone where it was said to go, or has not. */
static void settle(struct program *p, const struct list *is)
{
	if (!p->claims || is->pc[0] != p->landing_pc)
		return;
	/* had frames been left out, it would come there all the same, step by step */
	if (hash_of(is, 0) == p->landing_rest && !p->returned)
		p->landings += p->claims;
	else
		wrong(p, is, is, p->claims);
	p->claims = 0;
}

static void compare(struct program *p, const struct list *ours, const struct list *is)
{
	size_t same = 0;
	uint64_t rest;

	while (same < ours->n && same < is->n && ours->pc[same] == is->pc[same])
		same++;
	if (same == ours->n && same == is->n) {
		p->equal++;
		return;
	}
	rest = same < ours->n ? hash_of(ours, same) : 0;
	if (p->claims && (p->landing_pc != ours->pc[same] || p->landing_rest != rest)) {
		wrong(p, ours, is, p->claims);
		p->claims = 0;
	}
	if (!same || same >= ours->n) {
		wrong(p, ours, is, 1);
		return;
	}
	p->landing_pc = ours->pc[same];
	p->landing_rest = rest;
	p->claims++;
}

/* ---- steps */

static void look(struct program *p, const struct user_regs_struct *u)
{
	static struct list ours, is;
	const struct code *c = p->only ? code_at(p, u->rip) : NULL;
	int outcome;

	truth(p, u->rip, &is);
	settle(p, &is);
	if (p->only && (!c || !strstr(c->name, p->only)))
		return;
	outcome = walk(p, u, &ours);
	if (outcome == PYBPF_OK) {
		compare(p, &ours, &is);
	} else {
		p->nmarked++;
		/* where the address comes from that is none */
		count(&p->marked, ours.pc[ours.n - 1 - (outcome == PYBPF_NATIVE_UNMAPPED && ours.n > 1)], outcome);
	}
}

static void copy_stack(struct program *p, uint64_t sp)
{
	struct memory *m = &p->memory;
	struct iovec to = {m->bytes, WINDOW}, from = {(void *)(uintptr_t)sp, WINDOW};
	ssize_t got = process_vm_readv(m->pid, &to, 1, &from, 1, 0);

	m->start = sp;
	m->size = got > 0 ? (size_t)got : 0;
}

/* What has been called when it is met: as the walk has it, from an instruction on at which it is complete. */
static bool begin(struct program *p, const struct user_regs_struct *u)
{
	static struct list ours;

	if (walk(p, u, &ours) != PYBPF_OK)
		return false;
	for (size_t i = ours.n; i-- > 1;)
		if (vec__push(&p->calls, (struct call){.slot = ours.slot[i], .pc = ours.pc[i]}))
			fail("memory");
	return true;
}

static long run(struct program *p, long steps)
{
	pid_t pid = p->memory.pid;
	bool begun = false;
	long i = 0;

	while (i < steps) {
		struct user_regs_struct before, after;
		int status, signal = 0;
		bool called;

		if (ptrace(PTRACE_GETREGS, pid, NULL, &before))
			fail("registers");
		copy_stack(p, before.rsp);
		if (!begun)
			begun = begin(p, &before);
		while (begun && p->calls.len && p->calls.data[p->calls.len - 1].slot < before.rsp)
			p->calls.len--;
		if (begun) {
			look(p, &before);
			i++;
		}
		called = calls(p, before.rip);
		for (;;) {
			if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(uintptr_t)signal) ||
			    waitpid(pid, &status, 0) != pid)
				fail("step");
			if (!WIFSTOPPED(status))
				return i;
			if (signal || WSTOPSIG(status) == SIGTRAP)
				break;
			signal = WSTOPSIG(status);
		}
		if (ptrace(PTRACE_GETREGS, pid, NULL, &after))
			fail("registers");
		if (begun && signal)
			push_call(p, after.rsp + SAVED_PC);
		if (begun && (signal || (called && after.rsp == before.rsp - 8)))
			push_call(p, after.rsp);
	}
	return i;
}

static void tell(struct program *p, const struct hmap *counts, const char *what)
{
	uint64_t key, *n;
	char text[128];
	size_t pos = 0;

	while (hmap__next(counts, &pos, &key, &n))
		printf("%s %" PRIu64 " %" PRIu64 " %s\n", what, key & 0xff, *n, place(p, key >> 8, text));
}

int main(int argc, char **argv)
{
	static struct program p;
	int status;
	long n;

	if (argc < 3)
		fail("usage: native_steps PID STEPS [FILE]");
	p.memory.pid = atoi(argv[1]);
	p.only = argv[3];
	if (ptrace(PTRACE_SEIZE, p.memory.pid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, p.memory.pid, NULL, NULL) ||
	    waitpid(p.memory.pid, &status, 0) != p.memory.pid)
		fail(argv[1]);
	read_maps(&p);
	puts("attached");
	fflush(stdout);
	n = run(&p, atol(argv[2]));
	ptrace(PTRACE_DETACH, p.memory.pid, NULL, NULL);
	tell(&p, &p.marked, "marked");
	tell(&p, &p.wrong, "wrong");
	printf("steps %ld equal %ld landing %ld marked %ld wrong %ld\n", n, p.equal, p.landings, p.nmarked, p.nwrong);
	vec__foreach(&p.code, c)
		unwind_table__free(c->table);
	vec__free(&p.code);
	vec__free(&p.calls);
	hmap__free(&p.marked);
	hmap__free(&p.wrong);
	return 0;
}
