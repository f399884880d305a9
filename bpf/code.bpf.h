/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Code objects: told once to user space, validated for as long as they are seen.
 *
 * An address alone does not name a code object: it is freed and the address used again. seen_codes holds, for
 * each (process, address), a fingerprint of the fields that never change in a code object's life. A
 * fingerprint that differs means another object: it is told anew.
 */
#ifndef PYBPF_CODE_BPF_H
#define PYBPF_CODE_BPF_H

static __always_inline __u64 object__u64(const struct scratch *s, __u16 member)
{
	return *(const __u64 *)(s->object + (member & 0xf8));
}

static __always_inline __u32 object__u32(const struct scratch *s, __u16 member)
{
	return *(const __u32 *)(s->object + (member & 0xfc));
}

/*
 * Reads the code object at `addr` into s->object and returns its fingerprint (never 0), or 0 when it can't be
 * read. One read, about 90 ns.
 */
static __always_inline __u32 code__fingerprint(struct scratch *s, __u64 addr)
{
	__u32 size = s->lay.code_size;
	__u64 h;

	if (size > CODE_MAX || bpf_probe_read_user(s->object, size, (void *)addr))
		return 0;
	h = mix(MIX_B, object__u64(s, s->lay.code_name));
	h = mix(h, object__u64(s, s->lay.code_filename));
	h = mix(h, object__u64(s, s->lay.code_linetable));
	h = mix(h, object__u64(s, s->lay.code_consts));
	h = mix(h, object__u64(s, s->lay.code_names));
	h = mix(h, object__u32(s, s->lay.code_firstlineno));
	if (s->lay.code_version != PYBPF_NO_OFFSET)
		h = mix(h, object__u32(s, s->lay.code_version));
	return (mix_final(h) >> 32) | 1;
}

/*
 * Folds the words in s->buf from `at` on into h that hold any of `bytes` bytes and the NUL behind them. What follows is
 * another object, which changes all the time.
 */
static __always_inline __u64 code__mix_data(const struct scratch *s, __u64 h, __u32 at, __u64 bytes)
{
	for (__u32 i = 0; i < 32; i += 8) {
		if (at + i < 64 && i <= bytes)
			h = mix(h, *(const __u64 *)(s->buf + ((at + i) & 0x38)));
	}
	return h;
}

/*
 * Before 3.12 no number tells code objects apart, and an allocator that repeats itself can put another object's parts
 * at the very same addresses: look into the name and the line table as well. Two reads. Uses s->buf.
 */
static __always_inline __u32 code__content_fingerprint(struct scratch *s)
{
	__u64 name = object__u64(s, s->lay.code_name);
	__u64 table = object__u64(s, s->lay.code_linetable);
	__u64 h = MIX_A, bytes;
	__u32 state;

	if (s->lay.code_version != PYBPF_NO_OFFSET)
		return 0;
	s->buf_addr = s->buf_last = 0;
	if (!bpf_probe_read_user(s->buf, 64, (void *)name)) {
		bytes = *(__u64 *)(s->buf + (s->lay.str_length & 0x38));
		state = *(__u32 *)(s->buf + (s->lay.str_state & 0x38)) >> (s->lay.str_kind_shift & 31) & 0x1f;
		h = mix(mix(h, bytes), state);
		if (state & 16) /* others' data lie farther on */
			h = code__mix_data(s, h, s->lay.str_ascii & 0x38, bytes);
	}
	if (!bpf_probe_read_user(s->buf, 64, (void *)table)) {
		bytes = *(__u64 *)(s->buf + (s->lay.bytes_size & 0x38));
		h = code__mix_data(s, mix(h, bytes), s->lay.bytes_data & 0x38, bytes);
	}
	return mix_final(h) >> 32;
}

/* The slot of seen_codes for (process, address), and in *tag what must stand in it. */
static __always_inline struct seen_code *code__slot(const struct scratch *s, __u64 addr, __u32 *tag)
{
	__u64 h = mix_final(mix(s->identity, addr));
	__u32 index = h & (SEEN_CODES - 1);

	*tag = (h >> 32) ^ codes_void;
	return bpf_map_lookup_elem(&seen_codes, &index);
}

