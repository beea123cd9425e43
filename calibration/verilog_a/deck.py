"""A netlist in VACASK's language: sources, resistors and the like as its own devices, the rest as compiled modules.

    model M_NAME MODULE parameter=value ...          a subcircuit's instance, or an element with a law of its own
    i_name (n_a n_b) M_NAME

Every name and number is written here; nothing of a netlist's text reaches the simulator. ``.ic`` becomes ``ic`` of the
transient analysis, within subcircuits too, and holds during its operating point as in ngspice. Tolerances carry over;
what VACASK has no like of is refused. `LTE_RATIO` lets its error estimate, which knows the order of the method, step
as ngspice does at ``trtol=1``. Source: VACASK's documentation of devices, options and the transient analysis.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.ngspice import Model
from bruno_spice.calibration.spice.statements import PARAM_FUNCTION, Statement, assignments, option_pairs
from bruno_spice.calibration.verilog_a.circuit import Deck, Scope, head_words, refuse, start_names, translating
from bruno_spice.calibration.verilog_a.expressions import Expression, ExpressionError, evaluate, node
from bruno_spice.calibration.verilog_a.module import Module, element_module, subcircuit_module
from bruno_spice.calibration.verilog_a.writer import Names, leaves

LTE_RATIO = 1.0001
"""``tran_lteratio`` for ``trtol=1``; it must be above 1."""
FORCE = 1e9
"""How strongly initial conditions hold during the operating point, over what else acts on the node."""
FEWEST_POINTS = 50
METHODS = {"gear": "gear2", "trap": "trap", "trapezoidal": "trap"}
CARRIED = {
    "reltol": "reltol",
    "abstol": "abstol",
    "vntol": "vntol",
    "chgtol": "chgtol",
    "gmin": "gmin",
    "xmu": "tran_xmu",
}
"""Options by what VACASK calls them."""
COUNTS = {"itl1": ("op_itl", 100), "itl4": ("tran_itl", 10)}
"""Iterations at most, and what VACASK takes at least."""
OTHERWISE = frozenset((
    "trtol", "method", "maxord", "itl2", "itl3", "itl5", "itl6", "gminsteps", "srcsteps", "gminfactor", "dyngmin",
    "pivtol", "pivrel", "klu", "sparse", "bypass", "minbreak", "noopiter", "limpts", "limtim", "lvltim", "trytocompact",
))  # fmt: skip
"""Options read apart, and those that choose among algorithms of ngspice."""
OF_USER = "bruno_"
"""What a model of the user's is called begins with, so that it takes no device's name."""
BUILT_IN = {"r": ("resistor", "r"), "c": ("capacitor", "c"), "l": ("inductor", "l")}
CONTROLLED = {"e": "vcvs", "g": "vccs", "f": "cccs", "h": "ccvs"}
_PWL = re.compile(r"pwl ?\((.*)\)", re.IGNORECASE)


@dataclass(frozen=True)
class Translation:
    """A deck ready for VACASK: what it needs and has, and how it calls the vectors to bring back."""

    modules: tuple[Module, ...]
    devices: tuple[str, ...]
    """Files of VACASK's own that it needs."""
    elements: tuple[str, ...]
    control: tuple[str, ...]
    """What to save and which options, before the analysis."""
    analysis: str
    """Its kind and parameters."""
    vectors: tuple[str, ...]


def analysis_name(number: int) -> str:
    """What the analysis of a deck's circuit `number` is called; its result is the file of that name with ``.raw``."""
    return f"tran{number}"


def deck_of(translations: Sequence[Translation], files: Mapping[str, str]) -> str:
    """One deck of all `translations`; `files` has the compiled file of each module by its name.

    Each is a circuit that is elaborated, simulated and given up before the next, with nothing left of what was set for
    the one before: so each gives what it gives alone, bit for bit, and the program starts once.
    """
    loads = dict.fromkeys([*files.values(), *(device for t in translations for device in t.devices)])
    circuits: list[str] = []
    control: list[str] = []
    for number, t in enumerate(translations):
        circuits += [f"subckt job{number}()", *t.elements, "ends"]
        control += ["clear saves options", f'elaborate circuit("job{number}")', *t.control]
        control += [f"analysis {analysis_name(number)} {t.analysis}"]
    loaded = [f'load "{name}"' for name in loads]
    return "\n".join(["bruno", *loaded, "ground 0", *circuits, "control", *control, "endc", ""])


