/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The kernel types of the architecture that the BPF programs are compiled for. */
#ifndef PYBPF_VMLINUX_H
#define PYBPF_VMLINUX_H

#if defined(__TARGET_ARCH_x86)
#include "x86/vmlinux.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arm64/vmlinux.h"
#else
#error "define __TARGET_ARCH_x86 or __TARGET_ARCH_arm64"
#endif

#endif /* PYBPF_VMLINUX_H */
