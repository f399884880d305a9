// SPDX-License-Identifier: Apache-2.0
/*
 * The flame graph: an SVG that is complete without its script (as an image, in a viewer), laid out
 * for `width` pixels. The script (flame_*.js) then fits it to the window and makes it answer.
 *
 * What the script relies on: the attributes of the <svg>, and for each frame, parents first,
 *	<g><title>LABEL (N samples, P%)</title><rect .../><text>...</text></g>
 * where data-x and data-w of the <rect> count samples, and <text> is absent where nothing fits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/flame_colors.h"
#include "export/flame_layout.h"
#include "export/formats.h"
#include "export/text.h"
#include "gen/flamegraph_css.h"
#include "gen/flamegraph_js.h"

/* Pixels; ROW, SIDE and PAD are the script's, too. */
enum {
	DEFAULT_WIDTH = 1200,
	ROW = 18,
	SIDE = 10,
	PAD = 4,      /* between a frame's edge and its text */
	TITLE_Y = 28, /* base lines */
	SUBTITLE_Y = 48,
	FRAMES_Y = 62,
	TEXT_Y = 13,
	FOOT = 10,
};

#define DEFAULT_MIN_WIDTH 0.1
/* Pixels a column, on the safe side: the labels' font is of fixed width, the titles' is not. */
#define LABEL_COLUMN    7.3
#define TITLE_COLUMN    9.6
#define SUBTITLE_COLUMN 6.7

struct flame {
	const struct profile *p;
	const struct export_opts *o;
	const struct flame_palette *palette;
	struct calltree *tree;
	struct flame_layout layout;
	FILE *out;
	unsigned int width;
	uint64_t total;
	struct str text, fitted; /* scratch */
};

/* ---------------------------------------------------------------- numbers */

/* a / b in units of 1/scale, rounded: no floating point, so that every machine and locale writes
 * the same */
static uint64_t ratio(uint64_t a, uint64_t b, uint64_t scale)
{
	if (!b)
		return 0;
	return (uint64_t)(((unsigned __int128)a * scale + b / 2) / b);
}

static void write_pixels(FILE *out, uint64_t thousandths)
{
	char digits[8];
	int n;

	fprintf(out, "%" PRIu64, thousandths / 1000);
	if (thousandths % 1000 == 0)
		return;
	n = snprintf(digits, sizeof(digits), ".%03u", (unsigned int)(thousandths % 1000));
	while (digits[n - 1] == '0')
		n--;
	fwrite(digits, 1, n, out);
}

static uint64_t samples_to_pixels(const struct flame *f, uint64_t samples)
{
	return ratio(samples, f->total, (uint64_t)(f->width - 2 * SIDE) * 1000);
}

/* ---------------------------------------------------------------- title and subtitle */

static int build_title(const struct flame *f, struct str *raw)
{
	const struct profile_meta *m = profile__meta(f->p);
	uint32_t count = profile__process_count(f->p);

	if (f->o->title)
		return str__adds(raw, f->o->title);
	if (count == 1)
		return view__process_label(f->p, 0, raw);
	if (m->host && *m->host)
		return str__addf(raw, "Python on %s", m->host);
	return str__adds(raw, "Python flame graph");
}

static uint64_t sum(const uint64_t *counts)
{
	uint64_t n = 0;

	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
		n += counts[i];
	return n;
}

/* Everything after the command: `HOST · 10.0 s · 100 Hz · 1234 samples` and what is missing */
static int build_facts(const struct flame *f, struct str *raw)
{
	const struct profile_meta *m = profile__meta(f->p);
	const struct profile_accounts *a = profile__accounts(f->p);
	uint64_t tenths = ratio(m->duration_ns, 100000000, 1);
	uint64_t lost = a ? sum(a->lost) : 0, truncated = a ? sum(a->truncated) : 0;
	int err = 0;

	if (m->host && *m->host)
		err = str__addf(raw, "%s · ", m->host);
	if (!err && tenths)
		err = str__addf(raw, "%" PRIu64 ".%" PRIu64 " s · ", tenths / 10, tenths % 10);
	if (!err && m->rate_hz)
		err = str__addf(raw, "%" PRIu32 " Hz · ", m->rate_hz);
	if (!err)
		err = str__addf(raw, "%" PRIu64 " samples", f->total);
	if (!err && lost)
		err = str__addf(raw, " · %" PRIu64 " lost", lost);
	if (!err && truncated)
		err = str__addf(raw, " · %" PRIu64 " truncated", truncated);
	return err;
}