class MissingError(Exception):
    """Vectors that the deck does not have."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(*names)
        self.names = list(names)


def translate(lines: Sequence[Line], vectors: Sequence[str], models: Sequence[Model] = ()) -> Translation:
    """The rendered deck `lines` for VACASK, which brings back `vectors` (``v(vm)``, ``i(vsupply)``).

    `models` are those of the user's that it has instances of.

    Raises `NetlistError` by file and line for what has no translation, `MissingError` for vectors that there are not.
    """
    with translating(lines):
        return _Translator(Deck.of(lines, models)).translation(vectors)


@lru_cache(maxsize=64)
def _subcircuit(codes: tuple[str, ...], name: str, deck: "_Held") -> Module:
    return subcircuit_module(deck.deck, name, f"x_{name}")


def _defines(statement: Statement) -> bool:
    """Whether a statement of the deck says what a subcircuit is: its frame, or a function."""
    return statement.card in (".subckt", ".ends", ".func") or bool(PARAM_FUNCTION.match(statement.code))


@dataclass(frozen=True, eq=True)
class _Held:
    """A deck that counts as equal to any other, for a cache that knows it by its codes."""

    deck: Deck = field(compare=False)


class Placed:
    """The instances of a deck as devices: a module for each subcircuit that there is one of, and their parameters."""

    def __init__(self, deck: Deck) -> None:
        self.deck, self.top = deck, deck.definitions[""]
        self.modules: dict[str, Module] = {}
        self.numbers = Scope(deck, self.top)
        self.numbers.outside = self._deck_number

        instances = {statement.card for statement in self.top.elements if statement.card.startswith("x")}
        for statement in self.top.starts:
            for name in start_names(statement):
                if name.partition(".")[0] in instances:
                    refuse(statement.line, f"an initial condition of the deck within an instance, v({name}),")

    def _deck_number(self, name: str) -> Expression | None:
        return self.numbers.name(name, self.top.own[name][1]) if name in self.top.own else None

    def instance(self, statement: Statement) -> tuple[Module, dict[str, float]]:
        """The module of an instance, and the values of its parameters by what the module calls them."""
        if (model := self.numbers.model(statement)) is not None:
            return self._of_user(model, statement)
        inner = self.numbers.instance(statement)
        name = inner.definition.name
        if name not in self.modules:
            codes = tuple(s.code for s in self.deck.statements if s.scope or _defines(s))
            self.modules[name] = _subcircuit((*codes, *self.top.own), name, _Held(self.deck))
        module = self.modules[name]
        values = {}
        for parameter, called in module.parameters.items():
            given = inner.given.get(parameter)
            values[called] = _value(given or self.numbers.name(parameter, statement.line), statement.line)
        return module, values

    def _of_user(self, model: Model, statement: Statement) -> tuple[Module, dict[str, float]]:
        """A model of the user's, under a name that no device of a simulator has, and what the instance sets of it."""
        called, line = f"{OF_USER}{model.name}", statement.line
        nodes = head_words(statement)[1:-1]
        if len(nodes) != len(model.ports):
            raise NetlistError(
                f"{line.where}: {len(nodes)} nodes for the {len(model.ports)} ports of {model.module}, "
                f"{', '.join(model.ports)}"
            )
        values = {}
        for name, start, stop in assignments(statement.code):
            if name.lower() not in model.parameters:
                known = dict.fromkeys(model.parameters)
                raise NetlistError(f"{line.where}: {unknown_name(name, known, f'{model.module} has no parameter')}")
            values[name.lower()] = _value(self.numbers.bound(statement.code[start:stop], line), line)
        source = re.sub(rf"\b((?:macro)?module\s+){re.escape(model.module)}\b", rf"\1{called}", model.source)
        self.modules[model.name] = Module(called, model.ports, {n: n for n in model.parameters}, {}, source)
        return self.modules[model.name], values


