/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being asked to stop: SIGINT and SIGTERM end a recording, a second one within a second gives up at once. While a
 * command runs they are passed on to it instead, unless the terminal has sent it the same one already.
 */
#ifndef PYBPF_STOP_H
#define PYBPF_STOP_H

#include <stdbool.h>
#include <sys/types.h>

/* Takes the signals over. */
void stop__install(void);
/* Around a fork: signals wait, and come to whoever they were sent to once it is clear what each of the two does about them. */
void stop__hold(void);
void stop__release(void);
/* `child`: the command that they belong to from now on, those included that have come already; 0: none. */
void stop__pass_to(pid_t child);
/* In a child before exec: signals are as this program was given them. */
void stop__restore(void);
/* The signal that asked to stop, 0: none yet. */
int stop__requested(void);
/* Whether SIGUSR1 has asked for a snapshot since the last call. */
bool stop__take_snapshot(void);
/* Whether one came within a second of the one before. */
bool stop__gave_up(void);

#endif
