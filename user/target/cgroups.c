// SPDX-License-Identifier: Apache-2.0
#include "target/cgroups.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <bpf/btf.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sys/proc.h"
#include "target/container.h"

/* A line of /proc/self/mountinfo that mounts cgroups. */
struct mount {
	char root[512], point[512], type[16], options[512];
};

/* proc_pid_mountinfo(5): spaces and the like in paths are octal escapes. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		unsigned int c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static bool parse_mount(const char *line, struct mount *m)
{
	const char *dash = strstr(line, " - ");

	if (!dash || sscanf(line, "%*s %*s %*s %511s %511s", m->root, m->point) != 2 ||
	    sscanf(dash + 3, "%15s %*s %511s", m->type, m->options) != 2)
		return false;
	unescape(m->root);
	unescape(m->point);
	return !strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2");
}

/* The index of the first controller of a v1 hierarchy among the kernel's; -1 for one that has only a name. */
static int controller_index(const struct mount *m)
{
	/* the kernel's own name, where the one that users see is older */
	static const struct {
		const char *user, *kernel;
	} renamed[] = {{"blkio", "io"}};
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *t = NULL;
	char options[512], *save = NULL;
	int id, index = -1;

	if (!btf)
		return -1;
	id = btf__find_by_name_kind(btf, "cgroup_subsys_id", BTF_KIND_ENUM);
	if (id > 0)
		t = btf__type_by_id(btf, (uint32_t)id);
	snprintf(options, sizeof(options), "%s", m->options);
	for (char *word = strtok_r(options, ",", &save); word && t && index < 0; word = strtok_r(NULL, ",", &save)) {
		const char *name = word;
		char member[80];

		for (size_t i = 0; i < ARRAY_SIZE(renamed); i++) {
			if (!strcmp(word, renamed[i].user))
				name = renamed[i].kernel;
		}
		snprintf(member, sizeof(member), "%s_cgrp_id", name);
		for (uint16_t i = 0; i < btf_vlen(t); i++) {
			const struct btf_enum *e = btf_enum(t) + i;

			if (!strcmp(btf__name_by_offset(btf, e->name_off), member))
				index = e->val;
		}
	}
	btf__free(btf);
	return index;
}

static int add(struct cgroup_refs *out, uint32_t hierarchy, uint64_t id)
{
	vec__foreach(out, it) {
		if (it->hierarchy == hierarchy && it->id == id)
			return 0;
	}
	return vec__push(out, (struct cgroup_ref){.id = id, .hierarchy = hierarchy});
}

/* The part of `path` below a mount: a path in the file system, or one as /proc/PID/cgroup has it. NULL: not there. */
static const char *below(const struct mount *m, const char *path)
{
	size_t point = strlen(m->point), root = strcmp(m->root, "/") ? strlen(m->root) : 0;

	if (!strncmp(path, m->point, point) && (!path[point] || path[point] == '/'))
		return path + point;
	if (!strncmp(path, "/sys/fs/cgroup", 14))
		return NULL;
	return !strncmp(path, m->root, root) ? path + root : NULL;
}

int cgroups__resolve(const char *path, struct cgroup_refs *out, struct err *e)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char line[4096];

	if (!f)
		return err__errno(e, -errno, "reading /proc/self/mountinfo");
	while (fgets(line, sizeof(line), f)) {
		char full[2048];
		const char *rest;
		struct stat st;
		struct mount m;
		int hierarchy;

		rest = parse_mount(line, &m) ? below(&m, path) : NULL;
		if (!rest || strstr(rest, "..") ||
		    (size_t)snprintf(full, sizeof(full), "%s/%s", m.point, rest) >= sizeof(full) ||
		    stat(full, &st) || !S_ISDIR(st.st_mode))
			continue;
		hierarchy = !strcmp(m.type, "cgroup2") ? CGROUP_V2 : controller_index(&m);
		if (hierarchy < 0)
			continue;
		if (add(out, (uint32_t)hierarchy, st.st_ino))
			return err__errno(e, -ENOMEM, "finding cgroup %s", path);
		found = true;
	}
	return found ? 0 : err__set(e, -ESRCH, "no cgroup %s in any hierarchy", path);
}

static int add_container(pid_t pid, const char *word, struct cgroup_refs *out, bool *found, struct err *e)
{
	_cleanup_(str__free) struct str path = {0}, name = {0};
	struct container c;
	size_t end;

	if (container__of_process(pid, &c, &path) || (!c.id[0] && !c.pod[0]))
		return 0;
	if (container__name(&c, "", &name))
		return err__errno(e, -ENOMEM, "finding container %s", word);
	if (!container__matches(&c, str__cstr(&name), word))
		return 0;
	/* a pod by its own cgroup: containers that it starts later are in there, too */
	end = c.pod[0] && !strcasecmp(c.pod, word) ? c.pod_end : c.id_end;
	path.data[end] = '\0';
	*found = true;
	return cgroups__resolve(path.data, out, e) == -ENOMEM ? -ENOMEM : 0;
}

int cgroups__of_container(const char *word, struct cgroup_refs *out, struct err *e)
{
	struct proc_pids it;
	bool found = false;
	pid_t pid;
	int err = proc_pids__open(&it, e);

	while (!err && (pid = proc_pids__next(&it)))
		err = add_container(pid, word, out, &found, e);
	proc_pids__close(&it);
	if (!err && !found)
		err = err__set(e, -ESRCH, "no container %s runs here; `pybpf list` shows those with Python", word);
	return err;
}
