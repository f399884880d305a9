// SPDX-License-Identifier: Apache-2.0
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/stop.h"

/* What the child needs to become the caller again, looked up before the fork. */
struct identity {
	bool wanted;
	uid_t uid;
	gid_t gid;
	gid_t groups[256];
	int group_count;
};

static void identity__of_caller(struct identity *id)
{
	uint32_t uid, gid;
	struct passwd *user;

	id->wanted = cli__sudo_user(&uid, &gid) && uid;
	if (!id->wanted)
		return;
	id->uid = uid;
	id->gid = gid;
	id->group_count = (int)(sizeof(id->groups) / sizeof(id->groups[0]));
	user = getpwuid(uid);
	if (!user || getgrouplist(user->pw_name, gid, id->groups, &id->group_count) < 0) {
		id->groups[0] = gid;
		id->group_count = 1;
	}
}

static int identity__assume(const struct identity *id)
{
	if (!id->wanted)
		return 0;
	return setgroups((size_t)id->group_count, id->groups) || setgid(id->gid) || setuid(id->uid) ? -errno : 0;
}

/* Never returns: becomes the command, or tells why not by `fd`. */
static void run_child(int fd, char **argv, const struct identity *id)
{
	char go;
	int err;

	stop__restore();
	stop__release();
	if (read(fd, &go, 1) != 1)
		_exit(EXIT_RUNTIME); /* the profiler gave up */
	err = -identity__assume(id);
	if (!err) {
		execvp(argv[0], argv);
		err = errno;
	}
	if (write(fd, &err, sizeof(err)) < 0)
		_exit(EXIT_RUNTIME);
	_exit(127);
}

int child__prepare(struct child *c, char **argv, struct err *e)
{
	struct identity id = {0};
	int pair[2];

	/* one socket both ways: the word to go, and the news of a failed exec (a closed end means success) */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err__errno(e, -errno, "starting '%s'", argv[0]);
	identity__of_caller(&id);
	stop__hold();
	c->pid = fork();
	if (c->pid < 0) {
		int err = -errno;

		stop__release();
		close(pair[0]);
		close(pair[1]);
		c->pid = 0;
		return err__errno(e, err, "starting '%s'", argv[0]);
	}
	if (!c->pid) {
		close(pair[0]);
		run_child(pair[1], argv, &id);
	}
	close(pair[1]);
	c->go_fd = pair[0];
	stop__pass_to(c->pid);
	stop__release();
	return 0;
}

int child__go(struct child *c, const char *name, struct err *e)
{
	ssize_t n;
	int err = 0;

	/* EPIPE: a signal has ended it before its time, which is seen as any other end */
	if (write(c->go_fd, "g", 1) != 1 && errno != EPIPE)
		return err__errno(e, -errno, "starting '%s'", name);
	do
		n = read(c->go_fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(c->go_fd);
	c->go_fd = -1;
	if (n != sizeof(err))
		return 0;
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
	err__errno(e, -err, "cannot run '%s'", name);
	return err == ENOENT || err == ENOTDIR ? 127 : 126;
}

int child__poll(struct child *c)
{
	siginfo_t info = {0};

	if (c->pid && !c->ended && !waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
		c->ended = 1;
	return c->ended;
}

void child__reap(struct child *c)
{
	if (c->ended && !c->reaped && waitpid(c->pid, &c->status, 0) == c->pid)
		c->reaped = 1;
}

int child__exit_code(const struct child *c)
{
	return WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status) : WEXITSTATUS(c->status);
}

void child__cancel(struct child *c)
{
	if (!c->pid || c->go_fd < 0)
		return;
	close(c->go_fd);
	c->go_fd = -1;
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
}
