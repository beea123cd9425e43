"""The page Cards: what a card holds and how well it is known; two of a model over each other, and what differs.

The curves and the differences are those of `bruno compare` and `bruno card diff`. A folder that `bruno calibrate` or
`bruno fit` wrote stands for its card, so that two reports lie over each other: membranes, validation, provenance.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bruno_spice.calibration.cards.catalogue import alike, changes, load_any_card, remarks
from bruno_spice.calibration.cards.simulated import latency_and_interval, span_of
from bruno_spice.calibration.rram.levels import model_conductances
from bruno_spice.calibration.workbench.page import Choice, Drawing, Knob, Line, Page, Panel, Role, Table, outline
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.cards.base import Card, NeuronCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.reading import shown
from bruno_spice.devices.rram.filament import RRAMParameters, conductance, current_range, levels
from bruno_spice.devices.rram.measured import MeasuredCell

POINTS, DEVICES = 25, 4000
ROLES: dict[str, Role] = {"A": "a", "B": "b", "difference": "left"}
TRANSIENT = {"y": "membrane", "y2": "left", "y3": "film"}
"""Panels by the axis of `bruno compare`'s figure of a transient."""

OF_STIMULUS = ("voltage_rms_v", "first_spike_error")


@dataclass(frozen=True)
class Report:
    """What `bruno compare` says of two cards: `transients` (title and lines by panel and role) and tables."""

    transients: tuple[tuple[str, dict[tuple[str, Role], Line]], ...]
    tables: tuple[Table, ...]


