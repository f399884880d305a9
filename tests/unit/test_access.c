// SPDX-License-Identifier: Apache-2.0
/*
 * Getters as compilers really make them: small libraries are built in every thread-local storage model, loaded, and their
 * functions' code is decoded; what the BPF program makes of it, compiled for the host and reading this process's own
 * memory, must be what the functions return.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <dlfcn.h>

#include "bpf_host.h"

#include "base/cleanup.h"
#include "pyrt/access.h"

#define CODE 256

static const char thread_local_source[] =
	"extern __thread void *shared __attribute__((visibility(\"default\")));\n"
	"__thread void *shared;\n"
	"static __thread void *before, *state;\n"
	"void *get_static(void) { return state; }\n"
	"void *get_shared(void) { return shared; }\n"
	"void set(void *a, void *b) { before = 0; state = a; shared = b; }\n"
	"static __thread int pinned __attribute__((tls_model(\"initial-exec\")));\n"
	"int pin(void) { return PIN ? pinned++ : 0; }\n";

/* As CPython's own have it: Py_tss_t, inlined or not; and autoTLSkey of 3.6. */
static const char key_source[] =
	"#include <pthread.h>\n"
	"typedef struct { int ready; pthread_key_t key; } tss_t;\n"
	"struct runtime { long many[300]; void *interp; tss_t tss; };\n"
	"HOW struct runtime runtime;\n"
	"static int bare = -1;\n"
	"__attribute__((noinline, visibility(\"default\"))) int is_created(tss_t *t) { return t->ready; }\n"
	"__attribute__((noinline, visibility(\"default\"))) void *tss_get(tss_t *t) { return pthread_getspecific(t->key); }\n"
	"__attribute__((noinline, visibility(\"default\"))) void *bare_get(int key) { return pthread_getspecific(key); }\n"
	"void *checked(void) { return is_created(&runtime.tss) ? tss_get(&runtime.tss) : 0; }\n"
	"void *plain(void) { return runtime.interp ? tss_get(&runtime.tss) : 0; }\n"
	"void *inlined(void) { return runtime.tss.ready ? pthread_getspecific(runtime.tss.key) : 0; }\n"
	"void *old(void) { return runtime.interp ? bare_get(bare) : 0; }\n"
	"void *key_of_tss(void) { return &runtime.tss.key; }\n"
	"void *key_of_old(void) { return &bare; }\n"
	"void *runtime_of(void) { return &runtime; }\n";

static char folder[] = "/tmp/pybpf-access-XXXXXX";

/* A library of `source`, loaded; NULL where that compiler or option does not exist here. */
static void *build(const char *cc, const char *options, const char *source)
{
	static unsigned int n;
	char path[128], command[1024];
	FILE *f;
	void *lib;

	snprintf(path, sizeof(path), "%s/%u.c", folder, n);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(source, f);
	fclose(f);
	snprintf(command, sizeof(command), "%s -w -shared %s -o %s/%u.so %s 2>/dev/null", cc, options, folder, n, path);
	if (system(command))
		return NULL;
	snprintf(path, sizeof(path), "%s/%u.so", folder, n++);
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(lib);
	return lib;
}

static void *function(void *lib, const char *name)
{
	void *f = dlsym(lib, name);

	assert_non_null(f);
	return f;
}

static int decode(const void *f, struct pyrt_access *out)
{
	uint64_t next;

	return pyrt_access__decode_x86(f, CODE, (uintptr_t)f, out, &next);
}

