#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a vmlinux.h that holds only the kernel types that the BPF programs read.

    gen-vmlinux.py [--types FILE] [--arch x86|arm64] [--from TEXT] [-o HEADER] SOURCE
    gen-vmlinux.py --extract BTF SOURCE

SOURCE is raw BTF (/sys/kernel/btf/vmlinux), an ELF file with a .BTF section or a kernel
image as a distribution packages it (bzImage, Image, Image.gz, EFI zboot): the image is
unpacked and searched for the BTF blob inside. --extract writes that blob alone.

FILE says what to keep, one entry a line (see scripts/vmlinux.types):
    struct NAME MEMBER...     these members; CO-RE finds them by name wherever they really are
    struct NAME *             all of it, in its true layout (contexts, which are read at fixed places)
    enum NAME                 a whole enum;  `enum {VALUE}`: the nameless enum that has this value
    typedef NAME
MEMBER may be a path (uw.tp_value) into a nameless struct or union; `?` before a member or before
the kind of an entry means that a kernel without it is fine; [x86] or [arm64] at the start of a
line limits it to that architecture. What kept members need by value is added whole.
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels"))

from btf import Btf, BtfError, Kind, load_btf  # noqa: E402

QUALIFIERS = {Kind.VOLATILE: "volatile ", Kind.CONST: "const ", Kind.RESTRICT: "", Kind.TYPE_TAG: ""}


class TypesError(Exception):
    """The list of types asks for something that the kernel does not have."""


class Want:
    """What the list of types asks for."""

    def __init__(self, path, arch):
        self.members = {}  # (kind, name) -> [(path, optional)], or None for all of it
        self.order = []  # (keyword, name, optional)
        with open(path, encoding="ascii") as lines:
            for number, line in enumerate(lines, 1):
                line = line.split("#", 1)[0].strip()
                only = re.match(r"\[(\w+)\]\s*", line)
                if only:
                    line = line[only.end():] if only.group(1) == arch else ""
                if line:
                    self._entry(line.split(), f"{path}:{number}")

    def _entry(self, words, where):
        optional = words[0].startswith("?")
        keyword = words[0].lstrip("?")
        if keyword not in ("struct", "union", "enum", "typedef") or len(words) < 2:
            raise TypesError(f"{where}: not an entry: {' '.join(words)}")
        name, rest = words[1], words[2:]
        if keyword in ("struct", "union"):
            if not rest:
                raise TypesError(f"{where}: no member given for {keyword} {name}")
            paths = [(word.lstrip("?"), word.startswith("?")) for word in rest]
            have = self.members.setdefault((keyword, name), [])
            if rest == ["*"]:
                self.members[keyword, name] = None
            elif have is not None:
                have += paths
        if (keyword, name, optional) not in self.order:
            self.order.append((keyword, name, optional))


