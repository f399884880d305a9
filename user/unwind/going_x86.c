// SPDX-License-Identifier: Apache-2.0
#include "unwind/going_x86.h"

#define SYS_EXIT       60 /* Linux arch/x86/entry/syscalls/syscall_64.tbl */
#define SYS_EXIT_GROUP 231
#define SYS_SIGRETURN  15

static enum way way_of_one(const struct insn_x86 *i)
{
	uint8_t op = i->op;

	switch (op) {
	case 0xc3: /* ret */
		return WAY_RETURN;
	case 0xe9: /* jmp */
	case 0xeb:
		return WAY_JUMP;
	case 0xe8: /* call; of what follows, where it only asks for its address */
		return i->imm ? WAY_CALL : WAY_NONE;
	case 0xcc: /* int3 */
	case 0xf4: /* hlt */
		return WAY_END;
	case 0xc2:
		return WAY_NONE;
	case 0xff:
		if (i->group == 2)
			return WAY_CALL;
		if (i->group == 4)
			return WAY_JUMP;
		if (i->group == 3 || i->group == 5)
			return WAY_NONE;
	}
	return (op & 0xf0) == 0x70 || (op & 0xfc) == 0xe0 ? WAY_BRANCH : WAY_NEXT;
}

static enum way way_of(const struct insn_x86 *i, const struct state_x86 *s)
{
	int32_t ax = s->regs[X86_RAX];

	if (i->vex || i->map > 1)
		return WAY_NEXT;
	if (i->map == 0)
		return way_of_one(i);
	if ((i->op & 0xf0) == 0x80)
		return WAY_BRANCH;
	if (i->op == 0x0b) /* ud2 */
		return WAY_END;
	if (i->op == 0x05 && (ax == STATE_NUMBER(SYS_EXIT) || ax == STATE_NUMBER(SYS_EXIT_GROUP) ||
			      ax == STATE_NUMBER(SYS_SIGRETURN)))
		return WAY_END;
	return WAY_NEXT;
}

struct going going_x86(const struct insn_x86 *i, const struct state_x86 *s, size_t at, uint64_t start,
		       const uint64_t addresses[])
{
	struct going g = {.way = way_of(i, s), .next = at + i->length};

	if (g.way != WAY_JUMP && g.way != WAY_BRANCH && g.way != WAY_CALL)
		return g;
	if (i->map || i->op != 0xff) {
		g.to = start + g.next + (uint64_t)i->imm;
	} else if (i->mod == 3 && state_x86__is_address(s->regs[i->rm])) {
		g.to = addresses[s->regs[i->rm] - STATE_ADDRESS(0)];
	} else if (g.way == WAY_JUMP && i->mod == 3 && state_x86__is_target(s->regs[i->rm])) {
		g.way = WAY_TABLE;
		g.to = addresses[s->regs[i->rm] - STATE_TARGET(0)];
		g.size = 4;
	} else if (g.way == WAY_JUMP && i->mod == 0 && i->no_base && i->scale == 8) {
		g.way = WAY_TABLE;
		g.to = (uint64_t)i->disp;
		g.size = 8;
	} else {
		g.pointer = true;
	}
	return g;
}
