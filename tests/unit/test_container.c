// SPDX-License-Identifier: Apache-2.0
/* Which container a cgroup's path names, as each runtime lays it out; what the runtime calls it; what the user may call it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/container.h"

#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "0a1b2c3d-1111-2222-3333-444455556666"
#define UID_ "0a1b2c3d_1111_2222_3333_444455556666"

static const struct {
	const char *path, *id, *runtime, *pod, *unit;
} paths[] = {
	/* none */
	{"/", "", NULL, "", ""},
	{"", "", NULL, "", ""},
	{"/user.slice/user-1000.slice/session-3.scope", "", NULL, "", ""},
	{"/system.slice/nginx.service", "", NULL, "", "nginx.service"},
	{"/user.slice/user-0.slice/user@0.service/app.slice/x.service", "", NULL, "", "x.service"},
	{"/system.slice/docker.service", "", NULL, "", "docker.service"},
	{"/build/0123456789abcdef", "", NULL, "", ""}, /* too short */
	{"/build/" ID "0", "", NULL, "", ""},          /* too long */
	/* Docker: cgroupfs, systemd, a cgroup parent of the user's, with processes below */
	{"/docker/" ID, ID, "docker", "", ""},
	{"/docker/" ID "/sub/group", ID, "docker", "", ""},
	{"/system.slice/docker-" ID ".scope", ID, "docker", "", ""},
	{"/system.slice/docker-" ID ".scope/init.scope", ID, "docker", "", ""},
	{"/system.slice/docker-" ID ".scope/system.slice/x.service", ID, "docker", "", "x.service"},
	{"/mine/" ID, ID, NULL, "", ""},
	/* Docker in Docker: the innermost one */
	{"/docker/" ID "/docker/" ID2, ID2, "docker", "", ""},
	/* containerd by nerdctl */
	{"/system.slice/nerdctl-" ID ".scope", ID, "containerd", "", ""},
	/* Podman, as root and rootless */
	{"/machine.slice/libpod-" ID ".scope", ID, "podman", "", ""},
	{"/machine.slice/libpod-" ID ".scope/container", ID, "podman", "", ""},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope", ID, "podman", "",
	 "user@1000.service"},
	{"/libpod_parent/libpod-" ID, ID, "podman", "", ""},
	/* Kubernetes: systemd and cgroupfs, three classes of service, three runtimes, kind */
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope", ID,
	 "containerd", UID, ""},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", ID, "cri-o", UID, ""},
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/docker-" ID ".scope", ID,
	 "docker", UID, ""},
	{"/kubepods/burstable/pod" UID "/" ID, ID, NULL, UID, ""},
	{"/kubepods/pod" UID "/" ID, ID, NULL, UID, ""},
	{"/kubepods/burstable/pod" UID, "", NULL, UID, ""},
	{"/docker/" ID "/kubelet/kubepods/pod" UID "/" ID2, ID2, NULL, UID, ""},
	{"/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID, ID, NULL, UID,
	 "containerd.service"},
	/* Garden */
	{"/garden/0123456789abcdef0123456789abcdef-12", "0123456789abcdef0123456789abcdef-12", "garden", "", ""},
	{"/system.slice/garden.service/0123456789abcdef0123456789abcdef-3", "0123456789abcdef0123456789abcdef-3",
	 "garden", "", "garden.service"},
	/* LXC: up to 3, and since 4 */
	{"/lxc/web1", "web1", "lxc", "", ""},
	{"/lxc.payload.web1", "web1", "lxc", "", ""},
	{"/lxc.payload.web1/system.slice/x.service", "web1", "lxc", "", "x.service"},
	{"/lxc.monitor.web1", "", NULL, "", ""},
	{"/lxc.payload.web1/docker/" ID, ID, "docker", "", ""},
};

static void test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct container c;

		container__of_cgroup(paths[i].path, &c);
		if (strcmp(c.id, paths[i].id) || strcmp(c.pod, paths[i].pod) || strcmp(c.unit, paths[i].unit) ||
		    (c.runtime ? !paths[i].runtime || strcmp(c.runtime, paths[i].runtime) : paths[i].runtime != NULL))
			fail_msg("%s: id '%s' pod '%s' unit '%s' runtime %s", paths[i].path, c.id, c.pod, c.unit,
				 c.runtime ? c.runtime : "none");
		/* where the path is cut to filter by it: behind the part that names it */
		if (c.id[0]) {
			assert_in_range(c.id_end, 1, strlen(paths[i].path));
			assert_true(!paths[i].path[c.id_end] || paths[i].path[c.id_end] == '/');
		}
	}
}

