// SPDX-License-Identifier: Apache-2.0
/* Tables on disk: what is found again, what is not believed, what is removed. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "unwind_frame.h"
#include "unwind/cache.h"
#include "unwind/siphash.h"

#define BIG ((size_t)1 << 30)

struct fixture {
	char top[64], dir[128];
	struct unwind_cache *cache;
};

static void each_file(const struct fixture *f, void (*act)(const char *path, void *arg), void *arg)
{
	DIR *d = opendir(f->dir);
	char path[PATH_MAX];

	for (struct dirent *entry = d ? readdir(d) : NULL; entry; entry = readdir(d)) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", f->dir, entry->d_name);
		act(path, arg);
	}
	if (d)
		closedir(d);
}

static void remove_file(const char *path, void *arg)
{
	(void)arg;
	unlink(path);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = {0};

	strcpy(f->top, "/tmp/pybpf-test-XXXXXX");
	if (!mkdtemp(f->top))
		return -1;
	snprintf(f->dir, sizeof(f->dir), "%s/some/where", f->top);
	*state = f;
	return unwind_cache__open(f->dir, BIG, &f->cache, &e);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char some[PATH_MAX];

	unwind_cache__close(f->cache);
	each_file(f, remove_file, NULL);
	rmdir(f->dir);
	snprintf(some, sizeof(some), "%s/some", f->top);
	rmdir(some);
	rmdir(f->top);
	free(f);
	return 0;
}

/* The table of a file of `functions` functions, which differ from those of another `kind`. */
static struct unwind_table *get_frame(struct unwind_cache *c, struct frame *f, unsigned int functions, uint8_t kind)
{
	struct unwind_table *t = NULL;
	struct elf *elf = NULL;
	struct err e = {0};
	int fd;

	frame__usual_cie(f);
	for (unsigned int i = 0; i < functions; i++)
		frame__function(f, TEXT + i * 0x800, 0x400,
				BYTES(0x44, 0x0e, (uint8_t)(16 + i % 64), 0x44, 0x0e, kind));
	f->image.frame = f->bytes;
	f->image.size = f->n;
	fd = image__make(&f->image);
	assert_int_equal(elf__open(fd, &elf, &e), 0);
	assert_int_equal(unwind_cache__build(c, elf, NULL, &t, &e), 0);
	elf__close(elf);
	close(fd);
	return t;
}

static struct unwind_table *get(struct unwind_cache *c, unsigned int functions, uint8_t kind)
{
	struct frame f = {0};

	return get_frame(c, &f, functions, kind);
}

static void expect_same(const struct unwind_table *a, const struct unwind_table *b)
{
	assert_int_equal(a->text_start, b->text_start);
	assert_int_equal(a->npages, b->npages);
	assert_int_equal(a->nrows, b->nrows);
	assert_int_equal(a->nrules, b->nrules);
	assert_int_equal(a->nfunctions, b->nfunctions);
	assert_int_equal(a->nbad, b->nbad);
	assert_int_equal(a->machine, b->machine);
	assert_memory_equal(a->pages, b->pages, (a->npages + 1) * sizeof(*a->pages));
	assert_memory_equal(a->rows, b->rows, a->nrows * sizeof(*a->rows));
	assert_memory_equal(a->rules, b->rules, a->nrules * sizeof(*a->rules));
}

/* Gets a table and compares it with one that was made without a cache. */
static void expect(struct unwind_cache *c, unsigned int functions, uint8_t kind, size_t hits, size_t misses)
{
	struct unwind_table *plain = get(NULL, functions, kind), *t = get(c, functions, kind);

	expect_same(t, plain);
	unwind_table__free(plain);
	unwind_table__free(t);
	assert_int_equal(unwind_cache__stats(c).hits, hits);
	assert_int_equal(unwind_cache__stats(c).misses, misses);
}

static void test_found_again(void **state)
{
	struct fixture *f = *state;
	struct unwind_cache *other;
	struct err e = {0};

	expect(f->cache, 50, 200, 0, 1);
	expect(f->cache, 50, 200, 1, 1);
	expect(f->cache, 50, 201, 1, 2); /* one byte of the instructions differs */
	expect(f->cache, 49, 200, 1, 3);
	expect(f->cache, 50, 201, 2, 3);
	assert_int_equal(unwind_cache__open(f->dir, BIG, &other, &e), 0);
	expect(other, 50, 200, 1, 0);
	unwind_cache__close(other);
}

/* libgcc, whose table depends on its code (user/unwind/landing_x86.h), in a file of its own. Its descriptor, and the
 * place of a function. */
