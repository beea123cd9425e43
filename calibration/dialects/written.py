"""The deck that comes out: elements, parameters and cards, each name and number written here, and what was found.

element   NAME NODES TAIL          where another element's current is asked for, i(NAME), that of a source of 0 V
                                   in series with it, which is put in at the end
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bruno_spice.calibration.dialects.files import Code
from bruno_spice.calibration.dialects.formulas import (
    MOVING,
    FormulaError,
    Language,
    Reader,
    leaves,
    moves,
    op,
    short_number,
    written,
)
from bruno_spice.calibration.dialects.names import Names
from bruno_spice.calibration.spice.words import FUNCTIONS
from bruno_spice.calibration.verilog_a.expressions import Expression, node, number

SHOWN = 100
"""Characters of a statement that a finding shows."""
NAMED_OTHERWISE = (
    "time", "temper", "temp", "hertz", "pi", "e", "i", "v", "u", "m", "gnd", "yes", "no", "true", "false",
)  # fmt: skip
"""Words that a parameter cannot be called; m is how many of an instance are in parallel."""
NOT_MULTIPLIED = re.compile(r"[fhkstw]\S* |b\S* (i =|.*\bi\()|.*(?<!\S)m=", re.IGNORECASE)
"""Name and tail of an element that ngspice does not take m times where its instance is: it passes over currents of
behavioural sources, switches and lines, asks for the current of all, and heeds the inner one of two m."""


@dataclass(frozen=True)
class Finding:
    """What is to be said of a line: its kind, the reason, and how it begins."""

    file: str
    line: int
    kind: str
    reason: str
    text: str

    @property
    def sentence(self) -> str:
        """For the user, in one line."""
        shown = f": {self.text}" if self.text else ""
        return f"{self.file}:{self.line}: {self.kind}: {self.reason}{shown}"


class LostError(Exception):
    """Why a statement is not translated."""


@dataclass
class Element:
    """One element as it is written, and the name by which its current is asked for."""

    name: str
    nodes: list[str]
    tail: str
    theirs: str = ""


@dataclass
class Circuit:
    """A subcircuit, or the deck itself, as it is written."""

    head: str = ""
    pins: tuple[str, ...] = ()
    items: list[Element | str] = field(default_factory=list)
    elements: dict[str, Element] = field(default_factory=dict)
    """By their name."""
    asked: dict[str, Code] = field(default_factory=dict)
    """Elements whose current is asked for, and the statement that asks."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Of a subcircuit, by our name: what it has without being given any."""
    own: set[str] = field(default_factory=set)
    """Parameters that its body sets, by our name."""


