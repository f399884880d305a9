// SPDX-License-Identifier: Apache-2.0
/*
 * A program whose native stack is hard to unwind and known at any moment: chain SEED [wait]. It says that it is ready, and then, if
 * asked to, waits for a line: what it does from there on is the same each time.
 *
 * step() goes through one of the ways below and back into step() until its path has ended; then leaf() works. Each way stands
 * on the stack with what it needs, so that every stack can be judged by itself (tests/e2e/test_native_unwind.py).
 */
#include <alloca.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <unistd.h>

#define WAY extern "C" __attribute__((noinline, noclone))
#define AFTER(x) asm volatile("" : : "r"(x) : "memory") /* no tail call: something is left to do */

extern "C" void step(const char *path);
static const char *now; /* what a callback goes on with */

/* Called by an address in rcx: its own, as after a system call. What lies in front of it has another frame. */
extern "C" void by_rcx(void);
asm(".pushsection .text\n\t.cfi_startproc\n\tsub $40, %rsp\n\t.cfi_adjust_cfa_offset 40\n\tud2\n\t.cfi_endproc\n"
    "\t.type by_rcx, @function\nby_rcx:\n\t.cfi_startproc\n\tret\n\t.cfi_endproc\n\t.size by_rcx, . - by_rcx\n\t.popsection");

/* As clone3: from behind the system call on there is no unwind information. */
extern "C" long by_syscall(void);
asm(".pushsection .text\n\t.type by_syscall, @function\nby_syscall:\n\t.cfi_startproc\n\tmov $110, %eax\n\tsyscall\n\t.cfi_endproc\n"
    "\tret\n\t.size by_syscall, . - by_syscall\n\t.popsection");

WAY long leaf(int kind)
{
	volatile long sum = 0;
	struct timespec t;

	for (int i = 0; i < 400; i++) {
		sum += i;
		if (kind == 0 && !(i & 15))
			clock_gettime(CLOCK_MONOTONIC, &t);
		if (kind == 1 && !(i & 127))
			sum += by_syscall(); /* getppid */
		if (kind == 2)
			asm volatile("call *%0" : : "c"(by_rcx) : "memory");
	}
	return sum;
}

WAY int in_qsort(const void *, const void *)
{
	const char *path = now;

	step(path);
	AFTER(path);
	return 0;
}

WAY void through_qsort(const char *path)
{
	int two[2] = {1, 2};

	now = path;
	qsort(two, 2, sizeof(*two), in_qsort);
	AFTER(two);
}

WAY void through_alloca(const char *path)
{
	char *room = static_cast<char *>(alloca(100 + 16 * strlen(path)));

	memset(room, 1, 100);
	step(path);
	AFTER(room);
}

WAY void through_realigned(const char *path)
{
	alignas(64) volatile char block[256];

	block[strlen(path)] = 1;
	step(path);
	AFTER(block);
}

WAY void in_signal(int)
{
	const char *path = now;

	step(path);
	AFTER(path);
}

WAY void through_signal(const char *path)
{
	now = path;
	raise(SIGUSR1);
	AFTER(path);
}

WAY void throw_it(const char *path)
{
	throw path;
}

WAY void through_exception(const char *path)
{
	try {
		throw_it(path);
	} catch (const char *caught) {
		step(caught);
		AFTER(caught);
	}
}

WAY void last_of_tail(const char *path, long a, long b, long c, long d, long e)
{
	step(path);
	AFTER(a + b + c + d + e);
}

/* leaves no frame of its own */
WAY void first_of_tail(const char *path)
{
	last_of_tail(path, 1, 2, 3, 4, 5);
}

WAY void through_tail(const char *path)
{
	first_of_tail(path);
	AFTER(path);
}

/* many arguments: some are pushed */
WAY void through_pushes(const char *path, long a, long b, long c, long d, long e, long f, long g, long h)
{
	step(path);
	AFTER(a + b + c + d + e + f + g + h);
}

WAY void through_depth(const char *path, int depth)
{
	if (depth)
		through_depth(path, depth - 1);
	else
		step(path);
	AFTER(depth);
}

extern "C" __attribute__((noinline)) void step(const char *path)
{
	switch (*path) {
	case 'q': through_qsort(path + 1); break;
	case 'a': through_alloca(path + 1); break;
	case 'r': through_realigned(path + 1); break;
	case 's': through_signal(path + 1); break;
	case 'x': through_exception(path + 1); break;
	case 't': through_tail(path + 1); break;
	case 'p': through_pushes(path + 1, 1, 2, 3, 4, 5, 6, 7, 8); break;
	case 'd': through_depth(path + 1, 30); break;
	default: leaf(*path - '0'); break;
	}
	AFTER(path);
}

int main(int argc, char **argv)
{
	static const char ways[] = "qarstpdx";
	struct sigaction action = {};

	action.sa_handler = in_signal;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGUSR1, &action, nullptr);
	srand(static_cast<unsigned>(atoi(argv[1])));
	puts("ready");
	fflush(stdout);
	if (argc > 2)
		getchar();
	for (;;) {
		char path[8] = {};
		int n = rand() % 6;

		for (int i = 0; i < n; i++)
			path[i] = ways[rand() % (sizeof(ways) - 1)];
		path[n] = static_cast<char>('0' + rand() % 3);
		step(path);
	}
}
