# SPDX-License-Identifier: Apache-2.0
"""Parts of merge_programs.py: functions that the interpreter or a library has been given to call, and new threads.

The tables are as in merge_judge.py. Where a function can be given nothing, or is there for the whole process, it finds
its path in STATE, if it was meant. While a function that traces runs, others that trace are not called.
"""

WAYS = r'''
import _thread, gc
try:
    import csv
except ImportError: # a program without dynamic symbols
    csv = None

def take(name):
    return STATE.__dict__.pop(name, None)

def no_trace(frame, event, arg):
    pass

def through_settrace(path):
    def in_settrace(frame, event, arg):
        sys.settrace(None)
        go(path)
    sys._getframe().f_trace = in_settrace
    sys.settrace(no_trace)
    sys.settrace(None)

def through_setprofile(path):
    def in_setprofile(frame, event, arg):
        sys.setprofile(None)
        go(path)
    sys.setprofile(in_setprofile)
    len(())
    sys.setprofile(None)

if hasattr(sys, "monitoring"):
    def in_monitor(code, line):
        path = take("monitor")
        if path:
            go(path)

    def through_monitor(path):
        STATE.monitor = path
        take("monitor")
    sys.monitoring.use_tool_id(3, "merge")
    sys.monitoring.register_callback(3, sys.monitoring.events.LINE, in_monitor)
    sys.monitoring.set_local_events(3, through_monitor.__code__, sys.monitoring.events.LINE)

if hasattr(sys, "breakpointhook"): # from 3.7 on
    def in_breakpoint():
        go(STATE.kept.pop())
    sys.breakpointhook = in_breakpoint
    def through_breakpoint(path):
        keep(path)
        breakpoint()

if hasattr(sys, "unraisablehook"): # from 3.8 on
    class Raising:
        def __del__(self):
            raise ValueError
    def in_unraisable(what):
        go(STATE.kept.pop())
    sys.unraisablehook = in_unraisable
    def through_unraisable(path):
        keep(path)
        Raising()

async def nothing():
    yield 1

def through_agen(path):
    def in_agen(one):
        go(path)
    sys.set_asyncgen_hooks(finalizer=in_agen)
    one = nothing()
    try:
        one.asend(None).send(None)
    except StopIteration:
        pass
    sys.set_asyncgen_hooks(finalizer=None)
    del one

def through_gendel(path):
    def in_gendel():
        try:
            yield 1
        finally:
            go(path)
    one = in_gendel()
    next(one)
    del one

def through_star(path):
    def in_star():
        go(path)
        yield 1
    max(*in_star(), 0)

if sys.version_info >= (3, 11):
    def through_group(path):
        def in_group(error):
            go(path)
            return False
        ExceptionGroup("", [ValueError()]).split(in_group)

if sys.version_info >= (3, 10):
    import bisect
    def through_bisect(path):
        def in_bisect(x):
            go(path)
            return x
        bisect.bisect_right([1], 1, key=in_bisect)

if CALL:
    class Param:
        pass
    try:
        LIBC = ctypes.CDLL(None)
        LIBC.abs
    except (OSError, AttributeError): # a program without dynamic symbols
        LIBC = None
    if LIBC:
        def through_errcheck(path):
            def in_errcheck(result, function, arguments):
                go(path)
            absolute = LIBC["abs"]
            absolute.errcheck = in_errcheck
            absolute(1)

        def through_param(path):
            def in_param(x):
                go(path)
                return x
            param = Param()
            param.from_param = in_param
            absolute = LIBC["abs"]
            absolute.argtypes = [param]
            absolute(1)

        def through_pythonapi(path):
            def in_pythonapi():
                go(path)
            ctypes.pythonapi.PyObject_CallObject(ctypes.py_object(in_pythonapi), None)

class Written:
    def __init__(self, path):
        self.path = path
    def write(self, row):
        go(self.path)
    def start(self, tag, attributes):
        go(self.path)

if csv:
    def through_csv(path):
        csv.writer(Written(path)).writerow([1])

try:
    import _elementtree
except ImportError:
    pass
else:
    def through_etree(path):
        _elementtree.XMLParser(target=Written(path)).feed("<a/>")

if sqlite3:
    def in_collate(a, b):
        go(STATE.kept.pop())
        return 0
    def through_collate(path):
        if not hasattr(STATE, "collating"):
            STATE.collating = sqlite3.connect(":memory:")
            STATE.collating.create_collation("merge", in_collate)
        keep(path)
        STATE.collating.execute("select ? < ? collate merge", ("a", "b")).fetchall()

class Buffered(io.BufferedIOBase):
    def __init__(self, path):
        self.path = path
    def readable(self):
        return True
    def read1(self, n):
        go(self.path)
        return b""

def through_text(path):
    io.TextIOWrapper(Buffered(path), encoding="ascii").read(1)

class Closing(io.RawIOBase):
    def __init__(self, path):
        self.path = path
    def close(self):
        path, self.path = self.path, None
        if path:
            go(path)

def through_closing(path):
    one = Closing(path)
    del one

def in_encode(text, errors="strict"):
    go(STATE.kept.pop())
    return b"", len(text)

def in_search(name):
    if name == "mergecodec":
        return codecs.CodecInfo(in_encode, None, name="mergecodec")
    path = take("search")
    if path:
        go(path)

codecs.register(in_search)
for name in "mergecodec", "absent":
    try: # encodings imports a module of this name, or remembers that there is none
        codecs.lookup(name)
    except LookupError:
        pass

def through_encode(path):
    keep(path)
    "a".encode("mergecodec")

def through_search(path):
    STATE.search = path
    try:
        codecs.lookup("absent")
    except LookupError:
        pass

try:
    import _datetime
except ImportError:
    pass
else:
    class Zone(_datetime.tzinfo):
        def __init__(self, path):
            self.path = path
        def utcoffset(self, when):
            go(self.path)

    def through_zone(path):
        _datetime.datetime(2000, 1, 1, tzinfo=Zone(path)).utcoffset()

def through_takewhile(path):
    def in_takewhile(x):
        go(path)
    list(itertools.takewhile(in_takewhile, [1]))

def through_dropwhile(path):
    def in_dropwhile(x):
        go(path)
    list(itertools.dropwhile(in_dropwhile, [1]))

def through_starmap(path):
    def in_starmap(x):
        go(path)
    list(itertools.starmap(in_starmap, [(1,)]))

def through_accumulate(path):
    def in_accumulate(x, y):
        go(path)
    list(itertools.accumulate([1, 2], in_accumulate))

def through_filterfalse(path):
    def in_filterfalse(x):
        go(path)
    list(itertools.filterfalse(in_filterfalse, [1]))

def through_sentinel(path):
    def in_sentinel():
        go(path)
    list(iter(in_sentinel, None))

def through_cmp(path):
    def in_cmp(x, y):
        go(path)
        return 0
    key = functools.cmp_to_key(in_cmp)
    key(1) < key(2)

def through_dumps(path):
    def in_dumps(x):
        go(path)
    json.dumps(Referred(), default=in_dumps)

def through_bounded(path):
    @functools.lru_cache(1)
    def in_bounded(x):
        go(path)
    in_bounded(1)

@functools.singledispatch
def in_single(path):
    go(path)
def through_single(path):
    in_single(path)
'''

