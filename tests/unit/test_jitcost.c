// SPDX-License-Identifier: Apache-2.0
/* What a process that writes names of its JIT code can make us do for them: how much is read, how often, and what is kept. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "jitdumps.h"

#include "collect/jitcode.h"
#include "symbolize/jittable.h"
#include "symbolize/perfmap.h"

#define MS       1000000ull
#define SECOND   (1000 * MS)
#define MIB      (1ull << 20)
#define AT_ONCE  (160 * MIB) /* more than is ever read at a time */
#define NOTHING  20          /* a type of records that says nothing to us */

/* Bytes that this process has read until now. */
static uint64_t bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "r");
	unsigned long long bytes;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "rchar: %llu", &bytes), 1);
	fclose(f);
	return bytes;
}

/* A header, `bytes` of records of 16 bytes, and a function at 0x1000 before and 0x2000 behind them. */
static struct file open_long(uint64_t bytes)
{
	struct str file = {0}, part = {0};
	struct file f = open_file("", 0);

	put_header(&file, MAGIC, 1, HEAD);
	put_load(&file, 0x1000, 0x10, 1, "first");
	while (part.len < MIB)
		put_other(&part, NOTHING, 0);
	assert_int_equal(write(f.fd, file.data, file.len), file.len);
	for (uint64_t i = 0; i < bytes / MIB; i++)
		assert_int_equal(write(f.fd, part.data, part.len), part.len);
	str__reset(&file);
	put_load(&file, 0x2000, 0x10, 2, "last");
	assert_int_equal(write(f.fd, file.data, file.len), file.len);
	str__free(&file);
	str__free(&part);
	return f;
}

/* A long file is read bit by bit, as time goes on, and to its end. */
static void test_goes_on(void **state)
{
	struct file f = open_long(AT_ONCE);
	uint64_t before = bytes_read(), looks = 0;
	const char *name = NULL;

	(void)state;
	for (int i = 0; i < 100; i++)
		expect_now(&f, 0x2000, NULL);
	expect_now(&f, 0x1000, "first");
	assert_true(bytes_read() - before < AT_ONCE - AT_ONCE / 8);
	while (looks++ < 1000 && jitdump__find(f.dump, 0x2000, f.now += 20 * MS, &name) == -ENOENT)
		;
	assert_true(looks > 2 && looks < 1000);
	assert_string_equal(name, "last");
	expect(&f, 0x1000, "first");
	assert_true(bytes_read() - before < AT_ONCE + AT_ONCE / 4); /* none of it again and again */
	close_file(&f);
}

/* Nothing is read for look-ups that come close behind one another. */
static void test_seldom(void **state)
{
	struct str bytes = {0};
	struct file f;
	uint64_t before;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	f = open_file(bytes.data, bytes.len);
	expect(&f, 0x1000, NULL);
	put_load(&bytes, 0x1000, 0x10, 1, "new");
	assert_int_equal(pwrite(f.fd, bytes.data, bytes.len, 0), bytes.len);
	before = bytes_read();
	for (int i = 0; i < 1000; i++)
		expect_now(&f, 0x1000, NULL);
	assert_true(bytes_read() - before < 1000); /* of /proc/self/io itself */
	f.now += 20 * MS;
	expect_now(&f, 0x1000, "new");
	close_file(&f);
	str__free(&bytes);
}

/* A file that becomes shorter and longer, over and over, is not read each time. */
static void test_begins_too_often(void **state)
{
	struct file f = open_long(MIB);
	uint64_t before;
	struct stat st;
	char last;

	(void)state;
	assert_int_equal(fstat(f.fd, &st), 0);
	assert_int_equal(pread(f.fd, &last, 1, st.st_size - 1), 1);
	expect(&f, 0x2000, "last");
	before = bytes_read();
	for (int i = 0; i < 1000; i++) {
		const char *name;

		assert_int_equal(ftruncate(f.fd, st.st_size - 1), 0);
		jitdump__find(f.dump, 0x2000, f.now += SECOND, &name);
		assert_int_equal(pwrite(f.fd, &last, 1, st.st_size - 1), 1);
		assert_int_equal(jitdump__find(f.dump, 0x2000, f.now += SECOND, &name), i < 16 ? 0 : -ENOENT);
	}
	expect(&f, 0x1000, NULL);
	assert_true(bytes_read() - before < 100 * MIB);
	assert_int_equal(f.budget->held, 0);
	close_file(&f);
}