/*
 * Reads the string object at `addr` to code_data + at. On success sets *bytes and *kind and returns 0; else
 * -EFAULT (unreadable, too long for the kernel, or not a string), and user space is asked.
 */
static __always_inline int code__read_string(struct scratch *s, __u64 addr, __u32 at, __u16 *bytes, __u8 *kind)
{
	struct py_layout *l = &s->lay;
	__u64 length, data;
	__u32 state, k;

	if (l->str_length > 64 || l->str_state > 64 || bpf_probe_read_user(s->object, 80, (void *)addr))
		return -EFAULT;
	length = object__u64(s, l->str_length);
	state = object__u32(s, l->str_state) >> (l->str_kind_shift & 31);
	k = state & 7;
	if (k != 1 && k != 2 && k != 4)
		return -EFAULT;
	data = addr + (state & 16 ? l->str_ascii : l->str_compact);
	if (!(state & 8)) { /* not compact, as instances of subclasses: the characters lie elsewhere */
		if (l->str_legacy > 72)
			return -EFAULT;
		data = object__u64(s, l->str_legacy);
	}
	length *= k;
	if (length > PYBPF_NAME_MAX || at > PYBPF_NAME_MAX)
		return -EFAULT;
	if (length && bpf_probe_read_user(s->code_data + at, length, (void *)data))
		return -EFAULT;
	*bytes = length;
	*kind = k;
	return 0;
}

#define TYPE_FLAGS  144        /* Include/cpython/object.h, PyTypeObject: bytes from tp_name to tp_flags, 3.6 to 3.15 */
#define FLAGS_BYTES (1u << 27) /* Include/object.h: Py_TPFLAGS_BYTES_SUBCLASS, Py_TPFLAGS_UNICODE_SUBCLASS */
#define FLAGS_STR   (1u << 28)
#define FLAGS_KINDS (0xffu << 24)
#define CODE_NAME   0x65646f63 /* "code" */

/* The kind among the flags of an object's type, 0 when there is none to be read. */
static __always_inline __u32 object__kind(const struct py_layout *l, __u64 addr)
{
	__u64 type = 0;
	__u32 flags = 0;

	if (bpf_probe_read_user(&type, sizeof(type), (void *)(addr + l->code_type)) ||
	    bpf_probe_read_user(&flags, sizeof(flags), (void *)(type + l->type_name + TYPE_FLAGS)))
		return 0;
	return flags & FLAGS_KINDS;
}

/*
 * What the types of the code object that s->code tells of, and of its parts, are. A process may have ended before user space can
 * look at them. Eight reads, while its layout is unproven.
 */
__noinline int code_types(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	__u32 name, file, table;
	__u64 at = 0, text = 0;

	if (!s)
		return CODE_TYPES_UNKNOWN;
	name = object__kind(&s->lay, s->code.name_addr);
	file = object__kind(&s->lay, s->code.file_addr);
	table = object__kind(&s->lay, s->code.linetab_addr);
	if (bpf_probe_read_user(&at, sizeof(at), (void *)(s->code.type_addr + s->lay.type_name)) ||
	    bpf_probe_read_user(&text, 5, (void *)at))
		return CODE_TYPES_UNKNOWN;
	if (text != CODE_NAME)
		return CODE_TYPES_WRONG;
	if (!name || !file || !table)
		return CODE_TYPES_UNKNOWN;
	return name == FLAGS_STR && file == FLAGS_STR && table == FLAGS_BYTES ? CODE_TYPES_RIGHT : CODE_TYPES_WRONG;
}

