/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON piece by piece, with the commas in the right places. Nothing is kept but one bit. Whether
 * the writing worked is asked of the FILE in the end. Unbalanced calls are the caller's fault.
 *
 *	struct json j = {.out = f};
 *	json__object(&j);
 *	json__key(&j, "n");
 *	json__uint(&j, 5);
 *	json__end_object(&j);
 */
#ifndef PYBPF_JSON_H
#define PYBPF_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	bool comma; /* the next value or key needs one before it */
};

/* Values one after the other; between the beginning and the end of an object each has a key before it. */
void json__object(struct json *j);
void json__end_object(struct json *j);
void json__array(struct json *j);
void json__end_array(struct json *j);
void json__key(struct json *j, const char *key); /* plain ASCII, no quotes or backslashes */
void json__int(struct json *j, int64_t value);
void json__uint(struct json *j, uint64_t value);
void json__bool(struct json *j, bool value);
void json__null(struct json *j);
/* Nanoseconds as a number of seconds, exactly. */
void json__seconds(struct json *j, uint64_t ns);
/* Any bytes: lone surrogates ("surrogatepass") become \udXXX, what is not UTF-8 becomes U+FFFD. */
void json__string(struct json *j, const char *bytes, size_t n);
void json__cstring(struct json *j, const char *cstr);

#endif
