"""Netlists: read, edit and render ngspice decks without touching the files they come from.

A `Netlist` is a deck with its includes written out (`calibration.spice.lines`), as statements that may go to ngspice
(`calibration.spice.statements`). Deck-level ``.param name=value  ; [unit] meaning`` cards can be overridden; their
values are ngspice's (`calibration.spice.reading`). Sources, the stop time and the saved vectors are replaced by the
experiments. ``.control`` blocks serve runs by hand and are left out, so the analysis must be a ``.tran`` card. Source:
ngspice manual, sections 2.6-2.11 and 15.3.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice import reading
from bruno_spice.calibration.spice.lines import Line, Source, expand_deck, read_deck
from bruno_spice.calibration.spice.ngspice import Job, Model
from bruno_spice.calibration.spice.source_text import split_lines
from bruno_spice.calibration.spice.statements import (
    PARAM_FUNCTION,
    Statement,
    assignments,
    deck_text,
    option_pairs,
    rendered,
    statements_of,
    with_options,
)
from bruno_spice.calibration.spice.words import FUNCTIONS
from bruno_spice.devices.fecap.groups import GROUPS_BEGIN, GROUPS_END, group_lines
from bruno_spice.devices.units import Quantity

PAIRS_PER_LINE = 6
_BARE = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?(e[+-]?\d{1,2})?", re.IGNORECASE)


@dataclass(frozen=True)
class Declaration:
    """A deck-level ``.param`` as it is written: its text, its unit and its comment."""

    name: str
    text: str
    unit: str
    comment: str
    line: Line

    @property
    def where(self) -> str:
        """``file:line``."""
        return self.line.where


@dataclass(frozen=True)
class Param:
    """A deck-level ``.param``: its value in SI units as ngspice reads it (None for a text), its unit and comment."""

    name: str
    text: str
    value: float | None
    unit: str
    comment: str
    where: str


@dataclass(frozen=True)
class Subcircuit:
    """A ``.subckt``: pins in order, parameters with their default texts."""

    name: str
    pins: tuple[str, ...]
    params: Mapping[str, str]
    inner: frozenset[str]
    """Names of the ``.param`` cards in its body, which an instance may set as well."""
    line: Line
    """Where it begins."""


@dataclass(frozen=True)
class Netlist:
    """A deck with its includes written out. Load with `Netlist.load`; every ``with_...`` returns a changed copy."""

    path: Path
    lines: tuple[Line, ...]
    """Physical lines, comments included; the first is the title."""
    remarks: tuple[str, ...] = ()
    """What was recognised in its files, for the user to know."""
    models: tuple[Model, ...] = ()
    """Verilog-A models that it has instances of."""

    @classmethod
    def load(cls, path: Path | str) -> "Netlist":
        """Read the deck at `path` and everything it includes.

        Raises `NetlistError` for a file that is not there and for what may not go to ngspice.
        """
        path = Path(path)
        return cls._checked(path, read_deck(path))

    @classmethod
    def from_text(cls, text: str, path: Path | str) -> "Netlist":
        """A deck from `text`, whose includes are looked for beside `path` (the file itself need not exist)."""
        path = Path(path)
        lines = [Line(raw, None, i) for i, raw in enumerate(split_lines(text), 1)]
        return cls._checked(path, expand_deck(lines, path.parent))

    @classmethod
    def library(cls, path: Path | str) -> "Netlist":
        """The file at `path` as another deck would include it: without a title of its own."""
        source = read_deck(Path(path))
        return cls(Path(path), (Line("* library"), *source.lines), source.remarks)

    @classmethod
    def _checked(cls, path: Path, source: Source) -> "Netlist":
        first = source.lines[0] if source.lines else None
        headless = first is None or first.code.startswith((".", "+"))
        deck = cls(path, (Line("* no title"), *source.lines) if headless else source.lines, source.remarks)
        runs = any(statement.card == ".tran" for statement in deck.statements)
        if runs and headless and first is not None and first.path:
            raise NetlistError(f"{first.where}: ngspice takes the first line for a title; put '* my circuit' before it")
        return deck

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """What goes to ngspice. Raises `NetlistError` at the first statement that may not."""
        return statements_of(self.lines)

    @property
    def rendered(self) -> tuple[Line, ...]:
        """The lines that ngspice reads, each with the place it came from."""
        return rendered(self.statements)

    @property
    def text(self) -> str:
        """The whole deck as ngspice reads it, one line for each of `rendered`."""
        return deck_text(self.rendered)

    def render(self, overrides: Mapping[str, float] | None = None) -> str:
        """The deck's text with deck-level parameters replaced. Raises `NetlistError` for an unknown name."""
        return self.with_params(overrides or {}).text

    def sha256(self, overrides: Mapping[str, float] | None = None) -> str:
        """SHA-256 of the code of the deck, its includes and models; a netlist's comments and blanks do not count."""
        lines = self.with_params(overrides or {}).lines[1:]
        code = [line.code for line in lines if line.code] + [model.source for model in self.models]
        return hashlib.sha256("\n".join(code).encode()).hexdigest()

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """Deck-level parameters by (lower-case) name; where one is set twice, the last counts, as in ngspice."""
        return {d.name: d for statement in self._param_statements() for d in self._declared(statement)}

    @cached_property
    def params(self) -> dict[str, Param]:
        """Deck-level parameters by (lower-case) name, with ngspice's values.

        Raises `NetlistError` with file and line where ngspice cannot evaluate one.
        """
        declared = self.declarations.values()
        for d in declared:
            if not d.text:
                raise NetlistError(f"{d.where}: .param {d.name} has no value")
        asked = {d.name: (_asking(d), d.line) for d in declared if not d.text.startswith('"')}
        values = dict(zip(asked, reading.numbers(self.statements, list(asked.values())), strict=True))
        values |= {d.name: reading.closer(d.text, values[d.name]) for d in declared if d.name in values}
        return {d.name: Param(d.name, d.text, values.get(d.name), d.unit, d.comment, d.where) for d in declared}

    def value(self, name: str) -> float | None:
        """The value of one of `params`; None where there is none. A number without a suffix needs no asking."""
        declared = self.declarations.get(name)
        if declared is None:
            return None
        return float(declared.text) if _BARE.fullmatch(declared.text) else self.params[name].value

    @cached_property
    def subcircuits(self) -> dict[str, Subcircuit]:
        """Subcircuits by (lower-case) name."""
        inner: dict[str, set[str]] = {}
        for statement in self.statements:
            if statement.scope and statement.card == ".param":
                names = (name.lower() for name, _, _ in assignments(statement.code))
                inner.setdefault(statement.scope, set()).update(names)
        found: dict[str, Subcircuit] = {}
        for statement in self.statements:
            if statement.card == ".subckt":
                code = statement.code
                params = {name.lower(): code[start:stop] for name, start, stop in assignments(code)}
                words = _head(code).replace("(", " ").replace(")", " ").lower().split()
                name, *pins = (word for word in words[1:] if word != "params:")
                body = frozenset(inner.get(name, ()))
                found.setdefault(name, Subcircuit(name, tuple(pins), params, body, statement.line))
        return found

    @cached_property
    def nodes(self) -> frozenset[str]:
        """Words of the deck's own element lines, lower-case: its nodes, among others."""
        words = (re.split(r"[\s(),=]+", statement.lower())[1:] for statement in self.top_level())
        return frozenset(word for found in words for word in found)

    def top_level(self) -> list[str]:
        """The deck's own elements, a statement each, continuation lines joined; no cards, nothing of subcircuits."""
        return [s.code for s in self.elements()]

    def elements(self) -> list[Statement]:
        """The statements of the deck's own elements."""
        return [s for s in self.statements if not s.scope and not s.card.startswith(".")]

    def instances(self) -> list[tuple[Statement, Subcircuit]]:
        """The deck's own instances of subcircuits, each with what it is one of."""
        found = []
        for statement in self.elements():
            if statement.card.startswith("x"):
                words = reversed(_head(statement.code).lower().split()[1:])
                circuit = next((self.subcircuits[word] for word in words if word in self.subcircuits), None)
                if circuit is not None:
                    found.append((statement, circuit))
        return found

    def with_params(self, overrides: Mapping[str, float]) -> "Netlist":
        """A copy with deck-level parameters replaced (every place that sets them).

        ``groups``, where the deck has no such ``.param``, is the number of switching groups of its film (fecap.lib).
        Raises `NetlistError` for an unknown name, or a value in another unit than the deck's comment declares.
        """
        values = {name.lower(): value for name, value in overrides.items()}
        if "groups" in values and "groups" not in self.declarations:
            written = group_lines(values.pop("groups"))
            return self.with_block(GROUPS_BEGIN, GROUPS_END, written).with_params(values)
        for name, value in values.items():
            if name not in self.declarations:
                raise NetlistError(unknown_name(name, self.declarations, f"{self.path}: no .param"))
            unit = self.declarations[name].unit
            if isinstance(value, Quantity) and value.unit and unit and value.unit != unit:
                raise NetlistError(
                    f"{self.path}: .param {name} counts in {unit}; write the number alone, not '{value.text}'"
                )
        deck = self
        for statement in reversed(list(self._param_statements()) if values else []):
            declared = self._declared(statement)
            if any(d.name in values for d in declared):
                lines = []
                for d in declared:
                    text = f"{values[d.name]:.12g}" if d.name in values else d.text
                    comment = f" ; {f'[{d.unit}] ' if d.unit else ''}{d.comment}" if d.unit or d.comment else ""
                    lines.append(replace(d.line, text=f".param {d.name}={text}{comment}"))
                deck = deck._with_lines(statement.first, statement.end, lines)
        return deck

    def with_source(self, name: str, times: ArrayLike, values: ArrayLike) -> "Netlist":
        """A copy in which the independent source `name` follows a piecewise linear waveform (SI units)."""
        statement = self.element(name)
        head = " ".join(statement.code.split()[:3])
        pairs = [f"{t:.12g} {v:.9g}" for t, v in zip(np.asarray(times), np.asarray(values), strict=True)]
        rows = [" ".join(pairs[i : i + PAIRS_PER_LINE]) for i in range(0, len(pairs), PAIRS_PER_LINE)]
        return self._with_span(statement, [f"{head} PWL(", *(f"+ {row}" for row in rows), "+ )"])

    def with_tran(self, t_stop_s: float | None = None, t_max_s: float | None = None) -> "Netlist":
        """A copy that records from 0 s, stops at `t_stop_s` and steps by at most `t_max_s` (None: as it stands).

        Raises `NetlistError` if the deck has no ``.tran`` card.
        """
        statement = self._tran()
        words = _without_uic(statement)
        if t_stop_s is not None:
            words[2] = f"{t_stop_s:.12g}"
        if len(words) > 3:
            words[3] = "0"
        if t_max_s is not None:
            words = [*words[:3], "0", f"{t_max_s:.12g}"]
        uic = ["uic"] if "uic" in statement.words else []
        return self._with_span(statement, [" ".join(words + uic)])

    def with_options(self, **options: float | str) -> "Netlist":
        """A copy with simulator options set; the deck's own settings of the same names are taken out."""
        return replace(self, lines=with_options(self.rendered[:-1], options))

    def with_lines(self, texts: Sequence[str]) -> "Netlist":
        """A copy with `texts` behind it."""
        return replace(self, lines=(*self.lines, *(Line(text) for text in texts)))

    def option(self, name: str) -> str | None:
        """The text of the simulator option `name`; None where the deck does not set it."""
        pairs = (pair for s in self.statements if s.card == ".options" for pair in option_pairs(s.code))
        return dict(pairs).get(name)

    def element(self, name: str) -> Statement:
        """The deck-level element `name`. Raises `NetlistError` without it."""
        for statement in self.statements:
            if not statement.scope and statement.card == name.lower():
                return statement
        raise NetlistError(f"{self.path}: has no element {name}; the testbenches' README says which ones a deck needs")

    def without(self, statements: Sequence[Statement]) -> "Netlist":
        """A copy without `statements`."""
        gone = {index for s in statements for index in range(s.first, s.end)}
        return replace(self, lines=tuple(line for index, line in enumerate(self.lines) if index not in gone))

    def t_stop_s(self) -> float:
        """Stop time of the ``.tran`` card in s."""
        return self._tran_time_s(2)

    def t_max_s(self) -> float | None:
        """Longest step that the ``.tran`` card allows, in s; None where it says nothing of it."""
        return self._tran_time_s(4) if len(_without_uic(self._tran())) > 4 else None

    def with_block(self, begin: str, end: str, texts: Sequence[str]) -> "Netlist":
        """A copy with `texts` in place of the lines between the comment lines that start with `begin` and `end`.

        Raises `NetlistError` if the deck lacks one of the two.
        """
        first = next((i for i, line in enumerate(self.lines) if line.text.startswith(begin)), None)
        last = next((i for i, line in enumerate(self.lines) if line.text.startswith(end)), None)
        if first is None or last is None or last < first:
            raise NetlistError(f"{self.path}: lacks the lines '{begin}' and '{end}', between which a program writes")
        new = [replace(self.lines[first], text=part) for text in texts for part in text.splitlines()]
        return self._with_lines(first + 1, last, new)

    @property
    def has_groups(self) -> bool:
        """Whether its film is one whose number of switching groups can be set."""
        return any(line.text.startswith(GROUPS_BEGIN) for line in self.lines)

    def has_card(self, card: str) -> bool:
        """Whether a control card such as ``.tran`` stands in the deck."""
        return any(statement.card == card for statement in self.statements)

    def _param_statements(self) -> Iterator[Statement]:
        for statement in self.statements:
            if statement.card == ".param" and not statement.scope and not PARAM_FUNCTION.match(statement.code):
                yield statement

    def _declared(self, statement: Statement) -> list[Declaration]:
        """What a ``.param`` statement sets; each with the physical line that names it."""
        named_at: dict[str, tuple[Line, bool]] = {}
        for line in self.lines[statement.first : statement.end]:
            names = [name for name, _, _ in assignments(line.code)]
            named_at |= {name: (line, len(names) == 1) for name in names}
        found = []
        for name, start, stop in assignments(statement.code):
            line, alone = named_at.get(name, (statement.line, False))
            unit, meaning = _unit(line.comment) if alone else ("", line.comment)
            found.append(Declaration(name.lower(), statement.code[start:stop], unit, meaning, line))
        return found

    def _tran(self) -> Statement:
        found = [statement for statement in self.statements if statement.card == ".tran"]
        if len(found) > 1:
            raise NetlistError(f"{found[1].line.where}: a second .tran; leave one analysis in the deck")
        if not found:
            raise NetlistError(
                f"{self.path}: has no .tran card, so there is nothing to simulate; add one such as '.tran 5u 122m' "
                "(outside .control, which is only for runs by hand)"
            )
        if len(_without_uic(found[0])) < 3:
            raise NetlistError(f"{found[0].line.where}: .tran needs a step and a stop time")
        return found[0]

    def _tran_time_s(self, index: int) -> float:
        statement = self._tran()
        text = _without_uic(statement)[index]
        value = reading.plain_number(text)
        if value is None:
            value = reading.numbers(self.statements, [(text, statement.line)])[0]
        if value <= 0:
            raise NetlistError(f"{statement.line.where}: .tran has the time {value:g} s, which must be above 0")
        return value

    def _with_span(self, statement: Statement, texts: Sequence[str]) -> "Netlist":
        origin = self.lines[statement.first]
        return self._with_lines(statement.first, statement.end, [replace(origin, text=text) for text in texts])

    def _with_lines(self, first: int, end: int, new: Sequence[Line]) -> "Netlist":
        return replace(self, lines=(*self.lines[:first], *new, *self.lines[end:]))


