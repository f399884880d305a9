# SPDX-License-Identifier: Apache-2.0
"""Real libraries with native code, at what their users' guides show: are their stacks complete, and is everything named?"""
import json
import os
import re
import subprocess
import sys
import tempfile

import interpreters

# What is installed for it, what is run again and again, and the threads that it has by itself.
WORK = {
    "pandas": (["pandas"], """
import io, numpy, pandas
n = 20000
rows = pandas.DataFrame({"key": numpy.arange(n) % 97, "value": numpy.random.rand(n), "name": ["n%d" % (i % 1000) for i in range(n)],
                         "day": pandas.date_range("2020-01-01", periods=n, freq="min")})
text = rows.to_csv(index=False)
def work():
    read = pandas.read_csv(io.StringIO(text), parse_dates=["day"])
    read.groupby("key").value.agg(["mean", "sum", "std"])
    read.groupby("name").apply(lambda g: g.value.max() - g.value.min(), include_groups=False)
    read.merge(read.groupby("name").value.sum().reset_index(), on="name").sort_values(["name", "key"])
    read.set_index("day").value.resample("h").mean().rolling(5).median()
    read.name.str.upper().str.replace("N1", "x").value_counts()
    read.pivot_table(index="key", values="value", aggfunc="median")
"""),
    "polars": (["polars"], """
import io, polars as pl
n = 50000
rows = pl.DataFrame({"key": [i % 97 for i in range(n)], "value": [i * 0.37 % 1 for i in range(n)],
                     "name": ["n%d" % (i % 1000) for i in range(n)]})
text = rows.write_csv().encode()
def called(x):
    return x * 2 if x > 0.5 else x
def work():
    read = pl.read_csv(io.BytesIO(text))
    read.group_by("key").agg(pl.col("value").mean(), pl.col("name").n_unique())
    read.join(read.group_by("name").agg(pl.col("value").sum().alias("sum")), on="name").sort("name", "key")
    read.lazy().filter(pl.col("value") > 0.5).with_columns(pl.col("name").str.to_uppercase()).collect()
    read.head(2000).select(pl.col("value").map_elements(called, return_dtype=pl.Float64))
"""),
    "numpy": (["numpy"], """
import numpy
a, b = numpy.random.rand(400, 400), numpy.random.rand(400, 400).astype("f4")
def work():
    a @ a
    b @ b
    numpy.linalg.svd(a[:120, :120])
    numpy.linalg.solve(a, a[:, 0])
    numpy.linalg.eigh(a[:150, :150] + a[:150, :150].T)
    numpy.fft.fft2(a)
    numpy.sort(a, axis=None)
    numpy.einsum("ij,jk->ik", a[:60], a[:, :60])
    numpy.frompyfunc(lambda x: x + 1, 1, 1)(a[:40, :40])
"""),
    "pyarrow": (["pyarrow"], """
import io, pyarrow as pa, pyarrow.compute as pc, pyarrow.csv as csv, pyarrow.parquet as parquet
n = 50000
rows = pa.table({"key": [i % 97 for i in range(n)], "value": [i * 0.37 % 1 for i in range(n)],
                 "name": ["n%d" % (i % 1000) for i in range(n)]})
out = io.BytesIO()
csv.write_csv(rows, out)
text = out.getvalue()
def work():
    read = csv.read_csv(io.BytesIO(text))
    sums = read.group_by("name").aggregate([("value", "sum"), ("key", "max")])
    read.join(sums, keys="name").sort_by([("name", "ascending"), ("key", "descending")])
    read.filter(pc.greater(read["value"], 0.5)).take(list(range(0, 1000, 3)))
    pc.utf8_upper(read["name"])
    held = io.BytesIO()
    parquet.write_table(read, held, compression="zstd")
    parquet.read_table(io.BytesIO(held.getvalue()))
"""),
    "lxml": (["lxml"], """
from lxml import etree, html
text = "<r>" + "".join("<a n='%d'><b>text %d</b><c/></a>" % (i, i) for i in range(3000)) + "</r>"
sheet = etree.XSLT(etree.XML('<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
                             '<xsl:template match="/"><o><xsl:for-each select="r/a[@n mod 3 = 0]"><xsl:sort select="b"/>'
                             '<i><xsl:value-of select="b"/></i></xsl:for-each></o></xsl:template></xsl:stylesheet>'))
def called(context, n):
    return int(n[0]) + 1
etree.FunctionNamespace("urn:f")["called"] = called
def work():
    tree = etree.fromstring(text)
    tree.xpath("//a[@n > 100]/b/text()")
    tree.xpath("f:called(//a/@n)", namespaces={"f": "urn:f"})
    sheet(tree)
    etree.tostring(tree, pretty_print=True)
    html.fromstring("<p>" * 300 + text).iterlinks()
    for event, element in etree.iterwalk(tree, events=("end",)):
        element.get("n")
"""),
    "cryptography": (["cryptography"], """
import os
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
data = os.urandom(1 << 18)
fernet, gcm, chacha = Fernet(Fernet.generate_key()), AESGCM(os.urandom(32)), ChaCha20Poly1305(os.urandom(32))
private, curve, edwards = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
def work():
    fernet.decrypt(fernet.encrypt(data))
    gcm.encrypt(b"0" * 12, data, None), chacha.encrypt(b"0" * 12, data, None)
    for mode in modes.CBC(b"0" * 16), modes.CTR(b"0" * 16), modes.XTS(b"0" * 16):
        Cipher(algorithms.AES(os.urandom(64) if mode.name == "XTS" else os.urandom(32)), mode).encryptor().update(data)
    for kind in hashes.SHA256(), hashes.SHA512(), hashes.SHA3_256(), hashes.BLAKE2b(64):
        digest = hashes.Hash(kind)
        digest.update(data)
        digest.finalize()
    PBKDF2HMAC(hashes.SHA256(), 32, b"salt", 3000).derive(b"secret")
    private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    curve.sign(data, ec.ECDSA(hashes.SHA256())), edwards.sign(data)
    x25519.X25519PrivateKey.generate().exchange(x25519.X25519PrivateKey.generate().public_key())
"""),
}
# Ends at once: pyarrow's own end is an abort in 3 of 100 runs, whether it is recorded or not.
LOOP = """
import os, sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    work()
os._exit(0)
"""