static int copy_libgcc(off_t *function)
{
	void *lib = dlopen("libgcc_s.so.1", RTLD_NOW), *resume = lib ? dlsym(lib, "_Unwind_Resume") : NULL;
	int from, to = memfd_create("libgcc", 0);
	Dl_info info;
	struct stat st;

	assert_true(resume && dladdr(resume, &info) && to >= 0);
	from = open(info.dli_fname, O_RDONLY);
	assert_true(from >= 0 && !fstat(from, &st));
	assert_int_equal(sendfile(to, from, NULL, (size_t)st.st_size), st.st_size);
	close(from);
	*function = (char *)resume - (char *)info.dli_fbase; /* its code lies in the file as it does in memory */
	dlclose(lib);
	return to;
}

static void expect_libgcc(struct unwind_cache *c, int fd, size_t hits, size_t misses)
{
	struct unwind_table *t = NULL;
	struct elf *elf = NULL;
	struct err e = {0};

	assert_int_equal(elf__open(fd, &elf, &e), 0);
	assert_int_equal(unwind_cache__build(c, elf, NULL, &t, &e), 0);
	unwind_table__free(t);
	elf__close(elf);
	assert_int_equal(unwind_cache__stats(c).hits, hits);
	assert_int_equal(unwind_cache__stats(c).misses, misses);
}

static void test_code_changes(void **state)
{
	struct fixture *f = *state;
	off_t function;
	int fd = copy_libgcc(&function);

	expect_libgcc(f->cache, fd, 0, 1);
	expect_libgcc(f->cache, fd, 1, 1);
	assert_int_equal(pwrite(fd, "\x90", 1, function + 8), 1);
	expect_libgcc(f->cache, fd, 1, 2);
	expect_libgcc(f->cache, fd, 2, 2);
	close(fd);
}

struct change {
	off_t at;   /* negative: from the end */
	int length; /* cut to this, unless 0 */
};

static void damage(const char *path, void *arg)
{
	const struct change *change = arg;
	struct stat st;
	uint8_t byte;
	off_t at;
	int fd;

	if (strstr(path, "/key"))
		return;
	fd = open(path, O_RDWR);
	assert_true(fd >= 0 && !fstat(fd, &st));
	at = change->at < 0 ? st.st_size + change->at : change->at;
	if (change->length) {
		assert_int_equal(ftruncate(fd, change->length), 0);
	} else {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	size_t misses = 1;

	expect(f->cache, 20, 200, 0, misses);
	for (off_t at = 0; at < 56 + 64; at++) { /* the head, and some of the rules */
		each_file(f, damage, &(struct change){.at = at});
		expect(f->cache, 20, 200, 0, ++misses);
	}
	each_file(f, damage, &(struct change){.at = -1});
	expect(f->cache, 20, 200, 0, ++misses);
	for (int length = 1; length < 100; length += 9) {
		each_file(f, damage, &(struct change){.length = length});
		expect(f->cache, 20, 200, 0, ++misses);
	}
	expect(f->cache, 20, 200, 1, misses);
}

/* Is the code of a file without call frame information for it, which a symbol of that type names, followed? */
static bool is_followed(struct unwind_cache *c, const uint8_t *code, size_t n, unsigned char type)
{
	const Elf64_Sym symbol = {.st_info = ELF64_ST_INFO(STB_GLOBAL, type), .st_shndx = 1, .st_value = IMAGE_CODE, .st_size = n};
	struct frame f = {.image = {.code = code, .code_size = n, .symbols = &symbol, .nsymbols = 1}};
	struct unwind_table *t = get_frame(c, &f, 1, 200);
	bool is = !unwind_table__lookup(t, IMAGE_CODE, &(struct unwind_rule){0});

	unwind_table__free(t);
	return is;
}

/* No file can be made that leaves another one without the rules of code that is followed. */
static void test_other_code(void **state)
{
	static const uint8_t moves[] = {0x50, 0xc3}, returns[] = {0x90, 0xc3};
	struct fixture *f = *state;

	assert_false(is_followed(f->cache, returns, sizeof(returns), STT_OBJECT));
	assert_false(is_followed(f->cache, returns, sizeof(returns), STT_OBJECT));
	assert_int_equal(unwind_cache__stats(f->cache).hits, 1);
	assert_false(is_followed(f->cache, moves, sizeof(moves), STT_FUNC));
	assert_int_equal(unwind_cache__stats(f->cache).hits, 1);
	assert_true(is_followed(f->cache, returns, sizeof(returns), STT_FUNC));
	assert_int_equal(unwind_cache__stats(f->cache).hits, 1);
	assert_true(is_followed(f->cache, returns, sizeof(returns), STT_FUNC));
	assert_int_equal(unwind_cache__stats(f->cache).hits, 2);
}

static void open_to_others(const char *path, void *arg)
{
	chmod(path, *(mode_t *)arg);
}

static void give_away(const char *path, void *arg)
{
	(void)arg;
	if (!strstr(path, "/key"))
		assert_int_equal(chown(path, 1, 1), 0);
}

static void replace_by_link(const char *path, void *arg)
{
	(void)arg;
	if (strstr(path, "/key"))
		return;
	char other[PATH_MAX];

	snprintf(other, sizeof(other), "%s.other", path);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
}

static void test_files_of_others(void **state)
{
	struct fixture *f = *state;
	mode_t mode = 0666;

	expect(f->cache, 20, 200, 0, 1);
	each_file(f, open_to_others, &mode);
	expect(f->cache, 20, 200, 0, 2);
	expect(f->cache, 20, 200, 1, 2);
	each_file(f, replace_by_link, NULL);
	expect(f->cache, 20, 200, 1, 3);
	if (geteuid())
		return;
	expect(f->cache, 20, 200, 2, 3);
	each_file(f, give_away, NULL);
	expect(f->cache, 20, 200, 2, 4);
}

static void refuse(const char *dir, int want, const char *text)
{
	struct unwind_cache *c = (void *)&c;
	struct err e = {0};

	assert_int_equal(unwind_cache__open(dir, BIG, &c, &e), want);
	assert_ptr_equal(c, &c);
	assert_non_null(strstr(e.text, text));
}

static void test_folder(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX];
	struct stat st;
	mode_t modes[] = {0770, 0707, 0777};

	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(chmod(f->dir, modes[i]), 0);
		refuse(f->dir, -EPERM, "others can write");
	}
	assert_int_equal(chmod(f->dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/key", f->dir);
	refuse(path, -ENOTDIR, "cannot open the folder");
	snprintf(path, sizeof(path), "%s/link", f->top);
	assert_int_equal(symlink(f->dir, path), 0);
	refuse(path, -ENOTDIR, "cannot open the folder"); /* O_NOFOLLOW with O_DIRECTORY */
	unlink(path);
	mode_t mode = 0660;

	each_file(f, open_to_others, &mode);
	refuse(f->dir, -EPERM, "key");
	if (geteuid() == 0) {
		assert_int_equal(chown(f->dir, 1, 1), 0);
		refuse(f->dir, -EPERM, "another user's");
		assert_int_equal(chown(f->dir, 0, 0), 0);
	}
}

static void add_size(const char *path, void *arg)
{
	struct stat st;

	if (!strstr(path, "/key") && !stat(path, &st))
		*(size_t *)arg += (size_t)st.st_size;
}

static void make_older(const char *path, void *arg)
{
	struct stat st;

	(void)arg;
	assert_int_equal(stat(path, &st), 0);
	st.st_mtim.tv_sec -= 100;
	assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_mtim, st.st_mtim}, 0), 0);
}

