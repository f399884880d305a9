/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C++ (Itanium ABI) and Rust (legacy and v0) names as people write them, by libiberty: without parameters, return types and
 * Rust's hashes, as `perf report` and `c++filt -p` show them. Suffixes of clones (".cold") go with the parameters.
 */
#ifndef PYBPF_DEMANGLE_H
#define PYBPF_DEMANGLE_H

#include "base/str.h"

/*
 * Adds the readable form of `mangled` to *out: itself when it is none of these or its readable form is longer than 8 KB (those
 * that grow without bound are attacks). Made plain (str.h). 0 or -ENOMEM.
 */
int demangle(const char *mangled, struct str *out);

#endif
