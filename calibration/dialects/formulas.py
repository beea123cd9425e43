"""Expressions of other languages, read by their own rules and written so that ngspice reads the same.

    their text -> tokens with our numbers, names and signs -> tree (`calibration.verilog_a.expressions`) -> our text

The text holds only what both readers of ngspice 39 (``.param`` and B-sources) and VACASK's translation take alike. A
power there has the size of its base, |x|^y, so an integer power is written with its sign, x^3 = x*x**2, and others by
the rule of the language (`calibration.dialects.powers`). Every operation stands in brackets, since ngspice pastes the
text of a parameter.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from bruno_spice.calibration.dialects.files import Code
from bruno_spice.calibration.verilog_a.expressions import Expression, ExpressionError, node, number, read
from bruno_spice.devices.units import SPICE_SUFFIX_EXPONENT

MAX_TEXT = 20_000
"""Characters of one expression, theirs and ours."""
SAME = frozenset((
    "exp", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "floor", "ceil", "log", "ln", "log10", "abs", "min", "max", "sgn",
))  # fmt: skip
"""Functions of ngspice that ``.param`` and B-sources have alike, and VACASK's translation."""
_SUFFIXES = {exponent: text for text, exponent in SPICE_SUFFIX_EXPONENT.items() if text != "a"}
_NODE = re.compile(r"\s*([^\s,()]+)\s*")
Build = Callable[..., Expression]
"""From the arguments of a function to what it is."""


class FormulaError(Exception):
    """Why an expression has no translation."""


def op(sign: str, *args: Expression) -> Expression:
    """An operation on `args`."""
    return node(sign, args)


def call(name: str, *args: Expression) -> Expression:
    """A function of `SAME`."""
    return node("call", args, name)


def negative(x: Expression) -> Expression:
    """-x."""
    return op("neg", x)


def choice(condition: Expression, yes: Expression, no: Expression) -> Expression:
    """Either, by `condition`."""
    return op("?", condition, yes, no)


def truncated(x: Expression) -> Expression:
    """The integer part of x, towards 0."""
    return op("*", call("sgn", x), call("floor", call("abs", x)))


def rounded(x: Expression) -> Expression:
    """The nearest integer, halves up."""
    return call("floor", op("+", x, number(0.5)))


def size_power(x: Expression, y: Expression) -> Expression:
    """|x|^y."""
    return op("**", x, y)


def signed_power(x: Expression, y: Expression) -> Expression:
    """sgn(x)*|x|^y."""
    return op("*", call("sgn", x), op("**", x, y))


