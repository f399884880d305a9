// SPDX-License-Identifier: Apache-2.0
/*
 * A native program that loads Python long after its start: late MILLISECONDS LIBPYTHON SCRIPT
 * [ARG...].
 *
 * It computes for so many milliseconds of CPU time first, so that a profiler has seen it as a
 * native process, and then runs the script by a libpython of 3.8 or later in a thread of its own.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct job {
	const char *library;
	int argc;
	char **argv;
	int status;
};

static long cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

/* Not static, for a native profile to show it by name in any build. */
__attribute__((noinline)) unsigned long late_native_work(long milliseconds);

unsigned long late_native_work(long milliseconds)
{
	volatile unsigned long sum = 1;
	int i;

	while (cpu_ms() < milliseconds)
		for (i = 0; i < 10000; i++)
			sum = sum * 6364136223846793005UL + 1;
	return sum;
}

static void *late_run_python(void *arg)
{
	struct job *job = arg;
	int (*bytes_main)(int, char **);
	void *library;

	library = dlopen(job->library, RTLD_NOW | RTLD_GLOBAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return NULL;
	}
	*(void **)&bytes_main = dlsym(library, "Py_BytesMain");
	if (!bytes_main) {
		fprintf(stderr, "%s\n", dlerror());
		return NULL;
	}
	job->status = bytes_main(job->argc, job->argv);
	return NULL;
}

int main(int argc, char **argv)
{
	struct job job = {.status = 1};
	pthread_t thread;

	if (argc < 4) {
		fprintf(stderr, "usage: %s MILLISECONDS LIBPYTHON SCRIPT [ARG...]\n", argv[0]);
		return 2;
	}
	job.library = argv[2];
	/* The library's name takes the place of python's in its arguments: the script comes next.
	 */
	job.argc = argc - 2;
	job.argv = argv + 2;
	late_native_work(atol(argv[1]));
	if (pthread_create(&thread, NULL, late_run_python, &job) || pthread_join(thread, NULL))
		return 1;
	return job.status;
}
