// SPDX-License-Identifier: Apache-2.0
/*
 * Sends itself a signal all the time, so that it is often on the way back from a handler. Above the stack pointer lies nothing but
 * zeros: where a tick finds it put back and the address not yet, they are taken for what the signal has saved.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	handled = number;
}

static __attribute__((noinline)) int go_on(void)
{
	volatile char zeros[4096];

	memset((char *)zeros, 0, sizeof(zeros));
	while (!zeros[0])
		syscall(SYS_kill, getpid(), SIGUSR1);
	return zeros[1];
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &action, NULL);
	puts("ready");
	fflush(stdout);
	return go_on();
}
