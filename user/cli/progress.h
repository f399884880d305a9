/* SPDX-License-Identifier: Apache-2.0 */
/* A line on the terminal that is drawn over and over, and makes room for other words. */
#ifndef PYBPF_PROGRESS_H
#define PYBPF_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on;
	bool shown;        /* the line stands there */
	uint64_t drawn_ns; /* CLOCK_MONOTONIC */
};

/* It is drawn when it is wanted and standard error is a terminal that can do so. */
void progress__init(struct progress *p, bool wanted);

/* Whether it is time for the next line: ten a second are enough for the eye, and none in the background. */
bool progress__is_due(const struct progress *p);

/* Draws the line, cut to the width of the terminal: a longer one could not be drawn over. */
void progress__draw(struct progress *p, const char *line);

/* Takes the line away. Before anything else is written to standard error. */
void progress__clear(struct progress *p);

#endif
