# SPDX-License-Identifier: Apache-2.0
"""Ways to call, as text that chains.py makes functions of: {f} is the function to be made, {c} the one that it calls.

DEEP is a way of its own, with a recursion of {depth}. IMPORTED is the module that the way with an import needs.
"""
WAYS = ["""
def {f}():
    return {c}()
""", """
def {f}():
    x = (1,
         {c}(
         ),
         2)
    return x
""", """
{f} = lambda: (
    {c}()
)
""", """
class {f}_class(object):
    def method(self, *args, **more):
        if not args:
            return {c}()
    @classmethod
    def by_class(cls): return cls().method()
    @staticmethod
    def by_static():
        return {f}_class.by_class()
    @property
    def prop(self):
        return self.by_static()
def {f}():
    return {f}_class().prop
""", """
class {f}_special(object):
    def __call__(self):
        return {c}()
    def __getattr__(self, name):
        return self()
    def __add__(self, other):
        return self.missing
    def __lt__(self, other):
        self + other
        return False
    def __getitem__(self, i):
        return self < self
    def __len__(self):
        self[0]
        return 1
    def __repr__(self):
        return len(self) and "x"
def {f}():
    return "%r" % {f}_special()
""", """
class {f}_init(object):
    def __new__(cls, *args):
        self = object.__new__(cls)
        return self
    def __init__(self, *args):
        {c}()
def {f}():
    {f}_init(1,
             2)
""", """
class {f}_meta(type):
    def __call__(cls):
        return {c}()
{f} = {f}_meta("{f}", (), {{}})
""", """
class {f}_del(object):
    def __del__(self):
        {c}()
def {f}():
    x = {f}_del()
    del x
    return 1
""", """
def {f}():
    class Body(object):
        value = 1; other = {c}()
    return Body
""", """
def {f}():
    def generator():
        yield 1
        yield {c}()
    for x in generator():
        pass
""", """
def {f}_inner():
    yield {c}()
def {f}_outer():
    yield from {f}_inner()
def {f}():
    return list({f}_outer())
""", """
def {f}():
    return [[
        {c}() for _ in (1,)] for _ in "x"]
""", """
def {f}():
    return {{1: 2 for _ in (1,) if not {c}()}}, {{3 for _ in ()}}
""", """
def {f}():
    return next({c}()
                for _ in iter((1, 2)))
""", """
def {f}():
    return sorted((1,), key=lambda x: ({c}(),
                                       0)[1])
""", """
def {f}():
    return list(map(lambda _: {c}(), (1,)))
""", """
def {f}():
    return list(filter(lambda _: {c}(), (1,)))
""", """
def {f}():
    return functools.reduce(
        lambda a, b: {c}(),
        (1, 2))
""", """
def {f}():
    return re.sub("x", lambda match: str({c}()), "x")
""", """
def {f}():
    return functools.partial({c})()
""", """
@functools.lru_cache(maxsize=0)
def {f}(): return {c}()
""", """
@functools.singledispatch
def {f}_dispatch(x):
    return None
@{f}_dispatch.register(int)
def {f}_int(x):
    return {c}()
def {f}():
    return {f}_dispatch(1)
""", """
def {f}_decorate(function):
    @functools.wraps(function)
    def wrapper(*args, **more):
        return function(*args,
                        **more)
    return wrapper
@{f}_decorate
@{f}_decorate
def {f}():
    return {c}()
""", """
async def {f}_inner():
    return {c}()
async def {f}_outer():
    x = [await {f}_inner()]
    return x
def {f}():
    try:
        {f}_outer().send(None)
    except StopIteration:
        pass
""", """
class {f}_manager(object):
    async def __aenter__(self):
        return self
    async def __aexit__(self, *args):
        {c}()
async def {f}_generator():
    yield 1
    async with {f}_manager():
        yield 2
async def {f}_main():
    async for x in {f}_generator():
        pass
def {f}():
    try:
        {f}_main().send(None)
    except StopIteration:
        pass
""", """
class {f}_awaitable(object):
    def __await__(self):
        {c}()
        return iter(())
async def {f}_main():
    await {f}_awaitable()
def {f}():
    try:
        {f}_main().send(None)
    except StopIteration:
        pass
""", """
def {f}():
    exec("x = 1\\n\\n{c}()")
""", """
def {f}():
    return eval(compile("(\\n{c}()\\n)", "<made by {f}>", "eval"))
""", """
def {f}():
    try:
        raise ValueError(1)
    except ValueError as error:
        return {c}()
""", """
def {f}():
    try:
        try:
            raise ValueError(1)
        finally:
            {c}()
    except ValueError:
        pass
""", """
class {f}_context(object):
    def __enter__(self):
        return self
    def __exit__(self, *args):
        {c}()
        return True
def {f}():
    with {f}_context() as a, {f}_context.__new__({f}_context):
        raise KeyError(
            a)
""", """
def {f}(depth=3):
    for i in range(2):
        while True:
            break
        if i == 1 and depth == 0:
            return {c}() if i else None
    return {f}(depth - 1)
""", """
def {f}():
    a = 1
    def one():
        nonlocal a
        def two(b=1, *, c=2):
            nonlocal a
            a += b + c
            return {c}(*(), **{{}})
        return two()
    return one()
""", """
class {f}_named(object):
    def __set_name__(self, owner, name):
        {c}()
def {f}():
    return type("Made", (object,), {{"x": {f}_named()}})
""", """
class {f}_item(object):
    def __hash__(self):
        return 1
    def __eq__(self, other):
        {c}()
        return True
def {f}():
    return {{{f}_item(): 1}}[{f}_item()]
""", """
class {f}_iterator(object):
    def __iter__(self):
        return self
    def __next__(self):
        {c}()
        raise StopIteration
def {f}():
    a, *b = 1, *{f}_iterator()
""", """
class {f}_format(object):
    def __format__(self, spec):
        {c}()
        return spec
def {f}():
    return f"{{{f}_format():x}}"
""", """
class {f}_seen(object):
    pass
def {f}():
    x = {f}_seen()
    r = weakref.ref(x, lambda r: {c}())
    del x
    return r
""", """
def {f}():
    thread = threading.Thread(target={c})
    thread.start()
    thread.join()
""", """
def {f}():
    sys.modules.pop("{f}_module", None)
    {f}_import()
def {f}_import():
    import {f}_module
"""]
DEEP = """
def {f}(depth={depth}):
    if depth:
        return {f}(depth - 1)
    return {c}()
"""
IMPORTED = """# imported
import chains_{number}
chains_{number}.{c}()
"""
