// SPDX-License-Identifier: Apache-2.0
/*
 * Loads the BPF object as it is and tells, for each program, how many instructions the verifier went through: once with
 * the configuration as it stands in the object, and once with every switch of it on, since the verifier skips what
 * a constant switches off. Prints an array of JSON objects; the exit status is 1 when something did not load,
 * and the end of the verifier's log goes to standard error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"

#define LOG_STATS    4 /* BPF_LOG_STATS, include/linux/bpf_verifier.h: "processed N insns" and no more */
#define LOG_BYTES    (64 << 10)

/* Sets every bool of .rodata. 0 or -errno. */
static int switch_all_on(struct bpf_object *obj)
{
	const struct btf *btf = bpf_object__btf(obj);
	struct bpf_map *map = bpf_object__find_map_by_name(obj, ".rodata");
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC), count = 0;
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, (__u32)id) : NULL;
	size_t size;
	char *data = map ? (char *)bpf_map__initial_value(map, &size) : NULL;

	if (!section || !data)
		return -ENOENT;
	for (int i = 0; i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *at = btf_var_secinfos(section) + i;
		const struct btf_type *type = btf__type_by_id(btf, btf__type_by_id(btf, at->type)->type);

		while (btf_is_mod(type) || btf_is_typedef(type))
			type = btf__type_by_id(btf, type->type);
		if (!btf_is_int(type) || !(btf_int_encoding(type) & BTF_INT_BOOL))
			continue;
		data[at->offset] = 1;
		count++;
	}
	return count ? 0 : -ENOENT;
}

static void print_programs(struct bpf_object *obj, const char *config)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, obj) {
		static const char *comma = "";
		struct bpf_prog_info info = {0};
		unsigned int bytes = sizeof(info), processed = 0;
		size_t size;
		const char *said = strstr(bpf_program__log_buf(p, &size), "processed ");

		if (said)
			sscanf(said, "processed %u", &processed);
		bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &bytes);
		printf("%s\n{\"config\":\"%s\",\"program\":\"%s\",\"verified\":%u,\"instructions\":%zu,"
		       "\"jited_bytes\":%u}",
		       comma, config, bpf_program__name(p), processed, bpf_program__insn_cnt(p), info.jited_prog_len);
		comma = ",";
	}
}

/* With `stats`, the programs are printed; without, libbpf prints the log of one that is refused. 0 or -errno. */
static int load(const char *path, const char *config, bool all_on, bool stats)
{
	struct bpf_object *obj = bpf_object__open(path);
	struct bpf_program *p;
	int err = obj ? 0 : -errno;

	if (err)
		return err;
	if (all_on)
		err = switch_all_on(obj);
	bpf_object__for_each_program(p, obj) {
		char *log = stats ? calloc(1, LOG_BYTES) : NULL;

		if (!log)
			continue;
		bpf_program__set_log_level(p, LOG_STATS);
		bpf_program__set_log_buf(p, log, LOG_BYTES);
	}
	err = err ?: bpf_object__load(obj);
	if (!err && stats)
		print_programs(obj, config);
	bpf_object__close(obj); /* the process ends soon: its logs with it */
	return err;
}

static int print_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int main(int argc, char **argv)
{
	static const char *const configs[] = {"plain", "all on"};
	int failed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: verify OBJECT\n");
		return 2;
	}
	libbpf_set_print(NULL);
	putchar('[');
	for (int i = 0; i < 2; i++) {
		int err = load(argv[1], configs[i], i, true);

		if (!err)
			continue;
		failed = 1;
		fprintf(stderr, "%s: %s\n", configs[i], strerror(-err));
		libbpf_set_print(print_warning);
		load(argv[1], configs[i], i, false); /* now with the log */
		libbpf_set_print(NULL);
	}
	puts("]");
	return failed;
}
