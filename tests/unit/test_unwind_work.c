// SPDX-License-Identifier: Apache-2.0
/* Files that are made to be worked at for long, and tables that are not wanted any more. Work is counted, not timed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwind_frame.h"

#include "unwind/cache.h"
#include "unwind/forks.h"
#include "unwind/source.h"

#define START   0x1000
#define TABLE   0x400000
#define ENTRIES 1024 /* of a table, at most */
#define CHAIN   20   /* jumps back to the return: what leads there is found one by one */
#define SIZE    (16 << 10)
#define ENOUGH  1000000

/* Jumps by tables that lead to each other, and one of them to the return. */
struct maze {
	uint8_t code[SIZE];
	size_t n, jumps;
	size_t reads, entries; /* that were asked for */
	size_t calls;          /* for other functions */
	size_t stop_at;        /* that call or read; 0: none */
	atomic_bool stop;
};

static void count(struct maze *m)
{
	if (m->reads + m->calls == m->stop_at)
		m->stop = true;
}

static size_t read_table(void *context, uint64_t addr, void *buf, size_t n)
{
	struct maze *m = context;
	uint64_t *entries = buf;

	assert_true(addr >= TABLE && n <= ENTRIES * sizeof(*entries));
	m->reads++;
	m->entries += n / sizeof(*entries);
	count(m);
	for (size_t i = 0; i < n / sizeof(*entries); i++)
		entries[i] = i == 5 ? START + m->n - 2 : START + 7 * ((addr - TABLE) / 8 + i) % (7 * m->jumps);
	return n;
}

static enum follow_function function_at(void *context, uint64_t addr)
{
	struct maze *m = context;

	(void)addr;
	m->calls++;
	count(m);
	return FOLLOW_UNKNOWN;
}

static struct follow_x86 make_maze(struct maze *m, size_t jumps)
{
	*m = (struct maze){.jumps = jumps};
	for (size_t i = 0; i < jumps; i++, m->n += 7) {
		uint32_t table = TABLE + 8 * (uint32_t)i;

		memcpy(m->code + m->n, (const uint8_t[]){0xff, 0x24, 0xc5}, 3); /* jmp *table(, rax, 8) */
		memcpy(m->code + m->n + 3, &table, 4);
	}
	m->code[m->n++] = 0xc3; /* ret */
	for (size_t i = 0; i < CHAIN; i++, m->n += 2)
		memcpy(m->code + m->n, (const uint8_t[]){0xeb, i ? 0xfc : 0xfd}, 2);
	return (struct follow_x86){.code = m->code,
				   .n = m->n,
				   .start = START,
				   .proven = true,
				   .function = function_at,
				   .read = read_table,
				   .context = m};
}

static void free_found(struct follow_found *found)
{
	vec__free(&found->called);
	vec__free(&found->taken);
	vec__free(&found->tables);
}

/* Follows with so much work. What is left of it. */
static uint64_t follow(struct follow_x86 what, uint64_t work, int err, filler_list *list)
{
	struct maze *m = what.context;
	struct unwind_work w = {.left = work, .stop = &m->stop};
	struct follow_found found = {0};

	what.work = &w;
	assert_int_equal(follow_x86__run(&what, &found, list), err);
	if (err)
		assert_int_equal(list->len, 0);
	assert_true(found.tables.len <= m->reads);
	free_found(&found);
	return w.left;
}

/* What tables have is counted as well as what is behind them; and each is read when it is come to, and never again. */
static void test_tables(void **state)
{
	static struct maze m;
	struct follow_x86 what = make_maze(&m, (SIZE - 2 * CHAIN - 1) / 7);
	struct follow_found found = {0};
	filler_list list = {0};

	(void)state;
	assert_int_equal(follow_x86__run(&what, &found, &list), -E2BIG);
	assert_true(m.entries > m.n && m.entries < 10 * (m.n + ENTRIES));
	free_found(&found);
	assert_int_equal(follow_x86__run(&(struct follow_x86){.code = m.code, .n = m.n, .start = START}, NULL, &list),
			 -ENOTSUP);
	what = make_maze(&m, 3);
	follow(what, ENOUGH, 0, &list);
	assert_true(m.reads >= m.jumps &&
		    m.reads <= 2 * m.jumps); /* what is certain of the first is not the second time */
	vec__free(&list);
}