def _asking(declared: Declaration) -> str:
    """What ngspice is asked for a parameter's value: its name, or its text where that names a function."""
    return declared.text if declared.name in FUNCTIONS else f"{{{declared.name}}}"


def _head(code: str) -> str:
    """`code` up to its first ``name=value``."""
    first = next(assignments(code), None)
    return code if first is None else code[: code.rfind(first[0], 0, first[1])]


def _without_uic(statement: Statement) -> list[str]:
    return [word for word in statement.words if word != "uic"]


def _unit(comment: str) -> tuple[str, str]:
    match = re.match(r"\[([^\]]*)\]\s*(.*)", comment)
    return (match.group(1), match.group(2)) if match else ("", comment)


def transient_job(netlist: Netlist, vectors: Sequence[str], t_stop_s: float | None, label: str = "") -> Job:
    """The transient analysis of `netlist` up to `t_stop_s` (None: as its ``.tran`` says).

    The deck is `netlist` as rendered, which is all that ngspice reads, with `vectors` saved.
    """
    stop = netlist.t_stop_s() if t_stop_s is None else t_stop_s
    lines = netlist.with_tran(t_stop_s).rendered
    names = tuple(v.lower() for v in vectors)
    ready = (*lines[:-1], Line(f".save {' '.join(names)}"), lines[-1])
    return Job(deck_text(ready), names, stop, label or netlist.path.name, ready, netlist.models)
