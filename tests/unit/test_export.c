// SPDX-License-Identifier: Apache-2.0
/* The table of formats, and what the exporters share: text that may be broken, JSON. */

#include "export/json.h"
#include "export/text.h"
#include "test_export_fixture.h"

static void formats_have_all_that_the_command_line_needs(void **state)
{
	(void)state;
	assert_string_equal(export_formats[0]->name, "flamegraph");
	for (const struct export_format *const *f = export_formats; *f; f++) {
		assert_true((*f)->name && (*f)->help && (*f)->words && (*f)->write);
		assert_true((*f)->suffixes && (*f)->suffixes[0]);
		assert_ptr_equal(export__by_name((*f)->name), *f);
		for (const char *const *s = (*f)->suffixes; *s; s++) {
			char path[64];

			assert_int_equal((*s)[0], '.');
			snprintf(path, sizeof(path), "out%s", *s);
			assert_ptr_equal(export__by_suffix(path), *f);
		}
	}
}

static void names_and_aliases(void **state)
{
	(void)state;
	assert_string_equal(export__by_name("svg")->name, "flamegraph");
	assert_string_equal(export__by_name("raw")->name, "raw");
	assert_string_equal(export__by_name("speedscope")->name, "speedscope");
	assert_null(export__by_name("sv"));
	assert_null(export__by_name(""));
	assert_null(export__by_name("SVG"));
}

static void suffixes(void **state)
{
	(void)state;
	assert_string_equal(export__by_suffix("a.svg")->name, "flamegraph");
	assert_string_equal(export__by_suffix("d.x/a.speedscope.json")->name, "speedscope");
	assert_string_equal(export__by_suffix("a.json")->name, "speedscope");
	assert_string_equal(export__by_suffix("a.svg.txt")->name, "raw");
	assert_string_equal(export__by_suffix("a.raw")->name, "raw");
	assert_string_equal(export__by_suffix("a.collapsed")->name, "raw");
	assert_string_equal(export__by_suffix("a.folded")->name, "raw");
	assert_null(export__by_suffix("a"));
	assert_null(export__by_suffix("asvg"));
	assert_null(export__by_suffix(".svg"));
	assert_null(export__by_suffix("dir.svg/.svg"));
	assert_null(export__by_suffix("a.svg/b"));
	assert_null(export__by_suffix("a.svg.gz"));
	assert_string_equal(export__reserved_suffix("d/a.html"), ".html");
	assert_string_equal(export__reserved_suffix("a.trace.json"), ".trace.json"); /* .json is another's */
	assert_null(export__reserved_suffix("a.speedscope.json"));
	assert_null(export__reserved_suffix("a.html.svg"));
	assert_null(export__reserved_suffix(".html"));
}

/* Code points (or TEXT_BAD | byte) that `bytes` are read as. */
static void reads_as(const char *bytes, const uint32_t *want, size_t n)
{
	const char *at = bytes, *end = bytes + strlen(bytes);

	for (size_t i = 0; i < n; i++) {
		assert_true(at < end);
		assert_int_equal(text__next(&at, end), want[i]);
	}
	assert_ptr_equal(at, end);
}

