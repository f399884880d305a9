// SPDX-License-Identifier: Apache-2.0
#include "symbolize/debugfile.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lzma.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sys/inroot.h"

#define FOLDER       "/usr/lib/debug"
#define MAX_LINKED   (2ull << 30)  /* bytes whose CRC we take */
#define MAX_PACKED   (32ull << 20) /* .gnu_debugdata */
#define MAX_UNPACKED (64ull << 20)
#define PART         (64u << 10)

int debugfile__build_id(struct elf *elf, uint8_t *id, size_t size)
{
	struct elf_section s;
	Elf64_Nhdr note;
	char name[4];
	int err = elf__section(elf, ".note.gnu.build-id", &s);

	/* The program headers of a debug file are those of the other file, and tell of offsets in that. */
	if (err || s.type != SHT_NOTE)
		return elf__build_id(elf, id, size);
	if (s.size < sizeof(note) + sizeof(name))
		return -EINVAL;
	err = elf__read(elf, s.offset, &note, sizeof(note));
	if (!err)
		err = elf__read(elf, s.offset + sizeof(note), name, sizeof(name));
	if (err)
		return err;
	if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != sizeof(name) || memcmp(name, "GNU", 4) ||
	    note.n_descsz > s.size - sizeof(note) - sizeof(name))
		return -EINVAL;
	if (note.n_descsz > size)
		return -ENOSPC;
	err = elf__read(elf, s.offset + sizeof(note) + sizeof(name), id, note.n_descsz);
	return err ? err : (int)note.n_descsz;
}

/* Opens a path below a root for reading, if it is a regular file. */
static int open_below(int root_fd, const char *path)
{
	_cleanup_close_ int place = inroot__open(root_fd, path);
	char again[64];

	if (place < 0)
		return place;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", place);
	return elf__open_path(again);
}

static bool has_build_id(int fd, const uint8_t *id, int n)
{
	uint8_t other[ELF_BUILD_ID_MAX];
	struct elf *elf;
	bool same;

	if (elf__open(fd, &elf, NULL))
		return false;
	same = debugfile__build_id(elf, other, sizeof(other)) == n && !memcmp(id, other, (size_t)n);
	elf__close(elf);
	return same;
}

