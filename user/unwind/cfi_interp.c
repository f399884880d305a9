// SPDX-License-Identifier: Apache-2.0
/* Call frame instructions (DWARF 5 section 6.4.2), and the rules of a table that they make. */
#include "unwind/cfi.h"

#include <elf.h>
#include <errno.h>

#define MAX_REMEMBERED 64

enum {
	CFA_ADVANCE = 0x40, /* in the upper two bits, with an operand in the others */
	CFA_OFFSET_SHORT = 0x80,
	CFA_RESTORE_SHORT = 0xc0,
	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE1 = 0x02,
	CFA_ADVANCE2 = 0x03,
	CFA_ADVANCE4 = 0x04,
	CFA_OFFSET = 0x05,
	CFA_RESTORE = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF = 0x0c,
	CFA_DEF_REGISTER = 0x0d,
	CFA_DEF_OFFSET = 0x0e,
	CFA_DEF_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_SF = 0x11,
	CFA_DEF_SF = 0x12,
	CFA_DEF_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_ADVANCE8 = 0x1d,                /* MIPS */
	CFA_NEGATE_RA_STATE_WITH_PC = 0x2c, /* arm64 */
	CFA_NEGATE_RA_STATE = 0x2d,         /* arm64; SPARC's window save elsewhere */
	CFA_ARGS_SIZE = 0x2e,               /* GNU */
	CFA_NEGATIVE_OFFSET = 0x2f,         /* GNU, obsolete */
};

/* A run of instructions. */
struct run {
	const struct cfi_arch *arch;
	const struct cfi_cie *cie;
	struct cursor c;
	struct cfi_state state;
	struct cfi_state remembered[MAX_REMEMBERED];
	size_t depth;
	bool changed; /* state, since it went to the sink */
	uint64_t at, end;
	struct cfi_sink *sink; /* NULL for a CIE's instructions, that have no addresses */
};

/* The rule of a register, or NULL for one that we do not follow. */
static struct cfi_where *where(const struct run *r, struct cfi_state *state, uint64_t reg)
{
	if (reg == r->arch->fp)
		return &state->fp;
	if (reg == r->arch->bx)
		return &state->bx;
	return reg == r->cie->ra_reg ? &state->ra : NULL;
}

static void set(struct run *r, uint64_t reg, enum cfi_how how, int64_t value)
{
	struct cfi_where *w = where(r, &r->state, reg);

	if (w) {
		*w = (struct cfi_where){.how = (uint8_t)how, .value = value};
		r->changed = true;
	} else if (reg < 2 && how == CFI_OFFSET && r->sink) {
		r->sink->saves |= (uint8_t)(1 << reg);
	}
}

static void set_expression(struct run *r, uint64_t reg, bool is_place)
{
	uint64_t n = cursor__uleb(&r->c);
	const uint8_t *bytes = cursor__take(&r->c, n);
	struct cfi_where *w = where(r, &r->state, reg);

	if (!bytes || !w)
		return;
	*w = (struct cfi_where){.how = is_place ? CFI_EXPR : CFI_OTHER};
	cfi_expr__read(bytes, n, &w->expr);
	r->changed = true;
}

static void restore(struct run *r, uint64_t reg)
{
	struct cfi_where *w = where(r, &r->state, reg);

	if (w) {
		/* within a CIE there is nothing before it */
		*w = r->sink ? *where(r, (struct cfi_state *)&r->cie->start, reg) : (struct cfi_where){0};
		r->changed = true;
	}
}

static int64_t factored(const struct run *r, uint64_t n)
{
	return (int64_t)(n * (uint64_t)r->cie->data_align);
}

static void set_cfa(struct run *r, uint64_t reg, int64_t off)
{
	r->state.cfa = CFI_CFA_REG;
	r->state.cfa_reg = reg;
	r->state.cfa_off = off;
	r->changed = true;
}

static void set_cfa_expression(struct run *r)
{
	uint64_t n = cursor__uleb(&r->c);
	const uint8_t *bytes = cursor__take(&r->c, n);

	if (!bytes)
		return;
	r->state.cfa = CFI_CFA_EXPR;
	cfi_expr__read(bytes, n, &r->state.cfa_expr);
	r->changed = true;
}

static bool fits16(int64_t v)
{
	return v >= INT16_MIN && v < INT16_MAX; /* not UNWIND_RA_SAME */
}

