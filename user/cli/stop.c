// SPDX-License-Identifier: Apache-2.0
#include "cli/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"

/* Signal handlers have no argument of their own: this is the one place in user space with state of its own. */
static const int changed[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGXFSZ};
static struct sigaction inherited[sizeof(changed) / sizeof(changed[0])];
static sigset_t mask_before; /* of signals, while they are held */
static volatile sig_atomic_t requested, gave_up, snapshot;
static atomic_int passed_to;
static atomic_ullong last_ns;

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	pid_t child = atomic_load(&passed_to);

	(void)context;
	if (child) {
		/* SI_KERNEL: typed at the terminal, whose whole foreground group has it already; of a hang-up only the leader hears */
		if (info->si_code != SI_KERNEL || number == SIGHUP)
			kill(child, number);
	} else {
		/* within a second of the last one, whenever that was: writing may take long, or for ever */
		if (requested && clock_ns(CLOCK_MONOTONIC) - atomic_load(&last_ns) < 1000000000ll)
			gave_up = 1;
		atomic_store(&last_ns, clock_ns(CLOCK_MONOTONIC));
		requested = number;
	}
	errno = saved;
}

static void on_snapshot(int number)
{
	(void)number;
	snapshot = 1;
}

void stop__install(void)
{
	struct sigaction usr1 = {.sa_handler = on_snapshot};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		sigaction(changed[i], NULL, &inherited[i]);
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (signal(SIGHUP, SIG_IGN) != SIG_IGN) /* ignored: nohup(1) */
		sigaction(SIGHUP, &action, NULL);
	sigemptyset(&usr1.sa_mask);
	sigaction(SIGUSR1, &usr1, NULL);
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
	signal(SIGXFSZ, SIG_IGN); /* so is a limit of file sizes */
}

void stop__hold(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask_before);
}

void stop__release(void)
{
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

void stop__restore(void)
{
	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		sigaction(changed[i], &inherited[i], NULL);
}

void stop__pass_to(pid_t child)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	atomic_store(&passed_to, child);
	sigemptyset(&action.sa_mask);
	sigaction(SIGQUIT, &action, NULL); /* ends a command, whose profile is then written */
	sigaction(SIGUSR2, &action, NULL); /* what it means is the command's affair */
	if (child && requested) {
		kill(child, requested);
		requested = 0;
	}
}

int stop__requested(void)
{
	return requested;
}

bool stop__take_snapshot(void)
{
	bool wanted = snapshot;

	snapshot = 0;
	return wanted;
}

bool stop__gave_up(void)
{
	return gave_up;
}
