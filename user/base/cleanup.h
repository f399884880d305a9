/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes for leaf resources: `_cleanup_free_ char *s = NULL;`. Staged set-up uses goto. */
#ifndef PYBPF_CLEANUP_H
#define PYBPF_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

/* What the attributes below call, with the address of a variable that may hold nothing: NULL, or a negative descriptor. */
static inline void cleanup__free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup__close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup__fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup__closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_(f)       __attribute__((cleanup(f)))
#define _cleanup_free_     _cleanup_(cleanup__free)
#define _cleanup_close_    _cleanup_(cleanup__close)
#define _cleanup_fclose_   _cleanup_(cleanup__fclose)
#define _cleanup_closedir_ _cleanup_(cleanup__closedir)

/* Hands a value over and forgets it, for the success path of a function with cleanup variables. */
#define take_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
#define take_fd(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