/* Paths cut anywhere, and parts longer than what they are put into: no byte beyond, an id or none. */
static void test_odd_paths(void **state)
{
	static char longest[8192];
	struct container c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		for (size_t n = 0; n < strlen(paths[i].path); n++) {
			char *cut = strndup(paths[i].path, n);

			container__of_cgroup(cut, &c);
			assert_true(c.id_end <= n && c.pod_end <= n);
			free(cut);
		}
	}
	snprintf(longest, sizeof(longest), "/lxc.payload.%0*d/%0*d.service", 3000, 7, 3000, 8);
	container__of_cgroup(longest, &c);
	assert_int_equal(strlen(c.id), sizeof(c.id) - 1);
	assert_int_equal(strlen(c.unit), sizeof(c.unit) - 1);
	memset(longest, '/', sizeof(longest) - 1);
	container__of_cgroup(longest, &c);
	assert_string_equal(c.id, "");
}

static void put(const char *root, const char *file, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, file);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(path, 0700);
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void expect_name(const char *root, const char *id, const char *name)
{
	_cleanup_(str__free) struct str out = {0};
	struct container c = {0};

	snprintf(c.id, sizeof(c.id), "%s", id);
	assert_int_equal(container__name(&c, root, &out), 0);
	assert_string_equal(str__cstr(&out), name);
}

#define DOCKER "var/lib/docker/containers/" ID "/config.v2.json"

static void test_names(void **state)
{
	char root[] = "/tmp/test_container.XXXXXX", command[64], path[256];

	(void)state;
	assert_non_null(mkdtemp(root));
	expect_name(root, ID, "");
	expect_name(root, "", "");
	expect_name(root, "../../../etc", "");
	put(root, DOCKER, "{\"ID\": \"" ID "\", \"Name\": \"/web\"}");
	expect_name(root, ID, "web");
	expect_name(root, ID2, "");
	/* damaged, of another shape, not a file: no name, and no waiting */
	put(root, DOCKER, "{\"Name\": ");
	expect_name(root, ID, "");
	put(root, DOCKER, "[1, 2]");
	expect_name(root, ID, "");
	put(root, DOCKER, "{\"Name\": 7}");
	expect_name(root, ID, "");
	snprintf(path, sizeof(path), "%s/" DOCKER, root);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_name(root, ID, "");
	put(root, "run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json",
	    "{\"annotations\": {\"io.kubernetes.cri.container-name\": \"api\"}}");
	expect_name(root, ID, "api");
	put(root, "run/containerd/io.containerd.runtime.v2.task/default/" ID2 "/config.json",
	    "{\"annotations\": {\"nerdctl/name\": \"db\"}}");
	expect_name(root, ID2, "db");
	put(root, "var/lib/containers/storage/overlay-containers/containers.json",
	    "[{\"id\": \"" ID2 "\", \"names\": [\"other\"]}, {\"id\": \"ab\", \"names\": [\"cache\", \"x\"]}, {\"id\": \"cd\"}]");
	expect_name(root, "ab", "cache");
	expect_name(root, "cd", "");
	put(root, "run/containers/storage/overlay-containers/ef/userdata/config.json",
	    "{\"annotations\": {\"io.kubernetes.container.name\": \"sidecar\"}}");
	expect_name(root, "ef", "sidecar");
	snprintf(command, sizeof(command), "rm -r %s", root);
	assert_int_equal(system(command), 0);
}

static void test_matches(void **state)
{
	struct container c;

	(void)state;
	container__of_cgroup("/kubepods/pod" UID "/" ID, &c);
	assert_true(container__matches(&c, "", ID));
	assert_true(container__matches(&c, NULL, "012"));
	assert_true(container__matches(&c, NULL, "0123456789AB"));
	assert_false(container__matches(&c, NULL, "01")); /* too short to mean one */
	assert_false(container__matches(&c, NULL, ID "0"));
	assert_false(container__matches(&c, NULL, ""));
	assert_true(container__matches(&c, "web", "web"));
	assert_false(container__matches(&c, "web", "we"));
	assert_true(container__matches(&c, NULL, UID));
	assert_false(container__matches(&c, NULL, "0a1b2c3d"));
	container__of_cgroup("/system.slice/x.service", &c);
	assert_false(container__matches(&c, "", ""));
	assert_false(container__matches(&c, NULL, "x.service"));
}

/* A process of the host, and one that is not there. */
static void test_process(void **state)
{
	_cleanup_(str__free) struct str path = {0};
	struct container c;

	(void)state;
	assert_int_equal(container__of_process(getpid(), &c, &path), 0);
	assert_true(!path.len || path.data[0] == '/');
	assert_true(container__of_process(5000001, &c, &path) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths), cmocka_unit_test(test_odd_paths), cmocka_unit_test(test_names),
		cmocka_unit_test(test_matches), cmocka_unit_test(test_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
