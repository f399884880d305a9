// SPDX-License-Identifier: Apache-2.0
/*
 * What the BPF program tells of the code objects of real interpreters, completed by user space where it has to be,
 * against what each interpreter says of them; when it tells anew, and when not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "subject.h"

#include "collect/codefacts.h"

/* The records sent since the last time; NULL: none. */
static const struct rec_code *last_record(size_t *size)
{
	const struct rec_code *r = NULL;
	__u64 n;

	for (size_t at = 0; at < host_ring.len; at += sizeof(n) + n) {
		memcpy(&n, host_ring.bytes + at, sizeof(n));
		r = (const void *)(host_ring.bytes + at + sizeof(n));
		*size = n;
	}
	host_ring.len = 0;
	return r;
}

/* Looks at the code object as the walk would after meeting it. */
static int meet(struct subject *t, uint64_t addr)
{
	struct scratch *s = scratch__of(0);

	s->lay = *t->lay;
	s->identity = 7;
	s->pid = (uint32_t)t->blocked.pid;
	s->frames[0].code = addr;
	s->proc_flags = 0;
	return code_check(0, 0);
}

static void check_facts(struct subject *t, const struct told_frame *told, const struct rec_code *r, size_t size)
{
	struct str name = {0}, file = {0};
	struct codefacts_text text = {.name = &name, .file = &file};
	struct rec_code copy = *r;
	int err = codefacts__from_record(&copy, size - sizeof(*r), t->lay, r + 1, &text);
	struct str table = {0};

	str__addc(&table, 'x');
	for (size_t i = 0; !err && i < text.linetable_bytes; i++)
		str__addf(&table, "%02x", text.linetable[i]);
	table.data[table.len < sizeof(told->table) ? table.len : sizeof(told->table) - 1] = '\0';
	if (err || strcmp(str__cstr(&name), told->name) || strcmp(str__cstr(&file), told->file) ||
	    copy.firstlineno != told->first_line || copy.flags != told->flags || strcmp(table.data, told->table))
		fail_msg("%s: %d, '%s' (%s:%d) flags %#x, lines %s; told: '%s' (%s:%d) flags %#x, lines %s",
			 t->interp->id, err, str__cstr(&name), str__cstr(&file), copy.firstlineno, copy.flags,
			 table.data, told->name, told->file, told->first_line, told->flags, told->table);
	str__free(&table);
	str__free(&name);
	str__free(&file);
	free(text.owned);
}

static void test_each_is_told_once(void **state)
{
	(void)state;
	vec__foreach(&interps, interp) {
		struct subject t;

		subject__start(&t, interp, "0");
		vec__foreach(&t.blocked.frames, told) {
			const struct rec_code *r;
			size_t size;

			assert_int_equal(meet(&t, told->code), 0);
			r = last_record(&size);
			if (r) { /* not told for an outer frame already */
				assert_int_equal(r->type, REC_CODE);
				assert_int_equal(r->addr, told->code);
				if (r->missing)
					fail_msg("%s: parts %#x of %s are missing", interp->id, r->missing, told->name);
				check_facts(&t, told, r, size);
			}
			assert_int_equal(meet(&t, told->code), 0);
			assert_null(last_record(&size));
			assert_true(code__is_known(scratch__of(0), told->code));
			assert_int_equal(scratch__of(0)->proc_flags, 0);
		}
		subject__end(&t);
	}
}

/* Any part is on a page that is not there: user space reads it from the process. */
static void test_missing_parts(void **state)
{
	struct subject t;
	size_t at = 0;

	(void)state;
	while (next_version(&t, &at, "0")) {
		vec__foreach(&t.blocked.frames, told) {
			const uint16_t parts[] = {0, t.lay->code_name, t.lay->code_filename, t.lay->code_linetable};

			for (size_t p = 0; p < 4; p++) {
				uint64_t where = p ? image__u64(&t.image, told->code + parts[p]) : told->code;
				unsigned char page[HOST_PAGE];
				const struct rec_code *r;
				size_t size;

				if (p == 3) /* its head may lie on the page before, and is not read */
					where += t.lay->bytes_size;
				memcpy(page, image__page(&t.image, where), HOST_PAGE);
				image__unmap(&t.image, where);
				host_forget_maps();
				assert_int_equal(meet(&t, told->code), 0);
				r = last_record(&size);
				assert_non_null(r);
				assert_true(r->missing);
				check_facts(&t, told, r, size);
				image__put(&t.image, where & ~(HOST_PAGE - 1), page);
			}
		}
		subject__end(&t);
	}
}