static int open_by_id(int root_fd, const uint8_t *id, int n)
{
	char path[sizeof(FOLDER) + 32 + 2 * ELF_BUILD_ID_MAX];
	int len = snprintf(path, sizeof(path), FOLDER "/.build-id/%02x/", id[0]), fd;

	for (int i = 1; i < n; i++)
		len += snprintf(path + len, sizeof(path) - (size_t)len, "%02x", id[i]);
	snprintf(path + len, sizeof(path) - (size_t)len, ".debug");
	fd = open_below(root_fd, path);
	if (fd >= 0 && !has_build_id(fd, id, n)) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

static bool has_crc(int fd, uint32_t crc)
{
	_cleanup_free_ uint8_t *part = malloc(PART);
	uLong sum = crc32(0, NULL, 0);
	uint64_t done = 0;
	ssize_t got = 0;

	while (part && done <= MAX_LINKED && (got = pread(fd, part, PART, (off_t)done)) > 0) {
		sum = crc32(sum, part, (uInt)got);
		done += (uint64_t)got;
	}
	return part && !got && done && (uint32_t)sum == crc;
}

/* A section that begins with a name. 0; *rest is what follows the NUL, in bytes. */
static int read_link(struct elf *elf, const char *section, char name[PATH_MAX], uint8_t *rest, size_t *nrest)
{
	_cleanup_free_ char *all = NULL;
	struct elf_section s;
	size_t n;
	int err = elf__section(elf, section, &s);

	if (err)
		return err;
	if (s.type != SHT_PROGBITS || !s.size || s.size > PATH_MAX)
		return -EINVAL;
	all = malloc(s.size);
	if (!all)
		return -ENOMEM;
	err = elf__read(elf, s.offset, all, s.size);
	if (err)
		return err;
	n = strnlen(all, s.size);
	if (!n || n == s.size)
		return -EINVAL;
	memcpy(name, all, n + 1);
	if (*nrest > s.size - n - 1)
		*nrest = s.size - n - 1;
	/* the last ones: in front of a CRC are up to three bytes of padding */
	memcpy(rest, all + s.size - *nrest, *nrest);
	return 0;
}

static int open_linked(struct elf *elf, const char *path, int root_fd)
{
	const char *slash = strrchr(path, '/');
	int folder = slash ? (int)(slash - path) : 0;
	char name[PATH_MAX], full[3 * PATH_MAX];
	uint8_t rest[4];
	size_t nrest = sizeof(rest);
	uint32_t crc;

	if (path[0] != '/' || folder >= PATH_MAX || read_link(elf, ".gnu_debuglink", name, rest, &nrest) ||
	    nrest != sizeof(rest) || strchr(name, '/'))
		return -ENOENT;
	memcpy(&crc, rest, sizeof(crc));
	for (int i = 0; i < 3; i++) {
		int fd;

		snprintf(full, sizeof(full), "%s%.*s/%s%s", i == 2 ? FOLDER : "", folder, path, i == 1 ? ".debug/" : "", name);
		fd = open_below(root_fd, full);
		if (fd >= 0 && has_crc(fd, crc))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

/* libdebuginfod is no dependency: it drags in a whole HTTP client. Its interface: elfutils/debuginfod.h. */
static int download_by_id(const uint8_t *id, int n)
{
	const char *urls = secure_getenv("DEBUGINFOD_URLS");
	int (*find)(void *, const unsigned char *, int, char **);
	void *(*begin)(void), *library, *client;
	void (*end)(void *);
	int fd = -ENOENT;

	if (!urls || !*urls)
		return -ENOENT;
	library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return -ENOENT;
	*(void **)&begin = dlsym(library, "debuginfod_begin");
	*(void **)&find = dlsym(library, "debuginfod_find_debuginfo");
	*(void **)&end = dlsym(library, "debuginfod_end");
	client = begin && find && end ? begin() : NULL;
	if (client) {
		fd = find(client, id, n, NULL);
		end(client);
	}
	/* never unloaded: it leaves handlers of its HTTP client behind */
	return fd < 0 ? -ENOENT : fd;
}

int debugfile__open(struct elf *elf, const char *path, int root_fd, bool download)
{
	_cleanup_close_ int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int roots[] = {root_fd, host}, fd = -ENOENT;
	uint8_t id[ELF_BUILD_ID_MAX];
	int n = debugfile__build_id(elf, id, sizeof(id));

	for (size_t i = 0; n > 1 && fd < 0 && i < ARRAY_SIZE(roots); i++)
		fd = roots[i] >= 0 ? open_by_id(roots[i], id, n) : -ENOENT;
	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(roots); i++)
		fd = roots[i] >= 0 ? open_linked(elf, path, roots[i]) : -ENOENT;
	if (fd < 0 && download && n > 1)
		fd = download_by_id(id, n);
	return fd < 0 ? -ENOENT : fd;
}

int debugfile__open_alternate(struct elf *debug, int root_fd)
{
	_cleanup_close_ int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int roots[] = {root_fd, host};
	char name[PATH_MAX], full[PATH_MAX + sizeof(FOLDER)];
	uint8_t id[ELF_BUILD_ID_MAX];
	size_t n = sizeof(id);
	const char *shared;

	if (read_link(debug, ".gnu_debugaltlink", name, id, &n) || n < 2)
		return -ENOENT;
	/* a relative name starts from the debug file's own folder, which all have below one */
	shared = name[0] == '/' ? NULL : strstr(name, ".dwz/");
	snprintf(full, sizeof(full), "%s%s", shared ? FOLDER "/" : "", shared ? shared : name);
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		int fd = roots[i] >= 0 ? open_below(roots[i], full) : -ENOENT;

		if (fd >= 0 && has_build_id(fd, id, (int)n))
			return fd;
		if (fd >= 0)
			close(fd);
		fd = roots[i] >= 0 ? open_by_id(roots[i], id, (int)n) : -ENOENT;
		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

/* Decodes `packed` into fd, in parts. */
static int unpack(lzma_stream *stream, uint8_t *part, int fd, size_t *size)
{
	lzma_ret ret;
	int err;

	*size = 0;
	do {
		size_t n, done = 0;

		stream->next_out = part;
		stream->avail_out = PART;
		ret = lzma_code(stream, LZMA_FINISH);
		n = PART - stream->avail_out;
		if (ret == LZMA_MEM_ERROR)
			return -ENOMEM;
		if (ret != LZMA_OK && ret != LZMA_STREAM_END)
			return -EBADMSG;
		if (*size + n > MAX_UNPACKED)
			return -E2BIG;
		while (done < n) {
			ssize_t put = write(fd, part + done, n - done);

			err = put < 0 ? -errno : 0;
			if (err && err != -EINTR)
				return err;
			done += put > 0 ? (size_t)put : 0;
		}
		*size += n;
	} while (ret != LZMA_STREAM_END);
	return 0;
}

int debugfile__unpack_mini(struct elf *elf, size_t *size)
{
	_cleanup_free_ uint8_t *packed = NULL, *part = NULL;
	_cleanup_close_ int fd = -1;
	lzma_stream stream = LZMA_STREAM_INIT;
	struct elf_section s;
	int err = elf__section(elf, ".gnu_debugdata", &s);

	if (err)
		return err;
	if (s.type != SHT_PROGBITS || !s.size || s.size > MAX_PACKED)
		return -EINVAL;
	packed = malloc(s.size);
	part = malloc(PART);
	if (!packed || !part)
		return -ENOMEM;
	err = elf__read(elf, s.offset, packed, s.size);
	if (err)
		return err;
	fd = memfd_create("debugdata", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (lzma_stream_decoder(&stream, MAX_UNPACKED + (16u << 20), 0) != LZMA_OK)
		return -ENOMEM;
	stream.next_in = packed;
	stream.avail_in = s.size;
	err = unpack(&stream, part, fd, size);
	lzma_end(&stream);
	return err ? err : take_fd(fd);
}
