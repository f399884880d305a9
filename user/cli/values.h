/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options. Each parser returns 0, or -EINVAL with *e saying what would be right. */
#ifndef PYBPF_VALUES_H
#define PYBPF_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"

struct pid_list vec(uint32_t);

int values__rate(const char *text, uint32_t *hz);           /* 1 to 20000 */
int values__duration(const char *text, uint64_t *ns, struct err *e); /* seconds, 30s, 5m, 1h, "unlimited": 0 */
int values__pids(const char *text, struct pid_list *list, struct err *e); /* 12,0x1f; added to the list */
int values__user(const char *text, uint32_t *uid, struct err *e);  /* name or number */
int values__count(const char *text, uint32_t min, uint32_t max, uint32_t *n);
int values__width(const char *text, double *width, bool *percent, struct err *e); /* 0.1 or 0.1% */

/* "256M", "1.5G", "64k" or bytes, at least 16 MB: for --max-memory. 0 or -EINVAL with *e set. */
int values__memory(const char *text, uint64_t *bytes, struct err *e);

#endif
