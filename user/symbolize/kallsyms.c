// SPDX-License-Identifier: Apache-2.0
#include "symbolize/kallsyms.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"

#define DEFAULT_PATH "/proc/kallsyms"
#define MAX_SYMBOLS  (8u << 20)
#define MAX_NAME     1024 /* KSYM_NAME_LEN is 512 */
#define PART         (64u << 10)
#define MAX_FUNCTION (256u << 10) /* bytes; there are no sizes, and behind the last one of a module is nothing */

struct function {
	uint64_t addr;
	uint32_t name;   /* where it begins in names */
	uint16_t module; /* 0: the kernel proper */
	bool is_global;
};

/* Replaced as a whole when it is read again. */
struct table {
	struct vec(struct function) functions;
	struct str names;
	struct vec(uint32_t) modules; /* where their names begin in names */
	struct hmap by_module;        /* hash of the name -> index */
};

struct kallsyms {
	char *path;
	bool tried;
	int error;
	struct table table;
};

struct kallsyms *kallsyms__new(const char *path)
{
	struct kallsyms *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->path = strdup(path ? path : DEFAULT_PATH);
	if (!k->path) {
		free(k);
		return NULL;
	}
	return k;
}

static void free_table(struct table *t)
{
	vec__free(&t->functions);
	vec__free(&t->modules);
	str__free(&t->names);
	hmap__free(&t->by_module);
}

void kallsyms__free(struct kallsyms *k)
{
	if (!k)
		return;
	free_table(&k->table);
	free(k->path);
	free(k);
}

static int add_string(struct table *t, const char *s, size_t n, uint32_t *at)
{
	size_t before = t->names.len;

	if (before > UINT32_MAX - MAX_NAME - 1)
		return -E2BIG;
	*at = (uint32_t)before;
	if (str__add(&t->names, s, n))
		return -ENOMEM;
	str__make_plain(&t->names, before);
	return str__addc(&t->names, '\0');
}

static int module_index(struct table *t, const char *name, size_t n, uint16_t *index)
{
	uint64_t key = hash__bytes(name, n), *known = hmap__get(&t->by_module, key);
	uint32_t at = 0;
	int err;

	if (known) {
		*index = (uint16_t)*known;
		return 0;
	}
	if (t->modules.len > UINT16_MAX)
		return -E2BIG;
	err = add_string(t, name, n, &at);
	*index = (uint16_t)t->modules.len;
	if (!err && (vec__push(&t->modules, at) || hmap__put(&t->by_module, key, *index)))
		err = -ENOMEM;
	return err;
}

/* "ffffffff81000000 T _stext" or "ffffffffc0000000 t name\t[module]". Lines of another shape are passed over. */
static int take_line(struct table *t, const char *line, size_t n)
{
	struct function f = {0};
	const char *name, *tab, *end = line + n;
	size_t at = 0;
	int err = 0;

	for (; at < n && at < 16; at++) {
		char c = line[at];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0)
			break;
		f.addr = f.addr << 4 | (uint64_t)digit;
	}
	if (!at || n - at < 4 || line[at] != ' ' || line[at + 2] != ' ' || !strchr("tTwW", line[at + 1]) || !f.addr)
		return 0;
	f.is_global = line[at + 1] != 't';
	name = line + at + 3;
	tab = memchr(name, '\t', (size_t)(end - name));
	if (tab && end - tab > 3 && tab[1] == '[' && end[-1] == ']')
		err = module_index(t, tab + 2, (size_t)(end - tab) - 3, &f.module);
	else if (!t->modules.len)
		err = module_index(t, "", 0, &f.module);
	if (tab)
		end = tab;
	if (err || end == name || end - name > MAX_NAME)
		return err;
	if (t->functions.len >= MAX_SYMBOLS)
		return -E2BIG;
	err = add_string(t, name, (size_t)(end - name), &f.name);
	return err ? err : vec__push(&t->functions, f);
}

static int read_lines(struct table *t, int fd)
{
	_cleanup_free_ char *part = malloc(PART);
	size_t held = 0;
	uint16_t none;
	int err;

	if (!part)
		return -ENOMEM;
	err = module_index(t, "", 0, &none); /* the kernel proper is number 0 */
	while (!err) {
		ssize_t got = read(fd, part + held, PART - held);
		char *line = part, *end;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : 0;
		held += (size_t)got;
		while (!err && (end = memchr(line, '\n', held - (size_t)(line - part)))) {
			err = take_line(t, line, (size_t)(end - line));
			line = end + 1;
		}
		held -= (size_t)(line - part);
		memmove(part, line, held);
		if (held == PART) /* no line is as long */
			return -EBADMSG;
	}
	return err;
}

/* By address; of one address the one that counts last: global, then later in the file. */
static int by_addr(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->is_global != y->is_global)
		return x->is_global ? 1 : -1;
	return x->name < y->name ? 1 : x->name > y->name ? -1 : 0;
}

static void keep_best(struct table *t)
{
	size_t kept = 0, n = t->functions.len;

	qsort(t->functions.data, n, sizeof(struct function), by_addr);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 == n || t->functions.data[i + 1].addr != t->functions.data[i].addr)
			t->functions.data[kept++] = t->functions.data[i];
	}
	t->functions.len = kept;
}

/* Gives back what growing took too much. */
static void shrink(struct table *t)
{
	void *less = realloc(t->functions.data, t->functions.len * sizeof(struct function));

	if (less) {
		t->functions.data = less;
		t->functions.cap = t->functions.len;
	}
	less = realloc(t->names.data, t->names.len + 1);
	if (less) {
		t->names.data = less;
		t->names.cap = t->names.len + 1;
	}
}

int kallsyms__load(struct kallsyms *k, bool again, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct table t = {0};
	int err;

	if (k->tried && !again && (!k->error || !e))
		return k->error;
	k->tried = true;
	fd = open(k->path, O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : read_lines(&t, fd);
	if (err) {
		err__errno(e, err, "cannot read %s", k->path);
	} else if (!t.functions.len) {
		/* hidden ones read as zeros (kernel/kallsyms.c, kallsyms_show_value) */
		err = -EPERM;
		err__set(e, err,
			 "%s shows no addresses of functions: run as root or with CAP_SYSLOG, and with the sysctl kernel.kptr_restrict at 0 or 1",
			 k->path);
	}
	if (err) {
		free_table(&t);
		k->error = k->table.functions.len ? 0 : err;
		return err;
	}
	keep_best(&t);
	shrink(&t);
	free_table(&k->table);
	k->table = t;
	return k->error = 0;
}

int kallsyms__find(struct kallsyms *k, uint64_t addr, bool is_return, const char **name, const char **module)
{
	const struct table *t = &k->table;
	size_t low;

	if (kallsyms__load(k, false, NULL) || !addr)
		return -ENOENT;
	addr -= is_return;
	low = vec__count_first(&t->functions, it, it->addr <= addr);
	if (!low || addr - t->functions.data[low - 1].addr >= MAX_FUNCTION)
		return -ENOENT;
	*name = t->names.data + t->functions.data[low - 1].name;
	*module = t->names.data + t->modules.data[t->functions.data[low - 1].module];
	return 0;
}

size_t kallsyms__memory(const struct kallsyms *k)
{
	return sizeof(*k) + k->table.functions.cap * sizeof(struct function) + k->table.names.cap +
	       k->table.modules.cap * sizeof(uint32_t);
}
