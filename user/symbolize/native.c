// SPDX-License-Identifier: Apache-2.0
#include "symbolize/native.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "sys/elf.h"
#include "symbolize/debugfile.h"
#include "symbolize/demangle.h"
#include "symbolize/dwarf.h"
#include "symbolize/plt.h"
#include "symbolize/symtab.h"

#define DEFAULT_BYTES (64u << 20)
#define MAX_READERS   2 /* processes that read DWARF at a time */

/* In the order in which they are asked. */
enum source_kind { SOURCE_OWN, SOURCE_DEBUG, SOURCE_MINI, SOURCE_DYNAMIC, SOURCE_COUNT };

struct source {
	bool tried;
	struct symtab *table; /* NULL: it has none */
};

/* What tells whether two files are the same one. */
struct identity {
	uint8_t id[ELF_BUILD_ID_MAX];
	uint64_t dev, ino, size, changed, root_dev, root_ino;
	uint32_t id_bytes, uid;
};

struct symbol_file {
	struct identity identity;
	int fd, root_fd;
	char *path;
	const char *name; /* in path */

	/* What eviction gives back; then all is as in the beginning. */
	bool opened;
	uint64_t used; /* the symbolizer's clock when it was asked last */
	size_t memory;
	struct elf *elf, *debug, *mini; /* NULL: there is none */
	int debug_fd, mini_fd;
	bool debug_tried, plt_tried, dwarf_tried;
	struct source sources[SOURCE_COUNT];
	struct plt *plt;
	struct dwarf_reader *dwarf;
};

struct symbolizer {
	struct symbolizer_config config;
	struct vec(struct symbol_file *) files;
	struct hmap by_identity; /* hash of the identity -> index */
	uint64_t clock;
	size_t memory;
	/* the last answer; its strings are offsets into text until all are there */
	struct vec(struct symbol) list;
	struct str text;
};

struct symbolizer *symbolizer__new(const struct symbolizer_config *config)
{
	struct symbolizer *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (config)
		s->config = *config;
	if (!s->config.max_bytes)
		s->config.max_bytes = DEFAULT_BYTES;
	return s;
}

static void unload(struct symbolizer *s, struct symbol_file *f)
{
	for (size_t i = 0; i < SOURCE_COUNT; i++) {
		symtab__free(f->sources[i].table);
		f->sources[i] = (struct source){0};
	}
	plt__free(f->plt);
	dwarf_reader__free(f->dwarf);
	elf__close(f->elf);
	elf__close(f->debug);
	elf__close(f->mini);
	cleanup__close(&f->debug_fd);
	cleanup__close(&f->mini_fd);
	f->plt = NULL;
	f->dwarf = NULL;
	f->elf = f->debug = f->mini = NULL;
	f->debug_fd = f->mini_fd = -1;
	f->opened = f->debug_tried = f->plt_tried = f->dwarf_tried = false;
	s->memory -= f->memory;
	f->memory = 0;
}

void symbolizer__free(struct symbolizer *s)
{
	if (!s)
		return;
	vec__foreach(&s->files, f) {
		unload(s, *f);
		free((*f)->path);
		free(*f);
	}
	vec__free(&s->files);
	hmap__free(&s->by_identity);
	vec__free(&s->list);
	str__free(&s->text);
	free(s);
}

size_t symbolizer__memory(const struct symbolizer *s)
{
	return s->memory;
}

/* ---- files */

/*
 * A build id alone would let anybody's file name the functions of everybody's libc: the owner belongs to it, and the root directory
 * that debug files are looked for in, as the owner is root in every container.
 */
static void identify(int fd, int root_fd, const char *path, struct identity *out)
{
	struct elf *elf = NULL;
	struct stat st;
	int n = -ENOENT;

	memset(out, 0, sizeof(*out));
	if (root_fd >= 0 && !fstat(root_fd, &st)) {
		out->root_dev = st.st_dev;
		out->root_ino = st.st_ino;
	}
	if (fstat(fd, &st) < 0) {
		out->ino = hash__bytes(path, strlen(path));
		return;
	}
	out->size = (uint64_t)st.st_size;
	out->uid = st.st_uid;
	if (!elf__open(fd, &elf, NULL))
		n = debugfile__build_id(elf, out->id, sizeof(out->id));
	elf__close(elf);
	if (n > 0) {
		out->id_bytes = (uint32_t)n;
		return;
	}
	memset(out->id, 0, sizeof(out->id));
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->changed = (uint64_t)st.st_ctim.tv_sec * 1000000000 + (uint64_t)st.st_ctim.tv_nsec;
}

