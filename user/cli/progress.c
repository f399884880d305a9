// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define PERIOD_NS 100000000u

void progress__init(struct progress *p, bool wanted)
{
	const char *terminal = getenv("TERM");

	*p = (struct progress){.on = wanted && isatty(STDERR_FILENO) && (!terminal || strcmp(terminal, "dumb") != 0)};
}

bool progress__is_due(const struct progress *p)
{
	pid_t front = p->on ? tcgetpgrp(STDERR_FILENO) : 0;

	/* a job in the background (`&`) would draw over what is typed in the foreground; -1: not our own terminal */
	if (!p->on || (front > 0 && front != getpgrp()))
		return false;
	return clock_ns(CLOCK_MONOTONIC) - p->drawn_ns >= PERIOD_NS;
}

void progress__draw(struct progress *p, const char *line)
{
	size_t width = cli__terminal_width(STDERR_FILENO);

	fprintf(stderr, "\r\033[K%.*s", width > 1 ? (int)width - 1 : 0, line);
	p->drawn_ns = clock_ns(CLOCK_MONOTONIC);
	p->shown = true;
}

void progress__clear(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
