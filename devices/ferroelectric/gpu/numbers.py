"""Laws and templates in Triton: the functions that laws are written with, and how both are bound to a model.

A law's text runs as it stands, `x` being a named tuple of rows: shared rows (B,), those of domains (K, B). A template
is a plain function of this folder that reads ``law.leak(v, x)``; `bound` compiles it, with every template that it
calls, for one model. Triton reads sources, so that what is made here leaves its text where Python keeps that of
modules.
"""

# mypy: allow-untyped-defs

import ast
import inspect
import linecache
import textwrap
from functools import cache
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any

import triton
import triton.language as tl

from bruno_spice.devices.ferroelectric.bound import LAWS, row, text_of
from bruno_spice.devices.ferroelectric.paces import FULL_RISE_V, PACES
from bruno_spice.devices.models import maths
from bruno_spice.devices.models.rows import DOMAINS_FROM, GROUPS, WEIGHT

law: Any = ModuleType("law")
"""In a template, the laws of the model that it is bound to."""
load_row: Any = None
"""In a template, what `_load_row` makes."""


def template(function: Any) -> Any:
    """Mark a function that `bound` is to compile for each model."""
    function.__template__ = True
    return function


@triton.jit
def expm1(x):
    """e^x - 1, to single precision at small x too."""
    series = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0)))))
    return tl.where(tl.abs(x) < 0.25, series, tl.exp(x) - 1.0)


@triton.jit
def log1p(x):
    """ln(1 + x); what 1 + x rounds off is put back in proportion (Kahan)."""
    grown = 1.0 + x
    kept = grown - 1.0
    return tl.where(kept == 0.0, x, tl.log(grown) * (x / tl.where(kept == 0.0, 1.0, kept)))


@triton.jit
def tanh(x):
    """(e^2x - 1)/(e^2x + 1), by |x|."""
    faded = expm1(-2.0 * tl.abs(x))
    size = -faded / (2.0 + faded)
    return tl.where(x < 0.0, -size, size)


@triton.jit
def power(base, exponent):
    """base^exponent, base > 0."""
    return tl.exp2(exponent * tl.log2(base))


@triton.jit
def exp(x):
    """e^x."""
    return tl.exp(x)


@triton.jit
def absolute(x):
    """|x|."""
    return tl.abs(x)


@triton.jit
def where(condition, this, that):
    """`this` or `that`."""
    return tl.where(condition, this, that)


@triton.jit
def maximum(a, b):
    """The larger one."""
    return tl.maximum(a, b)


@triton.jit
def minimum(a, b):
    """The smaller one."""
    return tl.minimum(a, b)


NUMBERS = {each: globals()[each] for each in maths.NAMES} | {"tl": tl}
"""By the names of `devices.models.maths`; Triton's own functions would not be found by its interpreter."""


@cache
def triton_laws(model: Any) -> ModuleType:
    """The laws of `model` for Triton, in a module."""
    module = ModuleType(f"laws_{model.name}")
    for name in LAWS:
        function = inspect.unwrap(text_of(model, name))
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.args.args = [ast.arg(each.arg) for each in definition.args.args]  # Triton reads annotations
        definition.decorator_list, definition.returns = [], None
        text = ast.unparse(ast.fix_missing_locations(definition))
        setattr(module, name, _from_text(text, f"<{name} of {model.name}>", _constants(function) | NUMBERS))
    return module


@cache
def bound(function: Any, model: Any) -> Any:
    """The template `function` for `model`."""
    names: dict[str, Any] = {"law": triton_laws(model), "Row": row(model), "load_row": _load_row(model)}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if hasattr(value, "__template__"):
            names[name] = bound(value, model)
    copy = FunctionType(function.__code__, _constants(function) | names, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    return triton.jit(copy)


def _constants(function: Any) -> dict[str, Any]:
    """What `function` finds in its module, numbers as constants."""
    return {key: tl.constexpr(each) if isinstance(each, int | float) else each
            for key, each in function.__globals__.items()}  # fmt: skip


@cache
def _load_row(model: Any) -> Any:
    """``load_row(constants, width, column (B,), domain (K, 1), domains, counts (K, 1))``: `x` of the neurons in
    `column`; a domain that does not count has no weight."""
    shared = [f"tl.load(constants + {n} * width + column)" for n in range(DOMAINS_FROM)]
    own = [f"tl.load(constants + ({DOMAINS_FROM} + {g} * domains + domain) * width + column)" for g in GROUPS]
    own[WEIGHT] = f"tl.where(counts, {own[WEIGHT]}, 0.0)"
    given = "constants, width, column, domain, domains, counts"
    text = f"def load_row({given}):\n    return Row({', '.join(shared + own)})\n"
    return _from_text(text, f"<load_row of {model.name}>", {"tl": tl, "Row": row(model)})


def _from_text(text: str, name: str, around: dict[str, Any]) -> Any:
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names = {**around, "__name__": __name__}
    exec(compile(text, name, "exec"), names)
    return triton.jit(names[text.split("(")[0].removeprefix("def ")])


_faster = "\n".join(
    f"    factor = tl.where(rise_v > {slower * FULL_RISE_V!r}, {faster!r}, factor)"
    for slower, faster in pairwise(PACES[1:])
)
pace_factor = _from_text(
    "def pace_factor(rise_v):\n"
    f"    factor = tl.where(rise_v < 0.0, {PACES[0]!r}, {PACES[1]!r})\n{_faster}\n    return factor\n",
    "<pace_factor>",
    {"tl": tl},
)
"""Substeps over the accuracy setting at a rise of the empty membrane (`devices.ferroelectric.paces`)."""