static uint64_t thread_pointer(void)
{
	uint64_t tp;

	asm("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

/* What the BPF program reads, told what the decoder has found. */
static uint64_t read_as_bpf(const struct pyrt_access *a, uint32_t *source)
{
	static const uint32_t forms[] = {
		[PYRT_ACCESS_INITIAL_EXEC] = PY_GOT_OFFSET,
		[PYRT_ACCESS_DYNAMIC] = PY_GOT_MODULE,
		[PYRT_ACCESS_DESCRIPTOR] = PY_GOT_DESCRIPTOR,
	};
	struct py_layout lay = {0};
	struct proc_info info = {
		.source = PY_TSTATE_GOT,
		.slot = {0, (int64_t)a->address},
		.tss_base = (uint32_t)a->offset,
	};
	__u64 value = 0;

	assert_in_range(a->kind, PYRT_ACCESS_INITIAL_EXEC, PYRT_ACCESS_DESCRIPTOR);
	info.tss_stride = forms[a->kind];
	for (int twice = 0; twice < 2; twice++) /* the second time from what the first has found out */
		assert_int_equal(host_find_tstate(&info, &lay, thread_pointer(), &value), PYBPF_OK);
	*source = info.source;
	return value;
}

static const char *const compilers[] = {"gcc", "clang"};
static const char *const levels[] = {"-Og", "-O1", "-O2", "-O3", "-Os"}; /* no interpreter is built with -O0 */

/* Returns how many getters were compared. */
static unsigned int compare(const char *cc, const char *options, uint32_t *sources)
{
	struct image image = {0};
	static int one, two;
	unsigned int compared = 0;
	void *lib = build(cc, options, thread_local_source);
	void (*set)(void *, void *);

	if (!lib)
		return 0;
	set = function(lib, "set");
	assert_int_equal(memory__open_process(getpid(), &image.live, NULL), 0);
	host_image = &image;
	for (int i = 0; i < 2; i++) {
		struct pyrt_access a;
		uint32_t source;

		set(&one, &two);
		if (decode(function(lib, i ? "get_shared" : "get_static"), &a))
			fail_msg("%s %s: getter %d is not understood", cc, options, i);
		if (read_as_bpf(&a, &source) != (uintptr_t)(i ? &two : &one))
			fail_msg("%s %s: getter %d leads elsewhere (kind %d)", cc, options, i, a.kind);
		sources[source]++;
		compared++;
	}
	host_image = NULL;
	image__free(&image);
	return compared;
}

static void test_every_model(void **state)
{
	static const char *const models[] = {
		"",
		"-ftls-model=global-dynamic",
		"-ftls-model=local-dynamic -DLD",
		"-ftls-model=initial-exec",
		"-mtls-dialect=gnu2",
		"-fno-plt",
		"-fcf-protection=full",
	};
	uint32_t sources[8] = {0};
	unsigned int compared = 0;

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(compilers); c++) {
		for (size_t m = 0; m < ARRAY_SIZE(models); m++) {
			for (size_t l = 0; l < ARRAY_SIZE(levels); l += 2) {
				for (int pin = 0; pin < (m ? 1 : 2); pin++) {
					char options[256];

					snprintf(options, sizeof(options), "-fPIC %s %s -DPIN=%d", levels[l],
						 models[m], pin);
					compared += compare(compilers[c], options, sources);
				}
			}
		}
	}
	print_message("%u getters: at a fixed distance %u, by the vector of blocks %u\n", compared,
		      sources[PY_TSTATE_TLS], sources[PY_TSTATE_DTV]);
	assert_true(compared >= 2 * 2 * ARRAY_SIZE(models)); /* one compiler at the least */
	assert_true(sources[PY_TSTATE_TLS] > 0 && sources[PY_TSTATE_DTV] > 0);
}

/* In an executable, and in this very program. */
static __thread void *own;

__attribute__((noinline)) static void *get_own(void)
{
	return own;
}

static void test_local_exec(void **state)
{
	struct pyrt_access a;

	(void)state;
	own = &a;
	assert_ptr_equal(get_own(), &a);
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(decode((const void *)get_own, &a), 0);
	assert_int_equal(a.kind, PYRT_ACCESS_LOCAL_EXEC);
	assert_int_equal(thread_pointer() + (uint64_t)a.offset, (uintptr_t)&own);
#endif
}

static void check_key(void *lib, const char *name, const char *key, const char *what)
{
	void *(*where)(void) = function(lib, key);
	void *(*runtime)(void) = function(lib, "runtime_of");
	struct pyrt_access a;
	uint64_t address;

	if (decode(function(lib, name), &a))
		fail_msg("%s: %s is not understood", what, name);
	address = a.kind == PYRT_ACCESS_INDIRECT ? (uint64_t)(uintptr_t)runtime() + (uint64_t)a.offset : a.address;
	if (a.kind == PYRT_ACCESS_INDIRECT)
		assert_int_equal(*(uint64_t *)a.address, (uintptr_t)runtime());
	else
		assert_int_equal(a.kind, PYRT_ACCESS_MEMORY);
	if (address != (uintptr_t)where())
		fail_msg("%s: %s leads elsewhere", what, name);
}

static void test_keys(void **state)
{
	static const char *const hows[] = {"-DHOW=static", "-DHOW=", "-DHOW='__attribute__((visibility(\"hidden\")))'"};
	unsigned int compared = 0;

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(compilers); c++) {
		for (size_t h = 0; h < ARRAY_SIZE(hows); h++) {
			for (size_t l = 0; l < ARRAY_SIZE(levels); l++) {
				char options[256];
				void *lib;

				snprintf(options, sizeof(options), "-fPIC %s %s", levels[l], hows[h]);
				lib = build(compilers[c], options, key_source);
				if (!lib)
					continue;
				check_key(lib, "checked", "key_of_tss", options);
				check_key(lib, "plain", "key_of_tss", options);
				check_key(lib, "inlined", "key_of_tss", options);
				check_key(lib, "old", "key_of_old", options);
				compared++;
			}
		}
	}
	assert_true(compared >= 10);
}