#define READS_AS(bytes, ...)                                                                       \
	reads_as(bytes, (const uint32_t[]){__VA_ARGS__},                                           \
		 sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void reading_utf8(void **state)
{
	(void)state;
	READS_AS("a\x7f", 'a', 0x7f);
	READS_AS("\xc2\x80\xdf\xbf", 0x80, 0x7ff);
	READS_AS("\xe0\xa0\x80\xef\xbf\xbf", 0x800, 0xffff);
	READS_AS("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 0x10000, 0x10ffff);
	READS_AS("\xed\xa0\x80\xed\xbf\xbf", 0xd800, 0xdfff);
	/* Too long, too big, alone, cut: every byte by itself. */
	READS_AS("\xc0\x80", TEXT_BAD | 0xc0, TEXT_BAD | 0x80);
	READS_AS("\xe0\x9f\xbf", TEXT_BAD | 0xe0, TEXT_BAD | 0x9f, TEXT_BAD | 0xbf);
	READS_AS("\xf0\x8f\xbf\xbf", TEXT_BAD | 0xf0, TEXT_BAD | 0x8f, TEXT_BAD | 0xbf,
		 TEXT_BAD | 0xbf);
	READS_AS("\xf4\x90\x80\x80", TEXT_BAD | 0xf4, TEXT_BAD | 0x90, TEXT_BAD | 0x80,
		 TEXT_BAD | 0x80);
	READS_AS("\xff\xfe", TEXT_BAD | 0xff, TEXT_BAD | 0xfe);
	READS_AS("\x80z", TEXT_BAD | 0x80, 'z');
	READS_AS("\xe6\xbc", TEXT_BAD | 0xe6, TEXT_BAD | 0xbc);
	READS_AS("\xe6z\xc3", TEXT_BAD | 0xe6, 'z', TEXT_BAD | 0xc3);
}

static void visible_text(void **state)
{
	struct str s = {0};

	(void)state;
	assert_int_equal(text__visible(&s, "caf\xc3\xa9 a\nb\tc\x01\x7f", 13), 0);
	assert_string_equal(str__cstr(&s), "caf\xc3\xa9 a\\nb\\tc\\x01\\x7f");
	str__reset(&s);
	assert_int_equal(text__visible(&s, "\xff\xed\xb3\xbf\xe2\x80\xae\xc2\x85\xef\xbf\xbe", 12),
			 0);
	assert_string_equal(str__cstr(&s), "\\xff\\udcff\\u202e\\x85\\ufffe");
	str__reset(&s);
	assert_int_equal(text__visible(&s, "a\0b", 3), 0);
	assert_string_equal(str__cstr(&s), "a\\x00b");
	str__free(&s);
}

static void fits(const char *text, size_t columns, const char *want)
{
	struct str s = {0};

	assert_int_equal(text__fit(&s, text, strlen(text), columns), 0);
	assert_string_equal(str__cstr(&s), want);
	str__free(&s);
}

static void fitted_text(void **state)
{
	(void)state;
	fits("hello", 5, "hello");
	fits("hello", 4, "he..");
	fits("hello", 3, "h..");
	fits("hello", 2, "");
	fits("hello", 0, "");
	fits("", 0, "");
	fits("ab", 2, "ab");
	/* Two columns each, and never cut in the middle of a character. */
	assert_int_equal(text__columns("\xe6\xbc\xa2\xe5\xad\x97", 6), 4);
	fits("\xe6\xbc\xa2\xe5\xad\x97", 4, "\xe6\xbc\xa2\xe5\xad\x97");
	fits("\xe6\xbc\xa2\xe5\xad\x97x", 4, "\xe6\xbc\xa2..");
	fits("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 3, "\xc3\xa9..");
}

static void json_values(void **state)
{
	char *data = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&data, &n);
	struct json j = {.out = out};

	(void)state;
	json__object(&j);
	json__key(&j, "a");
	json__array(&j);
	json__int(&j, INT64_MIN);
	json__uint(&j, UINT64_MAX);
	json__array(&j);
	json__end_array(&j);
	json__bool(&j, true);
	json__bool(&j, false);
	json__null(&j);
	json__end_array(&j);
	json__key(&j, "t");
	json__array(&j);
	json__seconds(&j, 0);
	json__seconds(&j, 1);
	json__seconds(&j, 10000000);
	json__seconds(&j, 12000000000);
	json__seconds(&j, 1500000001);
	json__end_array(&j);
	json__key(&j, "o");
	json__object(&j);
	json__end_object(&j);
	json__end_object(&j);
	fclose(out);
	assert_string_equal(data, "{\"a\":[-9223372036854775808,18446744073709551615,[],true,false,"
				  "null],\"t\":[0,0.000000001,0.01,12,1.500000001],\"o\":{}}");
	free(data);
}

static void json_strings(void **state)
{
	char *data = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&data, &n);
	struct json j = {.out = out};

	(void)state;
	json__array(&j);
	json__cstring(&j, "");
	json__cstring(&j, "q\" b\\ n\n t\t \x01\x7f /");
	json__cstring(&j, "\xc3\xa9\xf0\x9f\x98\x80");
	json__cstring(&j, "x\xed\xb3\xbfy"); /* a lone surrogate */
	json__cstring(&j, "\xff\xe6\xbc");
	json__string(&j, "a\0b", 3);
	json__end_array(&j);
	fclose(out);
	assert_string_equal(data, "[\"\",\"q\\\" b\\\\ n\\n t\\t \\u0001\\u007f /\","
				  "\"\xc3\xa9\xf0\x9f\x98\x80\",\"x\\udcffy\","
				  "\"\\ufffd\\ufffd\\ufffd\",\"a\\u0000b\"]");
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_have_all_that_the_command_line_needs),
		cmocka_unit_test(names_and_aliases),
		cmocka_unit_test(suffixes),
		cmocka_unit_test(reading_utf8),
		cmocka_unit_test(visible_text),
		cmocka_unit_test(fitted_text),
		cmocka_unit_test(json_values),
		cmocka_unit_test(json_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
