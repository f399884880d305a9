// SPDX-License-Identifier: Apache-2.0
/* The side that asks: starts the process, takes its rights away and believes nothing that it says. */
#include "symbolize/dwarf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/elf.h"
#include "symbolize/dwarf_worker.h"

#define NOBODY        65534
#define MAX_DEBUG     (1ull << 30) /* bytes of all debug sections */
#define MAX_HEAP      (1ull << 30) /* of the process */
#define MAX_CPU       120          /* seconds, in all */
#define ANSWER_MS     20000        /* the first answer reads the headers of all units */
#define FIRST_FREE_FD 6

struct dwarf_reader {
	pid_t pid;
	int socket;
	char *text;
	size_t text_size;
	struct dwarf_frame frames[DWARF_MAX_FRAMES];
};

int dwarf_stream__read(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = recv(fd, (char *)buf + done, n - done, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EPIPE;
		done += (size_t)got;
	}
	return 0;
}

int dwarf_stream__write(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = send(fd, (const char *)buf + done, n - done, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

/* Is there something to read, and is it of a size that will do? */
static bool has_dwarf(int fd)
{
	struct elf_section s, info = {0};
	uint64_t all = 0;
	struct elf *elf;
	bool found;

	if (elf__open(fd, &elf, NULL))
		return false;
	found = !elf__section(elf, ".debug_info", &info) || !elf__section(elf, ".zdebug_info", &info);
	for (size_t i = 0, n = elf__section_count(elf); found && i < n; i++) {
		if (elf__section_at(elf, i, &s) || s.type == SHT_NOBITS || (s.flags & SHF_ALLOC))
			continue;
		all = s.size > MAX_DEBUG - all ? MAX_DEBUG : all + s.size;
	}
	elf__close(elf);
	return found && info.type != SHT_NOBITS && info.size && all < MAX_DEBUG;
}

static void limit(int what, rlim_t value)
{
	struct rlimit r = {value, value};

	setrlimit((__rlimit_resource_t)what, &r);
}

/* What can't be given up because the caller has too few rights for it is nothing that it could misuse. */
static void drop_rights(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CPU, MAX_CPU);
#ifndef __SANITIZE_ADDRESS__
	limit(RLIMIT_DATA, MAX_HEAP);
#endif
	/* an empty folder: libdw opens files whose names it finds */
	if (chroot("/proc/self/fdinfo") == 0 && chdir("/") == 0) {
		int err = setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY);

		if (err)
			_Exit(1);
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	syscall(SYS_capset, &head, none);
}

static void close_from(unsigned int first)
{
	struct rlimit r;

#ifdef SYS_close_range
	if (!syscall(SYS_close_range, first, ~0u, 0))
		return;
#endif
	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	for (rlim_t fd = first; fd < r.rlim_cur && fd < 1u << 20; fd++)
		close((int)fd);
}

static void become_worker(int socket, int file, int alternate)
{
	sigset_t none;
	/* to where they are in nobody's way, then to where they have a number of their own */
	int from[3] = {fcntl(socket, F_DUPFD, FIRST_FREE_FD), fcntl(file, F_DUPFD, FIRST_FREE_FD),
		       alternate < 0 ? -1 : fcntl(alternate, F_DUPFD, FIRST_FREE_FD)};

	/* Ctrl-C is for the caller, who has names to give yet */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(from[0], 3) < 0 || dup2(from[1], 4) < 0)
		_Exit(1);
	close(5);
	if (from[2] >= 0)
		dup2(from[2], 5);
	close_from(FIRST_FREE_FD);
	drop_rights();
	_Exit(dwarf_worker__run(3, 4, alternate < 0 ? -1 : 5));
}

int dwarf_reader__new(int fd, int alternate_fd, struct dwarf_reader **out)
{
	struct dwarf_reader *r;
	int pair[2];

	if (!has_dwarf(fd))
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(r);
		return -errno;
	}
	r->socket = pair[0];
	r->pid = fork();
	if (r->pid == 0)
		become_worker(pair[1], fd, alternate_fd);
	close(pair[1]);
	if (r->pid < 0) {
		int err = -errno;

		close(r->socket);
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void dwarf_reader__free(struct dwarf_reader *r)
{
	if (!r)
		return;
	close(r->socket);
	kill(r->pid, SIGKILL);
	while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(r->text);
	free(r);
}

static bool answers_in_time(int socket)
{
	struct pollfd p = {.fd = socket, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, ANSWER_MS);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Points into the text, which ends in NUL, as all its parts must. */
static bool take_frames(struct dwarf_reader *r, const struct dwarf_answer_frame *frames, const struct dwarf_answer *head)
{
	size_t at = 0;

	for (uint32_t i = 0; i < head->count; i++) {
		size_t name = frames[i].name_bytes, file = frames[i].file_bytes;

		if (!name || !file || name > head->bytes - at || file > head->bytes - at - name ||
		    r->text[at + name - 1] || r->text[at + name + file - 1])
			return false;
		r->frames[i] = (struct dwarf_frame){r->text + at, r->text + at + name, frames[i].line};
		at += name + file;
	}
	return true;
}

int dwarf_reader__find(struct dwarf_reader *r, uint64_t addr, const struct dwarf_frame **out)
{
	struct dwarf_answer_frame frames[DWARF_MAX_FRAMES];
	struct dwarf_answer head;

	if (dwarf_stream__write(r->socket, &addr, sizeof(addr)) || !answers_in_time(r->socket) ||
	    dwarf_stream__read(r->socket, &head, sizeof(head)))
		return -EPIPE;
	if (head.count > DWARF_MAX_FRAMES || head.bytes > DWARF_MAX_FRAMES * 2 * DWARF_MAX_TEXT)
		return -EPIPE;
	if (head.bytes > r->text_size) {
		char *more = realloc(r->text, head.bytes);

		if (!more)
			return -ENOMEM;
		r->text = more;
		r->text_size = head.bytes;
	}
	if (dwarf_stream__read(r->socket, frames, head.count * sizeof(frames[0])) ||
	    dwarf_stream__read(r->socket, r->text, head.bytes) || !take_frames(r, frames, &head))
		return -EPIPE;
	if (head.count)
		*out = r->frames;
	return (int)head.count;
}
