# SPDX-License-Identifier: Apache-2.0
"""Reads BTF, and finds it inside kernel images.

Formats: Documentation/bpf/btf.rst (BTF), Documentation/arch/x86/boot.rst (bzImage: payload_offset and
payload_length of protocol 2.08), Documentation/arch/arm64/booting.rst (Image) and
drivers/firmware/efi/libstub/zboot-header.S (EFI zboot) of the kernel's tree.
"""

import bz2
import enum
import lzma
import struct
import subprocess
import zlib

BTF_MAGIC = b"\x9f\xeb\x01"
HEADER = struct.Struct("<HBBIIIII")
SMALLEST_KERNEL_BTF = 512 * 1024


class BtfError(Exception):
    """Not BTF, or damaged."""


class Kind(enum.IntEnum):
    VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE = range(10)
    CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(10, 20)


class Member:
    __slots__ = ("name", "type", "offset", "bits")

    def __init__(self, name, type_, offset, bits):
        self.name, self.type, self.offset, self.bits = name, type_, offset, bits


class Type:
    __slots__ = ("number", "kind", "name", "size", "type", "count", "members", "values", "keyword")

    def __init__(self, number, kind, name):
        self.number, self.kind, self.name = number, kind, name
        self.size = self.type = self.count = 0
        self.members, self.values = (), ()
        self.keyword = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum",
                        Kind.ENUM64: "enum", Kind.TYPEDEF: "typedef"}.get(kind, "")


class Btf:
    def __init__(self, blob):
        magic, version, _flags, header, type_off, type_len, str_off, str_len = HEADER.unpack_from(blob)
        if magic != 0xEB9F or version != 1 or len(blob) < header + str_off + str_len:
            raise BtfError("not BTF of version 1")
        self._strings = blob[header + str_off:header + str_off + str_len]
        self.types = [Type(0, Kind.VOID, "")]
        self._by_name = {}
        self._parse(blob, header + type_off, header + type_off + type_len)

    def _string(self, offset):
        return self._strings[offset:self._strings.index(b"\0", offset)].decode("ascii", "replace")

    def _parse(self, blob, at, end):
        while at < end:
            name, info, size = struct.unpack_from("<III", blob, at)
            at += 12
            vlen, flag = info & 0xFFFF, info >> 31
            try:
                kind = Kind((info >> 24) & 0x1F)
            except ValueError as error:
                raise BtfError(f"a kind of type that is not known: {error}") from None
            t = Type(len(self.types), kind, self._string(name))
            if kind in (Kind.STRUCT, Kind.UNION):
                t.size, t.members = size, self._members(blob, at, vlen, flag)
                at += 12 * vlen
            elif kind == Kind.ENUM:
                t.size = size
                form = "<Ii" if flag else "<II"
                t.values = [(self._string(n), v) for n, v in struct.iter_unpack(form, blob[at:at + 8 * vlen])]
                at += 8 * vlen
            elif kind == Kind.ENUM64:
                t.size = size
                t.values = [(self._string(n), self._enum64(lo, hi, flag))
                            for n, lo, hi in struct.iter_unpack("<III", blob[at:at + 12 * vlen])]
                at += 12 * vlen
            elif kind == Kind.ARRAY:
                t.type, _index, t.count = struct.unpack_from("<III", blob, at)
                at += 12
            elif kind == Kind.FWD:
                t.keyword = "union" if flag else "struct"
            elif kind in (Kind.INT, Kind.FLOAT):
                t.size = size
            else:
                t.type = size
            at += {Kind.INT: 4, Kind.FUNC_PROTO: 8 * vlen, Kind.VAR: 4, Kind.DATASEC: 12 * vlen,
                   Kind.DECL_TAG: 4}.get(kind, 0)
            self.types.append(t)
            if t.name and t.keyword and kind != Kind.FWD:
                self._by_name.setdefault((t.keyword, t.name), t.number)

    @staticmethod
    def _enum64(low, high, signed):
        value = high << 32 | low
        return value - (1 << 64) if signed and value >> 63 else value

    def _members(self, blob, at, vlen, flag):
        members = []
        for name, type_, offset in struct.iter_unpack("<III", blob[at:at + 12 * vlen]):
            bits = offset >> 24 if flag else 0
            members.append(Member(self._string(name), type_, offset & 0xFFFFFF if flag else offset, bits))
        return members

    def find(self, keyword, name):
        """The number of a named type, or 0. The first wins when the kernel has several."""
        return self._by_name.get((keyword, name), 0)

    def find_enum_with(self, value):
        for t in self.types:
            if t.kind in (Kind.ENUM, Kind.ENUM64) and any(name == value for name, _ in t.values):
                return t.number
        return 0

    def strip(self, number):
        """Looks through qualifiers and type tags."""
        while self.types[number].kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG):
            number = self.types[number].type
        return number

    def element(self, number):
        """The type that an array, of arrays perhaps, is made of."""
        number = self.strip(number)
        while self.types[number].kind == Kind.ARRAY:
            number = self.strip(self.types[number].type)
        return number

    def has_member(self, t, path):
        """Is there a member path[0], in nameless members too, with the rest of the path below it?"""
        for m in t.members:
            inner = self.types[self.element(m.type)]
            if not m.name and self.has_member(inner, path):
                return True
            if m.name == path[0]:
                return len(path) == 1 or (not inner.name and self.has_member(inner, path[1:]))
        return False

    def is_packed(self, t):
        """Does a member lie where C's own rules of alignment would not put it?"""
        return any(not m.bits and m.offset % (8 * self.alignment(m.type)) for m in t.members) or (
            not any(m.bits for m in t.members)
            and bool(t.members) and t.size % max(self.alignment(m.type) for m in t.members) != 0)

    def alignment(self, number):
        t = self.types[self.element(number)]
        while t.kind == Kind.TYPEDEF:
            t = self.types[self.element(t.type)]
        if t.kind == Kind.PTR:
            return 8
        if t.kind in (Kind.STRUCT, Kind.UNION):
            return max((self.alignment(m.type) for m in t.members), default=1)
        return max(t.size, 1)


