"""Expressions of a netlist: read once, then evaluated as numbers or written as Verilog-A.

    a ? b : c    ||    &&    == != < <= > >=    + -    * /    - + !    ** ^        from loosest to tightest

As in ngspice a minus sign binds less tightly than a power, and a power takes the size of its base: ``x**y`` is |x|^y.
What ngspice evaluates otherwise, or draws at random, is refused. Source: inpptree.c, ptfuncs.c, xpressn.c (ngspice 39).
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import parse_spice_number

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]*)|(?P<name>[a-z_][\w.#:\[\]]*)"
    r"|(?P<sign>\*\*|\|\||&&|[=!<>]=|<>|[-+*/^?:()<>!,={}']))"
)
_LEVELS = (("||",), ("&&",), ("==", "!=", "<>"), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))
_SIGN, _POWER, _ATOM = len(_LEVELS) + 1, len(_LEVELS) + 2, len(_LEVELS) + 3
DEEPEST = 50
"""Of brackets within brackets."""


class ExpressionError(InputError):
    """An expression that cannot be read, or says something that has no translation."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A node: its operator, what it acts on, and the text of a leaf.

    Operators: ``number``, ``name``, ``v`` (nodes as leaves), ``i`` (of a source), ``call``, ``?``, ``neg``, ``!`` and
    the binary ones. Nodes of the same parts are equal, whoever made them, so that what occurs twice is written once.
    """

    op: str
    args: "tuple[Expression, ...]" = ()
    text: str = ""
    nodes: tuple[str, ...] = ()
    key: bytes = field(init=False, repr=False)
    """A digest of all parts."""

    def __post_init__(self) -> None:
        own = repr((self.op, self.text, self.nodes)).encode()
        digest = hashlib.blake2b(own + b"".join(arg.key for arg in self.args), digest_size=16).digest()
        object.__setattr__(self, "key", digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def is_leaf(self) -> bool:
        """Whether it is a number, a name or a voltage."""
        return self.op in ("number", "name", "v", "i")


def node(op: str, args: tuple[Expression, ...] = (), text: str = "", nodes: tuple[str, ...] = ()) -> Expression:
    """The expression of these parts."""
    return Expression(op, args, text, nodes)


def number(value: float) -> Expression:
    """A number as an expression; a negative one in brackets where it is written."""
    return negative(number(-value)) if value < 0 else node("number", text=_short_number(float(value)))


def negative(e: Expression) -> Expression:
    """-`e`."""
    if e.op == "neg":
        return e.args[0]
    return e if e == ZERO else node("neg", (e,))


def _short_number(value: float) -> str:
    """All digits of `value`, with an exponent where that is shorter."""
    plain, scientific = repr(value), f"{Decimal(repr(value)).normalize():e}"
    return min(plain, scientific, key=len) if "e" not in plain else plain


ZERO = node("number", text="0.0")


@dataclass(frozen=True)
class _Function:
    """A function of ngspice: how many arguments, its value, and how Verilog-A writes it ({0}, {1})."""

    count: int
    value: Callable[..., float]
    written: str = ""


def _sgn(x: float) -> float:
    return float((x > 0) - (x < 0))


_SAME = (
    "exp", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "floor", "ceil",
)  # fmt: skip
"""Functions of one argument that Python, ngspice and Verilog-A call alike."""
FUNCTIONS: dict[str, _Function] = {
    **{name: _Function(1, getattr(math, name)) for name in _SAME},
    "arctan": _Function(1, math.atan, "atan({0})"), "ln": _Function(1, math.log),
    "log": _Function(1, math.log, "ln({0})"), "log10": _Function(1, math.log10, "log({0})"),
    "abs": _Function(1, abs), "min": _Function(2, min), "max": _Function(2, max),
    "sgn": _Function(1, _sgn, "({0} > 0.0 ? 1.0 : ({0} < 0.0 ? -1.0 : 0.0))"),
    "pow": _Function(2, lambda x, y: abs(x) ** y, "pow(abs({0}), {1})"),
    "pwr": _Function(2, lambda x, y: _sgn(x) * abs(x) ** y, "(({0} < 0.0 ? -1.0 : 1.0)*pow(abs({0}), {1}))"),
    "u": _Function(1, lambda x: float(x > 0), "({0} > 0.0 ? 1.0 : 0.0)"),
    "uramp": _Function(1, lambda x: max(x, 0.0), "max({0}, 0.0)"),
}  # fmt: skip
CONSTANTS = {"pi": math.pi}
_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": lambda a, b: abs(a) ** b,
    "==": lambda a, b: float(a == b), "!=": lambda a, b: float(a != b), "<": lambda a, b: float(a < b),
    "<=": lambda a, b: float(a <= b), ">": lambda a, b: float(a > b), ">=": lambda a, b: float(a >= b),
    "&&": lambda a, b: float(a != 0 and b != 0), "||": lambda a, b: float(a != 0 or b != 0),
}  # fmt: skip


def read(text: str) -> Expression:
    """The expression that `text` is; braces count as brackets. Raises `ExpressionError`."""
    parser = _Parser(list(_tokens(text)), text)
    found = parser.ternary(0)
    if parser.left:
        raise ExpressionError(f"'{parser.left[0]}' is in the way in '{_short(text)}'")
    return found


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _tokens(text: str) -> Iterator[str]:
    at, lower = 0, text.lower().rstrip()
    while at < len(lower):
        match = _TOKEN.match(lower, at)
        if match is None:
            raise ExpressionError(f"'{lower[at:].strip()[:20]}' cannot be read in '{_short(text)}'")
        yield match[match.lastgroup or 0]
        at = match.end()


class _Parser:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.left, self.text = tokens, text

    def take(self, wanted: str = "") -> str:
        if not self.left or (wanted and self.left[0] != wanted):
            raise ExpressionError(f"{f'a {wanted}' if wanted else 'something'} is missing in '{_short(self.text)}'")
        return self.left.pop(0)

    def next_is(self, *signs: str) -> bool:
        return bool(self.left) and self.left[0] in signs

    def ternary(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise ExpressionError(f"more than {DEEPEST} brackets within brackets in '{_short(self.text)}'")
        condition = self.binary(0, depth)
        if not self.next_is("?"):
            return condition
        self.take()
        yes = self.ternary(depth + 1)
        self.take(":")
        return node("?", (condition, yes, self.ternary(depth + 1)))

    def binary(self, level: int, depth: int) -> Expression:
        if level == len(_LEVELS):
            return self.signed(depth)
        found = self.binary(level + 1, depth)
        while self.next_is(*_LEVELS[level]):
            sign = self.take()
            found = node("!=" if sign == "<>" else sign, (found, self.binary(level + 1, depth)))
        return found

    def signed(self, depth: int) -> Expression:
        signs = []
        while self.next_is("-", "+", "!"):
            signs.append(self.take())
        found = self.power(depth)
        for sign in reversed(signs):
            found = found if sign == "+" else node("neg" if sign == "-" else "!", (found,))
        return found

    def power(self, depth: int) -> Expression:
        found = self.atom(depth)
        if not self.next_is("**", "^"):
            return found
        self.take()
        signs = [self.take() for _ in range(self.next_is("-"))]
        exponent = self.atom(depth)
        if self.next_is("**", "^"):
            raise ExpressionError(f"a power of a power needs brackets in '{_short(self.text)}'")
        return node("**", (found, node("neg", (exponent,)) if signs else exponent))

    def atom(self, depth: int) -> Expression:
        token = self.take()
        if token in ("(", "{", "'"):
            found = self.ternary(depth + 1)
            self.take({"(": ")", "{": "}", "'": "'"}[token])
            return found
        if token[0].isdigit() or token[0] == ".":
            try:
                return number(parse_spice_number(token))
            except InputError:
                raise ExpressionError(f"'{token}' is not a number in '{_short(self.text)}'") from None
        if not (token[0].isalpha() or token[0] == "_"):
            raise ExpressionError(f"'{token}' is in the way in '{_short(self.text)}'")
        if not self.next_is("("):
            return node("name", text=token)
        self.take()
        return self.probe(token) if token in ("v", "i") else self.call(token, depth)

    def probe(self, kind: str) -> Expression:
        names = [self.node_name()]
        while self.next_is(","):
            self.take()
            names.append(self.node_name())
        self.take(")")
        if len(names) > (2 if kind == "v" else 1):
            raise ExpressionError(f"{kind}({','.join(names)}) has too many names")
        return node(kind, nodes=tuple(names))

    def node_name(self) -> str:
        return self.take()

    def call(self, name: str, depth: int) -> Expression:
        args = [self.ternary(depth + 1)]
        while self.next_is(","):
            self.take()
            args.append(self.ternary(depth + 1))
        self.take(")")
        return node("call", tuple(args), name)


def evaluate(expression: Expression, names: Mapping[str, float] | None = None) -> float:
    """The value of an `expression` of numbers and `names`. Raises `ExpressionError` where it has none."""
    known = CONSTANTS | dict(names or {})
    found: dict[Expression, float] = {}

    def value(e: Expression) -> float:
        if e not in found:
            found[e] = _value(e, value, known)
        return found[e]

    try:
        return float(value(expression))
    except (ArithmeticError, ValueError):
        raise ExpressionError("it has no finite value") from None


def _value(e: Expression, value: Callable[[Expression], float], known: Mapping[str, float]) -> float:
    if e.op == "number":
        return float(e.text)
    if e.op == "name":
        if e.text not in known:
            raise ExpressionError(f"there is no parameter '{e.text}'")
        return known[e.text]
    if e.op == "neg":
        return -value(e.args[0])
    if e.op == "!":
        return float(value(e.args[0]) == 0)
    if e.op == "?":
        return value(e.args[1] if value(e.args[0]) != 0 else e.args[2])
    if e.op == "call":
        if e.text in ("pow", "pwr") and value(e.args[0]) < 0:
            raise ExpressionError(f"{e.text} of a negative number is one thing in a parameter and another in a source")
        return FUNCTIONS[e.text].value(*(value(arg) for arg in e.args))
    if e.op == "shared":
        return value(e.args[0])
    if e.op not in _OPERATIONS:
        raise ExpressionError("it depends on a voltage or a current")
    return _OPERATIONS[e.op](value(e.args[0]), value(e.args[1]))


def written(e: Expression, leaf: Callable[[Expression], str]) -> str:
    """`e` as Verilog-A; `leaf` writes names, voltages, currents and what is shared."""
    return _written(e, leaf)[0]


def _written(e: Expression, leaf: Callable[[Expression], str]) -> tuple[str, int]:
    """Text and how tightly its loosest operator binds."""

    def tight(arg: Expression, least: int) -> str:
        text, level = _written(arg, leaf)
        return text if level >= least else f"({text})"

    if e.op == "number":
        return e.text, _ATOM
    if e.op == "call":
        form = FUNCTIONS[e.text].written
        args = [tight(arg, _ATOM if form else 0) for arg in e.args]
        return form.format(*args) if form else f"{e.text}({', '.join(args)})", _ATOM
    if e.op == "neg":
        return f"-{tight(e.args[0], _SIGN + 1)}", _SIGN
    if e.op == "!":
        return f"!{tight(e.args[0], _SIGN + 1)}", _SIGN
    if e.op == "**":
        if e.args[1].text == "2.0" and e.args[0].op == "name":
            return f"{leaf(e.args[0])}*{leaf(e.args[0])}", _level("*")
        base = tight(e.args[0], 0)
        return f"pow({base if e.args[0].op == 'number' else f'abs({base})'}, {tight(e.args[1], 0)})", _ATOM
    if e.op == "?":
        condition, yes, no = (tight(arg, 1) for arg in e.args)
        return f"({condition} ? {yes} : {no})", _ATOM
    if e.op in _OPERATIONS:
        level = _level(e.op)
        gap = "" if e.op in ("*", "/") else " "
        return f"{tight(e.args[0], level)}{gap}{e.op}{gap}{tight(e.args[1], level + 1)}", level
    return leaf(e), _ATOM


def _level(op: str) -> int:
    return 1 + next(i for i, signs in enumerate(_LEVELS) if op in signs)
