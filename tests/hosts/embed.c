// SPDX-License-Identifier: Apache-2.0
/*
 * A program with Python inside: embed [-t] SCRIPT [ARG...].
 *
 * Linked with libpython.so or with libpython.a. With -t the script runs in a thread that C made and
 * Python has never heard of, by PyGILState_Ensure, while the main thread waits without the GIL.
 * Else it runs in the main thread, some C frames deep.
 */
#include <Python.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct job {
	int argc;
	char **argv;
	int status;
};

static int set_argv(const struct job *job)
{
	PyObject *list = PyList_New(job->argc);
	int err, i;

	if (!list)
		return -1;
	for (i = 0; i < job->argc; i++) {
		PyObject *word = PyUnicode_DecodeFSDefault(job->argv[i]);

		if (!word) {
			Py_DECREF(list);
			return -1;
		}
		PyList_SET_ITEM(list, i, word);
	}
	err = PySys_SetObject("argv", list);
	Py_DECREF(list);
	return err;
}

static int host_run_script(const struct job *job)
{
	FILE *file = fopen(job->argv[0], "r");

	if (!file) {
		perror(job->argv[0]);
		return 1;
	}
	if (set_argv(job) < 0) {
		PyErr_Print();
		fclose(file);
		return 1;
	}
	/* Closes the file. A SystemExit ends the process here, as in python. */
	return PyRun_SimpleFileEx(file, job->argv[0], 1) ? 1 : 0;
}

static void *host_thread(void *arg)
{
	struct job *job = arg;
	PyGILState_STATE state = PyGILState_Ensure();

	job->status = host_run_script(job);
	PyGILState_Release(state);
	return NULL;
}

static int host_run_in_thread(struct job *job)
{
	PyThreadState *main_state = PyEval_SaveThread();
	pthread_t thread;
	int err;

	err = pthread_create(&thread, NULL, host_thread, job);
	if (!err)
		err = pthread_join(thread, NULL);
	PyEval_RestoreThread(main_state);
	return err ? 1 : job->status;
}

int main(int argc, char **argv)
{
	int in_thread = argc > 1 && !strcmp(argv[1], "-t");
	struct job job = {argc - 1 - in_thread, argv + 1 + in_thread, 1};

	if (job.argc < 1) {
		fprintf(stderr, "usage: %s [-t] SCRIPT [ARG...]\n", argv[0]);
		return 2;
	}
	Py_InitializeEx(1);
	if (in_thread)
		job.status = host_run_in_thread(&job);
	else
		job.status = host_run_script(&job);
	if (Py_FinalizeEx() < 0)
		job.status = 1;
	return job.status;
}
