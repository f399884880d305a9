// SPDX-License-Identifier: Apache-2.0
/* The ELF reader on files of this machine, against readelf; and on damaged ones. */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pyrt/binary.h"
#include "sys/elf.h"

static const char *const files[] = {"/proc/self/exe",
				    "/bin/sh",
				    "/lib/x86_64-linux-gnu/libc.so.6",
				    "/usr/bin/python3",
				    "/lib/aarch64-linux-gnu/libc.so.6",
				    "build/user/main.o"};

struct opened {
	int fd;
	struct elf *elf;
};

static bool open_file(const char *path, struct opened *o)
{
	struct err e = {0};

	o->fd = elf__open_path(path);
	if (o->fd < 0)
		return false;
	assert_int_equal(elf__open(o->fd, &o->elf, &e), 0);
	return true;
}

static void close_file(struct opened *o)
{
	elf__close(o->elf);
	close(o->fd);
}

static FILE *readelf(const char *options, const char *path)
{
	char command[4352], real[4096];
	FILE *out;

	assert_non_null(realpath(path, real));
	snprintf(command, sizeof(command), "exec readelf --wide %s %s 2>/dev/null", options, real);
	out = popen(command, "r");
	assert_non_null(out);
	return out;
}

/* "  LOAD  0x000000 0x0000000000000000 0x0000000000000000 0x003428 0x003428 R   0x1000" */
static void test_segments(void **state)
{
	(void)state;
	for (size_t f = 0; f < sizeof(files) / sizeof(*files); f++) {
		struct opened o;
		char line[512];
		size_t n = 0;
		FILE *said;

		if (!open_file(files[f], &o))
			continue;
		said = readelf("--program-headers", files[f]);
		while (fgets(line, sizeof(line), said)) {
			uint64_t offset, vaddr, paddr, filesz, memsz;
			const struct elf_segment *s;
			char type[32];

			if (sscanf(line, " %31s 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64,
				   type, &offset, &vaddr, &paddr, &filesz, &memsz) != 6)
				continue;
			s = elf__segment(o.elf, n++);
			assert_non_null(s);
			assert_int_equal(s->offset, offset);
			assert_int_equal(s->vaddr, vaddr);
			assert_int_equal(s->filesz, filesz);
			assert_int_equal(s->memsz, memsz);
			assert_int_equal(s->type == PT_LOAD, !strcmp(type, "LOAD"));
			assert_int_equal(s->type == PT_DYNAMIC, !strcmp(type, "DYNAMIC"));
		}
		pclose(said);
		assert_int_equal(n, elf__segment_count(o.elf));
		assert_null(elf__segment(o.elf, n));
		close_file(&o);
	}
}

/* "  [ 1] .interp PROGBITS 0000000000000318 000318 00001c 00 A 0 0 1" */
static void test_sections(void **state)
{
	(void)state;
	for (size_t f = 0; f < sizeof(files) / sizeof(*files); f++) {
		struct elf_section s;
		struct opened o;
		char line[512];
		FILE *said;

		if (!open_file(files[f], &o))
			continue;
		said = readelf("--section-headers", files[f]);
		while (fgets(line, sizeof(line), said)) {
			uint64_t addr, offset, size;
			char name[128];
			int number;

			if (sscanf(line, " [%d] %127s %*s %" SCNx64 " %" SCNx64 " %" SCNx64, &number, name, &addr,
				   &offset, &size) != 5 ||
			    name[0] != '.')
				continue;
			assert_int_equal(elf__section(o.elf, name, &s), 0);
			if (!strncmp(files[f], "build", 5)) /* an object file has several of one name */
				continue;
			assert_int_equal(s.addr, addr);
			assert_int_equal(s.offset, offset);
			assert_int_equal(s.size, size);
		}
		pclose(said);
		assert_int_equal(elf__section(o.elf, ".nothing", &s), -ENOENT);
		close_file(&o);
	}
}

