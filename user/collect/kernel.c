// SPDX-License-Identifier: Apache-2.0
#include "collect/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "collect/cpubufs.h"
#include "collect/loadlog.h"
#include "collect/mapmemory.h"
#include "pybpf.skel.h"

#define UNWIND_BLOCKS 1024

struct kernel {
	struct pybpf_bpf *skel;
	struct ring_buffer *ring;
	int stats_fd;
	struct cpubufs *bufs;
	uint32_t cpus; /* possible ones */
	uint32_t cpu_samples;
	uint32_t layout_count;
	kernel_record_fn fn; /* while draining */
	void *arg;
};

static int load_error(struct err *e, int code)
{
	if (code == -EPERM || code == -EACCES)
		return err__set(e, -EPERM,
				"the kernel does not permit loading BPF programs (%s): run as root, or with "
				"CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; a container needs them too",
				loadlog__text());
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return err__set(e, -ENOTSUP,
				"this kernel has no BTF (/sys/kernel/btf/vmlinux): use a kernel with "
				"CONFIG_DEBUG_INFO_BTF=y");
	return err__set(e, code == -ENOMEM || code == -EMFILE ? code : -ENOTSUP, "the BPF program could not be loaded: %s (%s)",
			strerror(-code), loadlog__text());
}

/* Room for the samples of four seconds on each CPU: for so long user space may be kept from running. */
static uint32_t samples_room(uint32_t rate_hz)
{
	uint32_t room = 1024;

	while (room < 4 * rate_hz && room < 65536)
		room *= 2;
	return room;
}

/* Of 64 KB each. Tests lower it. */
static uint32_t unwind_blocks(void)
{
	const char *fewer = secure_getenv("PYBPF_UNWIND_BLOCKS");
	long n = fewer ? strtol(fewer, NULL, 10) : 0;

	return n > 0 && n < UNWIND_BLOCKS ? (uint32_t)n : UNWIND_BLOCKS;
}

/* Room for unwinding: 64 KiB of code a page, so 4 GiB of it. Some 13 MB in all, and blocks as they are needed. */
static void size_unwind_maps(struct pybpf_bpf *skel)
{
	bpf_map__set_max_entries(skel->maps.ring, PYBPF_RING_NATIVE);
	bpf_map__set_max_entries(skel->maps.spaces, 16384);
	bpf_map__set_max_entries(skel->maps.mappings, 131072);
	bpf_map__set_max_entries(skel->maps.unwind_tables, 8192);
	bpf_map__set_max_entries(skel->maps.unwind_pages, 65536);
	bpf_map__set_max_entries(skel->maps.unwind_rules, 131072);
	bpf_map__set_max_entries(skel->maps.unwind_blocks, unwind_blocks());
}

static void configure(struct pybpf_bpf *skel, const struct kernel_config *config, uint32_t cpus,
		      uint32_t cpu_samples)
{
	skel->rodata->cfg_period_ns = 1000000000ull / config->rate_hz;
	skel->rodata->cfg_tick_ns = config->tick_ns;
	skel->rodata->cfg_cpus = cpus;
	skel->rodata->cfg_self = (uint32_t)getpid();
	skel->rodata->cfg_filter_pids = config->pid_count > 0;
	skel->rodata->cfg_follow_children = config->follow_children;
	skel->rodata->cfg_filter_uid = config->filter_uid;
	skel->rodata->cfg_uid = config->uid;
	if (config->comm) {
		skel->rodata->cfg_filter_comm = true;
		strncpy((char *)skel->rodata->cfg_comm, config->comm, PYBPF_COMM_LEN - 1);
	}
	skel->rodata->cfg_filter_cgroup = config->cgroup_count > 0;
	for (size_t i = 0; i < config->cgroup_count; i++)
		skel->rodata->cfg_hierarchies |= 1u << config->cgroups[i].hierarchy;
	bpf_program__set_autoload(skel->progs.on_cgroup, config->cgroup_count > 0);
	skel->rodata->cfg_native = config->native;
	skel->rodata->cfg_kernel = config->kernel;
	if (config->native)
		size_unwind_maps(skel);
	skel->rodata->cfg_wakeup_bytes = bpf_map__max_entries(skel->maps.ring) / 4 / cpus;
	skel->rodata->cfg_cpu_samples = cpu_samples;
	bpf_map__set_max_entries(skel->maps.scratches, cpus);
	bpf_map__set_max_entries(skel->maps.samples, cpus * cpu_samples);
	bpf_map__set_max_entries(skel->maps.tails, cpus);
	if (!config->pid_count)
		bpf_map__set_max_entries(skel->maps.pids, 1);
}