/* Whatever bytes there are: no crash, no loop, and never a read past the end (ASan). */
static void test_any_bytes(void **state)
{
	uint64_t x = 88172645463325252ull;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t n = (size_t)(x >> 32) % 40;
		uint8_t *code = malloc(n + 1);
		struct pyrt_access a;
		uint64_t next;

		for (size_t k = 0; k < n; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			/* mostly bytes that begin what is understood */
			code[k] = x & 1 ? (uint8_t)(x >> 24)
					: (uint8_t)"\x48\x8b\x05\x64\x8d\x3d\xe8\xff\x10\x25\x66\x0f\x83\xc3"[(x >> 8) % 14];
		}
		pyrt_access__decode_x86(code, n, 0x1000, &a, &next);
		free(code);
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}

/* Which copy of the bytecode an instruction lies in: bpf/walk.bpf.h, tlbc__resolve. */
static void test_thread_local_bytecode(void **state)
{
	static struct scratch s;
	struct image image = {0};
	struct py_layout *lay = &s.lay;
	uint64_t code = 0x10000, copies = 0x20000, first = code + 240, third = 0x30500;
	unsigned char page[HOST_PAGE] = {0};

	(void)state;
	host_image = &image;
	image__put(&image, code, page);
	image__put(&image, copies, page);
	lay->code_bytecode = 240;
	lay->code_tlbc = 216;
	lay->frame_tlbc = 76;
	image__write_u64(&image, code + lay->code_tlbc, copies);
	image__write_u64(&image, copies, 4);
	image__write_u64(&image, copies + 8, first);
	image__write_u64(&image, copies + 8 + 2 * 8, third);
	assert_int_equal(tlbc__resolve(&s, code, first + 12), first + 12);
	assert_int_equal(tlbc__resolve(&s, code, 2ull << 48 | (third + 34)), first + 34);
	lay->frame_tlbc = PYBPF_NO_OFFSET;
	assert_int_equal(tlbc__resolve(&s, code, third), third);
	lay->frame_tlbc = 76;
	image__unmap(&image, copies);
	assert_int_equal(tlbc__resolve(&s, code, 2ull << 48 | (third + 34)), first);
	host_image = NULL;
	image__free(&image);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_model),
		cmocka_unit_test(test_local_exec),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_thread_local_bytecode),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