/* Room in the ring runs out: the object is told once there is some. */
static void test_full_ring(void **state)
{
	struct subject t;
	size_t at = 0, size;

	(void)state;
	while (next_version(&t, &at, "0")) {
		uint64_t addr = t.blocked.frames.data[0].code;

		host_ring.limit = 100;
		assert_int_equal(meet(&t, addr), -EAGAIN);
		assert_int_equal(meet(&t, addr), -EAGAIN);
		assert_int_equal(scratch__of(0)->shared.records_lost, 2);
		assert_false(code__is_known(scratch__of(0), addr));
		host_ring.limit = 0;
		assert_int_equal(meet(&t, addr), 0);
		assert_non_null(last_record(&size));
		subject__end(&t);
	}
}

/* Another object at the same address: whatever part of it differs, it is told anew, and the process is known as one to
 * watch. */
static void test_another_object(void **state)
{
	struct subject t;
	size_t at = 0, size;

	(void)state;
	while (next_version(&t, &at, "0")) {
		uint64_t addr = t.blocked.frames.data[0].code;
		const uint16_t parts[] = {t.lay->code_name,   t.lay->code_filename, t.lay->code_linetable,
					  t.lay->code_consts, t.lay->code_names,    t.lay->code_firstlineno,
					  t.lay->code_version};

		assert_int_equal(meet(&t, addr), 0);
		last_record(&size);
		for (size_t p = 0; p < sizeof(parts) / sizeof(*parts); p++) {
			uint64_t old;

			if (parts[p] == PYBPF_NO_OFFSET)
				continue;
			old = image__u64(&t.image, addr + parts[p]);
			image__write_u64(&t.image, addr + parts[p], old + 16);
			assert_false(code__is_known(scratch__of(0), addr));
			assert_int_equal(meet(&t, addr), 0);
			assert_non_null(last_record(&size));
			assert_int_equal(scratch__of(0)->proc_flags, PROC_VOLATILE);
			image__write_u64(&t.image, addr + parts[p], old);
			assert_int_equal(meet(&t, addr), 0);
			assert_non_null(last_record(&size));
		}
		subject__end(&t);
	}
}

/* Before 3.12: another object whose parts are where those of the one before were. */
static void test_other_parts_at_the_same_place(void **state)
{
	struct subject t;
	size_t at = 0, size;

	(void)state;
	while (next_version(&t, &at, "0")) {
		uint64_t addr = t.blocked.frames.data[0].code;
		uint64_t name = image__u64(&t.image, addr + t.lay->code_name);
		uint64_t table = image__u64(&t.image, addr + t.lay->code_linetable);
		const uint64_t places[] = {name + t.lay->str_length, name + t.lay->str_ascii, table + t.lay->bytes_size,
					   table + t.lay->bytes_data};

		assert_int_equal(meet(&t, addr), 0);
		last_record(&size);
		for (size_t p = 0; p < 4 && t.lay->code_version == PYBPF_NO_OFFSET; p++) {
			uint64_t old = image__u64(&t.image, places[p]);

			image__write_u64(&t.image, places[p], old ^ 1);
			assert_int_equal(meet(&t, addr), 0);
			assert_non_null(last_record(&size));
			assert_int_equal(scratch__of(0)->proc_flags, PROC_VOLATILE);
			image__write_u64(&t.image, places[p], old);
			assert_int_equal(meet(&t, addr), 0);
			last_record(&size);
		}
		subject__end(&t);
	}
}

/* Where an object of this many bytes ends for its allocator, which hands out multiples of 8. */
static uint64_t block_end(uint64_t addr, uint64_t bytes)
{
	return addr + ((bytes + 7) & ~7ull);
}

/* What lies behind the name and the line table is somebody else's, and changes all the time. */
static void test_neighbours_do_not_matter(void **state)
{
	struct subject t;
	size_t at = 0, size;

	(void)state;
	while (next_version(&t, &at, "0")) {
		vec__foreach(&t.blocked.frames, told) {
			uint64_t name = image__u64(&t.image, told->code + t.lay->code_name);
			uint64_t table = image__u64(&t.image, told->code + t.lay->code_linetable);
			uint64_t ends[] = {
				block_end(name, t.lay->str_ascii + strlen(told->name) + 1),
				block_end(table,
					  t.lay->bytes_data + image__u64(&t.image, table + t.lay->bytes_size) + 1),
			};

			meet(&t, told->code);
			last_record(&size);
			for (int i = 0; i < 2; i++) {
				uint64_t old = image__u64(&t.image, ends[i]);

				image__write_u64(&t.image, ends[i], old + 1); /* a reference more */
				assert_int_equal(meet(&t, told->code), 0);
				if (last_record(&size))
					fail_msg("%s: %s is told anew because of its neighbour %d", t.interp->id,
						 told->name, i);
				image__write_u64(&t.image, ends[i], old);
			}
		}
		subject__end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_told_once),
		cmocka_unit_test(test_missing_parts),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_another_object),
		cmocka_unit_test(test_other_parts_at_the_same_place),
		cmocka_unit_test(test_neighbours_do_not_matter),
	};

	return cmocka_run_group_tests(tests, find_all, forget_all);
}