static void test_eviction(void **state)
{
	struct fixture *f = *state;
	struct unwind_cache *small;
	size_t size = 0, now = 0;
	struct err e = {0};

	expect(f->cache, 40, 100, 0, 1);
	each_file(f, add_size, &size);
	assert_int_equal(unwind_cache__open(f->dir, size * 5 / 2, &small, &e), 0);
	each_file(f, make_older, NULL);
	expect(small, 40, 101, 0, 1);
	each_file(f, make_older, NULL);
	expect(small, 40, 100, 1, 1); /* used, so that the other one is what goes */
	expect(small, 40, 102, 1, 2); /* three are more than two and a half */
	each_file(f, add_size, &now);
	assert_true(now <= size * 5 / 2);
	expect(small, 40, 102, 2, 2);
	expect(small, 40, 101, 2, 3);
	unwind_cache__close(small);
	/* what is larger than the whole is not kept */
	assert_int_equal(unwind_cache__open(f->dir, 100, &small, &e), 0);
	expect(small, 40, 103, 0, 1);
	expect(small, 40, 103, 0, 2);
	assert_int_equal(unwind_cache__stats(small).bytes_written, 0);
	unwind_cache__close(small);
}

static void *use(void *cache)
{
	for (uint8_t i = 0; i < 100; i++) {
		struct unwind_table *plain = get(NULL, 30, 100 + i % 5), *t = get(cache, 30, 100 + i % 5);

		expect_same(t, plain);
		unwind_table__free(plain);
		unwind_table__free(t);
	}
	return NULL;
}

static void test_together(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];
	struct unwind_cache_stats s;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use, f->cache), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	s = unwind_cache__stats(f->cache);
	assert_int_equal(s.hits + s.misses, 400);
	assert_in_range(s.misses, 5, 20);
}

/* The test vectors of the algorithm's authors: key 00 ... 0f, input 00, 01, 02 ... of n bytes. */
static void test_siphash(void **state)
{
	const uint64_t key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	const uint8_t input[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

	(void)state;
	assert_true(siphash(key, 0, input, 15) == 0xa129ca6149be45e5ull);
	assert_true(siphash(key, 0, input, 0) == 0x726fdb47dd0e0e31ull);
	assert_true(siphash(key, 0, input, 8) == 0x93f5f5799a932462ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_found_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_code_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_code, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files_of_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_eviction, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_together, set_up, tear_down),
		cmocka_unit_test(test_siphash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
