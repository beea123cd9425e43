"""A deck taken apart: subcircuits written out in full, every element as one law between two nodes.

    current   I(a,b) = law            R, G, F, I and B with I=
    charge    I(a,b) = d(law)/dt      C
    voltage   V(a,b) = law            V, E, H and B with V=
    flux      V(a,b) = d(law I)/dt    L

Laws are expressions (`calibration.verilog_a.expressions`) whose names are parameters and whose nodes carry the path of
the instance they are in (``xfe.x0.s``). What a ``.param`` or a ``.func`` of the deck stands for is a ``shared``
expression, to be written once. Anything else, and anything that has a memory, is refused by file and line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.ngspice import Model
from bruno_spice.calibration.spice.statements import PARAM_FUNCTION, Statement, assignments, statements_of
from bruno_spice.calibration.verilog_a.expressions import (
    CONSTANTS,
    FUNCTIONS,
    ZERO,
    Expression,
    ExpressionError,
    negative,
    node,
    number,
    read,
)
from bruno_spice.calibration.verilog_a.writer import leaves

GROUND = ("0", "gnd")
NO_EFFECT = (".ends", ".subckt", ".param", ".func", ".save", ".tran", ".options", ".ic", ".model", ".nodeset")
"""Cards that are read elsewhere, or say something to elements that are refused, or to the way to the solution alone."""
WHAT = {
    "s": "a switch has a memory", "w": "a switch has a memory", "a": "an XSPICE device", "d": "a diode",
    "q": "a transistor", "m": "a transistor", "j": "a transistor", "z": "a transistor", "k": "coupled inductors",
    "t": "a line", "o": "a line", "u": "a line", "y": "a line", "p": "a line", "n": "a compiled model",
}  # fmt: skip
_FUNCTION = re.compile(r"\.(?:func|param) (\w+) ?\(([^)]*)\) ?=? ?(.*)", re.IGNORECASE)
_START = re.compile(r"\bv ?\( ?([^(),\s]+) ?\) ?=", re.IGNORECASE)
_LAW = re.compile(r"(?P<quantity>[vi]) ?= ?(?P<text>.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Element:
    """One element as a law: `quantity` is current, charge, voltage or flux, from the first node to the second."""

    path: str
    quantity: str
    nodes: tuple[str, str]
    law: Expression
    line: Line


@dataclass(frozen=True)
class Definition:
    """A subcircuit, or the deck itself (``""``): what is set in it and what it holds."""

    name: str
    pins: tuple[str, ...]
    given: Mapping[str, str]
    """Its parameters with their defaults."""
    own: Mapping[str, tuple[str, Line]]
    """Its ``.param`` cards."""
    functions: Mapping[str, tuple[tuple[str, ...], str, Line]]
    elements: tuple[Statement, ...]
    starts: tuple[Statement, ...]
    """Its ``.ic`` cards."""
    line: Line


@dataclass(frozen=True)
class Deck:
    """A deck by its definitions; the deck's own is ``""``."""

    statements: tuple[Statement, ...]
    models: Mapping[str, Model] = field(default_factory=dict)
    """Verilog-A models of the user's, by the name that instances have."""

    @classmethod
    def of(cls, lines: Sequence[Line], models: Sequence[Model] = ()) -> "Deck":
        """The deck of rendered `lines`, the title first, and `models` of the user's. Raises `NetlistError`."""
        return cls(statements_of(lines), {model.name: model for model in models})

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """Definitions by lower-case name."""
        scopes: dict[str, list[Statement]] = {"": []}
        heads: dict[str, Statement] = {}
        for statement in self.statements:
            if statement.card == ".subckt" and statement.scope:
                refuse(statement.line, "a subcircuit within a subcircuit")
            if statement.card == ".subckt":
                heads.setdefault(statement.words[1], statement)
            scopes.setdefault(statement.scope, []).append(statement)
        return {name: _definition(name, heads.get(name), found) for name, found in scopes.items()}


def refuse(line: Line, what: str) -> NoReturn:
    """Raise the `NetlistError` that `what`, at `line`, has no translation."""
    raise NetlistError(f"{line.where}: {what} has no translation to Verilog-A; --simulator ngspice takes it")


