// SPDX-License-Identifier: Apache-2.0
#include "symbolize/jitbudget.h"

#include <stddef.h>

/* Of the whole: 64 ms at a time, and a sixth of the thread's time in the long run. */
#define MAX_WORK    (128ull << 20)
#define NS_OF_UNIT  3
#define PART        2 /* a process has the whole divided by this */

struct jitbudget jitbudget__whole(uint64_t max)
{
	return (struct jitbudget){.max = max};
}

struct jitbudget jitbudget__part(struct jitbudget *all)
{
	return (struct jitbudget){.all = all, .max = all->max / PART};
}

bool jitbudget__take(struct jitbudget *b, uint64_t bytes)
{
	struct jitbudget *all = b->all ? b->all : b;

	if (bytes > b->max - b->held || bytes > all->max - all->held) {
		all->refused = true;
		return false;
	}
	for (; b; b = b->all)
		b->held += bytes;
	return true;
}

void jitbudget__give(struct jitbudget *b, uint64_t bytes)
{
	for (; b; b = b->all)
		b->held -= bytes;
}

bool jitbudget__may_work(struct jitbudget *b, uint64_t now_ns)
{
	bool may = true;

	for (; b; b = b->all) {
		uint64_t share = b->all ? PART : 1, paid = (now_ns - b->at_ns) / (NS_OF_UNIT * share);

		b->work -= paid < b->work ? paid : b->work;
		b->at_ns = now_ns;
		may &= b->work < MAX_WORK / share;
	}
	return may;
}

void jitbudget__worked(struct jitbudget *b, uint64_t units)
{
	for (; b; b = b->all)
		b->work += units;
}
