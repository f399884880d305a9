# SPDX-License-Identifier: Apache-2.0
"""Parts of merge_programs.py: special methods and other functions that C calls at once, and what C stands before them.

The tables are as in merge_judge.py.
"""

WAYS = r'''
import os, types
try:
    import math
except ImportError: # a program without dynamic symbols
    math = None

class Slotted:
    def __init__(self, path):
        self.path = path
    def __len__(self):
        go(self.path)
        return 1
    def __bool__(self):
        go(self.path)
        return True
    def __iter__(self):
        go(self.path)
        return iter(())
    def __repr__(self):
        go(self.path)
        return ""
    def __str__(self):
        go(self.path)
        return ""
    def __hash__(self):
        go(self.path)
        return 1
    def __eq__(self, other):
        go(self.path)
        return True
    def __bytes__(self):
        go(self.path)
        return b""
    def __float__(self):
        go(self.path)
        return 1.0
    def __int__(self):
        go(self.path)
        return 1
    def __complex__(self):
        go(self.path)
        return 1j
    def __length_hint__(self):
        go(self.path)
        return 1
    def __reversed__(self):
        go(self.path)
    def __delattr__(self, name):
        go(self.path)
    def __delitem__(self, key):
        go(self.path)
    def __format__(self, text):
        go(self.path)
        return ""
    def __round__(self):
        go(self.path)
    def __dir__(self):
        go(self.path)
        return []
    def __sizeof__(self):
        go(self.path)
        return 1
    def __matmul__(self, other):
        go(self.path)
    def __iadd__(self, other):
        go(self.path)
        return self
    def __pow__(self, other):
        go(self.path)
    def __neg__(self):
        go(self.path)
    def __floor__(self):
        go(self.path)
    def __fspath__(self):
        go(self.path)
        return ""
    def called(self):
        go(self.path)
    def write(self, text):
        go(self.path)
    def keys(self):
        go(self.path)
        return ()
    def __getitem__(self, key):
        go(self.path)

def through_len(path):
    len(Slotted(path))
def through_bool(path):
    not Slotted(path)
def through_iter(path):
    iter(Slotted(path))
def through_repr(path):
    repr(Slotted(path))
def through_percent(path):
    "%s" % Slotted(path)
def through_hash(path):
    hash(Slotted(path))
def through_lists(path):
    [Slotted(path)] == [Slotted(path)]
def through_bytes(path):
    bytes(Slotted(path))
def through_float(path):
    float(Slotted(path))
def through_int(path):
    int(Slotted(path))
def through_complex(path):
    complex(Slotted(path))
def through_hint(path):
    operator.length_hint(Hinted(path))
def through_reversed(path):
    reversed(Slotted(path))
def through_delattr(path):
    del Slotted(path).absent
def through_delitem(path):
    del Slotted(path)[1]
def through_format(path):
    format(Slotted(path))
def through_round(path):
    round(Slotted(path))
def through_dir(path):
    dir(Slotted(path))
def through_sizeof(path):
    sys.getsizeof(Slotted(path))
def through_matmul(path):
    Slotted(path) @ 1
def through_iadd(path):
    one = Slotted(path)
    one += 1
def through_pow(path):
    Slotted(path) ** 2
def through_neg(path):
    -Slotted(path)
if math:
    def through_floor(path):
        math.floor(Slotted(path))
def through_fspath(path):
    os.fspath(Slotted(path))
def through_caller(path):
    operator.methodcaller("called")(Slotted(path))
def through_print(path):
    print("", file=Slotted(path), end="")
def through_keys(path):
    dict(Slotted(path))
def through_translate(path):
    "a".translate(Slotted(path))

class Hinted:
    def __init__(self, path):
        self.path = path
    def __length_hint__(self):
        go(self.path)
        return 1

class Set:
    def __init__(self, path):
        self.__dict__["path"] = path
    def __setattr__(self, name, value):
        go(self.path)

def through_setattr(path):
    Set(path).absent = 1

class Got:
    def __init__(self, path):
        self.path = path
    def __getattribute__(self, name):
        if name == "absent":
            go(object.__getattribute__(self, "path"))

def through_getattribute(path):
    Got(path).absent

class New:
    def __new__(cls, path):
        go(path)
        return object.__new__(cls)

def through_new(path):
    New(path)

class Missing(dict):
    def __missing__(self, key):
        go(key.path)

class Plain:
    def __init__(self, path):
        self.path = path

def through_missing(path):
    Missing()[Plain(path)]

class Descriptor:
    def __get__(self, one, kind):
        go(one.path)
    def __set__(self, one, value):
        go(one.path)

class Described:
    described = Descriptor()
    def __init__(self, path):
        self.path = path

def through_get(path):
    Described(path).described
def through_set(path):
    Described(path).described = 1

class Meta(type):
    def __prepare__(name, bases, path=None):
        if path:
            go(path)
        return {}
    def __new__(cls, name, bases, scope, path=None):
        return type.__new__(cls, name, bases, scope)
    def __init__(self, name, bases, scope, path=None):
        pass
    def __call__(self, path):
        go(path)
    def __instancecheck__(self, path):
        go(path)
        return True
    def __subclasscheck__(self, other):
        go(other.path)
        return True

class Metered(metaclass=Meta):
    pass

def through_prepare(path):
    class Prepared(metaclass=Meta, path=path):
        pass
def through_metacall(path):
    Metered(path)
def through_isinstance(path):
    isinstance(path, Metered)
def through_issubclass(path):
    issubclass(Plain(path), Metered)

class Mro(type):
    def mro(self):
        go(STATE.kept.pop())
        return type.mro(self)

def through_mro(path):
    keep(path)
    Mro("Ordered", (), {})

class Named:
    def __init__(self, path):
        self.path = path
    def __set_name__(self, owner, name):
        go(self.path)

def through_setname(path):
    type("Naming", (), {"name": Named(path)})

class Base:
    def __init_subclass__(cls, path=None):
        go(path)

def through_subclass(path):
    class Derived(Base, path=path):
        pass

class Inherited(Special):
    shown = None

def through_super(path):
    super(Inherited, Inherited(path)).shown

if hasattr(functools, "cached_property"): # from 3.8 on
    class Cached:
        def __init__(self, path):
            self.path = path
        @functools.cached_property
        def in_cached(self):
            go(self.path)

    def through_cached(path):
        Cached(path).in_cached

if sys.version_info >= (3, 7):
    class Generic:
        def __class_getitem__(cls, path):
            go(path)

    def through_classitem(path):
        Generic[path]

    class Entry:
        def __init__(self, path):
            self.path = path
        def __mro_entries__(self, bases):
            go(self.path)
            return ()

    def through_entries(path):
        class Replaced(Entry(path)):
            pass

if sys.version_info >= (3, 9):
    ALIAS = types.GenericAlias(Made, int)
    def through_alias(path):
        ALIAS(path)

if sys.version_info >= (3, 12):
    class Buffer:
        def __init__(self, path):
            self.path = path
        def __buffer__(self, flags):
            go(self.path)
            return memoryview(b"")

    def through_buffer(path):
        memoryview(Buffer(path))

class Reduced:
    def __init__(self, path):
        self.path = path
    def __reduce__(self):
        go(self.path)
        return int, ()

if pickle:
    def through_reduced(path):
        pickle.dumps(Reduced(path))

class Stated:
    def __init__(self, path):
        self.path = path
    def __getstate__(self):
        go(self.path)
        return ()

if pickle:
    def through_stated(path):
        pickle.dumps(Stated(path))
'''