/* It begins anew, and has become longer than it was until somebody looks. */
static void test_begins_unseen(void **state)
{
	struct str bytes = {0};
	struct file f;

	(void)state;
	put_header(&bytes, MAGIC, 1, HEAD);
	put_load(&bytes, 0x1000, 0x10, 1, "before");
	f = open_file(bytes.data, bytes.len);
	expect(&f, 0x1000, "before");
	for (int i = 0; i < 2; i++) { /* longer, and as long */
		str__reset(&bytes);
		put_header(&bytes, MAGIC, 1, HEAD);
		bytes.data[HEAD - 16] = (char)(1 + i); /* its time */
		put_load(&bytes, 0x2000, 0x10, 1, i ? "second" : "the first"); /* what lies where the old file ended is not read by itself */
		put_load(&bytes, 0x3000, 0x10, 2, i ? "and more" : "more");
		if (!i)
			put_load(&bytes, 0x4000, 0x10, 3, "behind it");
		else
			put_other(&bytes, NOTHING, 0);
		assert_int_equal(pwrite(f.fd, bytes.data, bytes.len, 0), bytes.len);
		expect(&f, 0x1000, NULL);
		expect(&f, 0x2000, i ? "second" : "the first");
		expect(&f, 0x3000, i ? "and more" : "more");
	}
	close_file(&f);
	str__free(&bytes);
}

/* A perf map of a length that no map has. */
static void test_hollow_map(void **state)
{
	char path[] = "/tmp/pybpf-jitcost-XXXXXX", name[96], tmp[64];
	struct jitbudget budget = jitbudget__whole(MIB);
	uint64_t before = bytes_read();
	const char *found = NULL;
	struct perfmap *m;
	int root, fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(tmp, sizeof(tmp), "%s/tmp", path);
	snprintf(name, sizeof(name), "%s/perf-1.map", tmp);
	assert_int_equal(mkdir(tmp, 0700), 0);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "1000 10 f\n", 10), 10);
	assert_int_equal(ftruncate(fd, 1ll << 42), 0);
	m = perfmap__new(root, 1, geteuid(), 0, &budget);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(perfmap__find(m, 0x1000, 0, &found), 0);
		assert_int_equal(perfmap__find(m, 0x2000, 0, &found), -ENOENT);
	}
	assert_string_equal(found, "f");
	assert_true(bytes_read() - before < AT_ONCE);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(perfmap__find(m, 0x1000, i * SECOND, &found), 0);
	assert_true(bytes_read() - before < 2048 * MIB);
	perfmap__free(m);
	close(root);
	unlink(name);
	rmdir(tmp);
	rmdir(path);
	close(fd);
}

/* ---- the table */

#define RANGES 3000

/* Whenever it is settled, the newest of what is at an address is found. */
static void test_settles(void **state)
{
	struct { uint64_t start, size; } ranges[RANGES];
	struct jitbudget budget = jitbudget__whole(MIB);
	struct jittable t = {.budget = &budget};
	uint64_t random = 88172645463325252ull, settled = 0;
	char text[32];

	(void)state;
	for (size_t n = 0; n < RANGES;) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		ranges[n].start = random % 50000;
		ranges[n].size = 1 + (random >> 32) % 60;
		snprintf(text, sizeof(text), "%zu", n);
		assert_int_equal(jittable__add(&t, ranges[n].start, ranges[n].size, text, strlen(text)), 1);
		n++;
		if (random >> 58)
			continue;
		assert_int_equal(jittable__settle(&t), 0);
		settled++;
		for (uint64_t addr = 0; addr < 50100; addr += 97) {
			const char *name = "";
			size_t at = n;

			while (at && addr - ranges[at - 1].start >= ranges[at - 1].size)
				at--;
			assert_int_equal(jittable__find(&t, addr, &name), at ? 0 : -ENOENT);
			assert_true(!at || strtoul(name, NULL, 10) == at - 1);
		}
	}
	assert_true(settled > 10);
	jittable__clear(&t);
	assert_int_equal(budget.held, 0);
}

