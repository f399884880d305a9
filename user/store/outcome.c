// SPDX-License-Identifier: Apache-2.0
/* Names and classes of outcomes, out of the one list. */
#include <errno.h>
#include <string.h>

#include "store/profile.h"

#define COMPLETE  OUTCOME_COMPLETE
#define TRUNCATED OUTCOME_TRUNCATED
#define LOST      OUTCOME_LOST

static const struct {
	enum outcome_class class;
	const char *name;
} outcomes[] = {
#define OUTCOME(id, class_, name_, help_) [PYBPF_##id] = {class_, name_},
#include "pybpf/errors.def"
};

const char *outcome__name(enum pybpf_outcome o)
{
	return o < PYBPF_OUTCOME_COUNT ? outcomes[o].name : "unknown";
}

enum outcome_class outcome__class(enum pybpf_outcome o)
{
	return o < PYBPF_OUTCOME_COUNT ? outcomes[o].class : OUTCOME_TRUNCATED;
}

int outcome__from_name(const char *name)
{
	for (int i = 0; i < PYBPF_OUTCOME_COUNT; i++) {
		if (!strcmp(outcomes[i].name, name))
			return i;
	}
	return -ENOENT;
}
