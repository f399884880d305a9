// SPDX-License-Identifier: Apache-2.0
#include "collect/probe.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "base/cleanup.h"
#include "collect/clock.h"
#include "collect/kernel.h"
#include "collect/probe_priv.h"
#include "collect/sideband.h"

#define TICK_WAIT_NS 250000000ull
#define PROBE_HZ     1000

void probe__detail(struct probe *p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->detail, sizeof(p->detail), format, args);
	va_end(args);
}

void probe__remedy(struct probe *p, const char *text)
{
	snprintf(p->remedy, sizeof(p->remedy), "%s", text);
}

void probe__read_line(const char *path, char *line, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f || !fgets(line, (int)size, f))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* ---- the kernel as it is */

static void probe_btf(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	p->ok = !access("/sys/kernel/btf/vmlinux", R_OK);
	if (p->ok) {
		probe__detail(p, "/sys/kernel/btf/vmlinux");
		return;
	}
	probe__detail(p, "/sys/kernel/btf/vmlinux: %s", strerror(errno));
	probe__remedy(p, "use a kernel with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have it)");
}

/* Asked of BTF, as the program itself does when it is loaded (bpf/compat.bpf.h). */
static bool has_helper(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *t;
	bool found = false;
	int id;

	if (!btf)
		return false;
	id = btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM);
	t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	for (int i = 0; t && i < btf_vlen(t) && !found; i++) {
		const char *value = btf__name_by_offset(btf, btf_enum(t)[i].name_off);

		found = value && !strcmp(value, name);
	}
	btf__free(btf);
	return found;
}

static void probe_helpers(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	p->ok = true;
	if (has_helper("BPF_FUNC_get_current_task_btf"))
		probe__detail(p, "direct (bpf_get_current_task_btf)");
	else
		probe__detail(p, "by probe reads, which cost a little more a sample: bpf_get_current_task_btf comes with 5.11");
}

bool probe__kernel_may_lock_up(const char *release)
{
	unsigned int major, minor, patch = 0;

	if (sscanf(release, "%u.%u.%u", &major, &minor, &patch) < 2)
		return false;
	if (major == 5)
		return minor >= 19;
	if (major != 6)
		return false;
	return minor == 0 || minor == 2 || (minor == 1 && patch < 36) || (minor == 3 && patch < 10);
}

static bool is_release(const char *text)
{
	unsigned int major, minor;

	return sscanf(text, "%u.%u", &major, &minor) == 2;
}

void probe__upstream_release(const char *release, const char *version, const char *signature, char *out,
			     size_t size)
{
	const char *found = NULL;

	if (signature && strrchr(signature, ' ') && is_release(strrchr(signature, ' ') + 1))
		found = strrchr(signature, ' ') + 1;
	if (!found && strstr(version, "Debian ")) {
		found = strstr(version, "Debian ") + strlen("Debian ");
		if (strspn(found, "0123456789") && found[strspn(found, "0123456789")] == ':') /* an epoch */
			found += strspn(found, "0123456789") + 1;
		if (!is_release(found))
			found = NULL;
	}
	if (!found)
		found = release;
	snprintf(out, size, "%.*s", (int)strcspn(found, "- +\n"), found);
}

static void running_release(char *out, size_t size)
{
	struct utsname u;
	char signature[256];

	uname(&u);
	probe__read_line("/proc/version_signature", signature, sizeof(signature));
	probe__upstream_release(u.release, u.version, signature, out, size);
}

/*
 * With PREEMPT_RT a spinlock_t may sleep, which an interrupt must not: the BPF ring's lock was one before 8b62645b09f8 (6.12;
 * 6.11.6, 6.6.84 and others got it, too). BTF tells what it is in the running kernel.
 */
