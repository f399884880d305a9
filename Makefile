# SPDX-License-Identifier: Apache-2.0
# Quiet unless V=1. Everything generated lives under build/, or under build-VARIANT/ for SANITIZE=1 (ASan and UBSan),
# DEBUG=1 (no optimization) and FUZZ=1 (for `make fuzz`).

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

V ?= 0
ifeq ($(V),0)
Q := @
say = $(if $(findstring s,$(firstword -$(MAKEFLAGS))),@:,@printf '  %-8s%s\n' '$(1)' '$(2)')
else
Q :=
say =
endif

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
CLANG ?= clang
ifeq ($(origin CC),default)
CC := $(if $(FUZZ),$(CLANG),gcc)
endif
# Debian's bpftool; Ubuntu's wrapper in /usr/sbin wants the running kernel's own, the ones beside it do as well.
BPFTOOL ?= $(firstword $(wildcard /usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool /usr/sbin/bpftool) bpftool)
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)

VARIANT := $(if $(SANITIZE),-sanitize)$(if $(DEBUG),-debug)$(if $(FUZZ),-fuzz)
B := build$(VARIANT)

MACHINE := $(shell uname -m)
ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(WERROR),-Werror)
CFLAGS ?= -O2 -g
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DPYBPF_VERSION='"$(VERSION)"'
INCLUDES := -Iinclude -Iuser -I$(B)
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(DEFS) $(INCLUDES) $(SANITIZERS) -MMD -MP
LDFLAGS ?=
ALL_LDFLAGS = $(LDFLAGS) $(SANITIZERS)
LIBBPF_A := $(firstword $(wildcard /usr/lib/$(MACHINE)-linux-gnu/libbpf.a /usr/lib64/libbpf.a /usr/lib/libbpf.a))
LIBS := $(LIBBPF_A) -ljansson -ldw -lelf -liberty -llzma -lz -lm -pthread
ifdef SANITIZE
CFLAGS := -O1 -g
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifdef FUZZ
CFLAGS := -O1 -g
SANITIZERS := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifdef DEBUG
CFLAGS := -O0 -g3
endif

BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Wall -Wextra -Wno-unused-parameter $(if $(WERROR),-Werror) \
	-Iinclude -Ibpf -Ivmlinux