def installed(python, names, folder):
    """The folder that has them for the interpreter, None when they cannot be had; it stays."""
    place = os.path.join(folder, "%s-%d.%d" % (names[0], *python.version[:2]))
    if not os.path.isdir(place):
        got = subprocess.run([*python.command, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", place + ".tmp", *names],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if got.returncode:
            return None
        os.rename(place + ".tmp", place)
    return place


def measure(pybpf, python, folder, seconds):
    """{library: None or {"samples", "marked", "reasons", "frames", "unnamed"}}; unnamed: frames of no binary at all."""
    out = {}
    for name, (wanted, work) in WORK.items():
        place = installed(python, wanted, folder)
        out[name] = None
        if not place:
            continue
        with tempfile.TemporaryDirectory(prefix="pybpf-bench-") as tmp:
            program, raw, accounts = (os.path.join(tmp, each) for each in ("work.py", "out.raw", "accounts"))
            with open(program, "w") as f:
                f.write(work + LOOP)
            run = subprocess.run([pybpf, "record", "-n", "-r", "1000", "--quiet", "-o", raw, "--json=" + accounts, "--",
                                  *python.command, program, str(seconds)], env=interpreters.environment(PYTHONPATH=place))
            if run.returncode:
                sys.exit("bench: recording %s failed" % name)
            with open(accounts) as f:
                told = json.load(f)
            with open(raw) as f:
                stacks = [line.rsplit(" ", 1) for line in f.read().splitlines()]
        frames = [(frame, int(count)) for stack, count in stacks for frame in stack.split(";")]
        out[name] = {"samples": told["samples"]["taken"], "marked": told["samples"]["truncated"], "reasons": told["truncated"],
                     "frames": sum(count for _, count in frames),
                     "unnamed": sum(count for frame, count in frames if re.match(r"\[unknown\]", frame))}
    return out
