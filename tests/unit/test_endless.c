// SPDX-License-Identifier: Apache-2.0
/* Processes whose structures lead round in rings: whoever reads them comes to an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pyrt/layout.h"
#include "pyrt/proof.h"
#include "pyrt/threads.h"
#include "sys/mem.h"

#define BASE   0x10000000u
#define PART   0x10000u
#define AT(n)  (BASE + (n) * PART) /* of the n-th structure */
#define PARTS  12
#define READS  (1u << 18)

enum { RUNTIME, INTERP, TSTATE, FRAME, OTHER_FRAME, CODE, TYPE, NAME, STR, STR_TYPE, BYTES, BYTES_TYPE };

/* Include/cpython/object.h: tp_flags, behind tp_name; Include/object.h: Py_TPFLAGS_BYTES_SUBCLASS and _UNICODE_SUBCLASS */
#define TYPE_FLAGS 144
#define BYTES_FLAG (1u << 27)
#define STR_FLAG   (1u << 28)

/* Memory that counts how often it is read. */
struct ring {
	struct memory_reader reader;
	size_t reads;
	uint8_t bytes[PARTS * PART];
};

static ssize_t ring_read(struct memory_reader *r, uint64_t addr, void *buf, size_t n)
{
	struct ring *ring = (struct ring *)r;

	ring->reads++;
	if (addr < BASE || addr - BASE > sizeof(ring->bytes) || n > sizeof(ring->bytes) - (addr - BASE))
		return -14; /* EFAULT */
	memcpy(buf, ring->bytes + (addr - BASE), n);
	return (ssize_t)n;
}

static void put(struct ring *ring, uint64_t at, uint64_t value)
{
	memcpy(ring->bytes + (at - BASE), &value, sizeof(value));
}

/* One interpreter after which it comes again, with one thread likewise, and that with two frames. */
static struct ring *ring__new(const struct pyrt_layout *l)
{
	static const struct memory_ops ops = {.read = ring_read};
	struct ring *ring = calloc(1, sizeof(*ring));
	const struct py_layout *a = &l->abi;

	ring->reader.ops = &ops;
	put(ring, AT(RUNTIME), AT(INTERP));
	put(ring, AT(INTERP) + l->lists.interp_threads, AT(TSTATE));
	put(ring, AT(INTERP) + l->lists.interp_next, AT(INTERP));
	put(ring, AT(TSTATE) + l->lists.tstate_next, AT(TSTATE));
	put(ring, AT(TSTATE) + a->tstate_interp, AT(INTERP));
	put(ring, AT(TSTATE) + a->tstate_native_id, (uint32_t)getpid());
	put(ring, AT(TSTATE) + a->tstate_frame, AT(FRAME));
	for (int i = FRAME; i <= OTHER_FRAME; i++) {
		put(ring, AT(i) + a->frame_previous, AT(FRAME + OTHER_FRAME - i));
		put(ring, AT(i) + a->frame_code, AT(CODE));
		put(ring, AT(i) + a->frame_instr, AT(CODE) + a->code_bytecode);
	}
	put(ring, AT(CODE) + a->code_type, AT(TYPE));
	put(ring, AT(CODE) + a->code_type + 8, 1); /* code units */
	put(ring, AT(CODE) + a->code_name, AT(STR));
	put(ring, AT(CODE) + a->code_filename, AT(STR));
	put(ring, AT(CODE) + a->code_linetable, AT(BYTES));
	put(ring, AT(STR) + a->str_state, 25u << a->str_kind_shift); /* empty, compact, ASCII */
	put(ring, AT(STR) + a->code_type, AT(STR_TYPE));
	put(ring, AT(STR_TYPE) + a->type_name + TYPE_FLAGS, STR_FLAG);
	put(ring, AT(BYTES) + a->code_type, AT(BYTES_TYPE));
	put(ring, AT(BYTES_TYPE) + a->type_name + TYPE_FLAGS, BYTES_FLAG);
	put(ring, AT(TYPE) + a->type_name, AT(NAME));
	memcpy(ring->bytes + (AT(NAME) - BASE), "code", 5);
	return ring;
}

static void test_proof_ends(void **state)
{
	struct pyrt_layout l = *pyrt_layout__row(14);
	struct ring *ring = ring__new(&l);
	unsigned int failures = 0;
	char why[256] = "";

	(void)state;
	pyrt__prove(&ring->reader, getpid(), &l, AT(RUNTIME), &failures, why, sizeof(why));
	assert_in_range(ring->reads, 1000, 2 * READS); /* a read of another width is not counted */
	free(ring);
}

static void test_list_ends(void **state)
{
	struct pyrt_layout l = *pyrt_layout__row(14);
	struct ring *ring = ring__new(&l);
	struct pyrt_threads threads = {0};

	(void)state;
	assert_int_equal(pyrt_threads__list(&ring->reader, &l, AT(RUNTIME), &threads), 0);
	assert_int_equal(threads.len, 16384);
	vec__free(&threads);
	free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proof_ends),
		cmocka_unit_test(test_list_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