/* "   62: 000000000005d2b0   112 FUNC    GLOBAL DEFAULT   16 name@@VERSION" */
static void test_dynamic_symbols(void **state)
{
	(void)state;
	for (size_t f = 0; f < sizeof(files) / sizeof(*files); f++) {
		struct elf_symbol sym;
		struct opened o;
		char line[1024];
		int met = 0;
		FILE *said;

		if (!open_file(files[f], &o))
			continue;
		said = readelf("--dyn-syms", files[f]);
		while (fgets(line, sizeof(line), said)) {
			char size_text[32], type[32], section[32], name[512];
			uint64_t value;
			int number;

			if (sscanf(line, " %d: %" SCNx64 " %31s %31s %*s %*s %31s %511s", &number, &value, size_text,
				   type, section, name) != 6)
				continue;
			/* of a name's versions only the default one is for sure the one to find */
			if (!strcmp(section, "UND") || (strchr(name, '@') && !strstr(name, "@@")) ||
			    !strcmp(type, "IFUNC"))
				continue;
			if (number % 7) /* some are enough */
				continue;
			name[strcspn(name, "@")] = '\0';
			if (elf__dynamic_symbol(o.elf, name, &sym))
				fail_msg("%s: no %s", files[f], name);
			met += sym.value == value && sym.size == strtoull(size_text, NULL, 0);
		}
		pclose(said);
		assert_int_equal(elf__dynamic_symbol(o.elf, "no_such_symbol_anywhere", &sym), -ENOENT);
		if (!strcmp(files[f], "/usr/bin/python3"))
			assert_true(met > 100);
		close_file(&o);
	}
}

static void test_static_symbols(void **state)
{
	static const char *const names[] = {"main", "no_such_symbol_anywhere", "test_static_symbols"};
	struct elf_symbol syms[3];
	bool found[3];
	struct opened o;
	uint64_t value = 0;
	char line[1024];
	FILE *said;

	(void)state;
	assert_true(open_file("/proc/self/exe", &o));
	assert_int_equal(elf__static_symbols(o.elf, names, 3, syms, found), 2);
	assert_true(found[0] && !found[1] && found[2]);
	said = readelf("--syms", "/proc/self/exe");
	while (fgets(line, sizeof(line), said)) {
		char name[512];
		uint64_t at;

		if (sscanf(line, " %*d: %" SCNx64 " %*s %*s %*s %*s %*s %511s", &at, name) == 2 &&
		    !strcmp(name, "test_static_symbols"))
			value = at;
	}
	pclose(said);
	assert_int_equal(syms[2].value, value);
	assert_int_equal(syms[2].type, STT_FUNC);
	close_file(&o);
	assert_true(open_file("/usr/bin/python3", &o)); /* Debian's is stripped */
	assert_int_equal(elf__static_symbols(o.elf, names, 3, syms, found), -ENOENT);
	close_file(&o);
}

static void test_build_id_and_needs(void **state)
{
	uint8_t id[ELF_BUILD_ID_MAX];
	struct opened o;
	char line[512], want[2 * ELF_BUILD_ID_MAX + 1] = "", got[2 * ELF_BUILD_ID_MAX + 1] = "";
	FILE *said;
	int n;

	(void)state;
	assert_true(open_file("/bin/sh", &o));
	said = readelf("--notes", "/bin/sh");
	while (fgets(line, sizeof(line), said))
		if (strstr(line, "Build ID: "))
			sscanf(strstr(line, "Build ID: "), "Build ID: %128s", want);
	pclose(said);
	n = elf__build_id(o.elf, id, sizeof(id));
	for (int i = 0; i < n; i++)
		snprintf(got + 2 * i, 3, "%02x", id[i]);
	assert_string_equal(got, want);
	assert_int_equal(elf__build_id(o.elf, id, 3), -ENOSPC);
	assert_true(elf__needs(o.elf, "libc.so"));
	assert_true(elf__needs(o.elf, "ld-linux"));
	assert_false(elf__needs(o.elf, "libpython"));
	close_file(&o);
}

