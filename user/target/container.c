// SPDX-License-Identifier: Apache-2.0
#include "target/container.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "sys/proc.h"

#define DOCKER_DIGITS 64
#define GARDEN_DIGITS 32
#define UID_DIGITS    36
#define SHORTEST_ID   3

/* What stands before the id in its part of the path, or in the part above. */
static const struct {
	const char *word, *runtime;
} runtimes[] = {
	{"docker-", "docker"},
	{"docker", "docker"},
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
	{"crio-", "cri-o"},
	{"libpod-", "podman"},
	{"libpod_parent", "podman"},
	{"garden", "garden"},
};

/* One part of a path, its ".scope" cut off. */
struct part {
	const char *start;
	size_t n;
};

static bool part__ends(const struct part *p, const char *suffix)
{
	size_t n = strlen(suffix);

	return p->n > n && !memcmp(p->start + p->n - n, suffix, n);
}

static bool part__begins(const struct part *p, const char *prefix)
{
	size_t n = strlen(prefix);

	return p->n >= n && !memcmp(p->start, prefix, n);
}

static size_t hex_tail(const char *start, const char *end)
{
	const char *p = end;

	while (p > start && isxdigit((unsigned char)p[-1]))
		p--;
	return (size_t)(end - p);
}

/* The id at the end of a part: its length, 0 for none. */
static size_t id_tail(const struct part *p)
{
	const char *end = p->start + p->n, *dash = end;

	if (hex_tail(p->start, end) == DOCKER_DIGITS)
		return DOCKER_DIGITS;
	while (dash > p->start && isdigit((unsigned char)dash[-1]))
		dash--;
	if (dash < end && dash > p->start && dash[-1] == '-' && hex_tail(p->start, dash - 1) == GARDEN_DIGITS)
		return (size_t)(end - dash) + 1 + GARDEN_DIGITS;
	return 0;
}

static void set(char *out, size_t size, const char *text, size_t n)
{
	if (n >= size)
		n = size - 1;
	memcpy(out, text, n);
	out[n] = '\0';
}

static const char *runtime_of(const struct part *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++) {
		if (part__begins(p, runtimes[i].word))
			return runtimes[i].runtime;
	}
	return NULL;
}

/* "pod0a1b2c3d-..." of cgroupfs; "kubepods-burstable-pod0a1b2c3d_....slice" of systemd. */
static bool pod_uid(const struct part *p, char *out, size_t size)
{
	for (size_t i = 0; i + 3 + UID_DIGITS <= p->n; i++) {
		const char *uid = p->start + i + 3;
		bool good = !memcmp(p->start + i, "pod", 3) && (!i || p->start[i - 1] == '-');

		for (size_t k = 0; good && k < UID_DIGITS; k++)
			good = isxdigit((unsigned char)uid[k]) || uid[k] == '-' || uid[k] == '_';
		if (!good)
			continue;
		set(out, size, uid, UID_DIGITS);
		for (char *c = out; *c; c++) {
			if (*c == '_')
				*c = '-';
		}
		return true;
	}
	return false;
}

static void look_at(const struct part *p, const struct part *above, size_t end, struct container *out)
{
	size_t id = id_tail(p);

	if (id) {
		/* the innermost one counts: parts are looked at from the outside */
		set(out->id, sizeof(out->id), p->start + p->n - id, id);
		out->runtime = runtime_of(p);
		if (!out->runtime && above->n)
			out->runtime = runtime_of(above);
		if (!out->runtime && id != DOCKER_DIGITS)
			out->runtime = "garden";
		out->id_end = end;
		/* "kubepods-...-podUID.slice:cri-containerd:ID": one part, where runc and its caller differ on who names cgroups */
		if (pod_uid(p, out->pod, sizeof(out->pod)))
			out->pod_end = end;
	} else if (part__begins(p, "lxc.payload.")) {
		set(out->id, sizeof(out->id), p->start + 12, p->n - 12);
		out->runtime = "lxc";
		out->id_end = end;
	} else if (above->n == 3 && part__begins(above, "lxc")) { /* up to LXC 3 */
		set(out->id, sizeof(out->id), p->start, p->n);
		out->runtime = "lxc";
		out->id_end = end;
	} else if (pod_uid(p, out->pod, sizeof(out->pod))) {
		out->pod_end = end;
	} else if (part__ends(p, ".service")) {
		set(out->unit, sizeof(out->unit), p->start, p->n);
	}
}

