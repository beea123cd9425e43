"""The analog block of a module as it is written: names given away once, and variables for what is shared.

A variable is written in front of the statement that reads it, once in each branch of the flow, so that none is read
before it is written; what depends on parameters alone stands in front of everything. The power in min(x**n, c) is
taken only where it is below c: half of those of a ferroelectric's rates are not, and powers are what they cost.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bruno_spice.calibration.verilog_a.expressions import Expression, node, number, written

_WORDS = """
    above abs absdelay access acos acosh ac_stim aliasparam always analog analysis and asin asinh assert atan atan2
    atanh begin branch buf case ceil connect cos cosh cross ddt ddx deassign default delay disable discipline
    domain edge electrical else end endcase endmodule endfunction exclude exp flicker_noise floor flow for forever from
    function generate genvar ground hypot idt idtmod if inf initial inout input integer laplace last_crossing limexp ln
    localparam log max min module nature net noise not or output parameter posedge potential pow primitive real repeat
    rise signal sin sinh slew specify sqrt string strong strobe supply table tan tanh task time timer transition units v
    i vector wait weak while white_noise wire xor zero_v
"""
RESERVED = frozenset(_WORDS.split())


def leaves(e: Expression) -> list[Expression]:
    """Every leaf of `e`, each once."""
    seen: dict[Expression, None] = {}
    todo = [e]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen[here] = None
            todo.extend(reversed(here.args))
    return [leaf for leaf in seen if leaf.is_leaf]


class Names:
    """Names of Verilog-A, each given away once."""

    def __init__(self) -> None:
        self._taken: set[str] = set(RESERVED)

    def new(self, wanted: str) -> str:
        """`wanted`, or what comes nearest to it."""
        plain = re.sub(r"\W", "_", wanted)
        plain = plain if plain[:1].isalpha() else f"n{plain}"
        found, count = plain, 1
        while found in self._taken:
            count += 1
            found = f"{plain}_{count}"
        self._taken.add(found)
        return found

    def give_back(self, name: str) -> None:
        """`name` is free again."""
        self._taken.remove(name)


@dataclass
class Writer:
    """Statements of an analog block: what is shared becomes a variable, written once in each branch of the flow."""

    names: Names
    nets: Mapping[str, str]
    branches: Mapping[str, str]
    backwards: frozenset[str]
    """Sources whose branch points the other way, for their first node is ground or held."""
    held: Mapping[str, Expression]
    lines: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    """What depends on parameters alone, in front of everything."""
    variables: list[str] = field(default_factory=list)
    _constants: dict[Expression, str] = field(default_factory=dict)
    _memo: dict[Expression, str] = field(default_factory=dict)
    _memo_of_constants: dict[Expression, str] = field(default_factory=dict)
    _depth: int = 2

    def say(self, text: str) -> None:
        """Add a statement."""
        self.lines.append("  " * self._depth + text)

    def text(self, e: Expression) -> str:
        """`e`, once the variables that it needs have been written."""
        return written(self._prepared(e), self._leaf)

    def _prepared(self, e: Expression) -> Expression:
        """`e` with conditions that cost something, and what is shared, as names of variables."""
        if e.op == "shared":
            return node("name", text=self._variable(e.args[0], e.text))
        if e.op == "?":
            return self._choice(e)
        if e.op == "v" and any(n in self.held for n in e.nodes):
            return self._held(e)
        if _is_capped_power(e):
            return self._capped_power(e)
        return node(e.op, tuple(self._prepared(arg) for arg in e.args), e.text, e.nodes) if e.args else e

    def _held(self, e: Expression) -> Expression:
        parts = [
            node("name", text=self._variable(self.held[n], n)) if n in self.held else node("v", nodes=(n,))
            for n in e.nodes
        ]
        return parts[0] if len(parts) == 1 else node("-", tuple(parts))

    def _capped_power(self, e: Expression) -> Expression:
        power, cap = e.args
        base = node("name", text=self._variable(power.args[0], "base"))
        exponent = self._prepared(power.args[1])
        least = node("call", (exponent, number(SMALL_EXPONENT)), "max")
        root = node("*", (number(BEYOND), node("**", (cap, node("/", (number(1.0), least))))))
        below = node("<", (node("call", (base,), "abs"), node("name", text=self._variable(root, "capped"))))
        return node("?", (below, node("call", (node("**", (base, exponent)), cap), "min"), cap))

    def _choice(self, e: Expression) -> Expression:
        if all(_is_cheap(arg, self.held) for arg in e.args[1:]):
            return node("?", tuple(self._prepared(arg) for arg in e.args))
        if e in self._memo:
            return node("name", text=self._memo[e])
        name = self._declared("chosen")
        self.say(f"if ({self.text(e.args[0])}) begin")
        with self._branch():
            self.say(f"{name} = {self.text(e.args[1])};")
        self.say("end else begin")
        with self._branch():
            self.say(f"{name} = {self.text(e.args[2])};")
        self.say("end")
        self._memo[e] = name
        return node("name", text=name)

    @contextmanager
    def _branch(self) -> Iterator[None]:
        before, self._memo = self._memo, dict(self._memo)
        self._depth += 1
        yield
        self._memo, self._depth = before, self._depth - 1

    def _variable(self, e: Expression, wanted: str) -> str:
        if e in self._constants:
            return self._constants[e]
        if e not in self._memo:
            if all(_of_parameters(leaf) for leaf in leaves(e)):
                return self._constant(e, wanted)
            text = self.text(e)
            if e.is_leaf and not any(n in self.held for n in e.nodes):
                return text
            name = self._declared(wanted)
            self.say(f"{name} = {text};")
            self._memo[e] = name
        return self._memo[e]

    def _constant(self, e: Expression, wanted: str) -> str:
        if e.is_leaf:
            return e.text
        before = self.lines, self._depth, self._memo
        self.lines, self._depth, self._memo = self.constants, 2, self._memo_of_constants
        try:
            text = self.text(e)
            self._constants[e] = self._declared(wanted)
            self.say(f"{self._constants[e]} = {text};")
        finally:
            self.lines, self._depth, self._memo = before
        return self._constants[e]

    def _declared(self, wanted: str) -> str:
        name = self.names.new(wanted)
        self.variables.append(name)
        return name

    def _leaf(self, e: Expression) -> str:
        if e.op == "v":
            return f"V({', '.join(self.nets[n] for n in e.nodes)})"
        if e.op == "i":
            sign = "-" if e.text in self.backwards else ""
            return f"({sign}I({self.branches[e.text]}))" if sign else f"I({self.branches[e.text]})"
        return e.text


SMALL_EXPONENT = 1e-3
"""Below it, negative ones among them, a power is always taken: with a cap above 1 the bound overflows."""
BEYOND = 1.000001
"""How far above the cap's root the bound lies: no power that rounding leaves below the cap is passed over."""


def _is_capped_power(e: Expression) -> bool:
    """Whether `e` is min(x**n, c) with a number c above 1 and an n of parameters alone."""
    if e.op != "call" or e.text != "min" or e.args[0].op != "**" or e.args[1].op != "number":
        return False
    exponent = e.args[0].args[1]
    return float(e.args[1].text) > 1 and all(_of_parameters(leaf) for leaf in leaves(exponent))


def _of_parameters(leaf: Expression) -> bool:
    return leaf.op in ("number", "name") and leaf.text != "$abstime"


def _is_cheap(e: Expression, held: Mapping[str, Expression]) -> bool:
    """Whether both sides of a choice may be written where it stands: nothing but arithmetic on leaves."""
    if e.op in ("shared", "call", "?", "**") or any(n in held for n in e.nodes):
        return False
    return all(_is_cheap(arg, held) for arg in e.args)
