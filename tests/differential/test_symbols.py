# SPDX-License-Identifier: Apache-2.0
"""Names of native code against binutils' own words: 0 differences.

Where several symbols have one address each of the best ones counts as right: functions before labels, sized before
unsized, exported before local.
"""
import bisect
import collections
import glob
import json
import lzma
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests"))
import interpreters  # noqa: E402  (it is no package)

PROGRAM = os.environ.get("PYBPF_SYMBOLS") or os.path.join(TREE, "build", "tests", "symbols")
MOST = 6000  # addresses of one file
ENV = dict(os.environ, LC_ALL="C", DEBUGINFOD_URLS="")

Symbol = collections.namedtuple("Symbol", "start size type bind name")


@pytest.fixture(scope="module", autouse=True)
def program():
    if not os.access(PROGRAM, os.X_OK):
        subprocess.run(["make", "-C", TREE, os.path.relpath(PROGRAM, TREE)], check=True)


def run(*command, text=None):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV, check=True,
                          universal_newlines=True, errors="surrogateescape").stdout


def ask(path, addresses, *options, name=None):
    """[[name, file, line, is_inline], ...] or None for each address."""
    text = "".join("%x\n" % a if isinstance(a, int) else a + "\n" for a in addresses)
    out = run(PROGRAM, *options, path, *([name] if name else []), text=text).splitlines()
    assert len(out) == len(addresses) + 1
    return [json.loads(line) for line in out[:-1]]


def plain(names):
    """Demangled without parameters."""
    names = list(names)
    out = run("c++filt", "-p", "-i", text="".join(n + "\n" for n in names)).splitlines()
    assert len(out) == len(names)
    return dict(zip(names, out))


def functions(path, table=None):
    """The functions of a file's .symtab, or .dynsym where there is none, by readelf."""
    out = run("readelf", "-sW", path)
    tables = {}
    for line in out.splitlines():
        if line.startswith("Symbol table"):
            rows = tables.setdefault(re.search(r"'(.*)'", line).group(1), [])
            continue
        words = line.split()
        if len(words) < 8 or words[3] not in ("FUNC", "IFUNC") or words[6] == "UND":
            continue
        size = int(words[2], 0)
        if size:
            rows.append(Symbol(int(words[1], 16), size, words[3], words[4], words[7].split("@")[0]))
    return tables.get(table or ".symtab") or tables.get(".dynsym") or []


def acceptable(symbols):
    """start -> the best symbols there."""
    best = {}
    for s in symbols:
        best.setdefault(s.start, []).append(s)
    for start, rows in best.items():
        rank = max((s.bind != "LOCAL", s.size) for s in rows)
        best[start] = [s for s in rows if (s.bind != "LOCAL", s.size) == rank]
    return best