/* What does not fit is cut here; the script has all of it from data-text and wraps it. */
static int write_heading(struct flame *f, const char *class, unsigned int y, double column,
			 const struct str *lead, const struct str *rest)
{
	size_t room = (size_t)((f->width - 2 * SIDE) / column), taken;
	int err;

	str__reset(&f->text);
	err = text__visible(&f->text, str__cstr(lead), lead->len);
	taken = text__columns(str__cstr(rest), rest->len) + (lead->len && rest->len ? 3 : 0);
	fprintf(f->out, "<text class=\"%s\" x=\"%d\" y=\"%u\" data-text=\"", class, SIDE, y);
	text__write_xml(f->out, str__cstr(&f->text), f->text.len);
	if (lead->len && rest->len)
		fputs(" · ", f->out);
	text__write_xml(f->out, str__cstr(rest), rest->len);
	fputs("\">", f->out);
	str__reset(&f->fitted);
	if (!err && room > taken)
		err = text__fit(&f->fitted, str__cstr(&f->text), f->text.len, room - taken);
	if (!err && f->fitted.len && rest->len)
		err = str__adds(&f->fitted, " · ");
	text__write_xml(f->out, str__cstr(&f->fitted), f->fitted.len);
	text__write_xml(f->out, str__cstr(rest), rest->len);
	fputs("</text>\n", f->out);
	return err;
}

static int write_headings(struct flame *f)
{
	struct str title = {0}, command = {0}, facts = {0}, none = {0}, shown = {0};
	const struct profile_meta *m = profile__meta(f->p);
	int err = build_title(f, &title);

	if (!err)
		err = text__visible(&shown, str__cstr(&title), title.len);
	if (!err) {
		fputs("<title>", f->out);
		text__write_xml(f->out, str__cstr(&shown), shown.len);
		fputs("</title>\n", f->out);
		err = write_heading(f, "title", TITLE_Y, TITLE_COLUMN, &title, &none);
	}
	if (!err && m->command)
		err = str__adds(&command, m->command);
	str__reset(&title);
	str__reset(&shown);
	if (!err)
		err = build_facts(f, &title);
	if (!err)
		err = text__visible(&facts, str__cstr(&title), title.len);
	if (!err)
		err = write_heading(f, "subtitle", SUBTITLE_Y, SUBTITLE_COLUMN, &command, &facts);
	str__free(&title);
	str__free(&command);
	str__free(&facts);
	str__free(&shown);
	return err;
}

/* ---------------------------------------------------------------- frames */

static int write_label(struct flame *f, uint64_t left, uint64_t pixels, unsigned int y)
{
	int64_t room = (int64_t)pixels - 2 * PAD * 1000;
	int err;

	if (room < (int64_t)(3 * LABEL_COLUMN * 1000))
		return 0;
	str__reset(&f->fitted);
	err = text__fit(&f->fitted, str__cstr(&f->text), f->text.len, room / (LABEL_COLUMN * 1000));
	if (err || !f->fitted.len)
		return err;
	fputs("<text x=\"", f->out);
	write_pixels(f->out, left + PAD * 1000);
	fprintf(f->out, "\" y=\"%u\">", y + TEXT_Y);
	text__write_xml(f->out, str__cstr(&f->fitted), f->fitted.len);
	fputs("</text>", f->out);
	return 0;
}

static int write_box(struct flame *f, const struct flame_box *box)
{
	const struct calltree_node *node = calltree__node(f->tree, box->node);
	unsigned int y = ROW * (f->o->inverted ? box->row : f->layout.rows - 1 - box->row);
	uint64_t percent = ratio(node->total, f->total, 10000);
	uint64_t left = samples_to_pixels(f, box->start);
	uint64_t right = samples_to_pixels(f, box->start + node->total);
	uint32_t color;
	size_t n = 3;
	const char *label = "all";
	int err;

	if (node->kind != NODE_ROOT)
		label = calltree__label(f->tree, node->label, &n);
	color = flame_palette__color(f->palette, node, label, n);
	str__reset(&f->text);
	err = text__visible(&f->text, label, n);
	if (err)
		return err;
	fputs("<g><title>", f->out);
	text__write_xml(f->out, str__cstr(&f->text), f->text.len);
	fprintf(f->out, " (%" PRIu64 " samples, %" PRIu64 ".%02" PRIu64 "%%)</title><rect x=\"",
		node->total, percent / 100, percent % 100);
	write_pixels(f->out, left + SIDE * 1000);
	fprintf(f->out, "\" y=\"%u\" width=\"", y);
	write_pixels(f->out, right - left);
	fprintf(f->out,
		"\" height=\"%d\" fill=\"#%06" PRIx32 "\"%s data-x=\"%" PRIu64
		"\" data-w=\"%" PRIu64 "\"/>",
		ROW, color, right - left < 1500 ? " stroke-width=\"0\"" : "", box->start,
		node->total);
	err = write_label(f, left + SIDE * 1000, right - left, y);
	fputs("</g>\n", f->out);
	return err;
}

