/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * An interpreter that is a library, found in the process's own context: no mapping need be told to user space, which may
 * get a CPU only after a short process has ended.
 *
 * The dynamic linker keeps a list of what it has loaded. The executable's DT_DEBUG leads there (gABI chapter 5; struct r_debug and
 * struct link_map of glibc elf/link.h and of musl include/link.h, on x86-64 and AArch64 alike):
 *   r_debug   r_version, r_map at +8
 *   link_map  l_addr (what to add to link-time addresses), l_name, l_ld, l_next at +24
 * All of it is there before any code of the library runs. A library is known by its beginning (pybpf/image.h), which
 * symbol look-ups have touched, and by its table of offsets where it has one: a copy may differ in nothing else.
 */
#ifndef PYBPF_LIBRARY_BPF_H
#define PYBPF_LIBRARY_BPF_H

#define MAX_LIBRARIES 24 /* libpython comes early: it is needed by the executable itself */
#define LIBRARY_TRIES 100 /* at a tick each; later than that, user space has been told */

enum { LIBRARY_END, LIBRARY_OTHER, LIBRARY_FOUND };

/*
 * Looks at the library whose link_map is at s->frame, and goes to the next. LIBRARY_FOUND: its number is in s->hash, its load
 * address in s->buf_addr. Some 400 ns.
 */
__noinline int library_step(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	struct {
		__u64 addr, name, dynamic, next;
	} map;

	if (!s || !s->frame || bpf_probe_read_user(&map, sizeof(map), (void *)s->frame))
		return LIBRARY_END;
	s->frame = map.next;
	if (!map.addr || bpf_probe_read_user(s->buf, 8 * PYBPF_IMAGE_WORDS, (void *)map.addr))
		return LIBRARY_OTHER;
	s->buf_addr = map.addr;
	s->hash = pybpf_image_key((const __u64 *)s->buf, PYBPF_IMAGE_WORDS);
	return bpf_map_lookup_elem(&images, &s->hash) ? LIBRARY_FOUND : LIBRARY_OTHER;
}

/* Whether the table of offsets of the library that was found is the file's own. */
__noinline int library_is_true(__u32 cpu)
{
	struct scratch *s = scratch__of(cpu);
	struct file_info *info = s ? bpf_map_lookup_elem(&images, &s->hash) : NULL;

	if (!s || !info)
		return 0;
	if (!info->table)
		return 1;
	if (bpf_probe_read_user(s->buf, 8 * PYBPF_IMAGE_WORDS, (void *)(s->buf_addr + info->runtime)))
		return 0;
	return pybpf_image_key((const __u64 *)s->buf, info->table_words) == info->table;
}

/* The first entry of the process's list, 0 while there is none. */
static __always_inline __u64 library__first(const struct proc_info *p)
{
	struct file_key exe = {.ino = p->pending.ino, .dev = p->pending.dev};
	struct file_info *info = bpf_map_lookup_elem(&files, &exe);
	__u64 debug = 0, first = 0;

	if (!info || info->state != FILE_STATE_LINKED || !info->runtime)
		return 0;
	if (bpf_probe_read_user(&debug, sizeof(debug), (void *)(task__start_code() - info->text_start + info->runtime)) ||
	    !debug || bpf_probe_read_user(&first, sizeof(first), (void *)(debug + 8)))
		return 0;
	return first;
}

/* A process that is PROC_LINKED becomes Python's, once its libpython is loaded and known. Overwrites s->buf. */
static __always_inline void library__find(struct scratch *s, struct proc_info *p, __u32 cpu)
{
	struct file_info *info;
	int is = LIBRARY_OTHER;

	s->frame = library__first(p);
	for (int i = 0; i < MAX_LIBRARIES && is == LIBRARY_OTHER; i++)
		is = library_step(cpu);
	if (is != LIBRARY_FOUND || !library_is_true(cpu)) {
		if (++p->pending.pad >= LIBRARY_TRIES)
			p->flags &= ~PROC_LINKED;
		return;
	}
	info = bpf_map_lookup_elem(&images, &s->hash);
	if (info)
		proc__from_file(p, info, s->buf_addr);
}

#endif
