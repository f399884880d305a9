# SPDX-License-Identifier: Apache-2.0
"""Parts of merge_programs.py: ways from Python into C and back that lead through the standard library."""

WAYS = r'''
import codecs, collections, heapq, io, itertools, json, operator, signal, weakref
try:
    import contextvars # from 3.7 on
except ImportError:
    contextvars = None
try:
    import pyexpat
except ImportError:
    pyexpat = None
try:
    import pickle
except ImportError: # a program without dynamic symbols
    pickle = None
try:
    import sqlite3
except ImportError:
    sqlite3 = None
STATE = threading.local()

def keep(path): # for functions that can be given nothing
    STATE.__dict__.setdefault("kept", []).append(path)

def through_groupby(path):
    def in_groupby(x):
        go(path)
    for _ in itertools.groupby([1], in_groupby):
        pass

def through_filter(path):
    def in_filter(x):
        go(path)
    list(filter(in_filter, [1]))

def through_max(path):
    def in_max(x):
        go(path)
    max([1], key=in_max)

def through_json(path):
    def in_json(x):
        go(path)
    json.loads('[{"a": 1}]', object_hook=in_json)

if pyexpat:
    def through_expat(path):
        def in_expat(name, attributes):
            go(path)
        parser = pyexpat.ParserCreate()
        parser.StartElementHandler = in_expat
        parser.Parse("<a/>", True)

if sqlite3:
    def in_sqlite():
        go(STATE.kept.pop())
    def through_sqlite(path):
        if not hasattr(STATE, "connection"):
            STATE.connection = sqlite3.connect(":memory:")
            STATE.connection.create_function("f", 0, in_sqlite)
        keep(path)
        STATE.connection.execute("select f()").fetchall()

class Special:
    def __init__(self, path):
        self.path = path
    def __setitem__(self, key, value):
        go(self.path)
    def __getitem__(self, key):
        go(self.path)
    def __call__(self):
        go(self.path)
    def __contains__(self, x):
        go(self.path)
        return True
    def __lt__(self, other):
        go(self.path)
        return True
    def __str__(self):
        go(self.path)
        return ""
    def __index__(self):
        go(self.path)
        return 1
    def __next__(self):
        go(self.path)
    def __enter__(self):
        go(self.path)
    def __exit__(self, *_):
        pass
    @property
    def shown(self):
        go(self.path)

class Dynamic:
    def __init__(self, path):
        self.path = path
    def __getattr__(self, name):
        go(self.path)

def through_setitem(path):
    Special(path)[1] = 2
def through_getitem(path):
    Special(path)[1]
def through_call(path):
    Special(path)()
def through_contains(path):
    1 in Special(path)
def through_lt(path):
    heapq.heappush([Special(path)], Special(path))
def through_str(path):
    str(Special(path))
def through_index(path):
    operator.index(Special(path))
def through_next(path):
    next(Special(path))
def through_enter(path):
    with Special(path):
        pass
def through_property(path):
    Special(path).shown
def through_getattr(path):
    Dynamic(path).absent

class Referred:
    pass

def through_weakref(path):
    def in_weakref(ref):
        go(path)
    one = Referred()
    ref = weakref.ref(one, in_weakref)
    del one

def through_throw(path):
    def in_throw():
        try:
            yield 1
        except ValueError:
            go(path)
            yield 2
    one = in_throw()
    next(one)
    one.throw(ValueError())
    next(one, None) # its end

def through_close(path):
    def in_close():
        try:
            yield 1
        finally:
            go(path)
    one = in_close()
    next(one)
    one.close()

def through_join(path):
    def in_join():
        go(path)
        yield ""
    "".join(in_join())

if contextvars:
    def in_context(path):
        go(path)
    def through_context(path):
        contextvars.copy_context().run(in_context, path)

def through_factory(path):
    def in_factory():
        go(path)
    collections.defaultdict(in_factory)[1]

def through_lru(path):
    @functools.lru_cache(None)
    def in_lru(x):
        go(path)
    in_lru(1)

class Raw(io.RawIOBase):
    def __init__(self, path):
        self.path = path
    def readable(self):
        return True
    def readinto(self, buffer):
        go(self.path)
        return 0

def through_io(path):
    io.BufferedReader(Raw(path), 16).read(1)

class Pickled:
    def __setstate__(self, state):
        go(STATE.kept.pop())
    def __reduce__(self):
        return Pickled, (), 1

if pickle:
    def through_pickle(path):
        keep(path)
        pickle.loads(PICKLE)
    PICKLE = pickle.dumps(Pickled())

def through_class(path):
    class in_class:
        go(path)

def in_codec(error):
    go(STATE.kept.pop())
    return "", error.end

def through_codec(path):
    keep(path)
    b"\xff".decode("ascii", "merge")
codecs.register_error("merge", in_codec)
'''

# What the main thread alone can do, in which signals are handled.
SIGNALS = r'''
def in_signal(number, frame):
    go(STATE.kept.pop())

def through_signal(path):
    keep(path)
    signal.raise_signal(signal.SIGUSR1)
    for _ in (1, 2): # some versions handle it when they jump back
        pass

WAYS.update(thread=through_thread, raw=through_raw)
others = some(1) + some(3, 20, 40)
del WAYS["thread"], WAYS["raw"]
for alone in "atexit", "import", "warning", "gc", "gcdel", "gcref":
    WAYS[alone] = globals()["through_" + alone]
if hasattr(signal, "raise_signal"): # from 3.8 on
    try:
        signal.signal(signal.SIGUSR1, in_signal)
        WAYS["signal"] = through_signal
    except ValueError: # Python on another thread than the process's first
        pass
paths = some(2) + some(4, 20, 40)
threading.Thread(target=main, args=(others,), daemon=True).start()
tell_paths()
main(paths)
'''
