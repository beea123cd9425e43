"""One text, several machines: the laws of a model bound to a kind of number, and kernels compiled with them.

A law (`devices.models.laws`) reads ``law(size, x)``. Bound to NumPy or torch, `x` is a named tuple of rows
(`row`). In compiled code there is no `x`: each ``x.field`` becomes the element where that field lies,

    scalar    law(size, c, k, K)     x.alpha -> c[17]                x.weight -> c[24 + K + k]
    simd      law(size, w, at, j)    x.alpha -> w[17 BLOCK + j]      x.weight -> w[WEIGHT + at + j]

with c the rows of one neuron, k of K its domain; w the working rows of a block of neurons, `at` the offset of the
domain's row within its group, j the lane.

A kernel that calls laws is a `template`: a function that reads ``law.leak(v, c, k, K)``. It is compiled once for each
model by `compiled`, with every template that it calls.
"""

import ast
import hashlib
import inspect
import sys
import textwrap
from collections import namedtuple
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from bruno_spice.devices.models import laws as shared
from bruno_spice.devices.models import maths
from bruno_spice.devices.models.rows import DOMAINS_FROM, domain_names, shared_names

F = TypeVar("F", bound=Callable[..., Any])
DEVICES = "bruno_spice.devices"


class Laws(ModuleType):
    """In a template, what `of` makes of the model that it is compiled for, in single precision or not."""

    def __init__(self, name: str, of: Callable[[Any, bool], ModuleType]) -> None:
        super().__init__(name)
        self.of = of


LAWS = tuple(name for name, value in vars(shared).items() if inspect.isfunction(value))


# ---- laws for NumPy and torch

NUMPY = {name: getattr(maths, name) for name in maths.NAMES}


def text_of(model: Any, name: str) -> Any:
    """The law `name` of `model`, or the shared one."""
    return getattr(model, name, None) or getattr(shared, name)


def bind(model: Any, numbers: dict[str, Any]) -> SimpleNamespace:
    """The laws of `model` with `numbers` for the names of `devices.models.maths`."""
    bound: dict[str, Any] = {}
    for name in LAWS:
        function = inspect.unwrap(text_of(model, name))
        names = {**function.__globals__, **numbers}
        bound[name] = FunctionType(function.__code__, names, name, function.__defaults__)
    return SimpleNamespace(**bound)


@cache
def row(model: Any) -> Any:
    """The named tuple that the laws of `model` take as `x`."""
    return namedtuple("Row", shared_names(model.own) + domain_names(model.own_domain))


def row_of(model: Any, constants: Any, domain: int = 0) -> Any:
    """`x` for one domain out of `constants` (R, ...): any sequence of rows."""
    domains = (len(constants) - DOMAINS_FROM) // 4
    own = [constants[DOMAINS_FROM + group * domains + domain] for group in range(4)]
    return row(model)(*(constants[n] for n in range(DOMAINS_FROM)), *own)


# ---- laws in machine code


def _scalar_maths() -> dict[str, Any]:
    import math

    import numba

    def where(condition, this, that):  # type: ignore[no-untyped-def]  # numba types it
        return this if condition else that

    def power(base, exponent):  # type: ignore[no-untyped-def]  # numba types it
        return base**exponent

    bound = {"where": numba.njit(inline="always")(where), "power": numba.njit(inline="always")(power)}
    names = ("exp", "expm1", "log1p", "tanh")
    return bound | {"maximum": max, "minimum": min, "absolute": abs} | {name: getattr(math, name) for name in names}


def _simd_maths() -> dict[str, Any]:
    from bruno_spice.devices.ferroelectric.lanes import vector_math

    return {name: getattr(vector_math, name) for name in maths.NAMES if name != "absolute"} | {"absolute": abs}