static bool fits32(int64_t v)
{
	return v >= INT32_MIN && v <= INT32_MAX;
}

/* False when the table's rules have nothing for it. */
static bool cfa_rule(const struct cfi_arch *arch, const struct cfi_state *s, struct unwind_rule *rule)
{
	struct cfi_expr x = {.form = CFI_FORM_REG, .reg = s->cfa_reg, .off = s->cfa_off};

	if (s->cfa == CFI_CFA_EXPR)
		x = s->cfa_expr;
	if (s->cfa == CFI_CFA_NONE || !fits32(x.off) || !fits16(x.off2))
		return false;
	rule->cfa_off = (int32_t)x.off;
	rule->deref_off = (int16_t)x.off2;
	switch (x.form) {
	case CFI_FORM_REG:
		rule->cfa = x.reg == arch->sp ? UNWIND_SP : x.reg == arch->fp ? UNWIND_FP : UNWIND_REG;
		if (rule->cfa == UNWIND_REG)
			rule->reg = (uint8_t)x.reg;
		return x.reg < arch->regs;
	case CFI_FORM_DEREF:
		rule->cfa = x.reg == arch->sp ? UNWIND_SP_DEREF : UNWIND_FP_DEREF;
		return x.reg == arch->sp || x.reg == arch->fp;
	case CFI_FORM_INDEXED:
		rule->cfa = UNWIND_INDEXED;
		rule->reg = (uint8_t)x.index;
		return arch->machine == EM_X86_64 && x.reg == arch->sp;
	case CFI_FORM_PLT:
		rule->cfa = UNWIND_PLT;
		rule->deref_off = 0;
		rule->reg = (uint8_t)x.off2;
		return x.reg == arch->sp && x.off2 >= 0 && x.off2 <= 16;
	default:
		return false;
	}
}

/*
 * True and the offset from SP of what is at CFA + `off`, for frames so large that this does not fit: they are
 * arm64's, where registers are saved at the lower end.
 */
static bool from_sp(int64_t off, const struct unwind_rule *rule, int64_t *out)
{
	if (rule->cfa != UNWIND_SP || !fits32(off) || !fits16(off + rule->cfa_off))
		return false;
	*out = off + rule->cfa_off;
	return true;
}

static void fp_rule(const struct cfi_arch *arch, const struct cfi_where *fp, struct unwind_rule *rule)
{
	int64_t off = 0;

	rule->fp = UNWIND_FP_UNKNOWN;
	if (fp->how == CFI_UNSPECIFIED || fp->how == CFI_SAME) {
		rule->fp = UNWIND_FP_SAME;
	} else if (fp->how == CFI_OFFSET && fits16(fp->value)) {
		rule->fp = UNWIND_FP_SAVED;
		off = fp->value;
	} else if (fp->how == CFI_OFFSET && from_sp(fp->value, rule, &off)) {
		rule->fp = UNWIND_FP_AT_SP;
	} else if (fp->how == CFI_EXPR && fp->expr.form == CFI_FORM_REG && fits16(fp->expr.off) &&
		   (fp->expr.reg == arch->fp || fp->expr.reg == arch->sp)) {
		rule->fp = fp->expr.reg == arch->fp ? UNWIND_FP_AT_FP : UNWIND_FP_AT_SP;
		off = fp->expr.off;
	}
	rule->fp_off = (int16_t)off;
}

static void bx_rule(const struct cfi_where *bx, struct unwind_rule *rule)
{
	if (bx->how == CFI_UNSPECIFIED || bx->how == CFI_SAME)
		return;
	if (bx->how == CFI_OFFSET && fits16(bx->value)) {
		rule->flags |= UNWIND_BX_SAVED;
		rule->bx_off = (int16_t)bx->value;
	} else {
		rule->flags |= UNWIND_BX_UNKNOWN;
	}
}

