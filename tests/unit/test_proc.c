// SPDX-License-Identifier: Apache-2.0
/* What /proc says of processes, and their memory: of this test itself, of a child, and of made-up files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/mem.h"
#include "sys/proc.h"

#define NOBODY 5000001 /* beyond the greatest pid that there is */

static struct proc_maps *maps_of(const char *text, size_t n)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);
	struct proc_maps *maps;

	assert_true(fd >= 0 && write(fd, text, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
	assert_int_equal(proc_maps__from_fd(fd, &maps, NULL), 0);
	return maps;
}

static void test_lines_of_maps(void **state)
{
	static const char text[] =
		"00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b\n"
		"7f0000000000-7f0000001000 rw-s 00000000 103:05 42 /tmp/x\\012y (deleted)\n"
		"7ffc0-7ffd0 -w-p 00000000 00:00 0 \n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
	struct proc_maps *maps = maps_of(text, strlen(text));
	struct proc_map m;

	(void)state;
	assert_int_equal(proc_maps__next(maps, &m), 1);
	assert_true(m.start == 0x400000 && m.end == 0x452000 && m.offset == 0x1000 && m.ino == 173521);
	assert_true(m.dev == (8 << 20 | 2) && m.read && !m.write && m.exec && !m.deleted);
	assert_string_equal(m.path, "/usr/bin/a b");
	assert_int_equal(proc_maps__next(maps, &m), 1);
	assert_true(m.start == 0x7f0000000000 && m.dev == (0x103 << 20 | 5) && m.ino == 42 && m.deleted);
	assert_string_equal(m.path, "/tmp/x\ny");
	assert_int_equal(proc_maps__next(maps, &m), 1);
	assert_true(!m.read && m.write && !m.exec && !m.ino);
	assert_string_equal(m.path, "");
	assert_int_equal(proc_maps__next(maps, &m), 1);
	assert_string_equal(m.path, "[vsyscall]");
	assert_int_equal(proc_maps__next(maps, &m), 0);
	proc_maps__close(maps);
}

static void test_bad_lines_of_maps(void **state)
{
	static const char *const bad[] = {"\n",
					  "x\n",
					  "1-2\n",
					  "1-2 r\n",
					  "1-2 rwxp\n",
					  "1-2 rwxp 0\n",
					  "1-2 rwxp 0 1\n",
					  "1-2 rwxp 0 1:\n",
					  "1 2 rwxp 0 1:2 3\n",
					  "G-2 rwxp 0 1:2 3\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct proc_maps *maps = maps_of(bad[i], strlen(bad[i]));
		struct proc_map m;

		if (proc_maps__next(maps, &m) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		proc_maps__close(maps);
	}
}

/* A line of any length between two others: taken while it fits, passed over when not; what follows is read. */
static void test_long_lines_of_maps(void **state)
{
	(void)state;
	for (size_t length = 1; length < 100000; length = length * 5 / 3 + 1) {
		static const char before[] = "1-2 r--p 0 0:0 0 /", after[] = "3-4 r--p 0 0:0 0 /after\n";
		char *text = malloc(length + sizeof(before) + sizeof(after));
		struct proc_maps *maps;
		struct proc_map m;
		size_t n;

		memcpy(text, before, sizeof(before) - 1);
		memset(text + sizeof(before) - 1, 'p', length);
		n = sizeof(before) - 1 + length;
		text[n++] = '\n';
		memcpy(text + n, after, sizeof(after) - 1);
		maps = maps_of(text, n + sizeof(after) - 1);
		assert_int_equal(proc_maps__next(maps, &m), 1);
		if (m.start == 1) {
			assert_int_equal(strlen(m.path), length + 1);
			assert_int_equal(proc_maps__next(maps, &m), 1);
		} else {
			assert_true(length > 16 << 10); /* four times the longest path name */
		}
		assert_true(m.start == 3);
		assert_string_equal(m.path, "/after");
		assert_int_equal(proc_maps__next(maps, &m), 0);
		proc_maps__close(maps);
		free(text);
	}
}

/* The mapping that holds this function leads to this program's file. */
static void test_own_mappings(void **state)
{
	struct proc_maps *maps;
	struct proc_map m;
	struct stat self, opened;
	bool met = false;

	(void)state;
	assert_int_equal(stat("/proc/self/exe", &self), 0);
	assert_int_equal(proc_maps__open(getpid(), &maps, NULL), 0);
	while (proc_maps__next(maps, &m) > 0) {
		int fd;

		if ((uintptr_t)test_own_mappings < m.start || (uintptr_t)test_own_mappings >= m.end)
			continue;
		met = true;
		assert_true(m.exec && m.ino == self.st_ino);
		fd = proc__open_mapping(getpid(), &m);
		assert_true(fd >= 0 && !fstat(fd, &opened));
		assert_true(opened.st_ino == self.st_ino && opened.st_dev == self.st_dev);
		close(fd);
		m.ino++; /* another file stands at that path by now */
		m.start = m.end = 0;
		assert_true(proc__open_mapping(getpid(), &m) < 0);
		m.ino = 0;
		assert_int_equal(proc__open_mapping(getpid(), &m), -ENOENT);
	}
	proc_maps__close(maps);
	assert_true(met);
	assert_int_equal(proc_maps__open(NOBODY, &maps, NULL), -ESRCH);
}

/* A child of an awkward name, that blocks, then is a zombie, then is gone. */
static void test_life(void **state)
{
	struct proc_stat st;
	struct proc_status status;
	struct str text = {0};
	int gate[2], ready[2];
	siginfo_t info;
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(gate) | pipe(ready), 0);
	child = fork();
	if (!child) {
		close(gate[1]);
		prctl(PR_SET_NAME, ") R 1 (\n");
		if (write(ready[1], "x", 1) != 1 || read(gate[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(proc__stat(child, &st), 0);
	assert_string_equal(st.comm, ") R 1 (\n");
	assert_true(st.ppid == getpid() && st.threads == 1 && !st.kernel_thread && st.state != 'Z');
	assert_true(
		proc__same_start(st.start_ticks * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK)), st.start_ticks));
	assert_false(proc__same_start(0, st.start_ticks));
	assert_int_equal(proc__status(child, &status), 0);
	assert_int_equal(status.uid, geteuid());
	assert_int_equal(proc__cmdline(child, 4096, &text), 0);
	assert_non_null(strstr(str__cstr(&text), "test_proc"));
	assert_int_equal(proc__cmdline(child, 3, &text), 0);
	assert_int_equal(text.len, 3);
	assert_int_equal(proc__exe(child, &text), 0);
	assert_true(text.data[0] == '/');
	close(gate[1]);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc__stat(child, &st), 0);
	assert_int_equal(st.state, 'Z');
	waitpid(child, NULL, 0);
	assert_int_equal(proc__stat(child, &st), -ESRCH);
	assert_int_equal(proc__status(child, &status), -ESRCH);
	assert_int_equal(proc__cmdline(child, 10, &text), -ESRCH);
	assert_int_equal(proc__exe(child, &text), -ESRCH);
	str__free(&text);
	close(gate[0]);
	close(ready[0]);
	close(ready[1]);
}

static void test_lists(void **state)
{
	struct proc_pids it;
	bool self = false;
	pid_t pid;

	(void)state;
	assert_int_equal(proc_pids__open(&it, NULL), 0);
	while ((pid = proc_pids__next(&it)))
		self |= pid == getpid();
	proc_pids__close(&it);
	assert_true(self);
	assert_int_equal(proc_threads__open(&it, getpid(), NULL), 0);
	assert_int_equal(proc_threads__open(&(struct proc_pids){0}, NOBODY, NULL), -ESRCH);
	assert_int_equal(proc_pids__next(&it), getpid());
	assert_int_equal(proc_pids__next(&it), 0);
	proc_pids__close(&it);
}

/* ---- memory */

static void check_reads(struct memory_reader *m, uint64_t base, size_t n)
{
	char buf[3 * 4096];
	uint64_t word = 0;
	uint32_t half = 0;

	assert_int_equal(memory__read(m, base, buf, n), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal((unsigned char)buf[i], (unsigned char)(i * 7));
	assert_int_equal(memory__read(m, base + n - 8, buf, 9), -EFAULT);
	assert_int_equal(memory__read_some(m, base + n - 8, buf, 4096), 8);
	assert_int_equal(memory__read_some(m, base + n, buf, 1), -EFAULT);
	assert_int_equal(memory__read(m, base + n, buf, 0), 0);
	assert_int_equal(memory__read_u64(m, base + n - 7, &word), -EFAULT);
	assert_int_equal(word, 0); /* untouched on failure */
	assert_int_equal(memory__read_u64(m, base, &word), 0);
	assert_int_equal(word, 0x312a231c150e0700);
	assert_int_equal(memory__read_u32(m, base + 1, &half), 0);
	assert_int_equal(half, 0x1c150e07);
	assert_int_equal(memory__read(m, UINT64_MAX - 3, buf, 8), -EFAULT);
	assert_int_equal(memory__read(m, 1ull << 63, buf, 8), -EFAULT);
	assert_int_equal(memory__read(m, 16, buf, 8), -EFAULT);
}

static void test_memory(void **state)
{
	/* the third page lies behind the file's end: nothing can be read there, nor be mapped meanwhile */
	int file = memfd_create("area", MFD_CLOEXEC), gate[2];
	unsigned char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	struct memory_reader *m;
	pid_t child;

	(void)state;
	assert_true(area != MAP_FAILED && !ftruncate(file, 2 * 4096));
	for (size_t i = 0; i < 2 * 4096; i++)
		area[i] = (unsigned char)(i * 7);
	m = memory__from_buffer(0x1000000, area, 2 * 4096);
	check_reads(m, 0x1000000, 2 * 4096);
	memory__close(m);

	assert_int_equal(pipe(gate), 0);
	child = fork();
	if (!child) {
		char byte;

		close(gate[1]);
		_exit(read(gate[0], &byte, 1) != 0);
	}
	assert_int_equal(memory__open_process(child, &m, NULL), 0);
	check_reads(m, (uintptr_t)area, 2 * 4096);
	close(gate[1]);
	waitpid(child, NULL, 0);
	assert_int_equal(memory__read(m, (uintptr_t)area, &(char[8]){0}, 8), -ESRCH); /* gone, and never another's */
	memory__close(m);
	assert_int_equal(memory__open_process(NOBODY, &m, NULL), -ESRCH);
	munmap(area, 3 * 4096);
	close(file);
	close(gate[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_of_maps),
		cmocka_unit_test(test_bad_lines_of_maps),
		cmocka_unit_test(test_long_lines_of_maps),
		cmocka_unit_test(test_own_mappings),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