/* Sends the code object in s->object. 0 or -EAGAIN. About 500 ns, once for each object. */
static __always_inline int code__emit(struct scratch *s, __u64 addr, __u32 fingerprint, __u32 cpu)
{
	struct rec_code *r = &s->code;
	__u32 at = 0;
	__u64 size;

	r->type = REC_CODE;
	r->pid = s->pid;
	r->identity = s->identity;
	r->addr = addr;
	r->fingerprint = fingerprint;
	r->missing = 0;
	r->types = CODE_TYPES_UNKNOWN;
	r->name_bytes = r->file_bytes = r->linetab_bytes = 0;
	r->name_kind = r->file_kind = 1;
	r->type_addr = r->name_addr = r->file_addr = r->linetab_addr = 0;
	r->firstlineno = 0;
	r->flags = 0;
	if (!fingerprint) {
		r->missing = CODE_PART_OBJECT;
		s->unannounced = cfg_wakeup_bytes;
		return emit__record(s, r, sizeof(*r));
	}
	r->type_addr = object__u64(s, s->lay.code_type);
	r->name_addr = object__u64(s, s->lay.code_name);
	r->file_addr = object__u64(s, s->lay.code_filename);
	r->linetab_addr = object__u64(s, s->lay.code_linetable);
	r->firstlineno = object__u32(s, s->lay.code_firstlineno);
	r->flags = object__u32(s, s->lay.code_flags);
	if (code__read_string(s, r->name_addr, 0, &r->name_bytes, &r->name_kind))
		r->missing |= CODE_PART_NAME;
	at = r->name_bytes;
	if (at > PYBPF_NAME_MAX)
		return -EAGAIN;
	if (code__read_string(s, r->file_addr, at, &r->file_bytes, &r->file_kind))
		r->missing |= CODE_PART_FILENAME;
	at += r->file_bytes;
	if (at > 2 * PYBPF_NAME_MAX)
		return -EAGAIN;
	if (bpf_probe_read_user(&size, sizeof(size), (void *)(r->linetab_addr + s->lay.bytes_size)) ||
	    size > PYBPF_LINETAB_MAX ||
	    bpf_probe_read_user(s->code_data + at, size, (void *)(r->linetab_addr + s->lay.bytes_data)))
		r->missing |= CODE_PART_LINETABLE;
	else
		r->linetab_bytes = size;
	at += r->linetab_bytes;
	if (at > sizeof(s->code_data))
		return -EAGAIN;
	if (s->lay.flags & PY_LAYOUT_UNPROVEN)
		r->types = code_types(cpu);
	if (r->missing) /* for user space to read, as long as it is there: it is woken at once */
		s->unannounced = cfg_wakeup_bytes;
	if (emit__record(s, r, sizeof(*r) + at))
		return -EAGAIN;
	s->shared.codes++;
	return 0;
}

/*
 * Makes sure that user space knows the code object of frame `index` as it is now, and can tell its instruction. 0 or -EAGAIN. Sets s->proc_flags
 * when the address held another object before.
 */
__noinline int code_check(__u32 cpu, __u32 index)
{
	struct scratch *s = scratch__of(cpu);
	__u32 fingerprint, content, tag;
	struct seen_code *seen;
	struct raw_frame *frame;
	__u64 addr;

	if (!s)
		return -EAGAIN;
	frame = &s->frames[index & (PYBPF_MAX_FRAMES - 1)];
	addr = frame->code;
	frame->instr = tlbc__resolve(s, addr, frame->instr);
	/* recursion: the same object as a moment ago */
	if (index && addr == s->frames[(index - 1) & (PYBPF_MAX_FRAMES - 1)].code)
		return 0;
	seen = code__slot(s, addr, &tag);
	if (!seen)
		return -EAGAIN;
	fingerprint = code__fingerprint(s, addr);
	content = fingerprint ? code__content_fingerprint(s) : 0;
	if (seen->tag == tag && fingerprint) {
		if (seen->fingerprint == fingerprint && seen->content == content)
			return 0;
		if (seen->fingerprint)
			s->proc_flags |= PROC_VOLATILE;
	}
	if (code__emit(s, addr, fingerprint, cpu))
		return -EAGAIN;
	seen->tag = tag;
	seen->fingerprint = fingerprint;
	seen->content = content;
	return 0;
}

/* Whether the code object at `addr` is still the one that user space was told of. One read. */
static __always_inline bool code__is_known(struct scratch *s, __u64 addr)
{
	__u32 tag;
	struct seen_code *seen = code__slot(s, addr, &tag);
	__u32 fingerprint = code__fingerprint(s, addr);

	return seen && fingerprint && seen->tag == tag && seen->fingerprint == fingerprint;
}

#endif