/*
 * Puts the targets into the code of on_tick, where they cost nothing to look at (target__is_possible of bpf/process.bpf.h). What
 * fails is an optimization: without it they are looked up. libbpf before 0.8 can't.
 */
static void write_targets(struct bpf_program *tick, const struct kernel_config *config)
{
#if LIBBPF_MAJOR_VERSION > 0 || LIBBPF_MINOR_VERSION >= 8
	size_t n = bpf_program__insn_cnt(tick);
	_cleanup_free_ struct bpf_insn *code = malloc(n * sizeof(*code));

	if (!code || !config->pid_count || config->pid_count > PYBPF_FEW_TARGETS || config->follow_children)
		return;
	memcpy(code, bpf_program__insns(tick), n * sizeof(*code));
	for (size_t i = 0; i + 1 < n; i++) {
		uint64_t word = (uint64_t)(uint32_t)code[i + 1].imm << 32 | (uint32_t)code[i].imm;

		if (code[i].code != (BPF_LD | BPF_IMM | BPF_DW) || word - PYBPF_TARGET_MARK >= PYBPF_FEW_TARGETS)
			continue;
		code[i].imm = (int32_t)config->pids[(word - PYBPF_TARGET_MARK) % config->pid_count];
		code[i + 1].imm = 0;
	}
	bpf_program__set_insns(tick, code, n);
#else
	(void)tick;
	(void)config;
#endif
}

static int map_buffers(struct kernel *k, struct err *e)
{
	const struct cpubufs_maps maps = {
		.scratches = bpf_map__fd(k->skel->maps.scratches),
		.samples = bpf_map__fd(k->skel->maps.samples),
		.tails = bpf_map__fd(k->skel->maps.tails),
		.scratch_bytes = bpf_map__value_size(k->skel->maps.scratches),
		.cpus = k->cpus,
		.cpu_samples = k->cpu_samples,
	};

	return cpubufs__new(&maps, &k->bufs, e);
}

static int forward(void *ctx, void *data, size_t size)
{
	struct kernel *k = ctx;

	return k->fn(k->arg, data, size);
}

static int add_cgroups(struct kernel *k, const struct kernel_config *config, struct err *e)
{
	for (size_t i = 0; i < config->cgroup_count; i++) {
		const struct cgroup_ref *c = &config->cgroups[i];
		uint64_t key = PYBPF_CGROUP_KEY(c->hierarchy, c->id);
		uint32_t one = 1;
		int err = bpf_map_update_elem(bpf_map__fd(k->skel->maps.cgroups), &key, &one, BPF_ANY);

		if (err)
			return err__errno(e, err, "adding a cgroup to the filter");
	}
	return 0;
}

int kernel__load(const struct kernel_config *config, struct kernel **out, struct err *e)
{
	struct kernel *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return err__errno(e, -ENOMEM, "loading the BPF program");
	k->stats_fd = -1;
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL); /* what 1.0 does anyway: errors are negative errnos */
	loadlog__begin();
	k->skel = pybpf_bpf__open();
	if (!k->skel) {
		err = load_error(e, -errno);
		goto fail;
	}
	err = libbpf_num_possible_cpus();
	k->cpus = err > 0 ? (uint32_t)err : 1;
	k->cpu_samples = samples_room(config->rate_hz);
	configure(k->skel, config, k->cpus, k->cpu_samples);
	write_targets(k->skel->progs.on_tick, config);
	err = pybpf_bpf__load(k->skel);
	if (err) {
		err = load_error(e, err);
		goto fail;
	}
	err = add_cgroups(k, config, e);
	if (!err)
		err = map_buffers(k, e);
	if (err)
		goto fail;
	k->ring = ring_buffer__new(bpf_map__fd(k->skel->maps.ring), forward, k, NULL);
	if (!k->ring) {
		err = err__errno(e, -errno, "mapping the ring buffer");
		goto fail;
	}
	k->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME); /* without it the cost is shown as 0 */
	*out = k;
	return 0;
