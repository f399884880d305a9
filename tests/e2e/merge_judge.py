# SPDX-License-Identifier: Apache-2.0
"""Is a stack of merge_programs.py in its true order?

Each step from one function of the program to the next must be one that the program takes, with what C does for it in
between, and nothing in between where Python calls Python; and the ways that it has taken must be a path of the program.
"""
import re

import harness
import merge_hooks
import merge_slots

# way -> what of C stands between its two Python functions, outermost first; each is a choice of names: of functions
# (the compiler may inline some: those here are called through pointers), of modules (@), of libraries' Python
# functions (py:).
BETWEEN = {
    "sorted": [{"list_sort", "list_sort_impl", "builtin_sorted"}],
    "reduce": [{"functools_reduce", "_functools_reduce", "_functools_reduce_impl"}],
    "re": [{"pattern_sub", "_sre_SRE_Pattern_sub", "pattern_subx"}],
    "ctypes": [{"PyCFuncPtr_call", "@_ctypes"}, {"ffi_call"}, {"closure_fcn", "@_ctypes"}],
    "del": [{"slot_tp_finalize"}],
    "eq": [{"slot_tp_richcompare"}],
    "generator": [{"gen_iternext", "gen_send_ex", "gen_send_ex2"}],
    "send": [{"gen_send", "gen_send_ex", "gen_send_ex2"}],
    "init": [{"slot_tp_init"}],
    "exec": [{"builtin_exec", "builtin_exec_impl"}],
    # some builds jump from partial_vectorcall to what it calls
    "partial": [{"partial_call", "partial_vectorcall", "partial_vectorcall_impl", "partial_fastcall",
                 "partial_call_impl", "_PyObject_VectorcallTstate"}],
    "map": [{"map_next"}],
    "radd": [{"slot_nb_add", "binary_op1", "PyNumber_Add"}],
    "groupby": [{"groupby_next", "_grouper_next", "groupby_step"}],
    "filter": [{"filter_next"}],
    "max": [{"min_max", "builtin_max"}],
    "json": [{"py:loads"}, {"py:decode"}, {"py:raw_decode"}, {"scanner_call", "@_json"}],
    "expat": [{"pyexpat_xmlparser_Parse", "@pyexpat"}],
    "sqlite": [{"sqlite3_step", "@_sqlite3", "@libsqlite3"}],
    "setitem": [{"slot_mp_ass_subscript"}],
    "getitem": [{"slot_mp_subscript", "call_method"}],
    "call": [{"slot_tp_call", "_PyObject_MakeTpCall"}],
    "contains": [{"slot_sq_contains"}],
    "lt": [{"slot_tp_richcompare"}],
    "str": [{"slot_tp_str"}],
    "index": [{"slot_nb_index", "PyNumber_Index"}],
    "next": [{"slot_tp_iternext", "builtin_next"}],
    "enter": [{"method_vectorcall", "_PyObject_VectorcallTstate", "PyObject_Vectorcall", "_PyObject_Call_Prepend"}],
    "property": [{"property_descr_get", "_PyObject_GenericGetAttrWithDict", "PyObject_GetAttr"}],
    "getattr": [{"slot_tp_getattr_hook", "_Py_slot_tp_getattr_hook"}],
    "weakref": [{"handle_callback", "PyObject_ClearWeakRefs"}],
    "throw": [{"gen_throw", "_gen_throw", "builtin_next"}],
    "close": [{"gen_close", "builtin_next"}],
    "join": [{"unicode_join", "PyUnicode_Join", "PySequence_Fast"}],
    "context": [{"context_run"}],
    "factory": [{"defdict_missing"}],
    "lru": [{"infinite_lru_cache_wrapper", "lru_cache_call"}],
    "io": [{"_bufferedreader_raw_read", "_bufferedreader_fill_buffer"}],
    "pickle": [{"_pickle_loads", "load_build", "@_pickle"}],
    "class": [{"builtin___build_class__"}],
    "codec": [{"unicode_decode_call_errorhandler_writer", "PyUnicode_DecodeASCII", "unicode_decode_call_errorhandler"}],
    "signal": [{"_PyErr_CheckSignalsTstate", "handle_signals", "_Py_HandlePending", "PyErr_CheckSignals"}],
    "ufunc": [{"@_multiarray_umath"}],
    "vectorize": [{"py:__call__"}, {"@_multiarray_umath"}],
    "cython": [{"@itertoolz"}],
    "lxml": [{"@etree"}],
    "pybind": [{"@_core"}],
    "rust": [{"@_pydantic_core"}],
    "qsort": [{"PyCFuncPtr_call", "@_ctypes"}, {"qsort", "qsort_r", "@libc"}, {"closure_fcn", "@_ctypes"}],
}
INNER = {"init": "__init__", "del": "__del__", "eq": "__eq__", "exec": "<module>", "radd": "__radd__",
         "setitem": "__setitem__", "getitem": "__getitem__", "call": "__call__", "contains": "__contains__", "lt": "__lt__",
         "str": "__str__", "index": "__index__", "next": "__next__", "enter": "__enter__", "property": "shown",
         "getattr": "__getattr__", "io": "readinto", "pickle": "__setstate__"}
