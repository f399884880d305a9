/* SPDX-License-Identifier: Apache-2.0 */
/* Writing call frame information, and the tables that come of it, for test_unwind*.c. */
#ifndef PYBPF_TESTS_UNWIND_FRAME_H
#define PYBPF_TESTS_UNWIND_FRAME_H

#include "unwind_image.h"

#include "unwind/table.h"

#define TEXT IMAGE_TEXT

struct frame {
	struct image image;
	uint8_t bytes[8192];
	size_t n;
	size_t cie; /* offset of the last one */
};

/* Instructions, or any bytes. */
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define NOTHING    NULL, 0

static inline void frame__put(struct frame *f, const void *bytes, size_t n)
{
	if (n)
		memcpy(f->bytes + f->n, bytes, n);
	f->n += n;
}

static inline void frame__number(struct frame *f, uint64_t v, size_t n)
{
	frame__put(f, &v, n);
}

static inline void frame__end(struct frame *f, size_t start)
{
	uint32_t length;

	while (f->n % 8)
		f->bytes[f->n++] = 0;
	length = (uint32_t)(f->n - start - 4);
	memcpy(f->bytes + start, &length, 4);
}

/* A CIE of version 1 for x86-64: code factor 1, data factor -8, CFA = rsp + 8, RA at CFA - 8; then `more`. */
static inline void frame__cie(struct frame *f, const char *augmentation, const void *data, size_t data_n,
			      const void *more, size_t more_n)
{
	size_t start = f->n;

	f->cie = start;
	frame__number(f, 0, 4);
	frame__number(f, f->image.kind == IMAGE_DEBUG ? UINT32_MAX : 0, 4);
	frame__number(f, 1, 1);
	frame__put(f, augmentation, strlen(augmentation) + 1);
	frame__put(f, BYTES(1, 0x78, 16));
	if (augmentation[0] == 'z')
		frame__number(f, data_n, 1);
	frame__put(f, data, data_n);
	frame__put(f, BYTES(0x0c, 7, 8, 0x90, 1));
	frame__put(f, more, more_n);
	frame__end(f, start);
}

/* The head of an FDE of the last CIE, up to where its addresses are. Where the FDE starts. */
static inline size_t frame__fde_head(struct frame *f)
{
	size_t start = f->n;

	frame__number(f, 0, 4);
	frame__number(f, f->image.kind == IMAGE_DEBUG ? f->cie : f->n - f->cie, 4);
	return start;
}

/* A function with "zR", relative addresses of 4 bytes. */
static inline void frame__function(struct frame *f, uint64_t addr, uint32_t size, const void *code, size_t n)
{
	size_t start = frame__fde_head(f);

	frame__number(f, addr - (IMAGE_FRAME + f->n), 4);
	frame__number(f, size, 4);
	frame__number(f, 0, 1);
	frame__put(f, code, n);
	frame__end(f, start);
}

static inline void frame__usual_cie(struct frame *f)
{
	frame__cie(f, "zR", BYTES(0x1b), NOTHING);
}

/* The table, or an error. */
static inline int frame__build(struct frame *f, struct unwind_table **out, struct err *e)
{
	struct elf *elf = NULL;
	int fd, err;

	f->image.frame = f->bytes;
	f->image.size = f->n;
	fd = image__make(&f->image);
	assert_true(fd >= 0);
	err = elf__open(fd, &elf, e);
	if (!err)
		err = unwind_table__build(elf, out, e);
	elf__close(elf);
	close(fd);
	return err;
}

static inline struct unwind_table *frame__table(struct frame *f)
{
	struct unwind_table *t = NULL;
	struct err e = {0};

	if (frame__build(f, &t, &e))
		fail_msg("no table: %s", e.text);
	return t;
}

static inline void table__expect(const struct unwind_table *t, uint64_t addr, struct unwind_rule want)
{
	struct unwind_rule got = {.cfa = 0xee};
	int err = unwind_table__lookup(t, addr, &got);

	assert_int_equal(err, want.cfa == UNWIND_NONE ? -ENOENT : 0);
	if (err)
		return;
	assert_int_equal(got.cfa, want.cfa);
	assert_int_equal(got.cfa_off, want.cfa_off);
	assert_int_equal(got.deref_off, want.deref_off);
	assert_int_equal(got.reg, want.reg);
	assert_int_equal(got.fp, want.fp);
	assert_int_equal(got.fp_off, want.fp_off);
	assert_int_equal(got.ra_off, want.ra_off);
	assert_int_equal(got.bx_off, want.bx_off);
	assert_int_equal(got.flags, want.flags);
}

#define RULE(...)    ((struct unwind_rule){.ra_off = -8, __VA_ARGS__})
#define NO_RULE      ((struct unwind_rule){.cfa = UNWIND_NONE})
#define UNKNOWN_RULE ((struct unwind_rule){.cfa = UNWIND_UNKNOWN})

#endif