fail:
	kernel__free(k);
	return err;
}

int kernel__attach(struct kernel *k, struct err *e)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, k->skel->obj) {
		struct bpf_link **link = NULL;

		if (p == k->skel->progs.on_fork)
			link = &k->skel->links.on_fork;
		else if (p == k->skel->progs.on_exec)
			link = &k->skel->links.on_exec;
		else if (p == k->skel->progs.on_free)
			link = &k->skel->links.on_free;
		else if (p == k->skel->progs.on_cgroup && k->skel->rodata->cfg_filter_cgroup)
			link = &k->skel->links.on_cgroup;
		if (!link)
			continue;
		*link = bpf_program__attach(p);
		if (!*link) {
			int code = errno == EPERM || errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -errno : -ENOTSUP;

			return err__errno(e, code, "attaching the BPF program %s", bpf_program__name(p));
		}
	}
	return 0;
}

void kernel__free(struct kernel *k)
{
	if (!k)
		return;
	ring_buffer__free(k->ring);
	cpubufs__free(k->bufs);
	if (k->stats_fd >= 0)
		close(k->stats_fd);
	pybpf_bpf__destroy(k->skel);
	free(k);
}

struct bpf_program *kernel__tick_program(struct kernel *k)
{
	return k->skel->progs.on_tick;
}

int kernel__add_target(struct kernel *k, uint32_t pid)
{
	uint32_t one = 1;

	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.pids), &pid, &one, BPF_ANY);
}

void kernel__remove_target(struct kernel *k, uint32_t pid)
{
	bpf_map_delete_elem(bpf_map__fd(k->skel->maps.pids), &pid);
}

bool kernel__is_target(struct kernel *k, uint32_t pid)
{
	uint32_t one;

	return !bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.pids), &pid, &one);
}

static void layouts_changed(struct kernel *k)
{
	__atomic_fetch_add(&k->skel->bss->layouts_void, 1, __ATOMIC_RELEASE);
}

int kernel__add_layout(struct kernel *k, const struct py_layout *layout, uint32_t *index)
{
	struct py_layout unproven = *layout;
	int err;

	if (k->layout_count == bpf_map__max_entries(k->skel->maps.layouts))
		return -ENOSPC;
	unproven.flags |= PY_LAYOUT_UNPROVEN;
	err = bpf_map_update_elem(bpf_map__fd(k->skel->maps.layouts), &k->layout_count, &unproven, BPF_ANY);
	if (err)
		return err;
	layouts_changed(k); /* processes that nothing can read name the first one, also while there is none */
	*index = k->layout_count++;
	return 0;
}

int kernel__prove_layout(struct kernel *k, const struct py_layout *layout, uint32_t index)
{
	int err = bpf_map_update_elem(bpf_map__fd(k->skel->maps.layouts), &index, layout, BPF_ANY);

	layouts_changed(k);
	return err;
}

int kernel__describe_file(struct kernel *k, const struct file_key *key, const struct file_info *info)
{
	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.files), key, info, BPF_ANY);
}

int kernel__describe_image(struct kernel *k, uint64_t key, const struct file_info *info)
{
	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.images), &key, info, BPF_ANY);
}

int kernel__publish_process(struct kernel *k, uint32_t pid, const struct proc_info *info, bool weak)
{
	int err = bpf_map_update_elem(bpf_map__fd(k->skel->maps.procs), &pid, info,
				      weak ? BPF_NOEXIST : BPF_ANY);

	kernel__processes_changed(k);
	return err;
}

int kernel__tell_tstate(struct kernel *k, const struct tstate_key *key, uint64_t tstate)
{
	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.tstates), key, &tstate, BPF_ANY);
}

void kernel__forget_tstate(struct kernel *k, const struct tstate_key *key)
{
	bpf_map_delete_elem(bpf_map__fd(k->skel->maps.tstates), key);
}

void kernel__forget_process(struct kernel *k, uint32_t pid)
{
	bpf_map_delete_elem(bpf_map__fd(k->skel->maps.procs), &pid);
	kernel__processes_changed(k);
}