static bool ring_lock_may_sleep(void)
{
	const struct btf_type *ring, *lock;
	struct utsname u;
	struct btf *btf;
	bool found = false;
	int id;

	uname(&u);
	if (!strstr(u.version, "PREEMPT_RT") && !strstr(u.version, "PREEMPT RT"))
		return false;
	btf = btf__load_vmlinux_btf();
	if (!btf)
		return false;
	id = btf__find_by_name_kind(btf, "bpf_ringbuf", BTF_KIND_STRUCT);
	ring = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	for (int i = 0; ring && i < btf_vlen(ring) && !found; i++) {
		const struct btf_member *m = btf_members(ring) + i;

		id = btf__resolve_type(btf, m->type);
		lock = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
		found = lock && !strcmp(btf__name_by_offset(btf, m->name_off), "spinlock") &&
			!strcmp(btf__name_by_offset(btf, lock->name_off), "spinlock");
	}
	btf__free(btf);
	return found;
}

int probe__check_kernel(struct err *e)
{
	char release[80];

	running_release(release, sizeof(release));
	if (probe__kernel_may_lock_up(release))
		return err__set(e, -ENOTSUP,
				"Linux %s can lock up when a profiler reads memory (mended in 6.1.36, 6.3.10 and 6.4): use "
				"another kernel, or --force at your own risk",
				release);
	if (ring_lock_may_sleep())
		return err__set(e, -ENOTSUP,
				"Linux %s with PREEMPT_RT can lock up when a profiler hands over a sample (mended in 6.6.84, "
				"6.11.6 and 6.12): use another kernel, or --force at your own risk",
				release);
	return 0;
}

static void probe_kernel_fault(struct probe *p, struct probe_trial *t)
{
	struct err e = {0};
	char release[80];

	p->ok = !probe__check_kernel(&e);
	t->faulty = !p->ok;
	running_release(release, sizeof(release));
	if (p->ok) {
		probe__detail(p, "Linux %s is not one of those that lock up under a profiler", release);
		return;
	}
	probe__detail(p, "%s", e.text);
	probe__remedy(p, "use a newer kernel of the same series, or 6.12 or newer; `record --force` runs nevertheless");
}

static void probe_memlock(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	struct rlimit limit;

	p->ok = true;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		probe__detail(p, "unlimited");
	else
		probe__detail(p, "%llu KB; no obstacle from Linux 5.11 on, raised where an older one allows it",
		       (unsigned long long)limit.rlim_cur / 1024);
}

static void probe_paranoid(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	char level[32];

	p->ok = true;
	probe__read_line("/proc/sys/kernel/perf_event_paranoid", level, sizeof(level));
	probe__detail(p, "%s; it does not bind root and CAP_PERFMON", *level ? level : "not known");
}

/* ---- the program */

static void failed(struct probe *p, const struct err *e)
{
	p->ok = false;
	probe__detail(p, "%s", e->text);
}

static void probe_load(struct probe *p, struct probe_trial *t)
{
	struct kernel_config config = {.rate_hz = PROBE_HZ, .tick_ns = clock__period(PROBE_HZ)};
	struct err e = {0};
	char lockdown[128];

	p->ok = !kernel__load(&config, &t->kernel, &e);
	if (p->ok) {
		probe__detail(p, "loaded and verified");
		return;
	}
	failed(p, &e);
	probe__read_line("/sys/kernel/security/lockdown", lockdown, sizeof(lockdown));
	if (strstr(lockdown, "[confidentiality]"))
		probe__remedy(p, "the kernel is locked down (lockdown=confidentiality), which forbids BPF programs to read "
			  "memory: boot with lockdown=integrity or none");
	else if (e.code == -EPERM)
		probe__remedy(p, "run as root or with the capabilities above; in a container start it with them and "
			  "without a seccomp filter for bpf(2)");
	else if (e.code == -ENOMEM)
		probe__remedy(p, "free some memory, or raise the memory limit of the cgroup");
	else
		probe__remedy(p, "use Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF");
}

/* What needs the program can't be tried without. */
static bool not_tried(struct probe *p, const struct probe_trial *t)
{
	if (t->kernel)
		return false;
	p->ok = false;
	probe__detail(p, "not tried: the BPF program can't be loaded");
	return true;
}