/* The word is where this program's own dynamic linker has left its address; a library has none. */
static void test_debug_word(void **state)
{
	Dl_info here;
	struct opened o;
	uint64_t word = 0, debug;
	struct link_map *first;

	(void)state;
	assert_true(open_file("/proc/self/exe", &o));
	assert_int_equal(elf__debug_word(o.elf, &word), 0);
	assert_int_not_equal(dladdr((void *)test_debug_word, &here), 0);
	memcpy(&debug, (char *)here.dli_fbase + word, sizeof(debug));
	assert_int_equal(dlinfo(dlopen(NULL, RTLD_NOW), RTLD_DI_LINKMAP, &first), 0);
	assert_ptr_equal(((struct r_debug *)(uintptr_t)debug)->r_map, first);
	close_file(&o);
	assert_true(open_file("/lib/x86_64-linux-gnu/libc.so.6", &o));
	assert_int_equal(elf__debug_word(o.elf, &word), -ENOENT);
	close_file(&o);
}

/* Addresses and offsets lead to the same bytes; text is found from a mapping's offset. */
static void test_addresses(void **state)
{
	struct opened o;

	(void)state;
	assert_true(open_file("/usr/bin/python3", &o));
	for (size_t i = 0; i < elf__segment_count(o.elf); i++) {
		const struct elf_segment *s = elf__segment(o.elf, i);
		char a[64], b[64];
		uint64_t at;

		if (s->type != PT_LOAD)
			continue;
		assert_int_equal(elf__read_address(o.elf, s->vaddr, a, sizeof(a)), 0);
		assert_int_equal(elf__read(o.elf, s->offset, b, sizeof(b)), 0);
		assert_memory_equal(a, b, sizeof(a));
		assert_int_equal(elf__offset_of(o.elf, s->vaddr + 5, &at), 0);
		assert_int_equal(at, s->offset + 5);
		if (s->flags & PF_X) {
			assert_int_equal(elf__text_address(o.elf, s->offset & ~4095ull, &at), 0);
			assert_int_equal(at, s->vaddr - (s->offset & 4095));
		}
		if (s->memsz > s->filesz + sizeof(a)) { /* .bss */
			memset(b, 0, sizeof(b));
			assert_int_equal(elf__read_address(o.elf, s->vaddr + s->memsz - sizeof(a), a, sizeof(a)), 0);
			assert_memory_equal(a, b, sizeof(a));
		}
		assert_int_equal(elf__read_address(o.elf, s->vaddr + s->memsz, a, 1 << 30), -EFAULT);
	}
	assert_int_equal(elf__read_address(o.elf, UINT64_MAX - 3, &(char[64]){0}, 64), -EFAULT);
	close_file(&o);
}

/* ---- damage: this program itself, small enough, in memory */

struct image {
	unsigned char *bytes;
	size_t n;
	int fd; /* the damaged copy */
};

static void load(const char *path, struct image *m)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0 && !fstat(fd, &st));
	m->n = (size_t)st.st_size;
	m->bytes = malloc(m->n);
	assert_int_equal(read(fd, m->bytes, m->n), m->n);
	close(fd);
	m->fd = memfd_create("damaged", MFD_CLOEXEC);
	assert_true(m->fd >= 0);
	assert_int_equal(pwrite(m->fd, m->bytes, m->n, 0), m->n);
}

static void unload(struct image *m)
{
	free(m->bytes);
	close(m->fd);
}

/* All that the product asks of a file: an answer or an error, never a crash. */
static void ask(int fd)
{
	static const char *const names[] = {"main", "_Py_tss_tstate"};
	struct pyrt_binary binary;
	struct elf_symbol syms[2];
	struct elf_section section;
	uint8_t id[ELF_BUILD_ID_MAX];
	struct elf *elf;
	bool found[2];
	uint64_t at;

	pyrt_binary__probe(fd, &binary, NULL);
	if (elf__open(fd, &elf, NULL))
		return;
	elf__dynamic_symbol(elf, "malloc", syms);
	elf__static_symbols(elf, names, 2, syms, found);
	elf__section(elf, ".symtab", &section);
	elf__build_id(elf, id, sizeof(id));
	elf__needs(elf, "libc.so");
	elf__text_address(elf, 4096, &at);
	elf__close(elf);
}