/* With what it takes it is followed, and with less it is not. */
static void test_enough(void **state)
{
	static struct maze m;
	struct follow_x86 what;
	filler_list all = {0}, list = {0};

	(void)state;
	for (size_t jumps = 0; jumps < 4; jumps++) {
		uint64_t took;

		what = make_maze(&m, jumps);
		took = ENOUGH - follow(what, ENOUGH, 0, &all);
		/* each is followed, looked at for what leads to the end, and told of */
		assert_true(took >= 3 * (jumps + 1));
		assert_int_equal(follow(what, took, 0, &list), 0);
		assert_int_equal(list.len, all.len);
		assert_memory_equal(list.data, all.data, list.len * sizeof(*list.data));
		vec__free(&list);
		for (uint64_t less = 0; less < took; less++)
			assert_int_equal(follow(what, less, -E2BIG, &list), 0);
		vec__free(&list);
		vec__free(&all);
	}
}

/* Wherever it is asked for another function or a table, it can be stopped. */
static void test_stop(void **state)
{
	/* push rbx; xor eax, eax; call; call; je 1f; call; 1: pop rbx; jmp, to others all of them */
	static const uint8_t code[] = {0x53, 0x31, 0xc0, 0xe8, 1, 2, 0, 0,    0xe8, 1, 2, 0, 0,
				       0x74, 0x05, 0xe8, 1,    2, 0, 0, 0x5b, 0xe9, 0, 2, 0, 0};
	static struct maze m;
	filler_list list = {0};
	size_t times;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct follow_x86 what = make_maze(&m, 3);

		if (!i) {
			what.code = code;
			what.n = sizeof(code);
		}
		follow(what, ENOUGH, 0, &list);
		times = m.reads + m.calls;
		assert_true(times >= 3);
		vec__free(&list);
		for (size_t at = 1; at <= times; at++) {
			m.reads = m.calls = 0;
			m.stop = false;
			m.stop_at = at;
			assert_true(follow(what, ENOUGH, -ECANCELED, &list) > 0);
		}
	}
}

#define FUNCTIONS 3
#define UNTOLD    (IMAGE_CODE + 0x200)
#define LEAST     128

/* A file with a function that has call frame information, some that do not, and one of which it is wrong. */
static struct elf *open_file(void)
{
	static const uint8_t one[] = {0x53, 0x90, 0x5b, 0xc3}; /* push rbx; nop; pop rbx; ret */
	static Elf64_Sym symbols[FUNCTIONS];
	static uint8_t code[0x200 + LEAST];
	struct frame f = {
		.image = {.code = code, .code_size = sizeof(code), .symbols = symbols, .nsymbols = FUNCTIONS}};
	struct elf *elf = NULL;
	int fd;

	memset(code, 0x90, sizeof(code));
	for (size_t i = 0; i < FUNCTIONS; i++) {
		memcpy(code + 16 * i, one, sizeof(one));
		symbols[i] = (Elf64_Sym){.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
					 .st_shndx = 1,
					 .st_value = IMAGE_CODE + 16 * i,
					 .st_size = sizeof(one)};
	}
	code[0x200] = 0x53;
	code[sizeof(code) - 2] = 0x5b;
	code[sizeof(code) - 1] = 0xc3;
	frame__usual_cie(&f);
	frame__function(&f, TEXT, 0x40, BYTES(0x44, 0x0e, 16));
	frame__function(&f, UNTOLD, LEAST, NOTHING);
	f.image.frame = f.bytes;
	f.image.size = f.n;
	fd = image__make(&f.image);
	assert_int_equal(elf__open(fd, &elf, NULL), 0);
	return elf; /* the descriptor goes with the process */
}

