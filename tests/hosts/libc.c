// SPDX-License-Identifier: Apache-2.0
/*
 * Into the C library and back, by all kinds of ways: through its callbacks, signals' handlers, threads' starts, system calls that can
 * be cancelled, and code that its authors wrote by hand. For ever.
 */
#include <fenv.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long sum;
static volatile int handled;

static __attribute__((noinline)) int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	sum += (unsigned int)x;
	return x < y ? -1 : x > y;
}

static __attribute__((noinline)) void sorts(void)
{
	int numbers[16];

	for (int i = 0; i < 16; i++)
		numbers[i] = i * 7 % 16;
	qsort(numbers, 16, sizeof(numbers[0]), compare);
	sum += bsearch(&numbers[3], numbers, 16, sizeof(numbers[0]), compare) == &numbers[3];
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	handled += number == info->si_signo;
}

static __attribute__((noinline)) void signals(void)
{
	raise(SIGUSR1);
	raise(SIGUSR2); /* on a stack of its own */
}

static __attribute__((noinline)) void texts(void)
{
	char text[64], copy[64];

	snprintf(text, sizeof(text), "%d %s %.3f", handled, "text", (double)sum);
	memcpy(copy, text, sizeof(copy));
	memmove(copy + 1, copy, 40);
	memset(copy, 'x', 7);
	sum += strlen(copy) + (size_t)strtol("1234", NULL, 10) + (size_t)strtod("2.5e3", NULL);
	sum += strstr(text, "tex") != NULL;
}

static __attribute__((noinline)) void numbers(void)
{
	volatile double x = 0.7;
	volatile long double y = 1.3L;

	x = sin(x) + exp(x) + pow(x, 1.7) + fmod(x, 0.3) + tgamma(x) + (double)expl(y) + (double)floorl(y) + (double)sqrtl(y);
	feclearexcept(FE_ALL_EXCEPT);
	sum += (unsigned long)lrint(x);
}

static __attribute__((noinline)) void memory(void)
{
	void *all[8];

	for (size_t i = 0; i < 8; i++)
		all[i] = malloc((size_t)24 << i);
	for (size_t i = 0; i < 8; i++)
		all[i] = realloc(all[i], (size_t)40 << i);
	for (size_t i = 0; i < 8; i++)
		free(all[i]);
}

static __attribute__((noinline)) void jumps(void)
{
	static jmp_buf back;

	if (!setjmp(back))
		longjmp(back, 1);
	sum++;
}

static void *thread(void *arg)
{
	sorts();
	return arg;
}

static __attribute__((noinline)) void threads(void)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, thread, NULL))
		pthread_join(t, NULL);
}

static __attribute__((noinline)) void calls(void)
{
	struct timespec now, no = {0};
	char byte = 0;
	int ends[2];

	clock_gettime(CLOCK_REALTIME, &now);
	sum += (unsigned long)localtime(&now.tv_sec)->tm_sec;
	nanosleep(&no, NULL);
	if (pipe(ends))
		return;
	sum += (size_t)write(ends[1], &byte, 1) + (size_t)read(ends[0], &byte, 1);
	poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 0);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	static char other[1 << 16];
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	const stack_t stack = {.ss_sp = other, .ss_size = sizeof(other)};

	(void)argv;
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags |= SA_ONSTACK;
	sigaction(SIGUSR2, &action, NULL);
	for (int round = 0;; round++) {
		if (round == 1 && argc > 1) {
			puts("ready");
			fflush(stdout);
		}
		sorts();
		signals();
		texts();
		numbers();
		memory();
		jumps();
		calls();
		threads();
	}
}