# What runs on a stack of its own; not with signals, which the main thread handles whatever it waits for.
THREADS = r'''
def through_raw(path):
    def in_raw():
        go(path)
        lock.release()
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.start_new_thread(in_raw, ())
    lock.acquire()

def in_thread(path):
    go(path)
def through_thread(path):
    thread = threading.Thread(target=in_thread, args=(path,))
    thread.start()
    thread.join()
'''

# What would do the work of another thread as well, or holds a lock meanwhile (import, and warnings from 3.14 on): the main
# thread's alone.
ALONE = r'''
import atexit, warnings
class Finder:
    def find_spec(self, name, where=None, target=None):
        path = take("import")
        if path:
            go(path)

sys.meta_path.append(Finder())
def through_import(path):
    STATE.__dict__["import"] = path
    try:
        __import__("absent_%d" % _thread.get_ident())
    except ImportError:
        pass

def in_warning(*_):
    go(STATE.kept.pop())
warnings.showwarning = in_warning
warnings.simplefilter("ignore") # those of resources come at any time
warnings.simplefilter("always", UserWarning)
def through_warning(path):
    keep(path)
    warnings.warn("")

def through_atexit(path):
    def in_atexit():
        atexit.unregister(in_atexit)
        go(path)
    atexit.register(in_atexit)
    atexit._run_exitfuncs()

def in_gc(phase, what):
    STATE.collecting = phase == "start"
    path = take("gc")
    if path:
        go(path)
gc.disable()
gc.callbacks.append(in_gc)
STATE.collecting = False # what is garbage meanwhile would be found by that collection, elsewhere

def through_gc(path):
    STATE.gc = path
    gc.collect()
    take("gc")

class Cycle:
    def __init__(self, path):
        self.path, self.cycle = path, self
    def __del__(self):
        in_del(self.path)

def through_gcdel(path):
    if not STATE.collecting:
        Cycle(path)
        gc.collect()

def through_gcref(path):
    def in_gcref(ref):
        go(path)
    one = Referred()
    one.cycle = one
    ref = weakref.ref(one, in_gcref)
    del one
    gc.collect()
'''