class Header:
    """Collects definitions in an order in which C can read them."""

    def __init__(self, btf, want):
        self.btf = btf
        self.want = want
        self.text = []
        self.done = set()  # type ids whose definition is in the text
        self.declared = set()

    def add_roots(self):
        for keyword, name, optional in self.want.order:
            if name.startswith("{"):
                number = self.btf.find_enum_with(name.strip("{}"))
            else:
                number = self.btf.find(keyword, name)
            if number:
                self.define(number)
            elif not optional:
                raise TypesError(f"the kernel has no {keyword} {name}")

    # -- what has to come first
    def need(self, number, by_value=True):
        """Make the type usable: complete when it is used by value, known by name otherwise."""
        t = self.btf.types[number]
        if t.kind in QUALIFIERS:
            self.need(t.type, by_value)
        elif t.kind == Kind.PTR:
            self.need(t.type, False)
        elif t.kind == Kind.ARRAY:
            self.need(t.type, by_value)
        elif t.kind == Kind.TYPEDEF:
            self.define(number, by_value)
        elif t.kind in (Kind.ENUM, Kind.ENUM64) and t.name:
            self.define(number)
        elif t.kind in (Kind.STRUCT, Kind.UNION, Kind.FWD) and t.name:
            if by_value:
                self.define(number)
            else:
                self.declare(number)
        # functions are only ever pointed to, and such pointers are written as void *

    def declare(self, number):
        t = self.btf.types[number]
        key = (t.keyword, t.name)
        if key not in self.declared:
            self.declared.add(key)
            self.text.append(f"{t.keyword} {t.name};\n")

    def define(self, number, by_value=True):
        t = self.btf.types[number]
        if number in self.done:
            return
        if t.kind == Kind.TYPEDEF:
            # A pointer to a typedef of a struct needs the struct's name only.
            target = self.btf.types[t.type]
            nameless = target.kind in (Kind.STRUCT, Kind.UNION) and not target.name
            self.need(t.type, by_value or nameless)
            if nameless:
                self.need_members(t.type, None)
            if ("typedef", t.name) not in self.declared:
                self.declared.add(("typedef", t.name))
                self.text.append(f"typedef {self.declarator(t.type, t.name, 0)};\n")
            if by_value:
                self.done.add(number)
            return
        self.done.add(number)
        if t.kind == Kind.INT or t.kind == Kind.FLOAT:
            return
        if t.kind in (Kind.ENUM, Kind.ENUM64):
            self.text.append(self.enum_text(t, 0) + ";\n")
            return
        if t.kind == Kind.FWD:
            raise TypesError(f"{t.keyword} {t.name} is not complete in this BTF")
        paths = self.paths_of(t)
        self.need_members(number, paths)
        self.declared.add((t.keyword, t.name))
        self.text.append(self.record_text(number, paths, 0) + ";\n")
        if paths is None:
            self.text.append(f'_Static_assert(sizeof({t.keyword} {t.name}) == {t.size}, "layout");\n')

    def paths_of(self, t):
        """The wanted paths of a named record; None means all of it."""
        paths = self.want.members.get((t.keyword, t.name))
        if paths is None:
            return None
        found = []
        for path, optional in paths:
            if self.btf.has_member(t, path.split(".")):
                found.append(path.split("."))
            elif not optional:
                raise TypesError(f"{t.keyword} {t.name} has no member {path}")
        return found

    def kept(self, t, paths):
        """Yields (member, paths below it) for the members of a record that are wanted."""
        for m in t.members:
            below = None
            if paths is not None:
                inner = self.btf.types[self.btf.strip(m.type)]
                if not m.name:
                    below = [p for p in paths if self.btf.has_member(inner, p)]
                    if not below:
                        continue
                else:
                    mine = [p[1:] for p in paths if p[0] == m.name]
                    if not mine:
                        continue
                    below = None if [] in mine else mine
            yield m, below

    def need_members(self, number, paths):
        for m, below in self.kept(self.btf.types[number], paths):
            inner = self.btf.strip(m.type)
            t = self.btf.types[self.btf.element(inner)]
            if t.kind in (Kind.STRUCT, Kind.UNION) and not t.name:
                self.need_members(t.number, below)
            else:
                self.need(m.type)

    # -- text
    def record_text(self, number, paths, depth):
        t = self.btf.types[number]
        tab = "\t" * depth
        out = [f"{t.keyword} {t.name} {{" if t.name else f"{t.keyword} {{"]
        for m, below in self.kept(t, paths):
            bits = f" : {m.bits}" if m.bits else ""
            # A const member would make the copies const that BPF_CORE_READ declares by typeof.
            text = self.declarator(self.btf.strip(m.type), m.name, depth + 1, below)
            out.append(f"{tab}\t{text}{bits};")
        packed = paths is None and self.btf.is_packed(t)
        out.append(tab + ("} __attribute__((packed))" if packed else "}"))
        return "\n".join(out)

    def enum_text(self, t, depth):
        tab = "\t" * depth
        out = [f"enum {t.name} {{" if t.name else "enum {"]
        for name, value in t.values:
            suffix = "ULL" if value > 0x7FFFFFFFFFFFFFFF else "LL" if abs(value) > 0x7FFFFFFF else ""
            out.append(f"{tab}\t{name} = {value}{suffix},")
        out.append(tab + "}")
        return "\n".join(out)

    def declarator(self, number, name, depth, paths=None):
        """C's declaration of `name` with the given type."""
        t = self.btf.types[number]
        if t.kind == Kind.PTR:
            target = self.btf.types[self.btf.strip(t.type)]
            nameless = target.kind in (Kind.STRUCT, Kind.UNION) and not target.name
            if target.kind == Kind.FUNC_PROTO or nameless:
                return f"void *{name}"
            return self.declarator(t.type, f"*{name}", depth)
        if t.kind == Kind.ARRAY:
            inner = f"({name})" if name.startswith("*") else name
            return self.declarator(t.type, f"{inner}[{t.count}]", depth, paths)
        if t.kind in QUALIFIERS:
            inner = self.btf.types[t.type]
            if inner.kind == Kind.PTR:
                word = QUALIFIERS[t.kind]
                return self.declarator(t.type, word + name, depth, paths)
            return QUALIFIERS[t.kind] + self.declarator(t.type, name, depth, paths)
        return f"{self.base(t, depth, paths)} {name}".rstrip()

    def base(self, t, depth, paths):
        if t.kind == Kind.VOID:
            return "void"
        if t.kind in (Kind.INT, Kind.FLOAT, Kind.TYPEDEF):
            return t.name
        if t.name:
            return f"{t.keyword} {t.name}"
        if t.kind in (Kind.ENUM, Kind.ENUM64):
            return self.enum_text(t, depth)
        return self.record_text(t.number, paths, depth)


PROLOGUE = """\
/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel types that the BPF programs read ({arch}), made by scripts/gen-vmlinux.py from the BTF of
 * {source}. Do not edit: change scripts/vmlinux.types.
 * Structs hold only the members that are read; CO-RE relocates those by name.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

"""

EPILOGUE = """
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
"""


def main():
    here = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--types", default=f"{here}/vmlinux.types")
    parser.add_argument("--arch", choices=("x86", "arm64"), default="x86")
    parser.add_argument("--from", dest="source", help="what the header's comment names as its source")
    parser.add_argument("--extract", metavar="BTF", help="write the BTF blob there and stop")
    parser.add_argument("-o", "--output", default="-")
    parser.add_argument("input")
    args = parser.parse_args()
    try:
        blob = load_btf(args.input)
        if args.extract:
            with open(args.extract, "wb") as out:
                out.write(blob)
            return 0
        header = Header(Btf(blob), Want(args.types, args.arch))
        header.add_roots()
    except (BtfError, TypesError, OSError) as error:
        print(f"gen-vmlinux: {args.input}: {error}", file=sys.stderr)
        return 1
    text = PROLOGUE.format(arch=args.arch, source=args.source or args.input)
    text += "".join(header.text) + EPILOGUE
    if args.output == "-":
        sys.stdout.write(text)
    else:
        with open(args.output, "w", encoding="ascii") as out:
            out.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
