"""Netlists: read, edit and render ngspice decks without touching the files they come from.

A `Netlist` is a deck with its includes written out (`calibration.lines`).
Deck-level ``.param name=value  ; [unit] meaning`` lines can be overridden; sources, the stop time and
the saved vectors are replaced by the experiments. ``.control`` blocks serve runs by hand and are left
out, so the analysis must be a ``.tran`` card. Source: ngspice manual, sections 2.6-2.11 and 15.3.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from calibration.errors import NetlistError
from calibration.expressions import evaluate
from calibration.lattice import GROUPS_BEGIN, GROUPS_END, group_lines
from calibration.lines import Line, expand_deck, read_deck, split_comment
from devices.errors import InputError
from devices.units import Quantity, parse_spice_number

_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.]*)\s*=(?!=)")
_DROPPED = (".save", ".print", ".plot", ".probe", ".meas", ".measure", ".four", ".end")
PAIRS_PER_LINE = 6


@dataclass(frozen=True)
class Param:
    """A deck-level ``.param``: its value in SI units (None for an expression), its unit and its comment."""

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
    line: Line
    """Where it begins."""


@dataclass(frozen=True)
class Netlist:
    """A deck with its includes written out. Load with `Netlist.load`; every ``with_...`` returns a changed copy."""

    path: Path
    lines: tuple[Line, ...]

    @classmethod
    def load(cls, path: Path | str) -> "Netlist":
        """Read the deck at `path` and everything it includes. Raises `NetlistError` for a file that is not there."""
        path = Path(path)
        return cls(path, read_deck(path))

    @classmethod
    def from_text(cls, text: str, path: Path | str) -> "Netlist":
        """A deck from `text`, whose includes are looked for beside `path` (the file itself need not exist)."""
        path = Path(path)
        lines = [Line(raw, None, i) for i, raw in enumerate(text.splitlines(), 1)]
        return cls(path, expand_deck(lines, path.parent))

    @property
    def text(self) -> str:
        """The whole deck as ngspice reads it, one line for each of `lines`."""
        return "\n".join(line.text if line.text.strip() else "*" for line in self.lines) + "\n"

    def render(self, overrides: Mapping[str, float] | None = None) -> str:
        """The deck's text with deck-level parameters replaced. Raises `NetlistError` for an unknown name."""
        return self.with_params(overrides or {}).text

    def sha256(self, overrides: Mapping[str, float] | None = None) -> str:
        """SHA-256 of the rendered deck with its includes; comments and blanks do not count."""
        return content_sha256(self.render(overrides))

    @cached_property
    def params(self) -> dict[str, Param]:
        """Deck-level parameters by (lower-case) name; where one is set twice, the last counts, as in ngspice."""
        found = {}
        for index in self._param_lines():
            line = self.lines[index]
            code, comment = split_comment(line.text)
            found_here = list(assignments(code))
            unit, meaning = _unit(comment) if len(found_here) == 1 else ("", comment)
            for name, start, stop in found_here:
                text = code[start:stop]
                found[name.lower()] = Param(name.lower(), text, _number(text), unit, meaning, line.where)
        return found

    @cached_property
    def subcircuits(self) -> dict[str, Subcircuit]:
        """Subcircuits by (lower-case) name."""
        found = {}
        for index, code in self.statements():
            if code.lower().startswith(".subckt"):
                first = next(assignments(code), None)
                head = code if first is None else code[: code.rfind(first[0], 0, first[1])]
                words = [word.lower() for word in head.split()[1:] if word.lower() != "params:"]
                params = {name.lower(): code[start:stop] for name, start, stop in assignments(code)}
                found[words[0]] = Subcircuit(words[0], tuple(words[1:]), params, self.lines[index])
        return found

    @cached_property
    def nodes(self) -> frozenset[str]:
        """Words of the deck's own element lines, lower-case: its nodes, among others."""
        words = (re.split(r"[\s(),=]+", statement.lower())[1:] for statement in self.top_level())
        return frozenset(word for found in words for word in found)

    def top_level(self) -> list[str]:
        """The deck's own elements, a statement each, continuation lines joined; no cards, nothing of subcircuits."""
        found, depth = [], 0
        for _, code in self.statements():
            lower = code.lower()
            depth += lower.startswith(".subckt") - lower.startswith(".ends")
            if depth == 0 and not lower.startswith("."):
                found.append(code)
        return found

    def with_params(self, overrides: Mapping[str, float]) -> "Netlist":
        """A copy with deck-level parameters replaced (every place that sets them).

        ``groups``, where the deck has no such ``.param``, is the number of switching groups of its film (fecap.lib).
        Raises `NetlistError` for an unknown name, or a value in another unit than the deck's comment declares.
        """
        values = {name.lower(): value for name, value in overrides.items()}
        if "groups" in values and "groups" not in self.params:
            written = group_lines(values.pop("groups"))
            return self.with_block(GROUPS_BEGIN, GROUPS_END, written).with_params(values)
        for name, value in values.items():
            if name not in self.params:
                raise NetlistError(unknown_name(name, self.params, f"{self.path}: no .param"))
            unit = self.params[name].unit
            if isinstance(value, Quantity) and value.unit and unit and value.unit != unit:
                raise NetlistError(
                    f"{self.path}: .param {name} counts in {unit}; write the number alone, not '{value.text}'"
                )
        lines = list(self.lines)
        for index in self._param_lines():
            text = lines[index].text
            code, _ = split_comment(text)
            for name, start, stop in reversed(list(assignments(code))):
                if name.lower() in values:
                    text = text[:start] + f"{values[name.lower()]:.12g}" + text[stop:]
            lines[index] = replace(lines[index], text=text)
        return replace(self, lines=tuple(lines))

    def with_source(self, name: str, times: ArrayLike, values: ArrayLike) -> "Netlist":
        """A copy in which the independent source `name` follows a piecewise linear waveform (SI units)."""
        span = self.element(name)
        head = " ".join(self.lines[span[0]].code.split()[:3])
        pairs = [f"{t:.12g} {v:.9g}" for t, v in zip(np.asarray(times), np.asarray(values), strict=True)]
        rows = [" ".join(pairs[i : i + PAIRS_PER_LINE]) for i in range(0, len(pairs), PAIRS_PER_LINE)]
        texts = [f"{head} PWL(", *(f"+ {row}" for row in rows), "+ )"]
        return self._with_span(span, texts)

    def with_tran(self, t_stop_s: float | None = None, t_max_s: float | None = None) -> "Netlist":
        """A copy whose ``.tran`` card stops at `t_stop_s` and steps by at most `t_max_s` (None: as it stands).

        Raises `NetlistError` if the deck has no ``.tran`` card.
        """
        span = self._card(".tran")
        words = self._statement(span).split()
        if len(words) < 3:
            raise NetlistError(f"{self.lines[span[0]].where}: .tran needs a step and a stop time")
        uic = [word for word in words if word.lower() == "uic"]
        words = [word for word in words if word.lower() != "uic"]
        if t_stop_s is not None:
            words[2] = f"{t_stop_s:.12g}"
        if t_max_s is not None:
            words = [*words[:3], *(words[3:4] or ["0"]), f"{t_max_s:.12g}"]
        return self._with_span(span, [" ".join(words + uic)])

    def with_options(self, **options: float | str) -> "Netlist":
        """A copy with simulator options set; the deck's own settings of the same names are taken out."""
        lines = []
        in_options = False
        for line in self.lines:
            lower = line.code.lower().lstrip()
            in_options = lower.startswith(".opt") or (in_options and lower.startswith("+"))
            text = line.text
            if in_options:
                for name in options:
                    text = re.sub(rf"(?i)(?<!\w){name}\s*=\s*\S+", "", text)
            lines.append(replace(line, text=text))
        added = Line(".options " + " ".join(f"{name}={value}" for name, value in options.items()))
        return replace(self, lines=(lines[0], added, *lines[1:]))

    def with_vectors(self, vectors: Sequence[str]) -> "Netlist":
        """A copy that saves only `vectors`; prints, plots and measurements are for runs by hand and are dropped."""
        lines = []
        dropping = False
        for line in self.lines:
            lower = line.code.lower().lstrip()
            dropping = lower.split(None, 1)[:1] in ([card] for card in _DROPPED) or (dropping and lower.startswith("+"))
            lines.append(replace(line, text="*") if dropping else line)
        return replace(self, lines=(*lines, Line(".save " + " ".join(vectors)), Line(".end")))

    def element(self, name: str) -> tuple[int, int]:
        """Span (first, last + 1) in `lines` of the deck-level element `name`. Raises `NetlistError` without it."""
        depth = 0
        for index, code in self.statements():
            lower = code.lower()
            depth += lower.startswith(".subckt") - lower.startswith(".ends")
            if depth == 0 and lower.split(None, 1)[:1] == [name.lower()]:
                return index, self._end(index)
        raise NetlistError(f"{self.path}: has no element {name}; the testbenches' README says which ones a deck needs")

    def t_stop_s(self) -> float:
        """Stop time of the ``.tran`` card in s."""
        span = self._card(".tran")
        words = self._statement(span).split()
        try:
            return evaluate(words[2], {name: p.value for name, p in self.params.items() if p.value is not None})
        except (IndexError, InputError):
            raise NetlistError(
                f"{self.lines[span[0]].where}: .tran needs a stop time of numbers and .params, without blanks"
            ) from None

    def with_block(self, begin: str, end: str, texts: Sequence[str]) -> "Netlist":
        """A copy with `texts` in place of the lines between the comment lines that start with `begin` and `end`.

        Raises `NetlistError` if the deck lacks one of the two.
        """
        first = next((i for i, line in enumerate(self.lines) if line.text.startswith(begin)), None)
        last = next((i for i, line in enumerate(self.lines) if line.text.startswith(end)), None)
        if first is None or last is None or last < first:
            raise NetlistError(f"{self.path}: lacks the lines '{begin}' and '{end}', between which a program writes")
        return self._with_span((first + 1, last), [part for text in texts for part in text.splitlines()])

    def has_card(self, card: str) -> bool:
        """Whether a control card such as ``.tran`` stands at deck level."""
        return any(code.lower().split(None, 1)[:1] == [card] for _, code in self.statements())

    def statements(self) -> Iterator[tuple[int, str]]:
        """Index of the first line and the joined code of every statement, continuation lines included."""
        index = 1
        while index < len(self.lines):
            if self.lines[index].code.strip():
                end = self._end(index)
                yield index, self._statement((index, end))
                index = end
            else:
                index += 1

    def _end(self, index: int) -> int:
        end = index + 1
        following = index + 1
        while following < len(self.lines):
            code = self.lines[following].code.strip()
            if code.startswith("+"):
                end = following + 1
            elif code:
                break
            following += 1
        return end

    def _statement(self, span: tuple[int, int]) -> str:
        codes = (line.code.strip() for line in self.lines[span[0] : span[1]])
        return " ".join(code.lstrip("+ ") for code in codes if code)

    def _param_lines(self) -> Iterator[int]:
        depth = 0
        for index, code in self.statements():
            lower = code.lower()
            depth += lower.startswith(".subckt") - lower.startswith(".ends")
            if depth == 0 and lower.startswith(".param"):
                yield from (i for i in range(index, self._end(index)) if self.lines[i].code.strip())

    def _card(self, card: str) -> tuple[int, int]:
        for index, code in self.statements():
            if code.lower().split(None, 1)[:1] == [card]:
                return index, self._end(index)
        raise NetlistError(
            f"{self.path}: has no {card} card, so there is nothing to simulate; add one such as '.tran 5u 122m' "
            "(outside .control, which is only for runs by hand)"
        )

    def _with_span(self, span: tuple[int, int], texts: list[str]) -> "Netlist":
        origin = self.lines[span[0]]
        new = [replace(origin, text=text) for text in texts]
        return replace(self, lines=(*self.lines[: span[0]], *new, *self.lines[span[1] :]))