BETWEEN = {
    "settrace": [{"call_trampoline", "trace_trampoline"}],
    "setprofile": [{"call_trampoline", "profile_trampoline"}],
    "monitor": [{"_Py_call_instrumentation_line", "call_one_instrument"}],
    "import": [{"PyImport_ImportModuleLevelObject"}, {"py:_find_and_load"}, {"py:_find_spec"}],
    "breakpoint": [{"builtin_breakpoint"}],
    "unraisable": [{"slot_tp_finalize"}],
    "warning": [{"warnings_warn", "warnings_warn_impl", "do_warn", "warn_explicit"}, {"py:_showwarnmsg"}],
    "agen": [{"_PyGen_Finalize", "gen_finalize"}],
    "gendel": [{"_PyGen_Finalize", "gen_finalize", "gen_close", "builtin_next"}],
    "star": [{"gen_iternext", "gen_send_ex", "gen_send_ex2"}],
    "group": [{"exceptiongroup_split_recursive", "BaseExceptionGroup_split"}],
    "bisect": [{"_bisect_bisect_right", "_bisect_bisect_right_impl", "internal_bisect_right", "@_bisect"}],
    "errcheck": [{"PyCFuncPtr_call", "@_ctypes"}],
    "param": [{"PyCFuncPtr_call", "@_ctypes"}],
    "pythonapi": [{"PyCFuncPtr_call", "@_ctypes"}, {"ffi_call"},
                  {"PyObject_CallObject", "_PyObject_FastCallDict", "_PyFunction_FastCallDict"}],
    "csv": [{"csv_writerow", "@_csv"}],
    "etree": [{"expat_start_handler", "@_elementtree"}],
    "collate": [{"sqlite3_step", "@_sqlite3", "@libsqlite3"}],
    "text": [{"textiowrapper_read_chunk"}],
    "closing": [{"iobase_finalize"}],
    "encode": [{"_PyCodec_EncodeInternal", "_PyCodec_EncodeText"}],
    "search": [{"_PyCodec_Lookup"}],
    "zone": [{"call_tzinfo_method", "@_datetime"}],
    "takewhile": [{"takewhile_next"}],
    "dropwhile": [{"dropwhile_next"}],
    "starmap": [{"starmap_next"}],
    "accumulate": [{"accumulate_next"}],
    "filterfalse": [{"filterfalse_next"}],
    "sentinel": [{"calliter_iternext"}],
    "cmp": [{"keyobject_richcompare"}],
    "dumps": [{"py:dumps"}, {"py:encode"}, {"encoder_call", "@_json"}],
    "bounded": [{"bounded_lru_cache_wrapper"}],
    "single": [{"py:wrapper"}],
    "atexit": [{"atexit_callfuncs", "atexit_run_exitfuncs"}],
    "gc": [{"invoke_gc_callback", "gc_collect_main", "gc_collect"}],
    "gcdel": [{"gc_collect", "gc_collect_main"}, {"slot_tp_finalize"}],
    "gcref": [{"handle_callback", "handle_weakrefs", "call_weakref_callbacks",
               "handle_weakref_callbacks", "gc_collect_main"}],
}
INNER = {"import": "find_spec", "csv": "write", "etree": "start", "text": "read1", "closing": "close",
         "zone": "utcoffset", "gcdel": "__del__"}
MAKING = {(way, "__init__") for way in INNER} | {(way, "take") for way in ("monitor", "gc")} | {
    (way, "keep") for way in ("breakpoint", "unraisable", "warning", "collate", "encode")} | {
    ("unraisable", "__del__"), ("agen", "nothing"), ("text", "readable"), ("gcdel", "in_gc"), ("gcref", "in_gc"),
    ("dumps", "__init__")}
INLINED = {}
# what the compiler has made part of the evaluator, in some builds without names (GCC, Debian's 3.13: from the line's event to
# the call of the evaluator)
INSIDE = {"settrace"}
MAYBE_INSIDE = {"@_bisect", "@_csv", "@_elementtree", "@_datetime"}
GENERATORS = {"gendel", "star"}
# ways that begin a stack
APART = {"raw", "thread"}
ROOTS = {"in_raw": None, "in_thread": None}