def find_blob(data):
    """The largest thing in these bytes that is a BTF header with its types and strings, or None."""
    best, at = None, data.find(BTF_MAGIC)
    while at >= 0:
        if at + HEADER.size <= len(data):
            _m, _v, flags, header, type_off, type_len, str_off, str_len = HEADER.unpack_from(data, at)
            size = header + str_off + str_len
            sound = (flags == 0 and header == HEADER.size and type_off == 0 and str_off >= type_len > 0
                     and str_len > 0 and at + size <= len(data) and data[at + header + str_off] == 0)
            if sound and (best is None or size > len(best)):
                best = data[at:at + size]
        at = data.find(BTF_MAGIC, at + 1)
    return best


def _zstd(data):
    done = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return done.stdout  # what follows the frame is the image's own business


def _lz4(data):
    return subprocess.run(["lz4", "-dcq"], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout


def decompress(data):
    """Unpacks a compressed kernel by its magic; returns it as it is when there is none."""
    if data[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(data)
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(data)
    if data[:3] == b"]\0\0":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data)
    if data[:3] == b"BZh":
        return bz2.BZ2Decompressor().decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(data)
    if data[:4] == b"\x02\x21\x4c\x18":
        return _lz4(data)
    return data


def unpack_image(data):
    """The kernel proper out of a boot image."""
    if data[0x202:0x206] == b"HdrS":
        sectors = data[0x1F1] or 4
        offset, length = struct.unpack_from("<II", data, 0x248)
        start = (sectors + 1) * 512 + offset
        return decompress(data[start:start + length])
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        offset, length = struct.unpack_from("<II", data, 8)
        return decompress(data[offset:offset + length])
    return decompress(data)


def load_btf(path):
    """The BTF blob of a file: raw BTF, ELF or a kernel image."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:3] == BTF_MAGIC:
        return data
    blob = find_blob(unpack_image(data))
    if blob is None or len(blob) < SMALLEST_KERNEL_BTF:
        raise BtfError("no kernel BTF inside")
    return blob