class Written:
    """A deck that is written statement by statement in `language`; ``code`` is the statement at hand."""

    def __init__(self, language: Language) -> None:
        self.findings: list[Finding] = []
        self.language, exact = language, language.exact
        self.nodes = Names(exact, ("gnd", "ground", "time", "temper"))
        self.parameters = Names(exact, {*FUNCTIONS, *NAMED_OTHERWISE})
        self.names, self.models = Names(exact), Names(exact, FUNCTIONS)
        self.ground: set[str] = {"0"}
        self.deck = Circuit()
        self.open: list[Circuit] = [self.deck]
        self.circuits: dict[str, Circuit] = {}
        """By our name."""
        self.set: set[str] = set()
        """Parameters that are set somewhere, by our name."""
        self.read: dict[str, Code] = {}
        """Parameters that are read, and where first."""
        self.instances: list[tuple[Element, str, tuple[tuple[str, str], ...], Code]] = []
        """Element, circuit, what is given, statement."""
        self.code = Code("", "", 0)
        self.theirs: dict[str, set[str]] = {}
        """Names that the deck ("") or a subcircuit, by our name, sets or is given: those of the first pass."""
        self.reader = Reader(language, self.parameter, self.node, self._current)
        self.reader.sets = lambda name: any(name in self.theirs.get(head, ()) for head in ("", self.here.head))

    # what is said of a line

    def say(self, kind: str, reason: str, code: Code | None = None, text: str | None = None) -> None:
        """Note a finding on `code`, or on the statement at hand."""
        code = code or self.code
        shown = code.text if text is None else text
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        found = Finding(code.file, code.line, kind, reason, shown)
        if found not in self.findings:
            self.findings.append(found)

    def attempt(self, act: Callable[[Code], None], code: Code) -> None:
        """`act` on the statement `code`; what it cannot translate is said of the line."""
        self.code = code
        try:
            act(code)
        except LostError as error:
            self.lost(str(error), code)
        except RecursionError:
            self.lost("an expression that nests too deeply", code)

    def lost(self, reason: str, code: Code | None = None) -> None:
        """The statement acts on the circuit and is not in the deck."""
        self.say("not translated", reason, code)

    def changed(self, reason: str, code: Code | None = None) -> None:
        """The statement is in the deck in another way."""
        self.say("changed", reason, code)

    def left_out(self, reason: str, code: Code | None = None) -> None:
        """The statement says nothing of the circuit."""
        self.say("left out", reason, code)

    # names

    @property
    def here(self) -> Circuit:
        """The circuit that is being written."""
        return self.open[-1]

    def node(self, name: str) -> str:
        """Our name of a node. Raises `LostError` for one within another circuit."""
        key = name if self.language.exact else name.lower()
        if key in self.ground:
            return "0"
        if re.search(r"\w[.:]\w", name):
            raise LostError(f"{name} is a node within an instance")
        ours = self.nodes.of(name)
        if ours.lower() != name.lower():
            self.say("changed", f"the node {name} is called {ours}", text="")
        return ours

    def parameter(self, name: str) -> str:
        """Our name of a parameter that is read."""
        if name in MOVING:
            return name
        ours = self.parameters.of(name).lower()
        self.read.setdefault(ours, self.code)
        return ours

    def _current(self, name: str) -> str:
        if not re.fullmatch(r"[\w:]+", name) or "." in name:
            raise LostError(f"i({name}) is a current within an instance")
        self.here.asked.setdefault(name if self.language.exact else name.lower(), self.code)
        return f"@{name if self.language.exact else name.lower()}@"

    # numbers and expressions

    def formula(self, text: str) -> Expression:
        """The expression `text`. Raises `LostError`."""
        try:
            return self.reader.tree(text, self.code)
        except FormulaError as error:
            raise LostError(str(error)) from None

    def value(self, e: Expression | str) -> str:
        """A number or an expression of parameters as a value. Raises `LostError` for what a value cannot be."""
        e = self.formula(e) if isinstance(e, str) else e
        sign = "-" if e.op == "neg" else ""
        if (e.args[0] if sign else e).op == "number":
            return sign + short_number(float((e.args[0] if sign else e).text))
        if moves(e):
            raise LostError("a value that depends on a voltage, a current, the time or the temperature")
        return f"{{{self._written(e, behaviour=False)}}}"

    def _written(self, e: Expression, behaviour: bool) -> str:
        for leaf in leaves(e):
            if leaf.op == "name" and leaf.text in MOVING and not behaviour:
                raise LostError(f"{leaf.text} in a parameter")
        try:
            return written(e, behaviour)
        except FormulaError as error:
            raise LostError(str(error)) from None

    # what is written

    def element(self, letter: str, name: str, nodes: Sequence[str], tail: str) -> Element:
        """An element of the kind `letter` between `nodes`, which are theirs."""
        ours = self.names.of(f"{name}", letter)
        found = Element(ours, [self.node(each) for each in nodes], tail, name)
        self._add(found)
        return found

    def _add(self, element: Element) -> None:
        key = element.theirs if self.language.exact else element.theirs.lower()
        if key in self.here.elements:
            raise LostError(f"a second element called {element.theirs}")
        self.here.elements[key] = element
        self.here.items.append(element)

    def between(self, letter: str, wish: str, nodes: Sequence[str], tail: str) -> None:
        """An element that stands for a part of another one; `nodes` are ours."""
        name = self.names.new(wish if wish.lower().startswith(letter) else f"{letter}_{wish}")
        self.here.items.append(Element(name, list(nodes), tail))

    def behaviour(self, name: str, nodes: Sequence[str], quantity: str, e: Expression) -> None:
        """A source of the voltage or current (`quantity` V or I) `e`."""
        text = self._written(e, behaviour=True)
        self.element("B", name, nodes, f"{quantity} = {text}")

    def resistor(self, name: str, nodes: Sequence[str], e: Expression, tail: str = "") -> None:
        """A resistor; one whose value moves is the source of its current, which has no temperature coefficient."""
        if tail and moves(e):
            raise LostError("a temperature coefficient of a resistance that moves")
        if moves(e):
            a, b = (self.node(each) for each in nodes)
            across = node("v", nodes=(a, b)) if b != "0" else node("v", nodes=(a,))
            across = op("neg", node("v", nodes=(b,))) if a == "0" else across
            self.behaviour(name, nodes, "I", op("/", across, e))
        else:
            self.element("R", name, nodes, f"{self.value(e)}{tail}")

    def multiplied(self, e: Expression, times: Expression | None, divide: bool = False) -> Expression:
        """`e` of as many in parallel as `times` says."""
        if times is None or times is number(1.0):
            return e
        return op("/" if divide else "*", e, times)

    def card(self, text: str) -> None:
        """A card."""
        self.here.items.append(text)

    def param(self, name: str, text: str) -> None:
        """A parameter, of the deck or of the circuit at hand."""
        e = self.formula(text)
        ours = self.parameters.of(name).lower()
        self.set.add(ours)
        self.here.own.add(ours)
        self.card(f".param {ours}={self.value(e)}")
        if ours != name.lower():
            self.changed(f"the parameter {name} is called {ours}")

    def begin(self, name: str, pins: Sequence[str], given: Sequence[tuple[str, str]]) -> None:
        """A subcircuit, with what its parameters are where nothing is given."""
        ours = self.models.of(name).lower()
        circuit = Circuit(ours)
        nested, twice = len(self.open) > 1, ours in self.circuits
        self.open.append(circuit)
        if nested or twice:
            raise LostError("a subcircuit within a subcircuit" if nested else f"a second subcircuit {name}")
        circuit.pins = tuple(self.node(pin) for pin in pins)
        self.circuits[ours] = circuit
        for parameter, text in given:
            called = self.parameters.of(parameter).lower()
            self.set.add(called)
            circuit.parameters[called] = self.value(text)

    def end(self) -> None:
        """The end of a subcircuit. Raises `LostError` where none is open."""
        if len(self.open) == 1:
            raise LostError("the end of a subcircuit that has no beginning")
        self.open.pop()

    def instance(self, name: str, nodes: Sequence[str], master: str, given: Sequence[tuple[str, str]]) -> None:
        """An instance of the subcircuit `master`."""
        texts = []
        for parameter, text in given:
            is_m = (parameter if self.language.exact else parameter.lower()) == "m"
            ours = "m" if is_m else self.parameters.of(parameter).lower()
            if ours != "m":
                self.set.add(ours)
            texts.append((ours, self.value(text)))
        tail = " ".join([self.models.of(master).lower(), *(f"{ours}={text}" for ours, text in texts)])
        element = self.element("X", name, nodes, tail)
        self.instances.append((element, self.models.of(master).lower(), tuple(texts), self.code))

    # the end

    def finish(self) -> None:
        """Look at what only the whole deck tells: currents asked for, circuits and parameters that there are not."""
        undeclared: dict[str, dict[str, None]] = {}
        for circuit in (self.deck, *self.circuits.values()):
            self._measure(circuit)
        for element, name, texts, code in self.instances:
            found = self.circuits.get(name)
            if found is None:
                self.lost(f"there is no subcircuit {name}", code)
            elif len(found.pins) != len(element.nodes):
                self.lost(f"the subcircuit {name} has {len(found.pins)} pins", code)
            else:
                given = [parameter for parameter, _ in texts if parameter != "m"]
                if both := sorted(found.own.intersection(given)):
                    self.lost(f"it gives {' and '.join(both)}, which the subcircuit {name} sets itself", code)
                self._in_parallel(found, dict(texts).get("m", "1"), code)
                undeclared.setdefault(name, {}).update(dict.fromkeys(p for p in given if p not in found.parameters))
        for name, parameters in undeclared.items():  # each instance must give what the circuit itself does not set
            self.circuits[name].parameters |= dict.fromkeys(parameters, "1")
            for _, master, texts, code in self.instances:
                if master == name and (missing := parameters.keys() - dict(texts).keys()):
                    self.lost(f"it gives the subcircuit {name} no {' and no '.join(sorted(missing))}", code)
        for name, code in self.read.items():
            if name not in self.set:
                self.lost(f"nothing sets the parameter {name}", code)
        if len(self.open) > 1:
            self.lost(f"the subcircuit {self.here.head} has no end")

    def _in_parallel(self, circuit: Circuit, m: str, code: Code) -> None:
        """Whether ngspice makes `m` of an instance of `circuit`."""
        if m == "1":
            return
        if self.parameters.written.get(" m") in circuit.parameters.keys() | circuit.own:
            self.lost(f"m=, which is a parameter of the subcircuit {circuit.head} and how many there are of it", code)
        todo, seen = [circuit], {circuit.head}
        while todo:
            for element in (item for item in todo.pop().items if isinstance(item, Element)):
                if NOT_MULTIPLIED.match(f"{element.name} {element.tail}"):
                    name = element.theirs or element.name
                    self.lost(f"m= of a subcircuit with {name}, which ngspice does not take m times", code)
                    return
                inner = element.tail.split()[0] if element.name[0].lower() == "x" else ""
                if inner in self.circuits and inner not in seen:
                    seen.add(inner)
                    todo.append(self.circuits[inner])

    def _measure(self, circuit: Circuit) -> None:
        for name, code in circuit.asked.items():
            element = circuit.elements.get(name)
            if element is None:
                self.lost(f"there is no element {name} whose current is asked for", code)
                source = name
            elif element.name[0].lower() == "v":
                source = element.name
            else:
                source = self.names.new(f"V_{element.name}")
                inner = self.nodes.new(f"{element.nodes[0]}_{element.name}")
                circuit.items.append(Element(source, [element.nodes[0], inner], "0"))
                element.nodes[0] = inner
            for item in circuit.items:
                if isinstance(item, Element):
                    item.tail = item.tail.replace(f"@{name}@", source)

    def text(self, title: str) -> str:
        """The deck."""
        lines = [f"* {title}"]
        for circuit in self.circuits.values():
            given = "".join(f" {name}={text}" for name, text in circuit.parameters.items())
            lines += [f".subckt {circuit.head} {' '.join(circuit.pins)}{given}", *_lines(circuit), ".ends"]
        return "\n".join([*lines, *_lines(self.deck), ".end", ""])


def _lines(circuit: Circuit) -> Iterator[str]:
    for item in circuit.items:
        yield item if isinstance(item, str) else " ".join([item.name, *item.nodes, item.tail]).rstrip()
