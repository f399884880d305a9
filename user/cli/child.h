/* SPDX-License-Identifier: Apache-2.0 */
/* The command behind `--`: made ready, held until sampling runs, and let go as the user who called sudo. */
#ifndef PYBPF_CHILD_H
#define PYBPF_CHILD_H

#include <sys/types.h>

#include "base/err.h"

struct child {
	pid_t pid; /* 0: none */
	int go_fd;
	int status; /* as waitpid gives it, once reaped */
	int ended, reaped;
};

/* Forks; the child waits before its exec. Signals are passed on to it from here on (cli/stop.h). 0 or -errno. */
int child__prepare(struct child *c, char **argv, struct err *e);
/*
 * Lets it go. 0, also when it has ended already; or when it can't be executed 127 (not found) or 126 (not executable) with *e
 * set; or -errno.
 */
int child__go(struct child *c, const char *name, struct err *e);
/* Whether it has ended; does not wait. */
int child__poll(struct child *c);
/* Takes the status of one that has ended: from here on its pid may become another process's. */
void child__reap(struct child *c);
/* Its own exit code, or 128 + N when signal N killed it; once reaped. */
int child__exit_code(const struct child *c);
/* Ends a child that was prepared and never let go. */
void child__cancel(struct child *c);

#endif
