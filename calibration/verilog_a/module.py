"""A circuit as a Verilog-A module: its laws as contributions, nodes that nothing loads as variables.

A node that an ideal voltage holds against ground, and whose current nobody asks for, is no unknown: its voltage is
written in the place of ``V(node)``. Variables are written before they are read at every evaluation, so none keeps
anything from one to the next. A source of a plain 0 V carries its value as a parameter: OpenVAF collapses a branch of
a literal 0, and the current in it would read 0. A source beside another element over the same nodes has a branch of its
own, which that one's current would else turn into a current, and another source's voltage would add to. What ``.ic``
sets within a subcircuit holds at time 0, so that a state starts where it is told in any simulator.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.verilog_a.circuit import Deck, Element, Scope, voltage
from bruno_spice.calibration.verilog_a.expressions import ZERO, Expression, negative, node, written
from bruno_spice.calibration.verilog_a.writer import Names, Writer, leaves

WIDTH = 120
START_S = 1e3
"""Conductance in S that holds a node at its ``.ic`` where time begins."""
ZERO_V = node("name", text="zero_v")


@dataclass(frozen=True)
class Module:
    """A module ready to be compiled: its name, its ports by node and its parameters by name, and its text."""

    name: str
    ports: tuple[str, ...]
    parameters: Mapping[str, str]
    """How the text calls each parameter."""
    states: Mapping[str, str]
    """How the text calls each node that stayed an unknown within."""
    text: str


def subcircuit_module(
    deck: Deck, name: str, called: str = "", about: Mapping[str, tuple[str, str]] | None = None, head: str = ""
) -> Module:
    """The subcircuit `name` of `deck` as a module, called so or as `called`, with its pins and parameters.

    Deck-level parameters that it uses become parameters too; one of a pin's name that no law reads is left out.
    `about` gives unit and meaning of parameters, `head` the lines of comment above the module.
    Raises `NetlistError` for what has no translation.
    """
    definition = deck.definitions[name]
    names = Names()
    parameters = {given: names.new(given) for given in definition.given}
    outer: dict[str, str] = {}
    top = deck.definitions[""]

    def outside(asked: str) -> Expression | None:
        if asked not in top.own:
            return None
        if asked not in outer:
            outer[asked] = names.new(asked)
        return node("name", text=outer[asked])

    scope = Scope(deck, definition, pins={pin: pin for pin in definition.pins})
    scope.given = {given: node("name", text=called) for given, called in parameters.items()}
    scope.outside = outside
    elements, starts = list(scope.elements()), [(net, value) for net, value, _ in scope.starts()]
    defaults = {given: scope.bound(text, definition.line) for given, text in definition.given.items()}
    laws = [*(element.law for element in elements), *(value for _, value in starts), *defaults.values()]
    read = {leaf.text for law in laws for leaf in leaves(law)}
    for pin in definition.pins:
        if pin in parameters and parameters[pin] not in read:  # it tells a testbench what to put there
            del defaults[pin]
            names.give_back(parameters.pop(pin))
    own = dict.fromkeys(outer, ZERO)  # the deck says what they are
    values = {**defaults, **own}
    return _module(
        called or name, definition.pins, elements, parameters | outer, values, names, about or {}, head, starts
    )


def element_module(element: Element, outer: Mapping[str, str], names: Names) -> Module:
    """One element of the deck itself as a module; `outer` are the deck's parameters that its law names."""
    ports = tuple(dict.fromkeys([n for n in element.nodes if n != "0"] + list(_nodes([element]))))
    return _module(f"law_{element.path}", ports, [element], dict(outer), dict.fromkeys(outer, ZERO), names, {}, "")


def _nodes(elements: Iterable[Element]) -> Iterator[str]:
    """Nodes that the laws of `elements` read."""
    for element in elements:
        for leaf in leaves(element.law):
            yield from leaf.nodes


