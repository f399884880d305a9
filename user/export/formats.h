/* SPDX-License-Identifier: Apache-2.0 */
/* What each format's file offers to the table in export.c; nobody else includes this. */
#ifndef PYBPF_FORMATS_H
#define PYBPF_FORMATS_H

#include "export/export.h"

extern const struct export_format export_flamegraph;
extern const struct export_format export_speedscope;
extern const struct export_format export_raw;
extern const struct export_format export_capture;

#endif