# ... and the functions that make the object that a way is about
MAKING = {("del", "__init__"), ("eq", "__init__"), ("eq", "__hash__"), ("radd", "__init__"), ("getattr", "__init__"),
          ("io", "__init__"), ("io", "readable"), ("enter", "__exit__")} | {
    (way, "keep") for way in ("sqlite", "pickle", "codec", "signal")} | {
    (way, "__init__") for way in ("setitem", "getitem", "call", "contains", "lt", "str", "index", "next", "enter", "property")}
# the version from which on the specializing evaluator does it without C
INLINED = {"init": (3, 12), "getitem": (3, 11), "property": (3, 12), "enter": (3, 14)}
# modules that may be part of the program
MAYBE_INSIDE = {"@_ctypes", "@pyexpat", "@_json", "@_pickle", "@_sqlite3"}
# the call that makes a generator is none of C
GENERATORS = {"generator", "send", "throw", "close", "join"}
AWAIT = {"gen_send_ex", "gen_send_ex2", "gen_iternext", "_PyGen_Send", "PyGen_am_send", "PyIter_Send", "gen_send"}
CALLS = {  # function of the program -> those that it calls
    "main": {"go"}, "__del__": {"in_del"}, "__eq__": {"in_eq"}, "__init__": {"go"}, "__radd__": {"go"},
    "in_ring": {"main"}, "in_gevent": {"main"}, "in_task": {"outer"}, "outer": {"inner"}, "inner": {"go"},
    "<module>": {"go", "main", "make_ring", "in_task"},
    "find_spec": {"take"}, "in_gc": {"go", "take"}, "in_monitor": {"go", "take"}, "in_search": {"go", "take"},
}
for more in merge_slots, merge_hooks:
    BETWEEN.update(more.BETWEEN)
    INNER.update(more.INNER)
    MAKING |= more.MAKING
    INLINED.update(more.INLINED)
    MAYBE_INSIDE |= more.MAYBE_INSIDE
    GENERATORS |= more.GENERATORS
for name in INNER.values():
    CALLS.setdefault(name, set()).add("go")
# functions that a stack may begin with -> what of C is the root of it (None: the thread's beginning)
ROOTS = {"<module>": None, "main": None, "make_ring": None, "in_greenlet": "_greenlet", "in_ring": "_greenlet",
         "in_gevent": "_greenlet"}
ROOTS.update(merge_hooks.ROOTS)
APART = {"greenlet"} | merge_hooks.APART

PYTHON = re.compile(r"(?:.*\.)?(\S+) \((.*\.py|<frozen .*>)(?::\d+)?\)")
NATIVE = re.compile(r"(.*) \((\S+)\)")
NAMELESS = re.compile(r"(\S+)\+0x[0-9a-f]+")
EVALUATORS = re.compile(r"_PyEval_EvalFrameDefault|_TAIL_CALL_|_PyEval_EvalFrame ")


MISMATCH = "[truncated: native_mismatch]"
EXITING = "[exiting]"


def is_cut(label):
    return harness.is_marker(label) and label != "[unknown] ([jit])"


def split(stack):
    """(what comes before the first, [(function of the program, what is between it and the next)]), outermost first."""
    before, steps = [], []
    for label in stack:
        match = PYTHON.fullmatch(label)
        if match and match[2].endswith("program.py"):
            steps.append((match[1], []))
        else:
            (steps[-1][1] if steps else before).append(label)
    return before, steps


def words(label):
    """What a choice may call a frame."""
    match = PYTHON.fullmatch(label)
    if match:
        return {"py:" + match[1]}
    match = NATIVE.fullmatch(label)
    if match:
        return {match[1].split(".")[0], "@" + match[2].split(".")[0], "@" + match[2]}
    match = NAMELESS.fullmatch(label)
    return {"@" + match[1].split(".")[0], "@" + match[1]} if match else {label}


def holds(gap, wanted):
    """Are there functions of these names in it, in this order?"""
    have = iter([words(label) for label in gap])
    return all(any(each & choice for each in have) for choice in wanted)