def check_names(path, *options):
    """Starts, middles and ends of its functions. How many addresses were compared."""
    best = acceptable(functions(path))
    starts = sorted(best)
    chosen = random.Random(1).sample(starts, min(len(starts), MOST // 3))
    wanted = []
    for start in chosen:
        s = best[start][0]
        for address in {start, start + s.size // 2, start + s.size - 1}:
            inner = starts[bisect.bisect_right(starts, address) - 1]
            # another one that begins inside of it has what it covers
            owner = inner if inner + best[inner][0].size > address else start
            wanted.append((address, owner))
    names = plain({s.name for _, owner in wanted for s in best[owner]})
    wrong = []
    for (address, owner), answer in zip(wanted, ask(path, [a for a, _ in wanted], "-n", *options)):
        right = {names[s.name] for s in best[owner]}
        if not answer or answer[-1][0] not in right:
            wrong.append((hex(address), answer, right))
    assert not wrong, (len(wrong), wrong[:10])
    return len(wanted)


def libraries():
    found = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"]
    for pattern in ("/usr/lib/*/libstdc++.so.6", "/usr/lib/*/libcrypto.so.3", "/usr/lib/*/libLLVM-1?.so.1",
                    sysconfig.get_paths()["platlib"] + "/*/*/*/_rust.abi3.so"):
        found += glob.glob(pattern)
    cache = os.environ.get("PYBPF_CACHE") or os.path.expanduser("~/.cache/pybpf")
    for pattern in ("_polars_runtime*/*.so", "pyarrow/libarrow.so.*", "numpy.libs/libscipy*.so"):
        found += glob.glob(os.path.join(cache, "wheels", "*", pattern))
    found += [i.path for i in interpreters.distinct() if not i.root]
    for i in interpreters.distinct():
        found += glob.glob(os.path.join(os.path.dirname(os.path.dirname(i.path)), "lib", "libpython3.*.so.1.0"))
    return sorted({os.path.realpath(p) for p in found if os.path.isfile(p)})


@pytest.mark.parametrize("path", libraries())
def test_names_as_readelf_has_them(path):
    with open(path, "rb") as f:
        if f.read(4) != b"\x7fELF" or not functions(path):
            pytest.skip("no functions in it")
    assert check_names(path) > 0


# ---- programs of our own, with what a compiler can do to names

CPP = r"""
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>
namespace shop {
template <class T> struct Cart {
    std::vector<T> items;
    static inline __attribute__((always_inline)) int weigh(int x) { int y = x * 3; return y ^ (y >> 2); }
    __attribute__((noinline)) int total(int n) { int t = 0; for (auto &i : items) t += weigh((int)i + n); return t; }
    bool operator<(const Cart &o) const { return items.size() < o.items.size(); }
};
static __attribute__((noinline)) int local(int n) { return Cart<int>::weigh(n) + 1; }
}
extern "C" __attribute__((noinline)) int plain_c(int n) { return shop::local(n) * 2; }
int main(int argc, char **) {
    shop::Cart<int> a; shop::Cart<double> b;
    for (int i = 0; i < argc + 9; i++) { a.items.push_back(i * 7 % 5); b.items.push_back(i); }
    std::sort(a.items.begin(), a.items.end(), [](int x, int y) { return shop::Cart<int>::weigh(x) < y; });
    std::printf("%d\n", a.total(1) + b.total(2) + plain_c(argc));
}
"""

RUST = r"""
mod shop {
    #[inline(always)] pub fn weigh(x: u64) -> u64 { let y = x.wrapping_mul(3); y ^ (y >> 2) }
    pub trait Price { fn price(&self) -> u64; }
    impl Price for Vec<u64> { #[inline(never)] fn price(&self) -> u64 { self.iter().map(|x| weigh(*x)).sum() } }
    #[inline(never)] pub fn generic<T: Price>(t: &T) -> u64 { t.price() + weigh(7) }
}
fn main() {
    let n = std::env::args().count() as u64;
    let v: Vec<u64> = (0..n + 9).map(|x| x * 7 % 5).collect();
    println!("{}", shop::generic(&v));
}
"""


def build(folder, language):
    source, out = os.path.join(folder, "shop." + language), os.path.join(folder, "shop-" + language)
    compiler = {"cpp": "g++", "rs": "rustc", "v0.rs": "rustc"}[language]
    if not shutil.which(compiler):
        pytest.skip("no " + compiler)
    with open(source, "w") as f:
        f.write(CPP if language == "cpp" else RUST)
    if language == "cpp":
        run("g++", "-O2", "-g", "-Wl,--build-id=sha1", "-o", out, source)
    else:
        more = ["-Csymbol-mangling-version=v0"] if language == "v0.rs" else []
        run("rustc", "-O", "-g", "--crate-name", "shop", "-Clink-arg=-Wl,--build-id=sha1", *more, "-o", out, source)
    return out


@pytest.fixture(scope="module", params=["cpp", "rs", "v0.rs"])
def built(request, tmp_path_factory):
    return build(str(tmp_path_factory.mktemp("built")), request.param)


def spread(path, step=7, most=4000):
    """Addresses all over its functions."""
    found = [a for s in functions(path) for a in range(s.start, s.start + s.size, step)]
    return sorted(random.Random(2).sample(found, min(len(found), most)))


def addr2line(path, addresses):
    """[(raw name, file:line), ...] for each, innermost first."""
    out = run("addr2line", "-a", "-f", "-i", "-e", path, text="".join("0x%x\n" % a for a in addresses)).splitlines()
    answers = []
    while out:
        line = out.pop(0)
        if line.startswith("0x"):
            answers.append([])
        else:
            answers[-1].append((line, re.sub(r" \(discriminator \d+\)$", "", out.pop(0))))
    assert len(answers) == len(addresses)
    return answers


def test_lines_and_inlined_functions(built):
    addresses = [a for a in spread(built)]
    theirs = addr2line(built, addresses)
    names = plain({n for frames in theirs for n, _ in frames})
    ours = ask(built, addresses)
    assert sum(len(frames) > 1 for frames in theirs) > 20
    wrong, lines, compared = [], 0, 0
    for address, t, o in zip(addresses, theirs, ours):
        if t[0][1].startswith("??"):
            continue
        compared += 1
        # The outermost has the name of its symbol with us, of its DWARF entry with them.
        right = [names[n] for n, _ in t[:-1]]
        # To an inlined function without a mangled name binutils give that of the symbol, which is another's.
        if right and t[0][0] == t[-1][0] and o:
            right[0] = o[0][0]
        if not o or [f[0] for f in o[:-1]] != right or [f[3] for f in o] != [True] * len(right) + [False]:
            wrong.append((hex(address), o, t))
            continue
        lines += [f[2] for f in o] == [int(w.rsplit(":", 1)[1]) if w.rsplit(":", 1)[1] != "?" else 0 for _, w in t]
    assert not wrong, (len(wrong), compared, wrong[:5])
    assert compared > 300
    assert lines == compared
    assert check_names(built) > 30


def copy_root(folder, program, *debug):
    """A root directory with the program in /opt and a debug file. Its path there."""
    os.makedirs(os.path.join(folder, "opt"))
    shutil.copy(program, os.path.join(folder, "opt", "shop"))
    for path, source in debug:
        os.makedirs(os.path.dirname(folder + path), exist_ok=True)
        shutil.copy(source, folder + path)
    return os.path.join(folder, "opt", "shop")


def build_id(path):
    return re.search(r"Build ID: ([0-9a-f]+)", run("readelf", "-n", path)).group(1)


@pytest.mark.parametrize("way", ["link", "beside", "global", "id"])
def test_separate_debug_files(built, tmp_path, way):
    debug, bare = str(tmp_path / "shop.debug"), str(tmp_path / "bare")
    run("objcopy", "--only-keep-debug", built, debug)
    run("objcopy", "--strip-all", *([] if way == "id" else ["--add-gnu-debuglink=" + debug]), built, bare)
    ident = build_id(built)
    place = {"link": "/opt/shop.debug", "beside": "/opt/.debug/shop.debug", "global": "/usr/lib/debug/opt/shop.debug",
             "id": "/usr/lib/debug/.build-id/%s/%s.debug" % (ident[:2], ident[2:])}[way]
    addresses = spread(built, most=800)
    whole = ask(built, addresses)
    root = str(tmp_path / "root")
    program = copy_root(root, bare, (place, debug))
    assert ask(program, addresses, "-r", root, name="/opt/shop") == whole
    # without it nothing of that is known
    os.unlink(root + place)
    assert ask(program, addresses, "-r", root, name="/opt/shop") != whole


def test_debug_file_of_another_build_is_refused(built, tmp_path):
    debug, bare = str(tmp_path / "shop.debug"), str(tmp_path / "bare")
    run("objcopy", "--only-keep-debug", built, debug)
    run("objcopy", "--strip-all", "--add-gnu-debuglink=" + debug, built, bare)
    with open(debug, "ab") as f:
        f.write(b"\0")
    program = copy_root(str(tmp_path / "root"), bare, ("/opt/shop.debug", debug))
    addresses = spread(built, most=200)
    answers = ask(program, addresses, "-r", str(tmp_path / "root"), name="/opt/shop")
    assert not any(a and a[0][2] for a in answers)


def test_links_do_not_lead_out_of_the_root(built, tmp_path):
    debug, bare, root = str(tmp_path / "shop.debug"), str(tmp_path / "bare"), str(tmp_path / "root")
    run("objcopy", "--only-keep-debug", built, debug)
    run("objcopy", "--strip-all", "--add-gnu-debuglink=" + debug, built, bare)
    program = copy_root(root, bare)
    os.symlink(debug, root + "/opt/shop.debug")
    answers = ask(program, spread(built, most=200), "-r", root, name="/opt/shop")
    assert not any(a and a[0][2] for a in answers)


def test_mini_debug_information(built, tmp_path):
    small, packed, program = (str(tmp_path / n) for n in ("small", "small.xz", "shop"))
    run("objcopy", "--only-keep-debug", "--strip-debug", built, small)
    with open(small, "rb") as f, open(packed, "wb") as out:
        out.write(lzma.compress(f.read()))
    run("objcopy", "--strip-all", "--remove-section=.note.gnu.build-id", "--add-section=.gnu_debugdata=" + packed, built,
        program)
    addresses = spread(built, most=800)
    assert ask(program, addresses, "-n") == ask(built, addresses, "-n")
    with open(packed, "r+b") as f:
        f.seek(200)
        f.write(b"damage")
    run("objcopy", "--strip-all", "--remove-section=.note.gnu.build-id", "--add-section=.gnu_debugdata=" + packed, built,
        program)
    assert not all(ask(program, addresses, "-n"))


def test_return_addresses_mean_the_call(built):
    best = acceptable(functions(built))
    ends = [start + rows[0].size for start, rows in best.items()]
    calls = ask(built, ["r%x" % e for e in ends], "-n")
    assert calls == ask(built, [e - 1 for e in ends], "-n")


@pytest.mark.parametrize("flags", [[], ["-fcf-protection=none", "-no-pie"], ["-Wl,-z,now"], ["-Wl,-z,lazy", "-Wl,-z,ibtplt"]])
def test_plt_entries(tmp_path, flags):
    source, out = str(tmp_path / "p.c"), str(tmp_path / "p")
    with open(source, "w") as f:
        f.write("#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char **v) {"
                "void (*volatile f)(void *) = free; f(malloc(c)); puts(v[0]); printf(\"%d\\n\", c); free(v[0]); return rand(); }")
    if subprocess.run(["gcc", "-O1", *flags, "-o", out, source], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this linker has no such PLT")
    found = re.findall(r"^([0-9a-f]+) <(.*)@plt>:$", run("objdump", "-d", out), re.M)
    assert {"malloc", "puts"} <= {n for _, n in found}
    answers = ask(out, [int(a, 16) for a, _ in found])
    assert [a and a[0][0] for a in answers] == [n + "@plt" for _, n in found]
    run("strip", out)
    assert ask(out, [int(a, 16) + 4 for a, _ in found]) == answers


def test_gaps_and_labels(tmp_path):
    source, out = str(tmp_path / "g.s"), str(tmp_path / "g.so")
    with open(source, "w") as f:
        f.write("""
.text
.globl sized; .type sized, @function
sized: .fill 16, 1, 0x90
inside: .fill 16, 1, 0x90
.size sized, . - sized
.fill 32, 1, 0xcc
.globl open_end; .type open_end, @function
open_end: .fill 24, 1, 0x90
.globl twin; .type twin, @gnu_indirect_function
twin: local_twin: .fill 8, 1, 0x90
.size twin, . - twin
label: .fill 8, 1, 0x90
.globl weak_one; .weak __weak_one; .type weak_one, @function; .type __weak_one, @function
__weak_one: weak_one: .fill 8, 1, 0x90
.size weak_one, 8
.size __weak_one, 8
.section .text.other, "ax", @progbits
.fill 64, 1, 0xcc
""")
    run("gcc", "-shared", "-nostdlib", "-o", out, source)
    at = {w[2]: int(w[0], 16) for w in (line.split() for line in run("nm", out).splitlines()) if len(w) == 3}
    base = at["sized"]
    expected = [(0, "sized"), (16, "sized"), (31, "sized"), (32, None), (63, None), (64, "open_end"), (87, "open_end"),
                (88, "twin"), (95, "twin"), (96, "label"), (103, "label"), (104, "weak_one"), (111, "weak_one"), (112, None),
                (140, None)]
    answers = ask(out, [base + offset for offset, _ in expected])
    assert [a and a[0][0] for a in answers] == [name for _, name in expected]


# ---- files that mean harm

def test_damaged_files(built, tmp_path):
    """Every answer is an answer, whatever a file holds."""
    with open(built, "rb") as f:
        whole = f.read()
    sections = [(int(m.group(2), 16), int(m.group(3), 16)) for m in re.finditer(
        r"\] (\.\S+) +(?:PROGBITS|SYMTAB|STRTAB|DYNSYM|RELA|NOTE) +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)", run("readelf", "-SW", built))]
    headers = (len(whole) - 64 * 45, 64 * 45)
    addresses = spread(built, most=60)
    draw = random.Random(3)
    path = str(tmp_path / "damaged")
    for turn in range(60):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 4, 64, 1024])):
            offset, size = draw.choice(sections + [headers, (0, 64)])
            if size:
                data[offset + draw.randrange(size)] = draw.choice([0, 0xff, 0x80, draw.randrange(256)])
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)):]
        with open(path, "wb") as f:
            f.write(data)
        assert len(ask(path, addresses)) == len(addresses)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01" + b"\xff" * 500])
def test_what_is_no_program(tmp_path, content):
    path = str(tmp_path / "thing")
    with open(path, "wb") as f:
        f.write(content)
    assert ask(path, [0, 1, 2**64 - 1, "r0"]) == [None] * 4