LIB_SRCS := $(sort $(wildcard user/*/*.c))
LIB_OBJS := $(LIB_SRCS:%.c=$(B)/%.o)
MAIN_OBJ := $(B)/user/main.o
SKEL := $(B)/pybpf.skel.h

UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(B)/tests/%)
DIFF_SRCS := $(sort $(wildcard tests/differential/*.c))
DIFF_BINS := $(DIFF_SRCS:tests/differential/%.c=$(B)/tests/%)
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZ_SRCS:tests/fuzz/%.c=$(B)/tests/%)

.PHONY: all
all: $(B)/pybpf

# ---- what things are made with: the file changes, and what depends on it is made again, when the words do
.PHONY: FORCE
define HOW
$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)
$(CLANG) $(BPFTOOL) $(BPF_CFLAGS)
$(LIB_SRCS)
endef
export HOW

$(B)/how: FORCE
	@for tool in $(firstword $(CC)) $(CLANG) $(BPFTOOL); do \
		command -v $$tool > /dev/null || { echo "$$tool is missing: run 'make deps' as root" >&2; exit 1; }; \
	done
	@[ -n "$(LIBBPF_A)" ] || { echo "libbpf.a is missing: run 'make deps' as root" >&2; exit 1; }
	@mkdir -p $(@D); printf '%s\n' "$$HOW" | cmp -s - $@ || printf '%s\n' "$$HOW" > $@

# ---- the BPF object and its skeleton
$(B)/pybpf.bpf.o: bpf/pybpf.bpf.c $(B)/how
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(B)/pybpf.bpf.d -c $< -o $(B)/pybpf.tmp.o
	$(Q)$(BPFTOOL) gen object $@ $(B)/pybpf.tmp.o
	$(Q)rm -f $(B)/pybpf.tmp.o

$(SKEL): $(B)/pybpf.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name pybpf_bpf > $@

# ---- user space
-include user/export/embed.mk

$(B)/%.o: %.c $(B)/how
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

# Only user/collect/kernel.c may include the skeleton.
$(B)/user/collect/kernel.o: $(SKEL)

$(B)/libpybpf.a: $(LIB_OBJS) $(B)/how
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(LIB_OBJS)

$(B)/pybpf: $(MAIN_OBJ) $(B)/libpybpf.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(MAIN_OBJ) $(B)/libpybpf.a $(LIBS)

# One that needs no library of the machine it runs on.
.PHONY: static
static: $(B)/pybpf-static

$(B)/pybpf-static: $(MAIN_OBJ) $(B)/libpybpf.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -static -o $@ $(MAIN_OBJ) $(B)/libpybpf.a $(LIBS)

# ---- what others write and what they need
.PHONY: deps test-deps
deps:
	$(Q)scripts/deps.sh build

test-deps:
	$(Q)scripts/deps.sh build test
	$(Q)scripts/interpreters.sh -q

.PHONY: demo
demo: deps
	$(Q)$(MAKE) -s -j$(JOBS) all
	$(Q)$(PYTHON) scripts/demo/demo.py $(B)/pybpf build/demo.svg

# `make bench ONLY=depth,start QUICK=1`: see tests/bench/run.py
.PHONY: bench
bench: all $(B)/tests/unwind_tables $(B)/tests/deep
	$(Q)scripts/deps.sh bench
	$(Q)ONLY="$(ONLY)" QUICK="$(QUICK)" AGAINST="$(AGAINST)" $(PYTHON) tests/bench/run.py

# ---- tests
$(B)/tests/%: tests/unit/%.c $(B)/libpybpf.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit -I. -o $@ $< $(B)/libpybpf.a $(ALL_LDFLAGS) -lcmocka $(LIBS)

$(B)/tests/%: tests/differential/%.c $(B)/libpybpf.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I. -o $@ $< $(B)/libpybpf.a $(ALL_LDFLAGS) $(LIBS)

$(B)/tests/%: tests/bench/%.c $(B)/libpybpf.a
	$(call say,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I. -o $@ $< $(B)/libpybpf.a $(ALL_LDFLAGS) $(LIBS)

$(B)/tests/%: tests/kernels/%.c $(B)/libpybpf.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I. -o $@ $< $(ALL_LDFLAGS) $(LIBS)

$(B)/tests/deep: tests/bench/deep.c $(B)/how
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -fomit-frame-pointer -fno-optimize-sibling-calls -o $@ $<

$(B)/tests/%: tests/bench/%.c $(B)/libpybpf.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(B)/libpybpf.a $(ALL_LDFLAGS) $(LIBS)

$(B)/tests/%: tests/fuzz/%.c $(B)/libpybpf.a
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/fuzz -fsanitize=fuzzer -o $@ $< $(B)/libpybpf.a $(ALL_LDFLAGS) $(LIBS)

# Everything that `check` runs, built.
.PHONY: test-bins
test-bins: $(B)/pybpf $(UNIT_BINS) $(if $(SANITIZE),,$(DIFF_BINS) $(B)/tests/verify)

.PHONY: unit
unit: $(UNIT_BINS)
	$(Q)scripts/unit.sh $(UNIT_BINS)

.PHONY: check
check:
	$(Q)JOBS=$(JOBS) PYTHON=$(PYTHON) MAKE="$(MAKE)" scripts/check.sh

# The object for the machine that this one is not, to see that it compiles.
.PHONY: bpf-arm64
bpf-arm64:
	$(Q)$(MAKE) -s ARCH=arm64 B=$(B)/arm64 $(B)/arm64/pybpf.bpf.o

# Debian's kernels in QEMU: `make check-kernels KERNELS="5.10 6.12"` (see tests/kernels/test_kernels.py).
.PHONY: check-kernels
check-kernels: $(B)/pybpf $(B)/tests/verify bpf-arm64
	$(Q)PYBPF_BUILD=$(abspath $(B)) PYBPF_KERNELS="$(KERNELS)" $(PYTHON) -m pytest -q -p no:cacheprovider tests/kernels

# Each fuzzer for FUZZ_SECONDS; what it finds stays in build-fuzz/.
FUZZ_SECONDS ?= 60
.PHONY: fuzz fuzz-run
fuzz:
	$(Q)$(MAKE) -s -j$(JOBS) FUZZ=1 fuzz-run

fuzz-run: $(FUZZ_BINS)
	$(Q)scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_BINS)

# ---- the looks of the code
.PHONY: lint
lint:
	$(Q)JOBS=$(JOBS) PYTHON=$(PYTHON) MAKE="$(MAKE)" scripts/lint.sh

# Lines that differ from the last commit; older ones keep the shape that their author gave them.
.PHONY: format
format:
	$(Q)git diff -U0 --no-color --relative HEAD -- '*.c' '*.h' | clang-format-diff -p1 -i

# ---- install
.PHONY: install
install: all
	install -D -m 755 $(B)/pybpf $(DESTDIR)$(PREFIX)/bin/pybpf
	install -D -m 644 user/pybpf.1 $(DESTDIR)$(PREFIX)/share/man/man1/pybpf.1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(B)/pybpf completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pybpf
	$(B)/pybpf completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_pybpf
	$(B)/pybpf completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pybpf.fish

.PHONY: clean
clean:
	rm -rf build build-sanitize build-debug build-sanitize-debug build-fuzz

-include $(LIB_OBJS:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_BINS:=.d) $(DIFF_BINS:=.d) $(FUZZ_BINS:=.d) $(B)/tests/verify.d $(B)/pybpf.bpf.d