class Judge:
    """Of the samples of one program of one interpreter. paths: {number: [way, ...]}, as the program told them."""

    def __init__(self, python, paths):
        self.version = python.version
        self.named = not python.kinds & {"stripped", "standalone"}
        self.greenlets = any("greenlet" in ways for ways in paths.values())
        self.threads = any(merge_hooks.APART & set(ways) for ways in paths.values())
        self.paths = {number: self._segments(ways) for number, ways in paths.items()}
        self.prefixes = {segment[:n] for segments in self.paths.values() for segment in segments
                         for n in range(len(segment) + 1)}

    @staticmethod
    def _segments(ways):
        """A greenlet or a thread has a stack of its own."""
        segments = [[]]
        for way in ways:
            segments[-1].append(way)
            if way in APART:
                segments.append([])
        return [tuple(segment) for segment in segments]

    def _way_fault(self, way, gap, callee, innermost):
        if callee != INNER.get(way, "in_" + way):
            return None if (way, callee) in MAKING else "calls %s" % callee
        if not gap and self.version >= INLINED.get(way, (4,)):
            return None
        if not gap and not self.named and way in merge_hooks.INSIDE:
            return None
        if not gap and self.version >= (3, 11) and way in GENERATORS and innermost:
            return None
        if not gap:
            return "has nothing in between"
        wanted = BETWEEN[way]
        if not self.named:
            wanted = [choice for choice in wanted if any(name[0] == "@" or name[:3] == "py:" for name in choice)]
            wanted = [choice for choice in wanted if not choice & MAYBE_INSIDE]
        return None if holds(gap, wanted) else "goes through something else"

    def _step_fault(self, caller, gap, callee, innermost, cut):
        kind, _, way = caller.partition("_")
        if kind == "through":
            return None if cut else self._way_fault(way, gap, callee, innermost)
        if kind == "in" and caller not in CALLS:
            fits = callee == "go"
        elif caller == "go":
            fits = callee.startswith(("burn_", "through_"))
        elif kind == "burn":
            fits = callee == "swap"
        else:
            fits = callee in CALLS.get(caller, ())
        if not fits:
            return "calls %s" % callee
        if callee in ("outer", "inner") or (caller, callee) == ("<module>", "in_task"):
            # await, or a loop of events
            return None if cut or not gap or not self.named or callee == "in_task" or holds(gap, [AWAIT]) \
                else "awaits through something else"
        if self.version >= (3, 11) and gap and not cut:
            return "has C in between"
        return None

    def _path_fault(self, functions):
        ways = tuple(name[8:] for name in functions if name.startswith("through_"))
        leaf = next((name for name in functions if name.startswith("burn_")), None)
        if leaf:
            segments = self.paths[int(leaf[5:])]
            return None if ways == segments[-1] else "is at the end of %s by %s" % (segments[-1], ways)
        return None if ways in self.prefixes else "has taken %s" % (ways,)

    def _root_fault(self, before, first, cut):
        if first not in ROOTS:
            return "does not begin at the outermost function"
        if not before:
            return None if cut else "has no native root"
        module = ROOTS[first]
        if module and not any(is_cut(label) for label in before) and not words(before[0]) & {"@" + module}:
            return "has %s below its greenlet" % before[0]
        if not module and any("@_greenlet" in words(label) for label in before):
            return "has greenlets below its root"
        return None

    def _is_end(self, stack):
        """May it be of a greenlet or thread that begins or ends?"""
        if self.threads and (is_cut(stack[0]) or words(stack[0]) & {"clone", "clone3", "@libc", "@ld-musl-x86_64"}):
            return True
        return any("@_greenlet" in words(label) for label in stack) or (self.greenlets and any(map(is_cut, stack)))

    def fault(self, stack):
        """What is wrong with a stack, or None."""
        before, steps = split(stack)
        # The outermost native frames may be missing; others may not.
        cut = any(is_cut(label) for label in stack[len(before):]) or MISMATCH in stack
        if any(EVALUATORS.match(label) for label in stack):
            return "has the evaluator in it"
        if not steps:
            return None if self._is_end(stack) else "no Python"
        wrong = self._root_fault(before, steps[0][0], cut)
        if wrong:
            return wrong
        for i, ((caller, gap), (callee, _)) in enumerate(zip(steps, steps[1:]), 2):
            wrong = self._step_fault(caller, gap, callee, i == len(steps), cut)
            if wrong:
                return "%s %s" % (caller, wrong)
        return self._path_fault([name for name, _ in steps])
