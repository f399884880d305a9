# SPDX-License-Identifier: Apache-2.0
"""Programs that go from Python into C and back in many ways, one inside another, and know in which order.

A path is a list of ways. `through_W` calls C, which calls `in_W` (or a method), which goes on along the path; at its
end is a function burn_N of its own. Once it is ready a program says what its paths are: `path N WAY ...`, outermost
way first, and `end`. LIBRARY goes through many ways of the standard library, also through many in one stack
(merge_library.py); MODULES goes through modules from PyPI as well, those that the interpreter has.
"""
import merge_hooks
import merge_library
import merge_slots

_WAYS = r'''
import functools, re, sys, threading
try:
    import ctypes
    CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
except ImportError: # a build without libffi
    CALL = None
PATTERN = re.compile("a")

def through_sorted(path):
    def in_sorted(x):
        go(path)
        return x
    sorted([1], key=in_sorted)

def through_reduce(path):
    def in_reduce(x, y):
        go(path)
        return x
    functools.reduce(in_reduce, [1, 2])

def through_re(path):
    def in_re(match):
        go(path)
        return "b"
    PATTERN.sub(in_re, "ab")

if CALL:
    def through_ctypes(path):
        def in_ctypes(x):
            go(path)
            return x
        CALL(in_ctypes)(1)

class Finalized:
    def __init__(self, path):
        self.path = path
    def __del__(self):
        in_del(self.path)

def in_del(path):
    go(path)

def through_del(path):
    one = Finalized(path)
    del one

class Key:
    def __init__(self, path):
        self.path = path
    def __hash__(self):
        return 5
    def __eq__(self, other):
        in_eq(self.path or other.path)
        return True

def in_eq(path):
    go(path)

def through_eq(path):
    table = {Key(None): 1}
    table[Key(path)]

def in_generator(path):
    go(path)
    yield 1

def through_generator(path):
    list(in_generator(path))

class Made:
    def __init__(self, path):
        go(path)

def through_init(path):
    Made(path)

def through_exec(path):
    exec(CODE, {"go": go, "path": path})
CODE = compile("go(path)", __file__, "exec")

def in_partial(path):
    go(path)

def through_partial(path):
    functools.partial(in_partial, path)()

def through_send(path):
    try:
        in_send(path).send(None)
    except StopIteration:
        pass

async def in_send(path):
    go(path)

def through_map(path):
    list(map(in_map, [path]))

def in_map(path):
    go(path)

class Addend:
    def __init__(self, path):
        self.path = path
    def __radd__(self, other):
        go(self.path)
        return 1

def through_radd(path):
    sum([Addend(path)])
'''

_MODULES = r'''
LOCAL = threading.local()

def try_import(name):
    try:
        return __import__(name, fromlist=["x"])
    except ImportError:
        return None

numpy = try_import("numpy")
if numpy:
    def through_ufunc(path):
        def in_ufunc(x):
            go(path)
            return x
        numpy.frompyfunc(in_ufunc, 1, 1)(1)

    def through_vectorize(path):
        def in_vectorize(x):
            go(path)
            return x
        numpy.vectorize(in_vectorize, otypes="O")([1])

cytoolz = try_import("cytoolz")
if cytoolz:
    def through_cython(path):
        def in_cython(x):
            go(path)
            return x
        cytoolz.groupby(in_cython, [1])

etree = try_import("lxml.etree")
if etree:
    DOCUMENT = etree.fromstring("<a/>")
    def through_lxml(path):
        def in_lxml(context):
            go(path)
            return True
        DOCUMENT.xpath("e:f()", namespaces={"e": "urn:e"}, extensions={("urn:e", "f"): in_lxml})

iminuit = try_import("iminuit")
if iminuit:
    def in_pybind(x):
        go(LOCAL.path)
        return 1.0
    FCN = iminuit.Minuit(in_pybind, x=1.0)
    FCN = FCN.fcn if hasattr(FCN, "fcn") else FCN._fcn
    def through_pybind(path):
        LOCAL.path = path
        FCN((1.0,))

pydantic = try_import("pydantic_core")
if pydantic:
    def through_rust(path):
        def in_rust(x):
            go(path)
            return x
        pydantic.SchemaValidator({"type": "function-plain", "function": {"type": "no-info", "function": in_rust}}
                                 ).validate_python(1)

if CALL:
    def through_qsort(path):
        def in_qsort(a, b):
            go(path)
            return 0
        QSORT(ctypes.byref(NUMBERS), 2, 4, COMPARE(in_qsort))
    QSORT = ctypes.CDLL(None).qsort
    COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    QSORT.argtypes, QSORT.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, COMPARE], None
    NUMBERS = (ctypes.c_int * 2)(1, 2)
'''