class CardsPage(Page):
    """Look at cards."""

    name: ClassVar[str] = "cards"
    title: ClassVar[str] = "Cards"
    intro: ClassVar[str] = "Parameter cards: values, errors, bounds and sources; two of a model over each other."
    takes_files: ClassVar[str] = "a card, which is put in the place of B"
    without: ClassVar[tuple[str, ...]] = ("fit", "best", "reset", "save")

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """Two cards or folders with one; without a second one the first stands alone."""
        first = (("neuron", "calibrated neuron"), ("rram", "calibrated RRAM"), ("card", "a card or a report"))
        named = state.choices.get("of") == "card"
        return [
            Choice("of", "A is", "neuron", first),
            *([Choice("a", "A", "", hint="a card or a folder with one")] if named else []),
            Choice("b", "B", "", hint="a card or a folder; none"),
            *_under(state, place),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """None: a card is looked at here, and tuned on the page of its device."""
        return []

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """Latency and rate of neurons; programming curve and levels of cells."""
        try:
            first, second = _both(state, place)
        except InputError:  # `model` says why
            return []
        if isinstance(first, NeuronCard):
            x, ms = "constant current (nA)", "time (ms)"
            transient = [
                Panel("membrane", f"Membrane, {_transient(state, place)[0]}", ms, "voltage (V)"),
                Panel("left", "B minus A", ms, "difference (V)", low=True),
                Panel("film", "Polarization of the film", ms, "P/Ps", low=True),
            ]
            return [
                Panel("latency", "First spike from rest", x, "time (ms)", log_x=True, log_y=True),
                Panel("rate", "Rate of the spikes that follow", x, "rate (Hz)", log_x=True, log_y=True),
                *(transient if second is not None else []),
            ]
        levels = Panel("levels", "Eight levels over drawn devices", "conductance (µS)", "devices")
        if isinstance(first, RRAMCard):
            return [
                Panel("set", "Mean device after a SET", "programming current (µA)", "conductance (µS)", log_x=True),
                levels,
            ]
        return [levels]  # fmt: skip

    def opens_with(self, place: Place) -> Sequence[str] | None:
        """The calibrated neuron's card."""
        return [calibrated_card("felif").read_text()]

    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """Both cards' curves."""
        cards = _both(state, place)
        roles: tuple[Role, ...] = ("a", "b")
        shown = [(role, card) for role, card in zip(roles, cards, strict=True) if card is not None]
        lines: dict[tuple[str, Role], Line] = {}
        said: list[str] = []
        for role, card in shown:
            said += [f"{role.upper()}: {text}" for text in [*remarks(card), *card.unknown]]
            lines |= {(panel, role): line for panel, line in _curves(card).items()}
        one, other = _paths(state, place)
        if isinstance(cards[0], NeuronCard) and other is not None:
            lines |= _transient(state, place)[1]
        if other is not None:
            said.append(f"as one page: {shlex.join(['bruno', 'compare', str(one), str(other)])}")
        return Drawing(lines, said=tuple(said))

    def tables(self, state: State, place: Place) -> Sequence[Table]:
        """What differs, then every parameter of A."""
        first, second = _both(state, place)
        found = []
        if second is not None:
            rows = tuple(
                (c.name, c.unit, _number(c.first), _number(c.second),
                 "–" if c.relative is None else f"{100 * c.relative:+.3g} %",
                 "–" if c.sigmas is None else f"{c.sigmas:+.2g}")
                for c in changes(first, second)
            )  # fmt: skip
            title = "B against A" if rows else f"B against A: {alike(first, second)}"
            found.append(Table(title, ("parameter", "unit", "A", "B", "difference", "in stderr"), rows))
            found += [_judged(first, second), *_report_of(state, place).tables]
        head = ("parameter", "value", "unit", "stderr", "bounds", "source")
        rows = tuple(
            (name, _number(p.value), p.unit, _number(p.stderr),
             "–" if p.min is None and p.max is None else f"{_number(p.min)} … {_number(p.max)}", p.source)
            for name, p in first.parameters.items()
        )  # fmt: skip
        return [*found, Table(f"A: {first.model} card, {first.provenance.date or 'no date'}", head, rows)]

    def file_chosen(self, state: State, name: str) -> State:
        """The card in the place of B."""
        return state.with_choice("b", name)


def _paths(state: State, place: Place) -> tuple[Path, Path | None]:
    of = state.choices.get("of", "neuron")
    if of == "card":
        first = _card_in(place, state.choices.get("a", ""), Card)
    else:
        first = calibrated_card("rram" if of == "rram" else "felif")
    name = state.choices.get("b", "")
    if not name:
        return first, None
    return first, _card_in(place, name, type(_loaded(first, first.stat().st_mtime_ns)))


def _judged(first: Card, second: Card) -> Table:
    """What fit and validation of both cards found, number by number."""
    numbers = [{**_flat("fit", card.fit), **_flat("validation", card.validation)} for card in (first, second)]
    rows = tuple(
        (name, *(each.get(name, "–") for each in numbers)) for name in dict.fromkeys([*numbers[0], *numbers[1]])
    )
    return Table("Fit and validation", ("", "A", "B"), rows)


def _flat(name: str, value: Any) -> dict[str, str]:
    """Numbers within mappings by their path; of a list the figures of merit of each stimulus in it."""
    if isinstance(value, list):
        name = name.removesuffix(": stimuli")
        value = {
            each["stimulus"]: {key: each[key] for key in OF_STIMULUS if key in each}
            for each in value
            if isinstance(each, dict) and "stimulus" in each
        }
    if isinstance(value, dict):
        return {key: text for inner, each in value.items() for key, text in _flat(f"{name}: {inner}", each).items()}
    return {name: f"{value:.5g}"} if isinstance(value, int | float) and not isinstance(value, bool) else {}


def _report_of(state: State, place: Place) -> Report:
    one, other = _paths(state, place)
    assert other is not None
    return _report(one, one.stat().st_mtime_ns, other, other.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _report(one: Path, changed: int, other: Path, other_changed: int) -> Report:
    from bruno_spice.calibration.targets.comparison import card_sections  # plotly and matplotlib, for whom they are

    sections = card_sections(_loaded(one, changed), _loaded(other, other_changed))
    transients = []
    for figure in (each.figure for section in sections for each in section.plotly):
        if any(trace.yaxis == "y3" for trace in figure.data):
            lines = {(TRANSIENT[trace.yaxis], ROLES[trace.name]): _line_of(trace) for trace in figure.data}
            transients.append((str(figure.layout.title.text), lines))
    tables = tuple(
        Table(each.caption, tuple(each.header), tuple(map(tuple, each.rows)))
        for section in sections
        if section.heading != "Parameters"  # which the page has in its own tables
        for each in section.tables
    )
    return Report(tuple(transients), tables)


def _line_of(trace: Any) -> Line:
    """A trace of plotly, which has `None` where nothing is to be drawn."""
    return np.array(trace.x, dtype=np.float64), np.array(trace.y, dtype=np.float64)


def _under(state: State, place: Place) -> list[Choice]:
    """The currents under which two neurons are compared."""
    try:
        first, second = _both(state, place)
    except InputError:  # `model` says why
        return []
    if second is None or not isinstance(first, NeuronCard):
        return []
    named = tuple((str(n), title) for n, (title, _) in enumerate(_report_of(state, place).transients, 1))
    return [Choice("under", "Membranes under", "1", named)]


def _transient(state: State, place: Place) -> tuple[str, dict[tuple[str, Role], Line]]:
    """The one that is chosen; of another pair of cards there may be none of that number."""
    transients = _report_of(state, place).transients if state.choices.get("b") else ()
    return next((each for n, each in enumerate(transients, 1) if str(n) == state.choices.get("under", "1")), ("", {}))


def _card_in(place: Place, name: str, kind: type[Card]) -> Path:
    """The file `name`, or the first card of a `kind` in the folder `name`. Raises `InputError` where there is none."""
    if not (place.root / name).is_dir():
        return place.path(name)
    for path in sorted((place.root / name).glob("*.json")):
        inside = place.path(str(Path(name) / path.name))
        try:
            if isinstance(_loaded(inside, inside.stat().st_mtime_ns), kind):
                return inside
        except InputError:  # a film's or a report's numbers
            continue
    raise InputError(f"{shown(name)}: no card that could be compared here lies in this folder")


def _both(state: State, place: Place) -> tuple[Card, Card | None]:
    """A, and B where there is one. Raises `InputError` for two models."""
    one, other = _paths(state, place)
    first = _loaded(one, one.stat().st_mtime_ns)
    if other is None:
        return first, None
    second = _loaded(other, other.stat().st_mtime_ns)
    changes(first, second)
    return first, second


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int) -> Card:
    return load_any_card(path)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _curves(card: Card) -> dict[str, Line]:
    """The card's lines by panel."""
    if isinstance(card, NeuronCard):
        currents_a = np.geomspace(*span_of(card), POINTS)
        x = NeuronParameters.from_card(card)
        seen = np.array([latency_and_interval(x, float(current)) for current in currents_a])
        return {"latency": (1e9 * currents_a, 1e3 * seen[:, 0]), "rate": (1e9 * currents_a, 1.0 / seen[:, 1])}
    rng = np.random.default_rng(0)
    if isinstance(card, RRAMCard):
        filament, i_prog_a = RRAMParameters.from_card(card), np.geomspace(*current_range(card), 80)
        g_s = np.asarray(conductance(i_prog_a, filament.length_mean, filament.radius_mean, filament))
        drawn, _ = model_conductances(levels(card), filament, DEVICES, rng)
        return {"set": (1e6 * i_prog_a, 1e6 * g_s), "levels": outline(1e6 * drawn)}
    assert isinstance(card, MeasuredCard)
    from bruno_spice.calibration.rram.measured import drawn_s  # scipy's optimizers, for whom they are

    cell = MeasuredCell(card)
    return {"levels": outline(1e6 * drawn_s(cell, np.linspace(*cell.g_range_s, 8), 0.0, DEVICES, rng))}


PAGE = CardsPage()