/* False when the return address cannot be found by a table's rule. */
static bool ra_rule(const struct cfi_arch *arch, const struct cfi_where *ra, struct unwind_rule *rule)
{
	int64_t off;

	if (ra->how == CFI_OFFSET && fits16(ra->value)) {
		rule->ra_off = (int16_t)ra->value;
		return true;
	}
	if (ra->how == CFI_OFFSET && from_sp(ra->value, rule, &off)) {
		rule->ra_off = (int16_t)off;
		rule->flags |= UNWIND_RA_AT_SP;
		return true;
	}
	if (ra->how == CFI_UNSPECIFIED || ra->how == CFI_SAME) {
		rule->ra_off = UNWIND_RA_SAME;
		return arch->ra_off == UNWIND_RA_SAME; /* the machine has a link register */
	}
	/* a signal frame: what the kernel saved, from SP */
	if (ra->how == CFI_EXPR && ra->expr.form == CFI_FORM_REG && ra->expr.reg == arch->sp && fits16(ra->expr.off) &&
	    rule->cfa == UNWIND_SP_DEREF && !rule->deref_off && rule->fp == UNWIND_FP_AT_SP) {
		rule->cfa = UNWIND_SIGNAL;
		rule->flags |= UNWIND_RA_AT_SP;
		rule->ra_off = (int16_t)ra->expr.off;
		return true;
	}
	return false;
}

static void make_rule(const struct run *r, struct unwind_rule *out)
{
	const struct cfi_state *s = &r->state;
	struct unwind_rule rule = {.flags = r->cie->signal ? UNWIND_SIGNAL_FRAME : 0};
	bool known;

	if (s->ra.how == CFI_UNDEFINED) {
		*out = (struct unwind_rule){.cfa = UNWIND_END};
		return;
	}
	if (s->ra_signed)
		rule.flags |= UNWIND_RA_SIGNED;
	known = cfa_rule(r->arch, s, &rule);
	fp_rule(r->arch, &s->fp, &rule);
	bx_rule(&s->bx, &rule);
	*out = known && ra_rule(r->arch, &s->ra, &rule) ? rule : (struct unwind_rule){.cfa = UNWIND_UNKNOWN};
}

/* Hands over what holds from r->at on. */
static int flush(struct run *r)
{
	struct unwind_rule rule;

	if (!r->changed || !r->sink)
		return 0;
	make_rule(r, &rule);
	r->changed = false;
	return r->sink->rule(r->sink, r->at, &rule);
}

static int advance(struct run *r, uint64_t by)
{
	int err;

	if (!r->sink)
		return -EBADMSG;
	if (__builtin_mul_overflow(by, r->cie->code_align, &by))
		return -EBADMSG;
	if (!by)
		return 0;
	err = flush(r);
	if (err)
		return err;
	/* Rules of the last instruction's end, and of what lies beyond the next function's start, are nobody's. */
	r->at = by < r->end - r->at ? r->at + by : r->end;
	return 0;
}

static int set_location(struct run *r)
{
	uint64_t to;

	if (!cfi_section__pointer(r->cie->section, &r->c, r->cie->encoding, r->cie->address_size, &to) || to < r->at)
		return -EBADMSG;
	int err = to > r->at ? flush(r) : 0;

	if (!err)
		r->at = to < r->end ? to : r->end;
	return err;
}

static int remember(struct run *r)
{
	if (r->depth == MAX_REMEMBERED)
		return -EBADMSG;
	r->remembered[r->depth++] = r->state;
	return 0;
}

static int restore_state(struct run *r)
{
	if (!r->depth)
		return -EBADMSG;
	r->state = r->remembered[--r->depth];
	r->changed = true;
	return 0;
}

/* The CFA's instructions. */
static int step_cfa(struct run *r, uint8_t op)
{
	struct cursor *c = &r->c;
	uint64_t reg;

	switch (op) {
	case CFA_DEF:
		reg = cursor__uleb(c);
		set_cfa(r, reg, (int64_t)cursor__uleb(c));
		break;
	case CFA_DEF_SF:
		reg = cursor__uleb(c);
		set_cfa(r, reg, factored(r, (uint64_t)cursor__sleb(c)));
		break;
	case CFA_DEF_REGISTER:
		set_cfa(r, cursor__uleb(c), r->state.cfa_off);
		break;
	case CFA_DEF_OFFSET: /* after an expression it has no meaning; nothing then changes for libgcc either */
		r->state.cfa_off = (int64_t)cursor__uleb(c);
		r->changed = true;
		break;
	case CFA_DEF_OFFSET_SF:
		r->state.cfa_off = factored(r, (uint64_t)cursor__sleb(c));
		r->changed = true;
		break;
	case CFA_DEF_EXPRESSION:
		set_cfa_expression(r);
		break;
	default:
		return -EBADMSG;
	}
	return 0;
}