static int write_frames(struct flame *f)
{
	int err = 0;

	fprintf(f->out,
		"<g class=\"frames\" transform=\"translate(0 %d)\" stroke=\"#fff\" "
		"stroke-width=\".8\" "
		"font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', "
		"monospace\" "
		"font-size=\"12\">\n",
		FRAMES_Y);
	vec__foreach (&f->layout.boxes, box) {
		if ((err = write_box(f, box)) < 0)
			break;
	}
	fputs("</g>\n", f->out);
	return err;
}

/* ---------------------------------------------------------------- the whole */

static int write_svg(struct flame *f)
{
	unsigned int height = FRAMES_Y + f->layout.rows * ROW + FOOT;
	int err;

	fprintf(f->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" "
		"class=\"pybpf-flamegraph\" "
		"width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\" "
		"style=\"max-width:100%%;height:auto\" "
		"data-width=\"%u\" data-rows=\"%" PRIu32 "\" data-samples=\"%" PRIu64 "\" "
		"data-inverted=\"%d\">\n",
		f->width, height, f->width, height, f->o->width, f->layout.rows, f->total,
		f->o->inverted);
	fprintf(f->out, "<style><![CDATA[\n%s]]></style>\n", flamegraph_css);
	fputs("<rect class=\"ground\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", f->out);
	err = write_headings(f);
	if (!err)
		err = write_frames(f);
	fprintf(f->out, "<script><![CDATA[\n(function () {\n'use strict';\n%s})();\n]]></script>\n</svg>\n",
		flamegraph_js);
	return err;
}

/* The least number of samples that a frame must have to be drawn. */
static double least_samples(const struct flame *f)
{
	double width = f->o->min_width;

	if (width < 0)
		return 0;
	if (f->o->min_width_percent)
		return width / 100 * f->total;
	if (width == 0)
		width = DEFAULT_MIN_WIDTH;
	return width / (f->width - 2 * SIDE) * f->total;
}

static int check_options(struct flame *f, struct err *e)
{
	f->palette = flame_palette__find(f->o->colors);
	if (!f->palette)
		return err__set(e, -EINVAL, "no palette is called '%s'", f->o->colors);
	f->width = f->o->width ? f->o->width : DEFAULT_WIDTH;
	if (f->width < 100 || f->width > 100000)
		return err__set(e, -EINVAL,
				"a width of %u pixels: it must be between 100 and 100000",
				f->width);
	return 0;
}

static int flamegraph_write(const struct profile *p, const struct export_opts *o, FILE *out,
			    struct err *e)
{
	struct flame f = {.p = p, .o = o, .out = out};
	int err = check_options(&f, e);

	if (err)
		return err;
	err = calltree__new(p, &o->view, &f.tree);
	if (err)
		return err__errno(e, err, "cannot build the call tree");
	f.total = calltree__node(f.tree, 0)->total;
	err = flame_layout__build(&f.layout, f.tree, least_samples(&f));
	if (!err)
		err = write_svg(&f);
	err = err ? err__errno(e, err, "cannot write the flame graph") : export__finish(out, e);
	flame_layout__free(&f.layout);
	str__free(&f.text);
	str__free(&f.fitted);
	calltree__free(f.tree);
	return err;
}

const struct export_format export_flamegraph = {
	.name = "flamegraph",
	.aliases = (const char *const[]){"svg", NULL},
	.suffixes = (const char *const[]){".svg", NULL},
	.help = "interactive flame graph, an SVG that any browser shows",
	.words = "flamegraph data",
	.write = flamegraph_write,
};
