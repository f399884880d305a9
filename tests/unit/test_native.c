// SPDX-License-Identifier: Apache-2.0
/* The symbolizer's books: which files are one, what is given up and comes back, and names that mean harm. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "sys/elf.h"
#include "symbolize/demangle.h"
#include "symbolize/native.h"

extern const char __executable_start[];

__attribute__((noinline)) int a_function_of_the_test(int n);

__attribute__((noinline)) int a_function_of_the_test(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* Link-time address of something in this program, which is linked to address 0 or where it runs. */
static uint64_t here(const void *at)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint64_t addr = (uintptr_t)at;
	struct elf *elf;

	assert_int_equal(elf__open(fd, &elf, NULL), 0);
	if (elf__info(elf)->type == 3 /* ET_DYN */)
		addr -= (uintptr_t)__executable_start;
	elf__close(elf);
	close(fd);
	return addr;
}

static struct symbol_file *add(struct symbolizer *s, const char *path, int *fd)
{
	struct symbol_file *file = NULL;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(symbolizer__file(s, *fd, -1, path, &file), 0);
	return file;
}

static void copy(const char *from, int to)
{
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size;)
		assert_true(sendfile(to, fd, &at, (size_t)(st.st_size - at)) > 0);
	close(fd);
}

static void test_this_program(void **state)
{
	struct symbolizer *s = symbolizer__new(NULL);
	uint64_t addr = here((const void *)(uintptr_t)a_function_of_the_test);
	struct symbols answer;
	int fd;
	struct symbol_file *file = add(s, "/proc/self/exe", &fd);

	(void)state;
	assert_int_equal(symbolizer__resolve(s, file, addr, false, &answer), 0);
	assert_true(answer.known);
	assert_int_equal(answer.count, 1);
	assert_string_equal(answer.list[0].name, "a_function_of_the_test");
	assert_false(answer.list[0].is_inline);
	assert_non_null(strstr(answer.list[0].file, "test_native.c"));
	assert_true(answer.list[0].line > 0 && answer.list[0].line < 60);
	assert_true(symbolizer__memory(s) > 0);
	assert_int_equal(symbolizer__resolve(s, file, 0xabc0000000000, true, &answer), 0);
	assert_false(answer.known);
	assert_int_equal(answer.count, 1);
	assert_string_equal(answer.list[0].name, "exe+0xabc0000000000");
	symbolizer__free(s);
	close(fd);
}

static void test_copies_are_one(void **state)
{
	struct symbolizer *s = symbolizer__new(NULL);
	char path[] = "/tmp/pybpf-native-XXXXXX";
	int fd[4], to = mkstemp(path);
	struct symbol_file *file, *other;

	(void)state;
	copy("/proc/self/exe", to);
	file = add(s, "/proc/self/exe", &fd[0]);
	assert_ptr_equal(add(s, "/proc/self/exe", &fd[1]), file);
	assert_ptr_equal(add(s, path, &fd[2]), file);
	/* what another user made is not believed to be the same */
	if (geteuid() == 0) {
		assert_int_equal(fchown(to, 12345, 12345), 0);
		assert_ptr_not_equal(add(s, path, &fd[3]), file);
		close(fd[3]);
	}
	/* nor what belongs to root in another root directory, as that of a container */
	fd[3] = open("/tmp", O_PATH);
	assert_int_equal(symbolizer__file(s, fd[0], fd[3], "/proc/self/exe", &other), 0);
	assert_ptr_not_equal(other, file);
	symbolizer__free(s);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	close(to);
	unlink(path);
}

static void test_gives_up_and_gets_back(void **state)
{
	const struct symbolizer_config config = {.max_bytes = 1, .no_dwarf = true};
	struct symbolizer *s = symbolizer__new(&config);
	char path[] = "/tmp/pybpf-native-XXXXXX";
	int fd[2], to = mkstemp(path);
	uint64_t addr = here((const void *)(uintptr_t)a_function_of_the_test);
	struct symbol_file *files[2];
	struct symbols answer;
	size_t one = 0;

	(void)state;
	copy("/proc/self/exe", to);
	assert_int_equal(lseek(to, 0, SEEK_END) > 0, 1);
	assert_int_equal(write(to, "", 1), 1); /* another size: another file */
	files[0] = add(s, "/proc/self/exe", &fd[0]);
	files[1] = add(s, path, &fd[1]);
	assert_ptr_not_equal(files[0], files[1]);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(symbolizer__resolve(s, files[i % 2], addr, false, &answer), 0);
		assert_string_equal(answer.list[0].name, "a_function_of_the_test");
		if (!one)
			one = symbolizer__memory(s);
		assert_int_equal(symbolizer__memory(s), one); /* one at a time */
	}
	symbolizer__free(s);
	close(fd[0]);
	close(fd[1]);
	close(to);
	unlink(path);
}

static void expect(const char *mangled, const char *want)
{
	struct str out = {0};

	assert_int_equal(demangle(mangled, &out), 0);
	assert_string_equal(str__cstr(&out), want);
	str__free(&out);
}

static void test_demangles(void **state)
{
	(void)state;
	expect("malloc", "malloc");
	expect("_start", "_start");
	expect("_Z3addii", "add");
	expect("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back");
	expect("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write");
	expect("_RNvCs1234_7mycrate3foo", "mycrate::foo");
	expect("_Z3addii.cold", "add");
	expect("_Zgarbage", "_Zgarbage");
	expect("bad\xff\x01", "bad??");
}

/* f<A<int, int>, A<A<int, int>, A<int, int> >, ...>: each argument is twice as long as the one before it. */
static void make_growing(struct str *name, int levels)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	str__reset(name);
	assert_int_equal(str__adds(name, "_Z1fI1AIiiE"), 0);
	for (int i = 1; i < levels; i++)
		assert_int_equal(str__addf(name, "S0_IS%c_S%c_E", digits[i], digits[i]), 0);
	assert_int_equal(str__adds(name, "EvT_"), 0);
}

static void test_demangling_ends(void **state)
{
	struct str name = {0}, out = {0};

	(void)state;
	make_growing(&name, 2);
	expect(str__cstr(&name), "f<A<int, int>, A<A<int, int>, A<int, int> > >");
	make_growing(&name, 34); /* 100 GB */
	assert_int_equal(demangle(str__cstr(&name), &out), 0);
	assert_string_equal(str__cstr(&out), str__cstr(&name));
	str__free(&name);
	str__free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_this_program),
		cmocka_unit_test(test_copies_are_one),
		cmocka_unit_test(test_gives_up_and_gets_back),
		cmocka_unit_test(test_demangles),
		cmocka_unit_test(test_demangling_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
