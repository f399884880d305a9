/* SPDX-License-Identifier: Apache-2.0 */
#include "pyrt/binary_version.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_MINOR 99
#define WINDOW    (1 << 20)
#define OVERLAP   64 /* longer than any string looked for */
#define MAX_SCAN  (256u << 20)

int pyrt_version__symbol(struct elf *elf, uint32_t *hex)
{
	struct elf_symbol sym;
	uint64_t value;
	int err = elf__dynamic_symbol(elf, "Py_Version", &sym);

	if (!err)
		err = elf__read_address(elf, sym.value, &value, sizeof(value));
	if (err)
		return err;
	if (value >> 24 != 3)
		return -ENOENT;
	*hex = (uint32_t)value;
	return 0;
}

struct candidates {
	uint32_t alone[MAX_MINOR + 1]; /* by minor: of a "3.N.M" between two NULs */
	uint32_t tail[MAX_MINOR + 1];  /* of one that ends another string: linkers merge tails */
	bool path[MAX_MINOR + 1];        /* by minor: "python3.N" was seen */
};

static const char *number(const char *p, const char *end, unsigned int *value)
{
	const char *start = p;
	unsigned int v = 0;

	while (p < end && *p >= '0' && *p <= '9' && p - start < 3)
		v = v * 10 + (unsigned int)(*p++ - '0');
	*value = v;
	return p > start ? p : NULL;
}

/* A pre-release's letter and number, or a final release, then "+" perhaps, then NUL. */
static bool release_level(const char *p, const char *end, uint32_t *level)
{
	unsigned int serial = 0, kind = 0xf;

	if (p < end && (*p == 'a' || *p == 'b')) {
		kind = *p == 'a' ? 0xa : 0xb;
		p = number(p + 1, end, &serial);
	} else if (end - p > 2 && p[0] == 'r' && p[1] == 'c') {
		kind = 0xc;
		p = number(p + 2, end, &serial);
	}
	if (p && p < end && *p == '+')
		p++;
	*level = kind << 4 | (serial & 0xf);
	return p && p < end && *p == '\0';
}

static void look_at(const char *window, size_t size, struct candidates *c)
{
	static const char lead[] = "python3.";
	const char *end = window + size, *p = window;

	/* Both kinds hold "3."; the first byte of a window has been looked at as part of the one before. */
	while ((p = memmem(p, (size_t)(end - p), "3.", 2))) {
		unsigned int minor, micro;
		const char *q = number(p + 2, end, &minor);
		uint32_t level;

		if (q && minor <= MAX_MINOR) {
			size_t before = sizeof(lead) - 3;

			if ((size_t)(p - window) >= before &&
			    memcmp(p - before, lead, before) == 0)
				c->path[minor] = true;
			else if (p > window && p[-1] != '.' && (p[-1] < '0' || p[-1] > '9') &&
				 q < end && *q == '.' && (q = number(q + 1, end, &micro)) &&
				 micro < 256 && release_level(q, end, &level))
				*(p[-1] == '\0' ? &c->alone[minor] : &c->tail[minor]) =
					3u << 24 | minor << 16 | micro << 8 | level;
		}
		p++;
	}
}

static int choose(const struct candidates *c, uint32_t *hex)
{
	uint32_t best = 0;

	for (int both = 1; both >= 0; both--) {
		unsigned int n = 0;

		for (unsigned int minor = 0; minor <= MAX_MINOR; minor++) {
			uint32_t v = c->alone[minor] ? c->alone[minor] : c->tail[minor];

			if (!v || (both && !c->path[minor]))
				continue;
			best = v;
			n++;
		}
		if (n == 1) {
			*hex = best;
			return 0;
		}
		if (n > 1)
			break;
	}
	return -ENOENT;
}

static int scan_segments(struct elf *elf, bool code, char *window, struct candidates *c)
{
	uint64_t scanned = 0;

	for (size_t i = 0; i < elf__segment_count(elf); i++) {
		const struct elf_segment *s = elf__segment(elf, i);

		if (s->type != PT_LOAD || s->flags & PF_W || !(s->flags & PF_X) == code)
			continue;
		for (uint64_t at = 0; at < s->filesz; at += WINDOW - OVERLAP) {
			size_t n = s->filesz - at < WINDOW ? (size_t)(s->filesz - at) : WINDOW;
			int err = elf__read(elf, s->offset + at, window, n);

			if (err)
				return err;
			look_at(window, n, c);
			scanned += n;
			if (scanned > MAX_SCAN)
				return 0;
			if (n < WINDOW)
				break;
		}
	}
	return 0;
}

int pyrt_version__find(struct elf *elf, uint32_t *hex)
{
	_cleanup_free_ char *window = malloc(WINDOW);
	_cleanup_free_ struct candidates *c = calloc(1, sizeof(*c));

	if (!window || !c)
		return -ENOMEM;
	/* Older linkers put constants into the segment of the code. */
	for (int code = 0; code < 2; code++) {
		int err = scan_segments(elf, code, window, c);

		if (err)
			return err;
		if (!choose(c, hex))
			return 0;
	}
	return -ENOENT;
}