class _Translator(Placed):
    def __init__(self, deck: Deck) -> None:
        super().__init__(deck)
        self.names = Names()
        self.nets: dict[str, str] = {"0": "0"}
        self.sources: dict[str, str] = {}

    def translation(self, vectors: Sequence[str]) -> Translation:
        elements = self.top.elements
        self.sources = {s.card: self.names.new(f"i_{s.card}") for s in elements if s.card[0] == "v"}
        lines: list[str] = []
        for statement in elements:
            kind = statement.card[0]
            if kind == "x":
                module, values = self.instance(statement)
                lines += self._of_module(statement, module, values, head_words(statement)[1:-1])
            elif kind in "vi":
                lines += self._source(statement)
            elif kind in BUILT_IN or kind in CONTROLLED:
                lines += self._linear(statement)
            else:
                lines += self._law(statement)
        used = {statement.card[0] for statement in elements}
        devices = tuple(f"{device}.osdi" for kind, (device, _) in BUILT_IN.items() if kind in used)
        own = [*(device for device, _ in BUILT_IN.values()), *CONTROLLED.values(), "vsource", "isource"]
        needed = [
            f"model {name} {name}" for name in own if any(line.split(") ")[-1].startswith(name) for line in lines)
        ]
        saved = self._saved(vectors)
        return Translation(
            tuple(self.modules.values()),
            devices,
            (*needed, *lines),
            (f"save {' '.join(saved)}", f"options {self._options()}"),
            self._analysis(),
            tuple(_raw_name(name) for name in saved),
        )

    def _net(self, name: str) -> str:
        name = self.numbers.net(name)
        if name not in self.nets:
            self.nets[name] = self.names.new(f"n_{name}")
        return self.nets[name]

    def _number(self, text: str, line: Line) -> float:
        return _value(self.numbers.bound(text, line), line)

    def _law(self, statement: Statement) -> Iterator[str]:
        """An element with a law of its own as a module whose parameters are the deck's."""
        outer: dict[str, str] = {}
        names = Names()
        symbols = Scope(self.deck, self.top)
        symbols.given = {p: node("name", text=names.new(p)) for p in self.top.own}
        element = symbols.element(statement)
        if probed := [leaf.text for leaf in leaves(element.law) if leaf.op == "i"]:
            refuse(statement.line, f"i({probed[0]}) in an element of the deck itself")
        outer = {p: e.text for p, e in symbols.given.items() if e in leaves(element.law)}
        module = element_module(element, outer, names)
        self.modules[module.name] = module
        line = statement.line
        values = {called: _value(self.numbers.name(p, line), line) for p, called in outer.items()}
        yield from self._of_module(statement, module, values, module.ports)

    def _of_module(
        self, statement: Statement, module: Module, values: Mapping[str, float], nodes: Sequence[str]
    ) -> Iterator[str]:
        called = self.names.new(f"i_{statement.card}")
        model = self.names.new(f"m_{statement.card}")
        given = " ".join(f"{p}={value!r}" for p, value in values.items())
        yield f"model {model} {module.name} {given}".rstrip()
        yield f"{called} ({' '.join(self._net(n) for n in nodes)}) {model}"

    def _source(self, statement: Statement) -> Iterator[str]:
        words, line = statement.words, statement.line
        nodes = f"({self._net(words[1])} {self._net(words[2])})"
        kind = "vsource" if words[0][0] == "v" else "isource"
        name = self.sources.get(statement.card) or self.names.new(f"i_{statement.card}")
        rest = " ".join(statement.code.split(" ")[3:])
        if match := _PWL.fullmatch(rest):
            yield f'{name} {nodes} {kind} type="pwl" wave=[{", ".join(self._points(match[1], line))}]'
            return
        text = re.sub(r"^dc ", "", rest, flags=re.IGNORECASE)
        if (
            not text
            or (" " in text and not text.startswith(("{", "'")))
            or re.match(r"[a-z]\w* ?\(", text, re.IGNORECASE)
        ):
            refuse(line, f"the waveform of {statement.card}")
        yield f"{name} {nodes} {kind} dc={self._number(text, line)!r}"

    def _points(self, text: str, line: Line) -> list[str]:
        words = re.findall(r"\{[^{}]*\}|'[^']*'|[^\s,]+", text)
        if len(words) % 2 or not words:
            raise NetlistError(f"{line.where}: a PWL needs a value for each time")
        numbers = [self._number(word, line) for word in words]
        times = numbers[::2]
        if any(b <= a for a, b in pairwise(times)):
            raise NetlistError(f"{line.where}: the times of a PWL must rise")
        if times[0] > 0:
            numbers = [0.0, numbers[1], *numbers]
        return [repr(number) for number in numbers]

    def _linear(self, statement: Statement) -> Iterator[str]:
        words, line, kind = statement.words, statement.line, statement.card[0]
        self.numbers.element(statement)  # refuses what is not written as expected
        nodes = [self._net(word) for word in words[1:3]]
        name = self.names.new(f"i_{statement.card}")
        if kind in BUILT_IN:
            device, parameter = BUILT_IN[kind]
            value = self._number(words[3].removeprefix(f"{kind}="), line)
            if kind == "r" and value == 0:
                raise NetlistError(f"{line.where}: a resistance of 0 Ohm; leave {statement.card} out")
            yield f"{name} ({' '.join(nodes)}) {device} {parameter}={value!r}"
            return
        gain = f"gain={self._number(words[-1], line)!r}"
        if kind in "eg":
            yield f"{name} ({' '.join([*nodes, *(self._net(word) for word in words[3:5])])}) {CONTROLLED[kind]} {gain}"
            return
        if words[3] not in self.sources:
            raise NetlistError(
                f"{line.where}: {statement.card} names the source {words[3]}, which the deck does not have"
            )
        yield f'{name} ({" ".join(nodes)}) {CONTROLLED[kind]} {gain} ctlinst="{self.sources[words[3]]}"'

    def _saved(self, vectors: Sequence[str]) -> list[str]:
        found, missing = [], []
        for vector in vectors:
            match = re.fullmatch(r"([vi])\((.+)\)", vector.strip().lower())
            known = self.nets if match and match[1] == "v" else self.sources
            if match is None or match[2] not in known:
                missing.append(vector if match is None else match[2] if match[1] == "v" else f"{match[2]}#branch")
            else:
                found.append(f"{match[1]}({known[match[2]]})")
        if missing:
            raise MissingError(missing)
        return found

    def _options(self) -> str:
        given = {
            name: text for s in self.deck.statements if s.card == ".options" for name, text in option_pairs(s.code)
        }
        where = {name: s.line for s in self.deck.statements if s.card == ".options" for name, _ in option_pairs(s.code)}
        chosen: dict[str, str] = {"nr_force": repr(FORCE), "strictsave": "2"}
        for name, text in given.items():
            if name in CARRIED:
                chosen[CARRIED[name]] = repr(self._number(text, where[name]))
            elif name in COUNTS:
                option, least = COUNTS[name]
                chosen[option] = str(max(int(self._number(text, where[name])), least))
            elif name not in OTHERWISE:
                refuse(where[name], f"the option {name}")
        method, order = given.get("method", "trap").lower(), given.get("maxord", "2")
        if method not in METHODS:
            refuse(where["method"], f"the method {method}")
        chosen["tran_method"] = '"euler"' if order == "1" else f'"{METHODS[method]}"'
        trtol = self._number(given["trtol"], where["trtol"]) if "trtol" in given else 7.0
        chosen["tran_lteratio"] = repr(max(trtol, 1.0) * LTE_RATIO)
        return " ".join(f"{name}={value}" for name, value in chosen.items())

    def _analysis(self) -> str:
        statement = next(s for s in self.deck.statements if s.card == ".tran")
        words = [word for word in statement.words if word != "uic"]
        step, stop = (self._number(word, statement.line) for word in words[1:3])
        start = self._number(words[3], statement.line) if len(words) > 3 else 0.0
        if start:
            refuse(statement.line, "a .tran that records from later than 0 s")
        longest = self._number(words[4], statement.line) if len(words) > 4 else min(step, stop / FEWEST_POINTS)
        forced: dict[str, float] = {}
        for net, value, line in self.numbers.starts():
            if net in self.nets:
                forced[self.nets[net]] = _value(value, line)
        pairs = ", ".join(f'"{where}", {value!r}' for where, value in forced.items())
        ic = f" ic={{{pairs}}}" if forced else ""
        mode = "uic" if "uic" in statement.words else "op"
        return f'tran step={step!r} stop={stop!r} maxstep={longest!r} icmode="{mode}"{ic}'


def _raw_name(saved: str) -> str:
    """How the result file calls what ``save`` names."""
    return saved[2:-1] if saved.startswith("v") else f"{saved[2:-1]}:flow(br)"


def _value(e: Expression, line: Line) -> float:
    try:
        value = evaluate(e)
    except ExpressionError as error:
        raise NetlistError(f"{line.where}: {error}") from None
    if not math.isfinite(value):
        raise NetlistError(f"{line.where}: a number that is not finite")
    return value
