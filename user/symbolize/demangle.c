// SPDX-License-Identifier: Apache-2.0
#include "symbolize/demangle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#include <libiberty/demangle.h>

#define MAX_READABLE 8192

struct sink {
	struct str text;
	int err;
	jmp_buf enough;
};

/*
 * Neither demangler can be told to stop, and back references make what they write exponential in what they read. They keep
 * everything on the stack when they write to a callback, so that it may jump out of them.
 */
static void take(const char *part, size_t n, void *arg)
{
	struct sink *s = arg;

	s->err = s->text.len + n > MAX_READABLE ? -E2BIG : str__add(&s->text, part, n);
	if (s->err)
		longjmp(s->enough, 1);
}

static bool try_demangle(const char *mangled, struct sink *s)
{
	if (setjmp(s->enough))
		return false;
	/* Rust's legacy names are C++ names with a hash at their end */
	if (rust_demangle_callback(mangled, DMGL_NO_OPTS, take, s))
		return s->text.len;
	str__reset(&s->text);
	return mangled[1] != 'R' && cplus_demangle_v3_callback(mangled, DMGL_NO_OPTS, take, s) && s->text.len;
}

int demangle(const char *mangled, struct str *out)
{
	struct sink s = {0};
	size_t before = out->len;
	bool done = mangled[0] == '_' && try_demangle(mangled, &s);
	int err;

	if (s.err == -ENOMEM)
		err = -ENOMEM;
	else
		err = done ? str__add(out, s.text.data, s.text.len) : str__adds(out, mangled);
	if (!err)
		str__make_plain(out, before);
	str__free(&s.text);
	return err;
}
