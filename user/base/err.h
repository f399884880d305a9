/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error that gathers context on its way up. Libraries never print: the one who fails sets it, callers
 * may wrap it, only user/cli prints it.
 */
#ifndef PYBPF_ERR_H
#define PYBPF_ERR_H

struct err {
	int code;       /* negative errno, 0 while unset */
	char text[768]; /* one line, no newline: what, which file or pid, what to do about it */
};

/* Sets *e (which may be NULL) to `code` (negative errno) and the message. Returns code. */
int err__set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As err__set, with ": " and strerror(-code) behind the message. Returns code. */
int err__errno(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "message: " before what *e says already. Returns e->code (or -EINVAL for a NULL e). */
int err__wrap(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
