// SPDX-License-Identifier: Apache-2.0
/*
 * A native stack of so many frames, whose innermost one is at work; for what a native frame costs. Compiled without
 * frame pointers, with several shapes of frames.
 *
 * usage: deep FRAMES
 */
#include <stdio.h>
#include <stdlib.h>

static volatile unsigned int sink;

static __attribute__((noinline)) void spin(void)
{
	for (;;)
		sink = sink * 1103515245u + 12345u;
}

static __attribute__((noinline)) unsigned int large(unsigned int n, unsigned int a);

static __attribute__((noinline)) unsigned int small(unsigned int n, unsigned int a)
{
	if (n <= 1)
		spin();
	return large(n - 1, a * 3) + 1;
}

static __attribute__((noinline)) unsigned int large(unsigned int n, unsigned int a)
{
	volatile unsigned int kept[24] = {a, n};

	if (n <= 1)
		spin();
	return small(n - 1, kept[0] ^ n) + kept[1];
}

int main(int argc, char **argv)
{
	/* below main there are __libc_start_call_main, __libc_start_main and _start; spin is on top */
	int frames = (argc > 1 ? atoi(argv[1]) : 10) - 5;

	puts("up");
	fflush(stdout);
	return (int)small(frames > 0 ? (unsigned int)frames : 1, 1);
}