static void probe_hooks(struct probe *p, struct probe_trial *t)
{
	struct err e = {0};

	if (not_tried(p, t))
		return;
	p->ok = !kernel__attach(t->kernel, &e);
	if (p->ok) {
		probe__detail(p, "fork, exec and exit are followed");
		return;
	}
	failed(p, &e);
	probe__remedy(p, "use a kernel with CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF");
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Is busy until the program has run, which the kernel tells only those who may switch its statistics on. */
static bool has_ticked(const struct probe_trial *t)
{
	uint64_t start = cpu_ns(), before, ns, runs;

	if (kernel__run_stats(t->kernel, &ns, &before))
		return false;
	do {
		if (kernel__run_stats(t->kernel, &ns, &runs))
			return false;
	} while (runs == before && cpu_ns() - start < TICK_WAIT_NS);
	return runs != before;
}

static void probe_clock(struct probe *p, struct probe_trial *t)
{
	struct clock_set *clocks;
	struct err e = {0};
	bool can_tell = privileges__has(&t->privileges, CAP_SYS_ADMIN);

	if (not_tried(p, t))
		return;
	if (t->faulty) {
		probe__detail(p, "not tried: the kernel might lock up");
		return;
	}
	if (clock_set__start(kernel__tick_program(t->kernel), clock__period(PROBE_HZ), &clocks, &e)) {
		failed(p, &e);
		probe__remedy(p, e.code == -EPERM ? "run as root or with CAP_PERFMON; in a container allow perf_event_open(2)"
					   : "use a kernel with CONFIG_PERF_EVENTS");
		return;
	}
	p->ok = true;
	if (has_ticked(t)) {
		probe__detail(p, "ticks on %u CPUs", clock_set__running(clocks));
	} else if (!can_tell) {
		probe__detail(p, "started on %u CPUs", clock_set__running(clocks));
	} else {
		p->ok = false;
		probe__detail(p, "started on %u CPUs, but the program was never run", clock_set__running(clocks));
		probe__remedy(p, "look whether the hypervisor or kernel.perf_cpu_time_max_percent suppresses perf events");
	}
	clock_set__stop(clocks);
}

static void probe_sideband(struct probe *p, __attribute__((unused)) struct probe_trial *t)
{
	struct sideband *s;
	struct err e = {0};

	p->ok = !sideband__open(&s, &e);
	if (p->ok) {
		sideband__close(s);
		probe__detail(p, "new mappings of all processes are seen");
		return;
	}
	failed(p, &e);
	probe__remedy(p, e.code == -EPERM ? "run as root or with CAP_PERFMON"
				   : "raise kernel.perf_event_mlock_kb, or use a kernel with CONFIG_PERF_EVENTS");
}

static void probe_ring(struct probe *p, struct probe_trial *t)
{
	if (not_tried(p, t))
		return;
	p->ok = kernel__ring_fd(t->kernel) >= 0;
	probe__detail(p, p->ok ? "mapped" : "cannot be waited for");
}

/* ---- all of them */

static const struct {
	const char *what;
	bool needed;
	void (*run)(struct probe *p, struct probe_trial *t);
} probes[] = { /* in this order: later ones build on earlier ones */
	{"privileges", true, probe__privileges},
	{"pid namespace", true, probe__pid_namespace},
	{"kernel fault", true, probe_kernel_fault},
	{"BTF", true, probe_btf},
	{"BPF program load", true, probe_load},
	{"BPF hooks attach", true, probe_hooks},
	{"perf software clock", true, probe_clock},
	{"mapping records", true, probe_sideband},
	{"ring buffer", true, probe_ring},
	{"task access", false, probe_helpers},
	{"RLIMIT_MEMLOCK", false, probe_memlock},
	{"perf_event_paranoid", false, probe_paranoid},
};

int probe__kernel(struct probe_list *out)
{
	struct probe_trial t = {0};
	int err = 0;

	privileges__read(&t.privileges);
	for (size_t i = 0; i < ARRAY_SIZE(probes) && !err; i++) {
		struct probe p = {.needed = probes[i].needed};

		snprintf(p.what, sizeof(p.what), "%s", probes[i].what);
		probes[i].run(&p, &t);
		err = vec__push(out, p);
	}
	kernel__free(t.kernel);
	return err;
}