def table(x: Expression, *pairs: Expression) -> Expression:
    """Linear between the points x1, y1, x2, y2, ..., level beyond: y1 + sum slope*(clip(x) - x_k)."""
    if len(pairs) < 2 or len(pairs) % 2:
        raise FormulaError("a table needs pairs of numbers")
    found = pairs[1]
    points = list(zip(pairs[::2], pairs[1::2], strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        inside = op("-", call("min", call("max", x, x0), x1), x0)
        found = op("+", found, op("/", op("*", op("-", y1, y0), inside), op("-", x1, x0)))
    return found


def extreme(name: str) -> Build:
    """``min`` or ``max`` of two or more."""

    def build(first: Expression, *others: Expression) -> Expression:
        for other in others:
            first = call(name, first, other)
        return first

    return build


def single(name: str) -> Build:
    """A function of `SAME` of one argument."""

    def build(x: Expression) -> Expression:
        return call(name, x)

    return build


FUNCTIONS: dict[str, Build] = {
    **{name: single(name) for name in SAME - {"min", "max"}},
    "min": extreme("min"), "max": extreme("max"), "int": truncated,
    "atan2": lambda y, x: choice(
        op(">", x, number(0.0)),
        call("atan", op("/", y, x)),
        choice(
            op("<", x, number(0.0)),
            op("+", call("atan", op("/", y, x)), choice(op("<", y, number(0.0)), number(-math.pi), number(math.pi))),
            op("*", call("sgn", y), number(math.pi / 2)),
        ),
    ),
    "hypot": lambda x, y: call("sqrt", op("+", op("**", x, number(2.0)), op("**", y, number(2.0)))),
}  # fmt: skip
"""What most languages call alike."""


@dataclass(frozen=True)
class Language:
    """How a language writes expressions."""

    number: re.Pattern[str]
    """Groups ``mantissa``, ``suffix``, and ``after`` for digits behind the suffix (4k7)."""
    scales: Mapping[str, float]
    """By suffix, as `exact` says in its case or in lower case."""
    functions: Mapping[str, Build]
    constants: Mapping[str, Expression]
    power: Build
    """What x**y is."""
    exact: bool = False
    """Whether upper and lower case differ."""
    signs: Mapping[str, str] = field(default_factory=dict)
    """Ours by theirs, where they differ."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why a function, or a sign, has no translation."""
    true: Build | None = None
    """What a number is as a Boolean, where that is not whether it differs from 0."""
    quantities: Collection[str] = ("v", "i")
    """Functions that ask for a voltage or a current, lower-case."""


def value_of(text: str, language: Language) -> float:
    """The number that `text` is in `language`. Raises `FormulaError`."""
    match = language.number.fullmatch(text)
    if match is None:
        raise FormulaError(f"'{text[:40]}' is no number")
    suffix = match["suffix"] or ""
    scale = language.scales.get(suffix if language.exact else suffix.lower())
    if scale is None:
        raise FormulaError(f"'{text[:40]}': there is no suffix '{suffix[:20]}'")
    if match.groupdict().get("after") and "." in match["mantissa"]:
        raise FormulaError(f"'{text[:40]}' is no number")
    digits = f"{match['mantissa']}.{match['after']}" if match.groupdict().get("after") else match["mantissa"]
    found = float(Decimal(digits) * Decimal(repr(scale)))
    if not math.isfinite(found):
        raise FormulaError(f"'{text[:40]}' is no finite number")
    return found


_SIGNS = re.compile(r"\*\*|\|\||&&|[=!<>]=|[-+*/?:()<>!,^&|~%]")
_NAME = re.compile(r"[A-Za-z_$][\w$#.:!\\\[\]]*")


class Reader:
    """Reads expressions of a `language`; `names`, `nodes` and `currents` give our names for theirs."""

    def __init__(
        self,
        language: Language,
        names: Callable[[str], str],
        nodes: Callable[[str], str],
        currents: Callable[[str], str],
    ) -> None:
        self.language, self.names, self.nodes, self.currents = language, names, nodes, currents
        self.functions: dict[str, tuple[tuple[str, ...], str]] = {}
        """Of the deck itself: their arguments and their text."""
        self.sets: Callable[[str], bool] = lambda name: False
        """Whether the deck sets a name itself, which then is no constant of the language."""

    def tree(self, text: str, code: Code) -> Expression:
        """The expression `text` of `code`. Raises `FormulaError`."""
        if len(text) > MAX_TEXT:
            raise FormulaError(f"an expression of more than {MAX_TEXT:,} characters")
        try:
            return self._resolved(read(" ".join(self._tokens(text))), {}, code, ())
        except ExpressionError as error:
            raise FormulaError(str(error)) from None

    def _tokens(self, text: str) -> Iterator[str]:
        at, language = 0, self.language
        while at < len(text):
            rest = text[at:].lstrip()
            at = len(text) - len(rest)
            if not rest:
                return
            if match := language.number.match(text, at):
                yield repr(value_of(match[0], language))
            elif match := _NAME.match(text, at):
                name = match[0] if language.exact else match[0].lower()
                asked = re.compile(r"\s*\(").match(text, match.end()) if name.lower() in language.quantities else None
                if asked:
                    inside, at = self._probed(text, asked.end())
                    yield f"{name.lower()}({inside})"
                    continue
                yield self._word(name, text[match.end() :].lstrip().startswith("("))
            elif match := _SIGNS.match(text, at):
                if why := language.refused.get(match[0]):
                    raise FormulaError(why)
                yield language.signs.get(match[0], match[0])
            elif text[at] in "{}'\"":
                match = re.compile(".").match(text, at)
                assert match is not None
                yield {"{": "(", "}": ")"}.get(match[0], "")
            else:
                raise FormulaError(f"'{text[at : at + 20]}' cannot be read")
            at = match.end()

    def _word(self, name: str, called: bool) -> str:
        if called:
            if not re.fullmatch(r"\w+", name):
                raise FormulaError(f"there is no function {name[:40]}")
            return f"f_{name.encode().hex()}"
        return f"n_{name.encode().hex()}"

    def _probed(self, text: str, at: int) -> tuple[str, int]:
        """Names in hexadecimal up to the closing bracket, and where it ends."""
        found = []
        while match := _NODE.match(text, at):
            found.append(match[1].strip("\"'"))
            at = match.end()
            if text[at : at + 1] != ",":
                break
            at += 1
        if text[at : at + 1] != ")" or not found:
            raise FormulaError(f"'{text[at : at + 20]}' is in the way")
        return ", ".join(f"h{name.encode().hex()}" for name in found), at + 1

    def _resolved(
        self, e: Expression, local: Mapping[str, Expression], code: Code, within: tuple[str, ...]
    ) -> Expression:
        """`e` with names and functions replaced by what they stand for here."""
        done: dict[Expression, Expression] = {}

        def walk(e: Expression) -> Expression:
            if e not in done:
                done[e] = one(e)
            return done[e]

        def one(e: Expression) -> Expression:
            if e.op == "name":
                return self._name(_unhidden(e.text), local)
            if e.op in ("v", "i"):
                ours = self.nodes if e.op == "v" else self.currents
                return node(e.op, nodes=tuple(ours(bytes.fromhex(name[1:]).decode()) for name in e.nodes))
            args = tuple(walk(arg) for arg in e.args)
            if self.language.true and e.op in ("&&", "||", "!", "?"):
                asks = 1 if e.op == "?" else len(args)
                args = (*map(self.language.true, args[:asks]), *args[asks:])
            if e.op == "**":
                return self.language.power(*args)
            return self._call(_unhidden(e.text), args, code, within) if e.op == "call" else node(e.op, args, e.text)

        return walk(e)

    def _name(self, name: str, local: Mapping[str, Expression]) -> Expression:
        if name in local:
            return local[name]
        if name in self.language.constants and not self.sets(name):
            return self.language.constants[name]
        return node("name", text=self.names(name))

    def _call(self, name: str, args: tuple[Expression, ...], code: Code, within: tuple[str, ...]) -> Expression:
        if name in self.functions:
            names, text = self.functions[name]
            if len(names) != len(args) or name in within or len(within) > 20:
                raise FormulaError(f"the function {name} takes {len(names)} arguments and cannot call itself")
            tokens = read(" ".join(self._tokens(text)))
            return self._resolved(tokens, dict(zip(names, args, strict=True)), code, (*within, name))
        if why := self.language.refused.get(name):
            raise FormulaError(why)
        if name not in self.language.functions:
            raise FormulaError(f"the function {name[:40]} has no translation")
        try:
            return self.language.functions[name](*args)
        except TypeError:
            raise FormulaError(f"the function {name} has {len(args)} arguments, which is not what it takes") from None


def _unhidden(text: str) -> str:
    return bytes.fromhex(text[2:]).decode()


def leaves(e: Expression) -> set[Expression]:
    """The leaves of `e`."""
    seen: set[Expression] = set()
    todo = [e]
    while todo:
        each = todo.pop()
        if each not in seen:
            seen.add(each)
            todo += each.args
    return {each for each in seen if each.is_leaf}


MOVING = ("time", "temper")


def moves(e: Expression) -> bool:
    """Whether `e` depends on voltages, currents, the time or the temperature, which a ``.param`` cannot."""
    return any(leaf.op in ("v", "i") or (leaf.op == "name" and leaf.text in MOVING) for leaf in leaves(e))


def short_number(value: float) -> str:
    """`value` as SPICE writes it, with a suffix where that is shorter; read again it is the same number."""
    if value == 0:
        return "0"
    if 0.1 <= abs(value) < 1e3:
        return f"{value:.15g}" if float(f"{value:.15g}") == value else repr(value)
    exponent = 3 * math.floor(Decimal(repr(value)).adjusted() / 3)
    if exponent not in _SUFFIXES:
        return repr(value)
    mantissa = Decimal(repr(value)).scaleb(-exponent).normalize()
    return f"{mantissa:f}{_SUFFIXES[exponent]}"


def written(e: Expression, behaviour: bool) -> str:
    """`e` for a B-source (`behaviour`) or for a ``.param``. Raises `FormulaError` where it is too long."""
    left = [MAX_TEXT]

    def text(e: Expression) -> str:
        found = one(e)
        left[0] -= len(found) if e.is_leaf else 2
        if left[0] < 0:
            raise FormulaError(f"it needs more than {MAX_TEXT:,} characters here")
        return found

    def one(e: Expression) -> str:
        if e.op == "number":
            return short_number(float(e.text))
        if e.op == "name":
            return f"({{{e.text}}})" if behaviour and e.text not in MOVING else e.text
        if e.op in ("v", "i"):
            return f"{e.op}({','.join(e.nodes)})"
        args = [text(arg) for arg in e.args]
        if e.op == "call":
            return f"{e.text}({', '.join(args)})"
        if e.op == "?":
            return f"({args[0]} ? {args[1]} : {args[2]})"
        if e.op in ("neg", "!"):
            return f"({'-' if e.op == 'neg' else '!'}{args[0]})"
        return f"({args[0]} {e.op} {args[1]})" if e.op != "**" else f"({args[0]}**{args[1]})"

    return text(e)