/* The registers' instructions. */
static int step_register(struct run *r, uint8_t op)
{
	struct cursor *c = &r->c;
	uint64_t reg = cursor__uleb(c);

	switch (op) {
	case CFA_OFFSET:
		set(r, reg, CFI_OFFSET, factored(r, cursor__uleb(c)));
		break;
	case CFA_OFFSET_SF:
		set(r, reg, CFI_OFFSET, factored(r, (uint64_t)cursor__sleb(c)));
		break;
	case CFA_NEGATIVE_OFFSET:
		set(r, reg, CFI_OFFSET, factored(r, -cursor__uleb(c)));
		break;
	case CFA_RESTORE:
		restore(r, reg);
		break;
	case CFA_UNDEFINED:
		set(r, reg, CFI_UNDEFINED, 0);
		break;
	case CFA_SAME:
		set(r, reg, CFI_SAME, 0);
		break;
	case CFA_REGISTER:
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF: /* unsigned or signed, it is as long */
		cursor__uleb(c);
		set(r, reg, CFI_OTHER, 0);
		break;
	case CFA_EXPRESSION:
	case CFA_VAL_EXPRESSION:
		set_expression(r, reg, op == CFA_EXPRESSION);
		break;
	default:
		return -EBADMSG;
	}
	return 0;
}

static int step(struct run *r)
{
	uint8_t op = cursor__u8(&r->c), operand = op & 0x3f;

	switch (op & 0xc0) {
	case CFA_ADVANCE:
		return advance(r, operand);
	case CFA_OFFSET_SHORT:
		set(r, operand, CFI_OFFSET, factored(r, cursor__uleb(&r->c)));
		return 0;
	case CFA_RESTORE_SHORT:
		restore(r, operand);
		return 0;
	}
	switch (op) {
	case CFA_NOP:
		return 0;
	case CFA_SET_LOC:
		return r->sink ? set_location(r) : -EBADMSG;
	case CFA_ADVANCE1:
		return advance(r, cursor__fixed(&r->c, 1));
	case CFA_ADVANCE2:
		return advance(r, cursor__fixed(&r->c, 2));
	case CFA_ADVANCE4:
		return advance(r, cursor__fixed(&r->c, 4));
	case CFA_ADVANCE8:
		return advance(r, cursor__fixed(&r->c, 8));
	case CFA_REMEMBER:
		return remember(r);
	case CFA_RESTORE_STATE:
		return restore_state(r);
	case CFA_NEGATE_RA_STATE:
	case CFA_NEGATE_RA_STATE_WITH_PC:
		if (r->arch->machine != EM_AARCH64)
			return -EBADMSG;
		r->state.ra_signed = !r->state.ra_signed;
		r->changed = true;
		return 0;
	case CFA_ARGS_SIZE:
		cursor__uleb(&r->c);
		return 0;
	}
	return (op >= CFA_DEF && op <= CFA_DEF_EXPRESSION) || op == CFA_DEF_SF || op == CFA_DEF_OFFSET_SF
		       ? step_cfa(r, op)
		       : step_register(r, op);
}

bool cfi__start_state(const struct cfi_arch *arch, struct cfi_cie *c, const uint8_t *bytes, size_t n)
{
	struct run r = {.arch = arch, .cie = c, .c = {.at = bytes, .end = bytes + n}};

	while (r.c.at < r.c.end)
		if (unwind_work__take(c->section->work, 0) || step(&r) || r.c.bad)
			return false;
	c->start = r.state;
	return true;
}

int cfi__run(const struct cfi_arch *arch, const struct cfi_cie *c, const struct cfi_fde *f, uint64_t end,
	     struct cfi_sink *sink)
{
	struct run r;
	int err;

	r.arch = arch;
	r.cie = c;
	r.c = (struct cursor){.at = f->instructions, .end = f->instructions + f->length};
	r.state = c->start;
	r.depth = 0;
	r.changed = true;
	r.at = f->start;
	r.end = end;
	r.sink = sink;
	while (r.c.at < r.c.end && r.at < r.end) {
		err = unwind_work__take(c->section->work, 0);
		if (!err)
			err = step(&r);
		if (err)
			return err;
		if (r.c.bad)
			return -EBADMSG;
	}
	return r.at < r.end ? flush(&r) : 0;
}