static void put(struct image *m, size_t at, const void *bytes, size_t n)
{
	assert_int_equal(pwrite(m->fd, bytes, n, (off_t)at), n);
}

static void test_damaged_headers(void **state)
{
	static const uint64_t words[] = {0, 1, 0x7fffffff, 0xffffffff, UINT64_MAX, 1ull << 63, 4095};
	struct image m;
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *dynamic = NULL;
	size_t ends[3][2];

	(void)state;
	load("/bin/sh", &m);
	eh = (const void *)m.bytes;
	for (int i = 0; i < eh->e_phnum; i++) {
		const Elf64_Phdr *ph = (const void *)(m.bytes + eh->e_phoff + (size_t)i * sizeof(*ph));

		if (ph->p_type == PT_DYNAMIC)
			dynamic = ph;
	}
	assert_non_null(dynamic);
	ends[0][0] = 0, ends[0][1] = sizeof(*eh) + eh->e_phnum * sizeof(Elf64_Phdr);
	ends[1][0] = eh->e_shoff, ends[1][1] = m.n;
	ends[2][0] = dynamic->p_offset, ends[2][1] = dynamic->p_offset + dynamic->p_filesz;
	for (int part = 0; part < 3; part++) {
		for (size_t at = ends[part][0]; at + 8 <= ends[part][1]; at += 4) {
			for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++) {
				size_t n = at % 8 ? 4 : 8;

				put(&m, at, &words[w], n);
				ask(m.fd);
				put(&m, at, m.bytes + at, n);
			}
		}
	}
	unload(&m);
}

static void test_damage_anywhere(void **state)
{
	struct image m;

	(void)state;
	load("/bin/sh", &m);
	srand(7);
	for (int round = 0; round < 2000; round++) {
		size_t at[8];

		for (int i = 0; i < 8; i++) {
			unsigned char byte = (unsigned char)rand();

			at[i] = (size_t)rand() % (i < 4 ? 4096 : m.n);
			put(&m, at[i], &byte, 1);
		}
		ask(m.fd);
		for (int i = 0; i < 8; i++)
			put(&m, at[i], m.bytes + at[i], 1);
	}
	unload(&m);
}

/* Cut to every length up to the headers' end, then in steps; and cut while it is open. */
static void test_cut(void **state)
{
	struct elf_section section;
	struct image m;
	struct elf *elf;

	(void)state;
	load("/bin/sh", &m);
	assert_int_equal(elf__open(m.fd, &elf, NULL), 0);
	for (size_t n = m.n; n > 4096; n -= n > 8192 ? 997 : 61) {
		assert_int_equal(ftruncate(m.fd, (off_t)n), 0);
		ask(m.fd);
	}
	assert_int_equal(elf__section(elf, ".text", &section), -EIO);
	elf__close(elf);
	for (size_t n = 4096; n-- > 0;) {
		assert_int_equal(ftruncate(m.fd, (off_t)n), 0);
		ask(m.fd);
	}
	assert_int_equal(elf__open(m.fd, &elf, NULL), -ENOEXEC);
	unload(&m);
}

static void test_no_files(void **state)
{
	char fifo[] = "/tmp/test_elf.XXXXXX";
	struct elf *elf;
	int fd;

	(void)state;
	assert_int_equal(elf__open_path("/nonexistent/file"), -ENOENT);
	assert_int_equal(elf__open_path("/tmp"), -EINVAL);
	assert_int_equal(elf__open_path("/dev/null"), -EINVAL);
	assert_non_null(mkdtemp(fifo));
	rmdir(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(elf__open_path(fifo), -EINVAL); /* and does not wait for a writer */
	unlink(fifo);
	fd = elf__open_path("Makefile");
	assert_true(fd >= 0);
	assert_int_equal(elf__open(fd, &elf, NULL), -ENOEXEC);
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(elf__open(fd, &elf, NULL), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_dynamic_symbols),
		cmocka_unit_test(test_static_symbols),
		cmocka_unit_test(test_build_id_and_needs),
		cmocka_unit_test(test_debug_word),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_damaged_headers),
		cmocka_unit_test(test_damage_anywhere),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