int symbolizer__file(struct symbolizer *s, int fd, int root_fd, const char *path, struct symbol_file **out)
{
	struct identity identity;
	struct symbol_file *f;
	const char *slash;
	uint64_t hash, *known;

	identify(fd, root_fd, path, &identity);
	hash = hash__bytes(&identity, sizeof(identity));
	known = hmap__get(&s->by_identity, hash);
	if (known && !memcmp(&s->files.data[*known]->identity, &identity, sizeof(identity))) {
		*out = s->files.data[*known];
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->identity = identity;
	f->fd = fd;
	f->root_fd = root_fd;
	f->debug_fd = f->mini_fd = -1;
	f->path = strdup(path);
	if (!f->path || vec__push(&s->files, f)) {
		free(f->path);
		free(f);
		return -ENOMEM;
	}
	slash = strrchr(f->path, '/');
	f->name = slash && slash[1] ? slash + 1 : f->path;
	if (!known && hmap__put(&s->by_identity, hash, s->files.len - 1)) {
		s->files.len--;
		free(f->path);
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return 0;
}

static void add_memory(struct symbolizer *s, struct symbol_file *f, size_t bytes)
{
	f->memory += bytes;
	s->memory += bytes;
}

/* Gives up the longest unused files but `keep` until what is held fits. */
static void evict(struct symbolizer *s, const struct symbol_file *keep)
{
	while (s->memory > s->config.max_bytes) {
		struct symbol_file *oldest = NULL;

		vec__foreach(&s->files, f) {
			if (*f != keep && (*f)->memory && (!oldest || (*f)->used < oldest->used))
				oldest = *f;
		}
		if (!oldest)
			return;
		unload(s, oldest);
	}
}

/* ---- sources */

static void find_debug(struct symbolizer *s, struct symbol_file *f)
{
	if (f->debug_tried || !f->elf)
		return;
	f->debug_tried = true;
	f->debug_fd = debugfile__open(f->elf, f->path, f->root_fd, s->config.debuginfod);
	if (f->debug_fd >= 0 && elf__open(f->debug_fd, &f->debug, NULL)) {
		close(f->debug_fd);
		f->debug_fd = -1;
	}
}

static void find_mini(struct symbolizer *s, struct symbol_file *f)
{
	size_t size;

	if (f->mini_fd >= 0)
		return;
	f->mini_fd = debugfile__unpack_mini(f->elf, &size);
	if (f->mini_fd < 0)
		return;
	if (elf__open(f->mini_fd, &f->mini, NULL)) {
		close(f->mini_fd);
		f->mini_fd = -1;
		return;
	}
	add_memory(s, f, size);
}

static const struct symtab *source(struct symbolizer *s, struct symbol_file *f, enum source_kind kind)
{
	struct source *source = &f->sources[kind];
	const char *section = kind == SOURCE_DYNAMIC ? ".dynsym" : ".symtab";
	struct elf *elf = f->elf;

	if (source->tried || !f->elf)
		return source->table;
	source->tried = true;
	if (kind == SOURCE_DEBUG) {
		if (f->sources[SOURCE_OWN].table) /* it would say the same */
			return NULL;
		find_debug(s, f);
		elf = f->debug;
	} else if (kind == SOURCE_MINI) {
		if (f->sources[SOURCE_OWN].table || f->sources[SOURCE_DEBUG].table)
			return NULL;
		find_mini(s, f);
		elf = f->mini;
	}
	if (elf && !symtab__load(elf, section, &source->table))
		add_memory(s, f, symtab__memory(source->table));
	return source->table;
}

/* The mangled name. 0, -ENOENT, -ENOMEM. */
static int find_symbol(struct symbolizer *s, struct symbol_file *f, uint64_t addr, struct str *name)
{
	for (int sized = 1; sized >= 0; sized--) {
		for (int kind = 0; kind < SOURCE_COUNT; kind++) {
			const struct symtab *t = source(s, f, (enum source_kind)kind);
			int err = t ? symtab__find(t, addr, sized, name) : -ENOENT;

			if (err != -ENOENT && err != -EIO)
				return err;
		}
	}
	return -ENOENT;
}

/* The name with "@plt" behind it, demangled. */
static int find_plt(struct symbolizer *s, struct symbol_file *f, uint64_t addr, struct str *out)
{
	struct str mangled = {0};
	uint64_t target;
	int err;

	if (!f->plt_tried) {
		f->plt_tried = true;
		if (!plt__load(f->elf, &f->plt))
			add_memory(s, f, plt__memory(f->plt));
	}
	err = f->plt ? plt__find(f->plt, addr, &mangled, &target) : -ENOENT;
	if (err == 1)
		err = find_symbol(s, f, target, &mangled);
	if (!err)
		err = demangle(str__cstr(&mangled), out);
	if (!err)
		err = str__adds(out, "@plt");
	str__free(&mangled);
	return err;
}

/* Ends the processes beyond the limit, those that were asked longest ago. */
static void limit_readers(struct symbolizer *s, const struct symbol_file *keep)
{
	struct symbol_file *oldest;
	size_t n;

	do {
		oldest = NULL;
		n = 0;
		vec__foreach(&s->files, f) {
			if (!(*f)->dwarf || *f == keep)
				continue;
			n++;
			if (!oldest || (*f)->used < oldest->used)
				oldest = *f;
		}
		if (n < MAX_READERS)
			return;
		dwarf_reader__free(oldest->dwarf);
		oldest->dwarf = NULL;
		oldest->dwarf_tried = false;
	} while (n > MAX_READERS);
}

static void start_dwarf(struct symbolizer *s, struct symbol_file *f)
{
	_cleanup_close_ int alternate = -1;
	int err;

	if (f->dwarf_tried)
		return;
	f->dwarf_tried = true;
	limit_readers(s, f);
	alternate = debugfile__open_alternate(f->elf, f->root_fd);
	err = dwarf_reader__new(f->fd, alternate, &f->dwarf);
	if (err != -ENOENT)
		return;
	find_debug(s, f);
	if (!f->debug)
		return;
	cleanup__close(&alternate);
	alternate = debugfile__open_alternate(f->debug, f->root_fd);
	dwarf_reader__new(f->debug_fd, alternate, &f->dwarf);
}

static int find_dwarf(struct symbolizer *s, struct symbol_file *f, uint64_t addr, const struct dwarf_frame **out)
{
	int n;

	if (s->config.no_dwarf || !f->elf)
		return 0;
	start_dwarf(s, f);
	n = f->dwarf ? dwarf_reader__find(f->dwarf, addr, out) : 0;
	if (n == -EPIPE) { /* what killed it would kill the next one */
		dwarf_reader__free(f->dwarf);
		f->dwarf = NULL;
		return 0;
	}
	return n;
}

/* ---- answers */

/* Until the answer is complete, strings are offsets into its text, which may move. */
static const char *at_offset(size_t offset)
{
	return (const char *)offset;
}

static int end_string(struct symbolizer *s)
{
	return str__addc(&s->text, '\0');
}

static int add_symbol(struct symbolizer *s, size_t name, const char *file, uint32_t line, bool is_inline)
{
	struct symbol symbol = {.name = at_offset(name), .line = line, .is_inline = is_inline};
	size_t at = s->text.len;
	int err = str__adds(&s->text, file);

	if (!err)
		str__make_plain(&s->text, at);
	if (!err)
		err = end_string(s);
	symbol.file = at_offset(at);
	return err ? err : vec__push(&s->list, symbol);
}

/* Adds the name of the function itself, which the symbol table knows best: clones have names of their own there. */
static int add_name(struct symbolizer *s, struct symbol_file *f, uint64_t lookup, uint64_t addr, const char *other, bool *known)
{
	struct str mangled = {0};
	int err = f->elf ? find_symbol(s, f, lookup, &mangled) : -ENOENT;

	*known = true;
	if (!err)
		err = demangle(str__cstr(&mangled), &s->text);
	else if (err == -ENOENT && *other)
		err = demangle(other, &s->text);
	else if (err == -ENOENT && f->elf)
		err = find_plt(s, f, lookup, &s->text);
	str__free(&mangled);
	if (err && err != -ENOMEM) {
		size_t before = s->text.len;

		*known = false;
		err = str__addf(&s->text, "%s+0x%llx", f->name, (unsigned long long)addr);
		if (!err)
			str__make_plain(&s->text, before);
	}
	return err ? err : end_string(s);
}

static int add_all(struct symbolizer *s, struct symbol_file *f, uint64_t addr, bool is_return, bool *known)
{
	const struct dwarf_frame nothing = {.name = "", .file = ""}, *frames = &nothing;
	uint64_t lookup = is_return ? addr - 1 : addr;
	int n = find_dwarf(s, f, lookup, &frames), err = 0;
	size_t at;

	if (n < 0)
		return n;
	for (int i = 0; i + 1 < n && !err; i++) {
		at = s->text.len;
		err = demangle(*frames[i].name ? frames[i].name : "[inlined]", &s->text);
		if (!err)
			err = end_string(s);
		if (!err)
			err = add_symbol(s, at, frames[i].file, frames[i].line, true);
	}
	if (err)
		return err;
	if (n)
		frames += n - 1;
	at = s->text.len;
	err = add_name(s, f, lookup, addr, frames->name, known);
	return err ? err : add_symbol(s, at, frames->file, frames->line, false);
}

int symbolizer__resolve(struct symbolizer *s, struct symbol_file *f, uint64_t addr, bool is_return, struct symbols *out)
{
	bool known = false;
	int err;

	f->used = ++s->clock;
	if (!f->opened) {
		f->opened = true;
		if (elf__open(f->fd, &f->elf, NULL))
			f->elf = NULL;
	}
	s->list.len = 0;
	str__reset(&s->text);
	err = add_all(s, f, addr, is_return, &known);
	evict(s, f);
	if (err)
		return err;
	vec__foreach(&s->list, it) {
		it->name = s->text.data + (size_t)it->name;
		it->file = s->text.data + (size_t)it->file;
	}
	*out = (struct symbols){.list = s->list.data, .count = s->list.len, .known = known};
	return 0;
}