/* Who adds to a long table pays for what is added. */
static void test_adds_at_the_end(void **state)
{
	struct jitbudget budget = jitbudget__whole(1024 * MIB);
	struct jittable t = {.budget = &budget};
	uint64_t all, one;

	(void)state;
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(jittable__add(&t, 16 * i, 16, "f", 1), 1);
	assert_int_equal(jittable__settle(&t), 0);
	all = budget.work;
	assert_int_equal(jittable__add(&t, 16 * 100000, 16, "f", 1), 1);
	assert_int_equal(jittable__settle(&t), 0);
	one = budget.work - all;
	assert_true(one && one < all / 10000);
	jittable__clear(&t);
}

/* ---- memory */

/* Functions of 16 bytes each from an address on. */
static struct file open_functions(uint64_t addr, uint64_t count, struct jitbudget *budget)
{
	struct str bytes = {0};
	struct file f;

	put_header(&bytes, MAGIC, 1, HEAD);
	for (uint64_t i = 0; i < count; i++)
		put_load(&bytes, addr + 16 * i, 16, i, "a function with a name of some length");
	f = open_file(bytes.data, bytes.len);
	jitdump__free(f.dump);
	f.dump = jitdump__new(dup(f.fd), budget);
	assert_non_null(f.dump);
	str__free(&bytes);
	return f;
}

static uint64_t count_known(struct file *f, uint64_t addr, uint64_t count)
{
	uint64_t known = 0;
	const char *name;

	for (uint64_t i = 0; i < count; i++)
		known += !jitdump__find(f->dump, addr + 16 * i, f->now += SECOND, &name);
	return known;
}

/* Names of all processes have a budget, and one has half of it at most; what it had another one can have. */
static void test_memory(void **state)
{
	struct jitbudget all = jitbudget__whole(MIB), parts[3];
	struct file files[3];
	uint64_t known[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		parts[i] = jitbudget__part(&all);
		files[i] = open_functions(0x1000, 10000, &parts[i]);
		assert_int_equal(all.refused, i > 0);
		known[i] = count_known(&files[i], 0x1000, 10000);
	}
	assert_true(known[0] > 2000 && known[0] < 8000 && known[1] == known[0] && known[2] < 50);
	assert_true(all.held <= MIB && parts[0].held <= MIB / 2 && parts[0].held > MIB / 2 - 1000);
	close_file(&files[0]);
	assert_int_equal(parts[0].held, 0);
	assert_int_equal(count_known(&files[2], 0x1000, 10000), known[0]);
	close_file(&files[1]);
	close_file(&files[2]);
	assert_int_equal(all.held, 0);
}

/* The same of processes: of this one, which maps a jitdump. */
static void test_memory_of_process(void **state)
{
	char folder[] = "/tmp/pybpf-jitcost-XXXXXX", path[64];
	struct jitbudget all = jitbudget__whole(MIB);
	struct file f = open_functions(0x1000, 10000, &all);
	struct jitcode *j = jitcode__new((uint32_t)getpid(), 0);
	struct proc_maps *maps;
	struct proc_map map;
	char part[4096];
	const char *name;
	int fd, mapped = 0;
	ssize_t n;
	void *at;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/jit-1.dump", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	while ((n = read(f.fd, part, sizeof(part))) > 0)
		assert_int_equal(write(fd, part, (size_t)n), n);
	at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	assert_true(at != MAP_FAILED);
	assert_int_equal(proc_maps__open(getpid(), &maps, NULL), 0);
	while (proc_maps__next(maps, &map) > 0)
		mapped += jitcode__on_map(j, &map);
	proc_maps__close(maps);
	assert_int_equal(mapped, 1);
	assert_int_equal(jitcode__name(j, &all, 0x1000, 0x1000, &name), 0);
	assert_string_equal(name, "a function with a name of some length");
	assert_int_equal(jitcode__name(j, &all, 0x1000 + 16 * 9999, 0x1000, &name), -ENOENT);
	assert_true(all.refused && all.held > MIB / 2 - 1000 && all.held <= MIB / 2);
	jitcode__free(j);
	assert_int_equal(all.held, 0);
	munmap(at, 4096);
	close(fd);
	unlink(path);
	rmdir(folder);
	close_file(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on),       cmocka_unit_test(test_seldom),
		cmocka_unit_test(test_begins_too_often), cmocka_unit_test(test_begins_unseen),
		cmocka_unit_test(test_hollow_map),    cmocka_unit_test(test_settles),
		cmocka_unit_test(test_adds_at_the_end), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_of_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