BETWEEN = {
    "len": [{"slot_sq_length"}],
    "bool": [{"slot_nb_bool"}],
    "iter": [{"slot_tp_iter"}],
    "repr": [{"slot_tp_repr"}],
    "percent": [{"PyUnicode_Format"}, {"slot_tp_str"}],
    "hash": [{"slot_tp_hash"}],
    "lists": [{"list_richcompare"}, {"slot_tp_richcompare"}],
    "bytes": [{"PyObject_Bytes", "bytes_new", "bytes_new_impl"}],
    "float": [{"slot_nb_float", "PyNumber_Float"}],
    "int": [{"slot_nb_int", "PyNumber_Long"}],
    "complex": [{"complex_new", "complex_new_impl", "actual_complex_new", "try_complex_special_method"}],
    "hint": [{"PyObject_LengthHint"}],
    "reversed": [{"reversed_new", "reversed_new_impl", "reversed_vectorcall"}],
    "delattr": [{"slot_tp_setattro"}],
    "setattr": [{"slot_tp_setattro"}],
    "delitem": [{"slot_mp_ass_subscript"}],
    "format": [{"PyObject_Format", "builtin_format"}],
    "round": [{"builtin_round", "builtin_round_impl"}],
    "dir": [{"PyObject_Dir", "_dir_object", "builtin_dir"}],
    "sizeof": [{"_PySys_GetSizeOf", "sys_getsizeof"}],
    "matmul": [{"slot_nb_matrix_multiply"}],
    "iadd": [{"slot_nb_inplace_add", "PyNumber_InPlaceAdd"}],
    "pow": [{"slot_nb_power", "slot_nb_power_binary"}],
    "neg": [{"slot_nb_negative", "call_method"}],
    "floor": [{"math_floor", "@math"}],
    "fspath": [{"PyOS_FSPath", "os_fspath"}],
    "caller": [{"methodcaller_call", "methodcaller_vectorcall", "PyObject_VectorcallMethod", "@_operator"}],
    "print": [{"PyFile_WriteObject"}],
    "keys": [{"PyMapping_Keys", "dict_merge", "dict_update_arg", "dict_update_common", "method_output_as_list"}],
    "translate": [{"_PyUnicode_TranslateCharmap", "charmaptranslate_output", "charmaptranslate_lookup"}],
    "getattribute": [{"slot_tp_getattr_hook", "slot_tp_getattro", "_Py_slot_tp_getattro", "call_method"}],
    "new": [{"slot_tp_new"}],
    "missing": [{"dict_subscript", "_PyDict_Subscript", "_PyDict_SubscriptKnownHash"}],
    "get": [{"slot_tp_descr_get", "_PyObject_GenericGetAttrWithDict"}],
    "set": [{"slot_tp_descr_set"}],
    "prepare": [{"builtin___build_class__"}],
    "metacall": [{"slot_tp_call"}],
    "isinstance": [{"builtin_isinstance", "PyObject_IsInstance", "object_isinstance"}],
    "issubclass": [{"builtin_issubclass", "PyObject_IsSubclass", "object_issubclass"}],
    "mro": [{"type_new", "type_new_impl"}],
    "setname": [{"type_new", "type_new_impl"}],
    "subclass": [{"type_new", "type_new_impl"}],
    "super": [{"property_descr_get", "super_getattro", "do_super_lookup"}],
    "cached": [{"slot_tp_descr_get", "_PyObject_GenericGetAttrWithDict"}, {"py:__get__"}],
    "classitem": [{"PyObject_GetItem"}],
    "entries": [{"builtin___build_class__"}],
    "alias": [{"ga_call"}, {"slot_tp_init"}],
    "buffer": [{"slot_bf_getbuffer"}],
    "reduced": [{"_pickle_dumps", "save", "@_pickle"}],
    "stated": [{"_pickle_dumps", "save", "@_pickle"}, {"object___reduce_ex__", "object_reduce_ex"}],
}
INNER = {way: "__%s__" % way for way in BETWEEN}
INNER.update(percent="__str__", lists="__eq__", hint="__length_hint__", caller="called", print="write", keys="keys",
             translate="__getitem__", metacall="__call__", isinstance="__instancecheck__",
             issubclass="__subclasscheck__", mro="mro", setname="__set_name__", subclass="__init_subclass__",
             super="shown", cached="in_cached", classitem="__class_getitem__", entries="__mro_entries__",
             alias="__init__", reduced="__reduce__", stated="__getstate__")
MAKING = {(way, "__init__") for way in INNER if way not in ("alias", "subclass")} | {
    ("mro", "keep"), ("prepare", "__new__"), ("prepare", "Prepared"), ("subclass", "Derived"), ("entries", "Replaced")}
INLINED = {"getattribute": (3, 12)}
MAYBE_INSIDE = {"@math", "@_operator"}
GENERATORS = set()