def content_sha256(text: str) -> str:
    """SHA-256 of a deck's code: comments, blank lines and spacing left out."""
    codes = (" ".join(split_comment(line)[0].split()) for line in text.splitlines()[1:])
    return hashlib.sha256("\n".join(code for code in codes if code).encode()).hexdigest()


def unknown_name(name: str, known: Mapping[str, object], prefix: str) -> str:
    """One sentence that says `name` is unknown and offers the nearest known one."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.0)
    return f"{prefix} '{name}'" + (f"; did you mean '{near[0]}'?" if near else "; it has none at all")


def assignments(code: str) -> Iterator[tuple[str, int, int]]:
    """Name, start and stop of the value of each ``name=value`` in `code`."""
    bare = re.sub(r"\{[^}]*\}|'[^']*'|\"[^\"]*\"", lambda m: "x" * len(m.group()), code)
    matches = list(_ASSIGNMENT.finditer(bare))
    for match, after in zip(matches, [*matches, None][1:], strict=True):
        raw = code[match.end() : after.start() if after else len(code)]
        value = raw.strip(" \t,")
        start = match.end() + raw.find(value)
        yield match.group(1), start, start + len(value)


def _unit(comment: str) -> tuple[str, str]:
    match = re.match(r"\[([^\]]*)\]\s*(.*)", comment)
    return (match.group(1), match.group(2)) if match else ("", comment)


def _number(text: str) -> float | None:
    try:
        return parse_spice_number(text.strip("{}'\""))
    except InputError:
        return None