@contextmanager
def translating(lines: Sequence[Line]) -> Iterator[None]:
    """Within the block the deck `lines` is translated; an expression that nests too deeply is a `NetlistError`."""
    try:
        yield
    except RecursionError:
        where = next((str(line.path) for line in lines if line.path), "the deck")
        raise NetlistError(
            f"{where}: an expression nests too deeply to be translated; --simulator ngspice takes it"
        ) from None


def read_at(text: str, line: Line) -> Expression:
    """The expression `text` of `line`. Raises `NetlistError` with its place."""
    try:
        return read(text)
    except ExpressionError as error:
        raise NetlistError(f"{line.where}: {error}") from None


def _definition(name: str, head: Statement | None, body: Sequence[Statement]) -> Definition:
    own: dict[str, tuple[str, Line]] = {}
    functions: dict[str, tuple[tuple[str, ...], str, Line]] = {}
    elements, starts = [], []
    for statement in body:
        code = statement.code
        if statement.card == ".func" or PARAM_FUNCTION.match(code):
            match = _FUNCTION.match(code)
            if match is None:
                refuse(statement.line, f"'{code[:60]}'")
            names = tuple(word.strip().lower() for word in match[2].split(",") if word.strip())
            functions[match[1].lower()] = (names, match[3], statement.line)
        elif statement.card == ".param":
            own |= {n.lower(): (code[i:j], statement.line) for n, i, j in assignments(code)}
        elif statement.card == ".ic":
            starts.append(statement)
        elif statement.card.startswith("."):
            if statement.card not in NO_EFFECT:
                refuse(statement.line, statement.card)
        else:
            elements.append(statement)
    if head is None:
        first = body[0].line if body else Line("")
        return Definition(name, (), {}, own, functions, tuple(elements), tuple(starts), first)
    given = {n.lower(): head.code[i:j] for n, i, j in assignments(head.code)}
    pins = tuple(word for word in head_words(head)[2:] if word != "params:")
    return Definition(name, pins, given, own, functions, tuple(elements), tuple(starts), head.line)


def head_words(statement: Statement) -> list[str]:
    """Words, lower-case, before the first ``name=value``; brackets around them are dropped."""
    code = statement.code
    first = next(assignments(code), None)
    head = code if first is None else code[: code.rfind(first[0], 0, first[1])]
    return head.replace("(", " ").replace(")", " ").lower().split()


def start_names(statement: Statement) -> list[str]:
    """The nodes that an ``.ic`` card sets, lower-case."""
    return [match[1].lower() for match in _START.finditer(statement.code)]


