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
#define PARTS  8
#define READS  (1u << 18)

enum { RUNTIME, INTERP, TSTATE, FRAME, OTHER_FRAME, CODE, TYPE, NAME };

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
	}
	put(ring, AT(CODE) + a->code_type, AT(TYPE));
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
	assert_in_range(ring->reads, 1, 2 * READS); /* a read of another width is not counted; it may give up at the first ring */
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