class _Elements(ast.NodeTransformer):
    """Turns ``x.field`` into the element that holds it, and numbers into those of the precision."""

    def __init__(self, model: Any, simd: bool) -> None:
        from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK

        self.simd, self.block = simd, BLOCK
        self.shared, self.domain = shared_names(model.own), domain_names(model.own_domain)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if not (isinstance(node.value, ast.Name) and node.value.id == "x"):
            return node
        if node.attr in self.shared:
            at = self.shared.index(node.attr)
            text = f"w[{at * self.block} + j]" if self.simd else f"c[{at}]"
        elif node.attr in self.domain:
            group = self.domain.index(node.attr)
            text = f"w[ROWS[{group}] + at + j]" if self.simd else f"c[{DOMAINS_FROM} + {group} * K + k]"
        else:
            raise AttributeError(f"no row is called '{node.attr}'; there are {', '.join(self.shared + self.domain)}")
        return ast.parse(text, mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if self.simd and isinstance(node.value, float):
            return ast.parse(f"F({node.value!r})", mode="eval").body
        return node


@cache
def machine_laws(model: Any, simd: bool) -> ModuleType:
    """The laws of `model` as functions for compiled code, in a module, where kernels find them."""
    from bruno_spice.devices.compiled import inlined
    from bruno_spice.devices.ferroelectric.lanes.rows import GROUP_ROWS

    module = ModuleType(f"laws_{tag(model)}_{'simd' if simd else 'scalar'}")
    numbers = {**(_simd_maths() if simd else _scalar_maths()), "F": np.float32, "ROWS": GROUP_ROWS}
    for name in LAWS:
        function = inspect.unwrap(text_of(model, name))
        text = _for_machine(function, model, simd)
        around = {key: np.float32(value) if simd and isinstance(value, float) else value
                  for key, value in function.__globals__.items()} | numbers  # fmt: skip
        exec(compile(text, f"<{module.__name__}>", "exec"), around)
        setattr(module, name, (inlined if simd else _scalar_inlined)(around[name]))
    vars(module)["TERMINAL"] = model.TERMINAL
    return module


def _for_machine(function: Any, model: Any, simd: bool) -> ast.Module:
    """The text of a law with elements of arrays in the place of `x`, without annotations and docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef), f"{function.__name__} is no function of its own"
    names = [each.arg for each in definition.args.args if each.arg != "x"]
    names += ["w", "at", "j"] if simd else ["c", "k", "K"]
    definition.args.args = [ast.arg(name) for name in names]
    definition.decorator_list, definition.returns = [], None
    if ast.get_docstring(definition):
        del definition.body[0]
    _Elements(model, simd).visit(definition)
    return ast.fix_missing_locations(tree)


def _scalar_inlined(function: Any) -> Any:
    from bruno_spice.devices.compiled import part

    return part(function, forceinline=True)


law: Any = Laws("law", machine_laws)
"""In a template, the laws of the model that it is compiled for."""


# ---- kernels


def template(simd: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Decorator: a kernel that calls laws, in single-precision `simd` or scalar double precision; a small one may
    disappear `inline` into its callers."""

    def mark(function: F) -> F:
        function.__template__ = (simd, inline)  # type: ignore[attr-defined]
        return function

    return mark


def tag(model: Any) -> str:
    """A name for `model` that no other, and no other version of it, has: of compiled code that is kept.

    What lies in `devices` is told apart by the folder that kernels are kept in (`devices.compiled`).
    """
    own = [each for each in model.__mro__ if not each.__module__.startswith((f"{DEVICES}.", "builtins"))]
    if not own:
        return str(model.name)
    digest = hashlib.sha256()
    for source in sorted({inspect.getfile(each) for each in own}):
        digest.update(Path(source).read_bytes())
    return f"{model.name}_{digest.hexdigest()[:12]}"


@cache
def compiled(function: Any, model: Any, within: bool = False) -> Any:
    """The template `function` for `model`, and every template that it calls; one `within` another is not for Python."""
    from bruno_spice.devices.compiled import FAST_MATH, inlined, kernel, part

    simd, inline = function.__template__
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = names.get(name)
        if isinstance(value, Laws):
            names[name] = value.of(model, simd)
        elif hasattr(value, "__template__"):
            names[name] = compiled(value, model, True)
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__module__ = f"{function.__module__}_{tag(model)}"
    copy.__qualname__ = f"{function.__qualname__}_{tag(model)}"  # numba's files of compiled code are called so
    copy.__doc__ = function.__doc__
    sys.modules.setdefault(copy.__module__, ModuleType(copy.__module__))
    if inline:
        return inlined(copy) if simd else _scalar_inlined(copy)
    options = {"fastmath": FAST_MATH} if simd else {}
    return part(copy, **options) if within else kernel(**options)(copy)