@dataclass
class Scope:
    """One instance of a definition: its parameters and nodes, bound to those of what it stands in."""

    deck: Deck
    definition: Definition
    path: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Expression] = field(default_factory=dict)
    outside: "Callable[[str], Expression | None]" = lambda _: None
    """What a name means that neither the instance nor its definition knows."""
    _known: dict[str, Expression] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def name(self, name: str, line: Line) -> Expression:
        """What the parameter `name` stands for here. Raises `NetlistError` for one that there is not."""
        if name in self.given:
            return self.given[name]
        if name not in self._known:
            own = self.definition.own.get(name)
            if own is None:
                if (found := self.outside(name)) is not None:
                    return found
                if name in CONSTANTS:
                    return number(CONSTANTS[name])
                if name == "time":
                    return node("name", text="$abstime")
                known = {**self.given, **self.definition.own}
                raise NetlistError(f"{line.where}: {unknown_name(name, known, 'there is no parameter')}")
            if name in self._open:
                raise NetlistError(f"{own[1].where}: .param {name} depends on itself")
            self._open.add(name)
            self._known[name] = shared(self.bound(own[0], own[1]), f"{self.path}{name}")
            self._open.discard(name)
        return self._known[name]

    def _known_here(self, name: str) -> Expression | None:
        """What `name` means to an instance within: as in ngspice, what it means where the instance stands."""
        if name in self.given or name in self.definition.own:
            return self.name(name, self.definition.line)
        return self.outside(name)

    def bound(self, text: str, line: Line) -> Expression:
        """The expression `text` of `line`, its names and nodes those of the whole."""
        if text.startswith('"'):
            refuse(line, f"the text {text[:40]}")
        return self.bind(read_at(text, line), line, {})

    def bind(self, e: Expression, line: Line, local: Mapping[str, Expression]) -> Expression:
        """`e` with names, nodes and functions replaced by what they stand for."""
        done: dict[Expression, Expression] = {}

        def walk(e: Expression) -> Expression:
            if e not in done:
                done[e] = self._bind_one(e, walk, line, local)
            return done[e]

        return walk(e)

    def _bind_one(
        self, e: Expression, walk: Callable[[Expression], Expression], line: Line, local: Mapping[str, Expression]
    ) -> Expression:
        if e.op == "name":
            return local[e.text] if e.text in local else self.name(e.text, line)
        if e.op == "v":
            return voltage(*(self.net(n) for n in e.nodes))
        if e.op == "i":
            return node("i", text=f"{self.path}{e.nodes[0]}")
        if e.op == "call":
            return self._call(e, tuple(walk(arg) for arg in e.args), line)
        return node(e.op, tuple(walk(arg) for arg in e.args), e.text, e.nodes)

    def _call(self, e: Expression, args: tuple[Expression, ...], line: Line) -> Expression:
        own = self.definition.functions.get(e.text) or self.deck.definitions[""].functions.get(e.text)
        count = len(own[0]) if own else FUNCTIONS[e.text].count if e.text in FUNCTIONS else None
        if count is None:
            refuse(line, f"the function {e.text}")
        if count != len(args):
            raise NetlistError(f"{line.where}: {e.text} takes {count} arguments, not {len(args)}")
        if own is None:
            return node("call", args, e.text)
        key = f"function {e.text}"
        if key in self._open:
            raise NetlistError(f"{own[2].where}: the function {e.text} calls itself")
        self._open.add(key)
        held = (arg if arg.is_leaf else shared(arg, f"{e.text}_of") for arg in args)
        found = self.bind(read_at(own[1], own[2]), own[2], dict(zip(own[0], held, strict=True)))
        self._open.discard(key)
        return shared(found, f"{self.path}{e.text}")

    def net(self, name: str) -> str:
        """The node called `name` here, by its name in the whole; ``0`` for ground."""
        if name in GROUND:
            return "0"
        return self.pins.get(name) or f"{self.path}{name}"

    def elements(self) -> Iterator[Element]:
        """Every element of this instance, subcircuits written out. Raises `NetlistError` for what has no law."""
        for statement in self.definition.elements:
            if statement.card.startswith("x"):
                yield from self.instance(statement).elements()
            else:
                yield self.element(statement)

    def starts(self) -> Iterator[tuple[str, Expression, Line]]:
        """Node, value and line of what the ``.ic`` cards here and within set."""
        for statement in self.definition.starts:
            for match in _START.finditer(statement.code):
                text = statement.code[match.end() :]
                after = _START.search(text)
                yield (
                    self.net(match[1].lower()),
                    self.bound((text[: after.start()] if after else text).strip(" ,"), statement.line),
                    statement.line,
                )
        for statement in self.definition.elements:
            if statement.card.startswith("x") and self.model(statement) is None:
                yield from self.instance(statement).starts()

    def model(self, statement: Statement) -> Model | None:
        """The Verilog-A model that `statement` makes an instance of; None for a subcircuit's."""
        name = head_words(statement)[-1]
        return None if name in self.deck.definitions else self.deck.models.get(name)

    def instance(self, statement: Statement) -> "Scope":
        """The scope of the instance that `statement` makes."""
        if (model := self.model(statement)) is not None:
            refuse(statement.line, f"the Verilog-A model {model.module} within a subcircuit")
        words = head_words(statement)
        definition = self.deck.definitions.get(words[-1]) if len(words) > 1 else None
        if definition is None or not words[-1]:
            raise NetlistError(f"{statement.line.where}: unknown subcircuit '{words[-1]}'")
        nodes = [self.net(word) for word in words[1:-1]]
        if len(nodes) != len(definition.pins):
            few = "few" if len(nodes) < len(definition.pins) else "many"
            raise NetlistError(f"{statement.line.where}: too {few} pins for subcircuit '{definition.name}'")
        path = f"{self.path}{statement.card}."
        inner = Scope(self.deck, definition, path, dict(zip(definition.pins, nodes, strict=True)))
        inner.outside = self._known_here
        set_here = {n.lower(): statement.code[i:j] for n, i, j in assignments(statement.code)}
        for name in set_here:
            if name not in definition.given:
                if name == "m" or name in definition.own:
                    refuse(statement.line, f"{name}= of an instance")
                raise NetlistError(
                    f"{statement.line.where}: "
                    f"{unknown_name(name, definition.given, f'the subcircuit {definition.name} has no parameter')}"
                )
        given = {name: shared(self.bound(text, statement.line), f"{path}{name}") for name, text in set_here.items()}
        inner.given = given
        for name, text in definition.given.items():
            if name not in given:
                given[name] = shared(inner.bound(text, definition.line), f"{path}{name}")
        return inner

    def element(self, statement: Statement) -> Element:
        """The law of an element other than an instance."""
        kind, words, line = statement.card[0], statement.words, statement.line
        if kind in WHAT:
            refuse(line, f"{statement.card}, {WHAT[kind]},")
        if len(words) < 4:
            raise NetlistError(f"{line.where}: '{statement.card}' has too few nodes or no value")
        nodes = (self.net(words[1]), self.net(words[2]))
        path = f"{self.path}{statement.card}"
        across = voltage(*nodes)
        if kind == "b":
            match = _LAW.fullmatch(" ".join(statement.code.split(" ")[3:]))
            if match is None:
                refuse(line, f"'{statement.code[:60]}'")
            quantity = "voltage" if match["quantity"].lower() == "v" else "current"
            return Element(path, quantity, nodes, self.bound(match["text"], line), line)
        if kind in "rcl":
            value = self.bound(self._only_value(statement, kind), line)
            if kind in "cl" and any(leaf.op in ("v", "i") or leaf.text == "$abstime" for leaf in leaves(value)):
                refuse(line, f"{statement.card}, whose value moves,")
            law = {"r": node("/", (across, value)), "c": node("*", (value, across)), "l": value}[kind]
            return Element(path, {"r": "current", "c": "charge", "l": "flux"}[kind], nodes, law, line)
        if kind in "vi":
            text = words[-1] if len(words) == 4 or (len(words) == 5 and words[3] == "dc") else ""
            if not text or "(" in text.split("{")[0]:
                refuse(line, f"the waveform of {statement.card} within a subcircuit")
            return Element(path, "voltage" if kind == "v" else "current", nodes, self.bound(text, line), line)
        wanted = 6 if kind in "eg" else 5
        if len(words) != wanted or "=" in statement.code:
            refuse(line, f"'{statement.code[:60]}'")
        if kind in "eg":
            control = voltage(self.net(words[3]), self.net(words[4]))
        else:
            control = node("i", text=f"{self.path}{words[3]}")
        law = node("*", (self.bound(words[-1], line), control))
        return Element(path, "voltage" if kind in "eh" else "current", nodes, law, line)

    def _only_value(self, statement: Statement, kind: str) -> str:
        rest = statement.words[3:]
        text = rest[0].removeprefix(f"{kind}=") if len(rest) == 1 else ""
        if not text or "=" in text.split("{")[0]:
            refuse(statement.line, f"'{statement.code[:60]}'")
        return text


def voltage(a: str, b: str = "0") -> Expression:
    """V(a,b) as an expression; against ground with one name, and none where both are the same."""
    if a == b:
        return ZERO
    if a == "0":
        return negative(node("v", nodes=(b,)))
    return node("v", nodes=(a,) if b == "0" else (a, b))


def shared(e: Expression, name: str) -> Expression:
    """`e`, to be written once and called `name`; a leaf is as short itself."""
    short = e.is_leaf or e.op == "shared" or (e.op == "neg" and e.args[0].is_leaf)
    return e if short else node("shared", (e,), name)