void container__of_cgroup(const char *path, struct container *out)
{
	struct part above = {0};
	const char *at = path;

	*out = (struct container){0};
	while (*at) {
		struct part p;

		at += strspn(at, "/");
		p = (struct part){at, strcspn(at, "/")};
		at += p.n;
		if (!p.n)
			break;
		if (part__ends(&p, ".scope"))
			p.n -= strlen(".scope");
		look_at(&p, &above, (size_t)(at - path), out);
		above = p;
	}
}

int container__of_process(pid_t pid, struct container *out, struct str *cgroup)
{
	_cleanup_(str__free) struct str lines = {0};
	struct container best = {0};
	const char *path = NULL;
	char *save = NULL;
	int err = proc__cgroups(pid, &lines);

	if (err)
		return err;
	for (char *line = lines.len ? strtok_r(lines.data, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *colon = strchr(line, ':'), *here = colon ? strchr(colon + 1, ':') : NULL;
		struct container c;

		if (!here)
			continue;
		here++;
		container__of_cgroup(here, &c);
		/* One that names a container is best, then any but the root; v2's line, the last one, before others. */
		if (c.id[0] || (!best.id[0] && (!path || strcmp(here, "/")))) {
			best = c;
			path = here;
		}
	}
	if (cgroup) {
		str__reset(cgroup);
		err = path ? str__adds(cgroup, path) : 0;
	}
	*out = best;
	return err;
}

/* Where runtimes keep what they know of a container, %s being its id, and where in that JSON the name is. */
static const struct {
	const char *file;
	const char *keys[3];
	bool list; /* an array of containers, each with "id" and "names" */
} records[] = {
	{"/var/lib/docker/containers/%s/config.v2.json", {"Name"}, false},
	{"/run/containerd/io.containerd.runtime.v2.task/k8s.io/%s/config.json",
	 {"annotations", "io.kubernetes.cri.container-name"}, false},
	{"/run/containerd/io.containerd.runtime.v2.task/default/%s/config.json", {"annotations", "nerdctl/name"}, false},
	{"/run/containers/storage/overlay-containers/%s/userdata/config.json",
	 {"annotations", "io.kubernetes.container.name"}, false},
	{"/var/lib/containers/storage/overlay-containers/containers.json", {"names"}, true},
};

#define RECORD_MAX (8u << 20)

/* The text behind a chain of keys in a JSON file, borrowed from *root, which the caller drops. NULL when there is none. */
static const char *name_in(json_t *root, size_t which, const char *id)
{
	const json_t *at = root;
	size_t i;
	json_t *entry;

	if (records[which].list) {
		json_array_foreach(root, i, entry) {
			const char *its = json_string_value(json_object_get(entry, "id"));

			if (its && !strcmp(its, id))
				return json_string_value(json_array_get(json_object_get(entry, "names"), 0));
		}
		return NULL;
	}
	for (i = 0; i < ARRAY_SIZE(records[which].keys) && records[which].keys[i]; i++)
		at = json_object_get(at, records[which].keys[i]);
	return json_string_value(at);
}

int container__name(const struct container *c, const char *root, struct str *out)
{
	if (strchr(c->id, '/'))
		return 0;
	for (size_t i = 0; c->id[0] && i < ARRAY_SIZE(records); i++) {
		char path[512];
		const char *name;
		struct stat st;
		json_t *json;
		int err;
		int n = snprintf(path, sizeof(path), "%s", root);

		snprintf(path + n, sizeof(path) - (size_t)n, records[i].file, c->id);
		if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size > RECORD_MAX)
			continue;
		json = json_load_file(path, 0, NULL);
		name = name_in(json, i, c->id);
		err = name ? str__adds(out, name + (*name == '/')) : 0;
		json_decref(json);
		if (name || err)
			return err;
	}
	return 0;
}

bool container__matches(const struct container *c, const char *name, const char *word)
{
	size_t n = strlen(word);

	if (c->id[0] && n >= SHORTEST_ID && !strncasecmp(c->id, word, n))
		return true;
	if (name && *name && !strcmp(name, word))
		return true;
	return c->pod[0] && !strcasecmp(c->pod, word);
}