_GREENLET = r'''
greenlet = try_import("greenlet")
if greenlet:
    def in_greenlet(path):
        go(path)
    def through_greenlet(path):
        greenlet.greenlet(in_greenlet).switch(path)
'''

_PATHS = r'''
WAYS = {k[8:]: v for k, v in globals().items() if k.startswith("through_")}
ALL = []

def go(path):
    path[-1](path[:-1])

BURN = """
def burn_%d(_):
    n = 0
    for i in range(700):
        n += i & 3
"""

def make_path(names):
    scope = {"swap": globals().get("swap")}
    exec(compile(BURN % len(ALL) + "    swap()\n" * bool(scope["swap"]), __file__, "exec"), scope)
    path = [WAYS[name] for name in names] + [scope["burn_%d" % len(ALL)]]
    ALL.append(names)
    return path[::-1]

class Dice: # random needs modules that a program without dynamic symbols can't load
    def __init__(self, seed):
        self.state = seed * 7919 + 1
    def roll(self, sides):
        self.state = self.state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        return (self.state >> 33) % sides

def some(seed, count=300, most=6):
    dice, names = Dice(seed), sorted(WAYS)
    return [make_path([names[dice.roll(len(names))] for _ in range(dice.roll(most))]) for _ in range(count)]

def tell_paths():
    ready()
    for number, names in enumerate(ALL):
        say("path", number, *names)
    say("end")

def main(paths):
    while True:
        for path in paths:
            go(path)
'''.replace("BURN = '''", 'BURN = \"\"\"').replace("'''\n\ndef make_path", '\"\"\"\n\ndef make_path')

_THREADS = r'''
others = some(1)
paths = some(2)
threading.Thread(target=main, args=(others,), daemon=True).start()
tell_paths()
main(paths)
'''

# Greenlets of one thread, in turn: each is deep in a path of its own while another one uses the same addresses of the
# stack, and each begins where the one before it happened to be.
_RING = r'''
RING = threading.local()

def swap():
    RING.all[RING.at] = greenlet.getcurrent()
    RING.at = (RING.at + 1) % len(RING.all)
    RING.all[RING.at].switch()

def make_ring(shares):
    def one(paths):
        def in_ring():
            main(paths)
        return in_ring
    RING.all = [greenlet.greenlet(one(paths)) for paths in shares]
    RING.at = 0
    RING.all[0].switch()

shares = [some(seed, 40) for seed in range(24)]
threading.Thread(target=make_ring, args=(shares[:12],), daemon=True).start()
tell_paths()
make_ring(shares[12:])
'''

_GEVENT = r'''
import gevent
def swap():
    gevent.sleep(0)

def in_gevent(paths):
    main(paths)

workers = [gevent.spawn(in_gevent, some(seed, 40)) for seed in range(12)]
tell_paths()
gevent.joinall(workers)
'''

_ASYNC = r'''
import asyncio
async def in_task(paths):
    while True:
        for path in paths:
            await outer(path)

async def outer(path):
    await inner(path)

async def inner(path):
    go(path)
    await asyncio.sleep(0)

async def all_tasks():
    await asyncio.gather(*[in_task(share) for share in shares])

shares = [some(seed, 40) for seed in range(12)]
tell_paths()
LOOP = %s.new_event_loop()
asyncio.set_event_loop(LOOP)
LOOP.run_until_complete(all_tasks())
'''

PLAIN = _WAYS + _PATHS + _THREADS
LIBRARY = (_WAYS + merge_library.WAYS + merge_slots.WAYS + merge_hooks.WAYS + _PATHS + merge_hooks.THREADS + merge_hooks.ALONE
           + merge_library.SIGNALS)
MODULES = _WAYS + _MODULES + _GREENLET + _PATHS + _THREADS
# pybind11 knows threads, but not greenlets: switching inside of its calls ends in std::terminate.
_MODULES_APART = _MODULES.replace('try_import("iminuit")', "None")
GREENLETS = _WAYS + _MODULES_APART + _GREENLET + _PATHS + _RING
GEVENT = _WAYS + _MODULES_APART + _PATHS + _GEVENT
ASYNCIO = _WAYS + _PATHS + _ASYNC % "asyncio"
UVLOOP = _WAYS + _PATHS + "import uvloop" + _ASYNC % "uvloop"