/* Compiles the table of a file with so much work; how much it took. */
static uint64_t compile(struct elf *elf, uint64_t work, struct unwind_table **out)
{
	struct unwind_source s;

	assert_int_equal(unwind_source__open(elf, NULL, &s, NULL), 0);
	s.work.left = work;
	assert_int_equal(unwind_source__compile(&s, out, NULL), 0);
	work -= s.work.left;
	unwind_source__close(&s);
	return work;
}

/* With less work than it takes there is less in a table, but nothing else. */
static void test_less(void **state)
{
	struct unwind_table *all = NULL;
	struct elf *elf = open_file();
	uint64_t took = compile(elf, UNWIND_WORK, &all);

	(void)state;
	table__expect(all, IMAGE_CODE + 1, RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	table__expect(all, UNTOLD + 1, RULE(.cfa = UNWIND_SP, .cfa_off = 16));
	for (uint64_t work = 0; work <= took; work++) {
		struct unwind_table *t = NULL;
		size_t known = 0, ought = 0;

		compile(elf, work, &t);
		table__expect(t, TEXT + 8, RULE(.cfa = UNWIND_SP, .cfa_off = 16));
		for (uint64_t at = IMAGE_CODE; at < UNTOLD + LEAST; at++) {
			struct unwind_rule is, was;

			if (unwind_table__lookup(all, at, &was))
				was = NO_RULE;
			ought += was.cfa != UNWIND_NONE;
			if (unwind_table__lookup(t, at, &is))
				continue;
			assert_true(is.cfa == UNWIND_UNKNOWN || !memcmp(&is, &was, sizeof(is)));
			known += is.cfa != UNWIND_UNKNOWN;
		}
		if (!work)
			assert_int_equal(known, 0);
		assert_int_equal(work == took, known == ought);
		unwind_table__free(t);
	}
	unwind_table__free(all);
	elf__close(elf);
}

static int ignore(struct cfi_sink *sink, uint64_t from, const struct unwind_rule *rule)
{
	(void)sink, (void)from, (void)rule;
	return 0;
}

/* Each part of the making of a table is stopped. */
static void test_parts(void **state)
{
	struct cfi_sink sink = {.rule = ignore};
	struct elf *elf = open_file();
	struct unwind_table *t = NULL;
	struct unwind_source s;
	atomic_bool stop = true;
	struct cfi *cfi = &s.cfi;

	(void)state;
	assert_int_equal(unwind_cache__build(NULL, elf, &stop, &t, NULL), -ECANCELED);
	assert_int_equal(unwind_source__open(elf, &stop, &s, NULL), -ECANCELED);
	unwind_source__close(&s);
	stop = false;
	assert_int_equal(unwind_source__open(elf, &stop, &s, NULL), 0);
	stop = true;
	assert_int_equal(cfi__parse(elf, cfi, NULL), -ECANCELED);
	stop = false;
	assert_int_equal(cfi__parse(elf, cfi, NULL), 0);
	assert_int_equal(cfi->fdes.len, 2);
	stop = true;
	assert_int_equal(gaps__follow(elf, cfi, &s.followed, &s.code), -ECANCELED);
	assert_int_equal(forks__find(elf, cfi, &s.followed, &s.code), -ECANCELED);
	assert_int_equal(untold__follow(elf, cfi, &s.untold, &s.code), -ECANCELED);
	assert_int_equal(cfi__run(cfi->arch, &cfi->cies.data[0], &cfi->fdes.data[0], TEXT + 0x40, &sink), -ECANCELED);
	unwind_source__close(&s);
	elf__close(elf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_less),
		cmocka_unit_test(test_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
