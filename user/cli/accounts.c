// SPDX-License-Identifier: Apache-2.0
#include "cli/accounts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "export/json.h"
#include "export/text.h"
#include "store/view.h"

#define HOTTEST 5

static uint64_t sum(const uint64_t *by_outcome)
{
	uint64_t n = 0;

	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++)
		n += by_outcome[i];
	return n;
}

uint64_t accounts__lost(const struct profile_accounts *a)
{
	return sum(a->lost);
}

uint64_t accounts__truncated(const struct profile_accounts *a)
{
	return sum(a->truncated);
}

/* "ring_full 10, no_memory 2" */
static void print_reasons(const uint64_t *by_outcome, FILE *out)
{
	const char *comma = "";

	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		if (!by_outcome[i])
			continue;
		fprintf(out, "%s%s %" PRIu64, comma, outcome__name(i), by_outcome[i]);
		comma = ", ";
	}
}

void accounts__print(const struct profile_accounts *a, FILE *out)
{
	uint64_t lost = accounts__lost(a), truncated = accounts__truncated(a);

	fprintf(out, "Taken %" PRIu64 " = written %" PRIu64 " + lost %" PRIu64 "; truncated %" PRIu64, a->taken,
		a->written, lost, truncated);
	if (truncated) {
		fputs(" (", out);
		print_reasons(a->truncated, out);
		fputc(')', out);
	}
	fprintf(out, "; %" PRIu64 " processes, %" PRIu64 " threads\n", a->processes, a->threads);
	fprintf(out, "Cost: ");
	if (a->bpf_run_ns && a->taken)
		fprintf(out, "%.2f us a sample in the kernel, ", (double)a->bpf_run_ns / (double)a->taken / 1e3);
	fprintf(out, "%.2f s of CPU and %.0f MB of memory in user space\n", (double)a->user_cpu_ns / 1e9,
		(double)a->peak_rss_bytes / 1e6);
	if (!lost)
		return;
	fprintf(out, "Lost %" PRIu64 " of %" PRIu64 " samples (%.2f %%): ", lost, a->taken,
		100.0 * (double)lost / (double)a->taken);
	print_reasons(a->lost, out);
	fputc('\n', out);
}

static void json_reasons(struct json *j, const char *key, const uint64_t *by_outcome)
{
	json__key(j, key);
	json__object(j);
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		if (!by_outcome[i])
			continue;
		json__key(j, outcome__name(i));
		json__uint(j, by_outcome[i]);
	}
	json__end_object(j);
}

static void json_number(struct json *j, const char *key, uint64_t n)
{
	json__key(j, key);
	json__uint(j, n);
}

static void json_native(struct json *j, const struct collect_native *n)
{
	const struct unwinds_counts *t = &n->tables;

	json__key(j, "native");
	json__object(j);
	json_number(j, "tables", t->tables);
	json_number(j, "dropped", t->dropped);
	json_number(j, "rows", t->rows);
	json__key(j, "build_s");
	json__seconds(j, t->build_ns);
	json_number(j, "table_bytes", t->kernel_bytes);
	json_number(j, "map_bytes", n->map_bytes);
	json_number(j, "finished_later", n->finished);
	json__key(j, "without_table");
	json__object(j);
	json_number(j, "no_information", t->absent);
	json_number(j, "malformed", t->refused);
	json_number(j, "no_room", t->full);
	json__end_object(j);
	json__end_object(j);
}

void accounts__json(const struct profile_accounts *a, const struct collect_native *n, const struct profile_meta *m,
		    const char *output, const char *format, FILE *out)
{
	struct json j = {.out = out};

	json__object(&j);
	json__key(&j, "version");
	json__cstring(&j, PYBPF_VERSION);
	json__key(&j, "duration_s");
	json__seconds(&j, m->duration_ns);
	json_number(&j, "rate_hz", m->rate_hz);
	json_number(&j, "cpus", m->cpus);
	json__key(&j, "output");
	if (output)
		json__cstring(&j, output);
	else
		json__null(&j);
	json__key(&j, "format");
	json__cstring(&j, format);
	json__key(&j, "samples");
	json__object(&j);
	json_number(&j, "taken", a->taken);
	json_number(&j, "written", a->written);
	json_number(&j, "lost", accounts__lost(a));
	json_number(&j, "truncated", accounts__truncated(a));
	json__end_object(&j);
	json_reasons(&j, "lost", a->lost);
	json_reasons(&j, "truncated", a->truncated);
	json_number(&j, "processes", a->processes);
	json_number(&j, "threads", a->threads);
	json_number(&j, "stacks", a->stacks);
	json_number(&j, "code_objects", a->code_objects);
	if (n)
		json_native(&j, n);
	json__key(&j, "cost");
	json__object(&j);
	json_number(&j, "bpf_run_ns", a->bpf_run_ns);
	json_number(&j, "bpf_runs", a->bpf_runs);
	json__key(&j, "user_cpu_s");
	json__seconds(&j, a->user_cpu_ns);
	json_number(&j, "peak_rss_bytes", a->peak_rss_bytes);
	json__end_object(&j);
	json__end_object(&j);
	fputc('\n', out);
}

int accounts__print_hottest(const struct profile *p, FILE *out)
{
	size_t samples = profile__sample_count(p), count = 0;
	struct hot_function hot[HOTTEST];
	struct str label = {0};
	uint64_t all = 0;
	int err = view__hottest(p, hot, HOTTEST, &count);

	if (err)
		return err;
	for (size_t i = 0; i < samples; i++)
		all += profile__sample(p, i)->count;
	if (count && hot[0].self)
		fputs("Hottest functions, by themselves and with what they call:\n", out);
	for (size_t i = 0; i < count; i++) {
		str__reset(&label);
		err = err ?: text__visible(&label, hot[i].label, strlen(hot[i].label));
		if (!err && hot[i].self)
			fprintf(out, "  %5.1f %%  %5.1f %%  %s\n", 100.0 * (double)hot[i].self / (double)all,
				100.0 * (double)hot[i].total / (double)all, str__cstr(&label));
		free(hot[i].label);
	}
	str__free(&label);
	return err;
}

void accounts__print_held(const struct collect *c, FILE *out)
{
	struct collect_held h;

	collect__held(c, &h);
	fprintf(out,
		"In memory: %" PRIu64 " processes, %" PRIu64 " threads, %" PRIu64 " strings, %" PRIu64
		" frames, %" PRIu64 " stacks, %" PRIu64 " samples, %" PRIu64 " code objects, %" PRIu64
		" files of native code; the profile has %" PRIu64 " KB\n",
		h.processes, h.threads, h.strings, h.frames, h.stacks, h.samples, h.code_objects, h.files,
		h.bytes / 1024);
}

void accounts__print_tables(const struct unwinds_counts *t, FILE *out)
{
	fprintf(out,
		"Unwind tables: %u, %llu rows, %llu KB of the kernel's memory, made in %.1f ms; %u files have none, "
		"%u malformed ones, %u found no room, %u were dropped to make some\n",
		t->tables, (unsigned long long)t->rows, (unsigned long long)t->kernel_bytes / 1024,
		(double)t->build_ns / 1e6, t->absent, t->refused, t->full, t->dropped);
}
