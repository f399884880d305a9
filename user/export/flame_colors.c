// SPDX-License-Identifier: Apache-2.0
#include "export/flame_colors.h"

#include <math.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/export.h"

enum tone_of {
	TONE_PYTHON,
	TONE_NATIVE,
	TONE_KERNEL,
	TONE_MARKER,
	TONE_PROCESS,
	TONE_THREAD,
	TONE_ROOT
};

/* Hue in degrees (may pass 360), saturation and lightness in percent; each from..to. Lightness
 * stays at 60 or more, so that dark text can be read on it. */
struct tone {
	uint16_t hue[2];
	uint8_t saturation[2], lightness[2];
};

struct flame_palette {
	const char *name;
	struct tone tones[TONE_ROOT + 1];
};

#define GREYS                                                                                      \
	[TONE_MARKER] = {{0, 0}, {0, 0}, {74, 78}}, [TONE_ROOT] = {{220, 220}, {16, 16}, {82, 82}}
#define ONE_HUE(from, to, s0, s1, l0, l1)                                                          \
	{                                                                                          \
		[TONE_PYTHON] = {{from, to}, {s0, s1}, {l0, l1}},                                  \
		[TONE_NATIVE] = {{from, to}, {s0, s1}, {l0, l1}},                                  \
		[TONE_KERNEL] = {{from, to}, {s0, s1}, {l0, l1}},                                  \
		[TONE_PROCESS] = {{from, to}, {18, 26}, {78, 84}},                                 \
		[TONE_THREAD] = {{from, to}, {22, 32}, {80, 86}}, GREYS,                           \
	}

static const struct flame_palette palettes[] = {
	{"kind",
	 {
		 [TONE_PYTHON] = {{20, 52}, {80, 94}, {63, 73}},
		 [TONE_NATIVE] = {{150, 186}, {38, 52}, {62, 72}},
		 [TONE_KERNEL] = {{258, 292}, {44, 58}, {73, 81}},
		 [TONE_PROCESS] = {{206, 226}, {38, 50}, {78, 84}},
		 [TONE_THREAD] = {{206, 226}, {30, 42}, {85, 89}},
		 GREYS,
	 }},
	{"hot", ONE_HUE(0, 54, 84, 96, 62, 70)},
	{"mem", ONE_HUE(96, 156, 42, 58, 62, 72)},
	{"blue", ONE_HUE(198, 226, 58, 76, 68, 80)},
	{"green", ONE_HUE(84, 140, 44, 60, 62, 72)},
	{"purple", ONE_HUE(256, 296, 46, 60, 72, 80)},
	{"red", ONE_HUE(350, 372, 74, 88, 68, 77)},
	{"aqua", ONE_HUE(170, 194, 42, 58, 62, 72)},
	/* Kinds that stay apart with every common colour blindness: orange, sky blue, pink, and
	   lightness. */
	{"colorblind",
	 {
		 [TONE_PYTHON] = {{38, 50}, {84, 96}, {60, 72}},
		 [TONE_NATIVE] = {{200, 208}, {72, 84}, {68, 77}},
		 [TONE_KERNEL] = {{324, 332}, {46, 56}, {74, 82}},
		 [TONE_PROCESS] = {{204, 210}, {24, 34}, {84, 88}},
		 [TONE_THREAD] = {{204, 210}, {18, 26}, {88, 91}},
		 GREYS,
	 }},
};

static const char *const palette_names[] = {
	"kind", "hot", "mem", "blue", "green", "purple", "red", "aqua", "colorblind", NULL,
};

_Static_assert(ARRAY_SIZE(palette_names) == ARRAY_SIZE(palettes) + 1, "a palette has no name");

const char *const *flamegraph__palettes(void)
{
	return palette_names;
}

const struct flame_palette *flame_palette__find(const char *name)
{
	if (!name)
		return &palettes[0];
	for (size_t i = 0; i < ARRAY_SIZE(palettes); i++) {
		if (!strcmp(palettes[i].name, name))
			return &palettes[i];
	}
	return NULL;
}

/* FNV-1a and a final mix. Not base's hash: colours must not change when that one does. */
static uint32_t name_hash(const char *bytes, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)bytes[i]) * 16777619u;
	h ^= h >> 16;
	h *= 0x7feb352du;
	h ^= h >> 15;
	return h;
}

/* Splits `name (file:12)` into "name" and "file"; a label of another shape is all name, and its own
 * file. */
static void split_label(const char *label, size_t n, size_t *name_len, const char **file,
			size_t *file_len)
{
	size_t end = n, open;

	*name_len = *file_len = n;
	*file = label;
	if (n < 4 || label[n - 1] != ')')
		return;
	for (open = n - 1; open > 0 && !(label[open] == '(' && label[open - 1] == ' '); open--)
		;
	if (!open)
		return;
	end = n - 1;
	while (end > open && label[end - 1] >= '0' && label[end - 1] <= '9')
		end--;
	if (label[end - 1] == ':')
		end--;
	else
		end = n - 1;
	*name_len = open - 1;
	*file = label + open + 1;
	*file_len = end - open - 1;
}

static enum tone_of tone_of(const struct calltree_node *node)
{
	switch (node->kind) {
	case NODE_ROOT:
		return TONE_ROOT;
	case NODE_PROCESS:
		return TONE_PROCESS;
	case NODE_THREAD:
		return TONE_THREAD;
	default:
		break;
	}
	switch (node->frame_kind) {
	case FRAME_NATIVE:
		return TONE_NATIVE;
	case FRAME_KERNEL:
		return TONE_KERNEL;
	case FRAME_MARKER:
		return TONE_MARKER;
	default:
		return TONE_PYTHON;
	}
}

static double between(const double from, const double to, uint32_t hash)
{
	return from + (to - from) * (hash & 0xff) / 255;
}

/* One channel of the HSL model: `shift` is 0 for red, 8 for green, 4 for blue. */
static uint32_t channel(double hue, double saturation, double lightness, double shift)
{
	double k = fmod(shift + hue / 30, 12);
	double ramp = fmax(-1, fmin(fmin(k - 3, 9 - k), 1));
	double value = lightness - saturation * fmin(lightness, 1 - lightness) * ramp;

	return (uint32_t)(value * 255 + 0.5);
}

uint32_t flame_palette__color(const struct flame_palette *p, const struct calltree_node *node,
			      const char *label, size_t n)
{
	const struct tone *tone = &p->tones[tone_of(node)];
	size_t name_len, file_len;
	const char *file;
	uint32_t by_name, by_file;
	double h, s, l;

	split_label(label, n, &name_len, &file, &file_len);
	by_name = name_hash(label, name_len);
	by_file = name_hash(file, file_len);
	h = fmod(between(tone->hue[0], tone->hue[1], by_file), 360);
	s = between(tone->saturation[0], tone->saturation[1], by_name) / 100;
	l = between(tone->lightness[0], tone->lightness[1], by_name >> 8) / 100;
	return channel(h, s, l, 0) << 16 | channel(h, s, l, 8) << 8 | channel(h, s, l, 4);
}