def _held_nodes(elements: Sequence[Element], ports: Sequence[str], probed: set[str]) -> dict[str, Expression]:
    """Nodes within that an ideal voltage holds against ground, each with that voltage."""
    candidates: dict[str, Expression] = {}
    twice: set[str] = set()
    for element in elements:
        if element.quantity == "voltage" and "0" in element.nodes and element.path not in probed:
            a, b = element.nodes
            name, law = (a, element.law) if b == "0" else (b, negative(element.law))
            twice |= {name} if name in candidates else set()
            candidates[name] = law
    for name in {*twice, *ports}:
        candidates.pop(name, None)
    for name in list(candidates):  # a circle of such nodes keeps one as an unknown
        if _reaches_itself(name, candidates):
            del candidates[name]
    return candidates


def _reaches_itself(start: str, held: Mapping[str, Expression]) -> bool:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for leaf in leaves(held[todo.pop()]):
            for name in leaf.nodes:
                if name == start:
                    return True
                if name in held and name not in seen:
                    seen.add(name)
                    todo.append(name)
    return False


def _module(
    name: str,
    ports: Sequence[str],
    elements: Sequence[Element],
    parameters: Mapping[str, str],
    defaults: Mapping[str, Expression],
    names: Names,
    about: Mapping[str, tuple[str, str]],
    head: str,
    starts: Sequence[tuple[str, Expression]] = (),
) -> Module:
    probed = {leaf.text for element in elements for leaf in leaves(element.law) if leaf.op == "i"}
    sources = {element.path: element for element in elements if element.quantity in ("voltage", "flux")}
    for element in elements:
        for leaf in leaves(element.law):
            if leaf.op == "i" and leaf.text not in sources:
                raise NetlistError(f"{element.line.where}: i({leaf.text}) is not the current of a voltage source here")
    held = _held_nodes(elements, ports, probed)
    called = names.new(name)
    nets = {port: names.new(port) for port in ports}
    kept = [n for e in elements for n in (*e.nodes, *_nodes([e])) if n != "0" and n not in held and n not in nets]
    states = {n: names.new(n) for n in dict.fromkeys(kept)}
    nets |= states
    beside = Counter(pair for e in elements if (pair := frozenset(_ends(e.nodes, held))))
    beside.update(frozenset((net,)) for net, _ in starts)
    branches = {
        path: names.new(f"br_{path}") for path, e in sources.items()
        if path in probed or e.quantity == "flux" or beside[frozenset(_ends(e.nodes, held))] > 1
    }  # fmt: skip
    ends = {path: _ends(sources[path].nodes, held) for path in branches}
    backwards = frozenset(path for path in branches if ends[path][:1] != (sources[path].nodes[0],))
    writer = Writer(names, nets, branches, backwards, held)
    for element in _joined(elements, held):
        _contribute(element, writer)
    for net, value in starts:
        if net in nets:
            difference = node("-", (voltage(net), value))
            writer.say(f"if ($abstime == 0.0) I({nets[net]}) <+ {START_S}*({writer.text(difference)});")
    zero = any(ZERO_V.text in line for line in writer.lines)
    declared = [
        _parameter(parameters[p], written(defaults[p], lambda leaf: leaf.text), about.get(p)) for p in parameters
    ]
    lines = [
        *(f"// {line}".rstrip() for line in head.splitlines()),
        '`include "disciplines.vams"',
        "",
        f"module {called}({', '.join(nets[p] for p in ports)});",
        *_wrapped("inout", [nets[p] for p in ports]),
        *_wrapped("electrical", list(nets.values())),
        *(f"  branch ({_pair(ends[path], nets)}) {branch};" for path, branch in branches.items()),
        *(f"  {line}" for line in declared),
        *(
            ["  parameter real zero_v = 0.0;  // never literal: a branch of a plain 0 V loses its current"]
            if zero
            else []
        ),
        *_wrapped("real", writer.variables),
        "",
        "  analog begin",
        *_folded(writer.constants),
        *_folded(writer.lines),
        "  end",
        "endmodule",
    ]
    return Module(called, tuple(ports), dict(parameters), states, "\n".join(lines) + "\n")


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Statements on lines of `WIDTH`, broken at blanks."""
    for line in lines:
        blanks = " " * (len(line) - len(line.lstrip()))
        yield from textwrap.wrap(
            line.strip(), WIDTH, initial_indent=blanks, subsequent_indent=f"{blanks}    ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _parameter(name: str, default: str, about: tuple[str, str] | None) -> str:
    said = f'(* desc="{about[1]}", units="{about[0]}" *) ' if about else ""
    return f"{said}parameter real {name} = {default};"


def _joined(elements: Sequence[Element], held: Mapping[str, Expression]) -> list[Element]:
    """`elements` with the charges between two nodes as one: OpenVAF counts equal ``ddt`` of a branch only once."""
    found: list[Element] = []
    places: dict[frozenset[str], int] = {}
    for element in elements:
        pair = frozenset(_ends(element.nodes, held))
        if element.quantity != "charge" or pair not in places:
            if element.quantity == "charge":
                places[pair] = len(found)
            found.append(element)
            continue
        first = found[places[pair]]
        along = _ends(first.nodes, held)[:1] == _ends(element.nodes, held)[:1]
        same_side = (first.nodes[0] in pair) == (element.nodes[0] in pair)
        sign = "+" if along and same_side else "-"
        found[places[pair]] = replace(first, law=node(sign, (first.law, element.law)))
    return found


def _contribute(element: Element, writer: Writer) -> None:
    """The statement of one element; none for what holds a node, for that voltage is written where it is read."""
    a, b = element.nodes
    if element.quantity == "voltage" and "0" in (a, b) and (a in writer.held or b in writer.held):
        return
    ends = _ends(element.nodes, writer.held)
    if not ends and element.quantity in ("current", "charge"):
        return
    if not ends:
        raise NetlistError(f"{element.line.where}: a voltage between two nodes that others hold already")
    along = ends[0] == a
    if element.quantity == "charge":
        writer.say(f"I({_pair(ends, writer.nets)}) <+ {'' if along else '-'}ddt({writer.text(element.law)});")
        return
    law = element.law if along else negative(element.law)
    if element.quantity == "current":
        writer.say(f"I({_pair(ends, writer.nets)}) <+ {writer.text(law)};")
        return
    branch = writer.branches.get(element.path) or _pair(ends, writer.nets)
    behind = [writer.text(voltage(n)) for n in (a, b) if n in writer.held]
    if element.quantity == "flux":
        writer.say(f"V({branch}) <+ {' + '.join([f'ddt({writer.text(element.law)}*I({branch}))', *behind])};")
        return
    terms = [law]
    if all(leaf.op == "number" for leaf in leaves(law)):
        terms = [ZERO_V] if law == ZERO else [law, ZERO_V]
    writer.say(f"V({branch}) <+ {' + '.join([*(writer.text(term) for term in terms), *behind])};")


def _ends(nodes: Sequence[str], held: Mapping[str, Expression]) -> tuple[str, ...]:
    """The one or two nodes that an element loads, ground and held ones left out; none where both are."""
    return tuple(dict.fromkeys(n for n in nodes if n != "0" and n not in held)) if nodes[0] != nodes[1] else ()


def _pair(nodes: Sequence[str], nets: Mapping[str, str]) -> str:
    return ", ".join(nets[n] for n in nodes)


def _wrapped(word: str, names: Sequence[str]) -> list[str]:
    """A declaration of `names`, on as many lines as it needs."""
    lines, row = [], ""
    for name in names:
        more = f"{row}, {name}" if row else f"  {word} {name}"
        if len(more) > WIDTH - 1:
            lines.append(f"{row};")
            more = f"  {word} {name}"
        row = more
    return [*lines, f"{row};"] if row else []
