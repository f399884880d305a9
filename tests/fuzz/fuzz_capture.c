// SPDX-License-Identifier: Apache-2.0
/*
 * Captures of any blocks, their checksums right: refused, or a profile that exporters can write. Input: blocks, each a
 * type (1 byte), a length (2 bytes) and the payload.
 */
#include "fuzz.h"

#include <zlib.h>

#include "base/str.h"
#include "export/export.h"
#include "store/capture.h"

static void add_block(struct str *file, unsigned int type, const uint8_t *payload, uint32_t n)
{
	unsigned char head[5] = {(unsigned char)type, n & 0xff, n >> 8 & 0xff, n >> 16 & 0xff, n >> 24};
	uLong crc = crc32(crc32(0, head, sizeof(head)), payload, n);
	unsigned char tail[4] = {crc & 0xff, crc >> 8 & 0xff, crc >> 16 & 0xff, crc >> 24 & 0xff};

	if (str__add(file, (char *)head, sizeof(head)) || str__add(file, (const char *)payload, n) ||
	    str__add(file, (char *)tail, sizeof(tail)))
		abort();
}

static void use(const struct profile *p)
{
	static const char *const formats[] = {"raw", "flamegraph", "speedscope", "pybpf"};
	struct export_opts o = {.view = {.process_frames = true, .thread_frames = true}};

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		char *bytes = NULL;
		size_t n;
		FILE *out = open_memstream(&bytes, &n);

		if (!out || export__by_name(formats[i])->write(p, &o, out, NULL) || fclose(out))
			abort();
		free(bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str file = {0};
	struct profile *p;
	bool truncated;
	FILE *in;

	if (str__adds(&file, CAPTURE_MAGIC) || str__add(&file, "\1\0\0\0", 4))
		abort();
	while (size >= 3) {
		uint32_t n = data[1] | (uint32_t)data[2] << 8;

		if (n > size - 3)
			n = (uint32_t)size - 3;
		add_block(&file, data[0], data + 3, n);
		data += 3 + n;
		size -= 3 + n;
	}
	in = fmemopen(file.data, file.len, "r");
	if (!in)
		abort();
	if (!capture__read(in, &p, &truncated, NULL)) {
		use(p);
		profile__free(p);
	}
	fclose(in);
	str__free(&file);
	return 0;
}
