# SPDX-License-Identifier: Apache-2.0
# Quiet unless V=1. Everything generated lives under build/ (or build-<variant>/ for SANITIZE=1, DEBUG=1).

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s%s\n' '$(1)' '$(2)';
else
Q :=
say =
endif

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
PYTHON ?= /usr/bin/python3

VARIANT := $(if $(SANITIZE),-sanitize)$(if $(DEBUG),-debug)
B := build$(VARIANT)

ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m)))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS ?= -O2 -g
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DPYBPF_VERSION='"$(VERSION)"'
INCLUDES := -Iinclude -Iuser -I$(B)
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(DEFS) $(INCLUDES) -MMD -MP
LDFLAGS ?=
LIBBPF_A := $(firstword $(wildcard /usr/lib/$(shell uname -m)-linux-gnu/libbpf.a /usr/lib64/libbpf.a /usr/lib/libbpf.a))
LIBS := $(LIBBPF_A) -lelf -lz -lm
ifdef SANITIZE
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
LDFLAGS += -fsanitize=address,undefined
endif
ifdef DEBUG
ALL_CFLAGS += -O0 -g3
endif

BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Wall -Wextra -Wno-unused-parameter \
	-Iinclude -Ibpf -Ivmlinux -MMD -MP

LIB_SRCS := $(sort $(wildcard user/*/*.c))
LIB_OBJS := $(LIB_SRCS:%.c=$(B)/%.o)
MAIN_OBJ := $(B)/user/main.o
SKEL := $(B)/pybpf.skel.h

UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(B)/tests/%)

.PHONY: all
all: $(B)/pybpf

# ---- the BPF object and its skeleton
$(B)/pybpf.bpf.o: bpf/pybpf.bpf.c Makefile | $(B)/
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MT $@ -MF $(B)/pybpf.bpf.d -c $< -o $(B)/pybpf.tmp.o
	$(Q)$(BPFTOOL) gen object $@ $(B)/pybpf.tmp.o
	$(Q)rm -f $(B)/pybpf.tmp.o

$(SKEL): $(B)/pybpf.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name pybpf_bpf > $@

# ---- user space
-include user/export/embed.mk

$(B)/%.o: %.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

# Only user/collect/ may include the skeleton.
$(filter $(B)/user/collect/%,$(LIB_OBJS)): | $(SKEL)

$(B)/libpybpf.a: $(LIB_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(B)/pybpf: $(MAIN_OBJ) $(B)/libpybpf.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(MAIN_OBJ) $(B)/libpybpf.a $(LIBS)

$(B)/:
	$(Q)mkdir -p $@

# ---- tests
$(B)/tests/%: tests/unit/%.c $(B)/libpybpf.a Makefile
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit -I. $(LDFLAGS) -o $@ $< $(B)/libpybpf.a -lcmocka $(LIBS)

$(B)/tests/%: tests/differential/%.c $(B)/libpybpf.a Makefile
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I. $(LDFLAGS) -o $@ $< $(B)/libpybpf.a $(LIBS)

$(B)/tests/%: tests/kernels/%.c $(B)/libpybpf.a Makefile
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I. $(LDFLAGS) -o $@ $< $(LIBS)

# Debian's kernels in QEMU: `make check-kernels KERNELS="5.10 6.12"` (see tests/kernels/test_kernels.py).
.PHONY: check-kernels
check-kernels: $(B)/pybpf $(B)/tests/verify
	$(Q)PYBPF_BUILD=$(abspath $(B)) PYBPF_KERNELS="$(KERNELS)" $(PYTHON) -m pytest -q -p no:cacheprovider tests/kernels

.PHONY: unit
unit: $(UNIT_BINS)
	$(Q)set -e; for t in $(UNIT_BINS); do echo "== $$t"; $$t; done

.PHONY: clean
clean:
	rm -rf build build-sanitize build-debug build-sanitize-debug

-include $(LIB_OBJS:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_BINS:=.d) $(B)/pybpf.bpf.d
