// SPDX-License-Identifier: Apache-2.0
/* Raw captures as a format; store/capture.h describes and writes them. */
#include "store/capture.h"

#include <errno.h>

#include "export/formats.h"

static int capture__write(const struct profile *p, const struct export_opts *o, FILE *out, struct err *e)
{
	struct capture_writer *w = capture_writer__new(out);
	int err = w ? capture_writer__finish(w, p) : -ENOMEM;

	(void)o; /* a capture holds everything: how it is shown is chosen later */
	capture_writer__free(w);
	if (err)
		return err__errno(e, err, "writing the capture");
	return export__finish(out, e);
}

const struct export_format export_capture = {
	.name = "pybpf",
	.aliases = (const char *const[]){"capture", NULL},
	.suffixes = (const char *const[]){".pybpf", NULL},
	.help = "raw capture, for `pybpf report` to turn into any format",
	.words = "capture",
	.threads = true,
	.ordered = true,
	.binary = true,
	.write = capture__write,
};