void kernel__processes_changed(struct kernel *k)
{
	__atomic_fetch_add(&k->skel->bss->generation, 1, __ATOMIC_RELEASE);
}

void kernel__unwind_maps(const struct kernel *k, struct kernel_unwind_maps *out)
{
	const struct {
		const struct bpf_map *map;
		int *fd;
		uint32_t *max;
	} maps[] = {
		{k->skel->maps.spaces, &out->spaces, &out->max_spaces},
		{k->skel->maps.mappings, &out->mappings, &out->max_mappings},
		{k->skel->maps.unwind_tables, &out->tables, &out->max_tables},
		{k->skel->maps.unwind_pages, &out->pages, &out->max_pages},
		{k->skel->maps.unwind_rules, &out->rules, &out->max_rules},
		{k->skel->maps.unwind_blocks, &out->blocks, &out->max_blocks},
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		*maps[i].fd = bpf_map__fd(maps[i].map);
		*maps[i].max = bpf_map__max_entries(maps[i].map);
	}
}

int kernel__lookup_process(struct kernel *k, uint32_t pid, struct proc_info *out)
{
	return bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.procs), &pid, out);
}

int kernel__next_target(struct kernel *k, uint32_t *pid)
{
	return bpf_map_get_next_key(bpf_map__fd(k->skel->maps.pids), *pid ? pid : NULL, pid);
}

#define PID_MAPS 3

static int pid_map(const struct kernel *k, int which)
{
	const struct bpf_map *maps[PID_MAPS] = {k->skel->maps.procs, k->skel->maps.pids, k->skel->maps.spaces};

	return bpf_map__fd(maps[which]);
}

int kernel__next_pid(struct kernel *k, int *map, uint32_t *pid)
{
	while (*map < PID_MAPS) {
		if (!bpf_map_get_next_key(pid_map(k, *map), *pid ? pid : NULL, pid))
			return 0;
		++*map;
		*pid = 0;
	}
	return -ENOENT;
}

void kernel__forget_pid(struct kernel *k, uint32_t pid)
{
	for (int which = 0; which < PID_MAPS; which++)
		bpf_map_delete_elem(pid_map(k, which), &pid);
	kernel__processes_changed(k);
}

void kernel__next_epoch(struct kernel *k)
{
	__atomic_fetch_add(&k->skel->bss->epoch, 1, __ATOMIC_RELAXED);
}

void kernel__retell_codes(struct kernel *k)
{
	__atomic_fetch_add(&k->skel->bss->codes_void, 1, __ATOMIC_RELAXED);
	kernel__next_epoch(k);
}

uint32_t kernel__files_missed(const struct kernel *k)
{
	return __atomic_load_n(&k->skel->bss->files_missed, __ATOMIC_RELAXED);
}

void kernel__counters(const struct kernel *k, struct cpu_shared *sum)
{
	cpubufs__counters(k->bufs, sum);
}

int kernel__run_stats(struct kernel *k, uint64_t *ns, uint64_t *runs)
{
	struct bpf_program *p;

	*ns = *runs = 0;
	bpf_object__for_each_program(p, k->skel->obj) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);
		int fd = bpf_program__fd(p);

		if (fd < 0) /* one that was not asked for */
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &size))
			return -errno;
		*ns += info.run_time_ns;
		*runs += info.run_cnt;
	}
	return 0;
}

uint64_t kernel__map_bytes(const struct kernel *k)
{
	struct bpf_map *map;
	uint64_t bytes = 0;

	bpf_object__for_each_map(map, k->skel->obj)
		bytes += mapmemory__of(bpf_map__fd(map));
	return bytes;
}

int kernel__ring_fd(struct kernel *k)
{
	return ring_buffer__epoll_fd(k->ring);
}

int kernel__drain(struct kernel *k, kernel_record_fn on_record, kernel_sample_fn on_sample, void *arg)
{
	int records, samples;

	cpubufs__begin(k->bufs); /* their records are in the ring by now */
	k->fn = on_record;
	k->arg = arg;
	records = ring_buffer__consume(k->ring);
	if (records < 0)
		return records;
	samples = cpubufs__take(k->bufs, on_sample, arg);
	return samples < 0 ? samples : records + samples;
}
