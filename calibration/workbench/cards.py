"""The page Cards: what a card holds and how well it is known; two of a model over each other, and what differs.

The curves and the differences are those of `bruno compare` and `bruno card diff`.
"""

import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from bruno_spice.calibration.cards.catalogue import changes, load_any_card, remarks
from bruno_spice.calibration.rram.levels import model_conductances
from bruno_spice.calibration.rram.measured import drawn_s
from bruno_spice.calibration.targets.comparison import DEVICES, latency_and_interval, span_of
from bruno_spice.calibration.workbench.page import Choice, Drawing, Knob, Line, Page, Panel, Role, Table, outline
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.cards.base import Card, NeuronCard, RRAMCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.rram.filament import RRAMParameters, conductance, current_range, levels
from bruno_spice.devices.rram.measured import MeasuredCell

POINTS = 25


class CardsPage(Page):
    """Look at cards."""

    name: ClassVar[str] = "cards"
    title: ClassVar[str] = "Cards"
    intro: ClassVar[str] = "Parameter cards: values, errors, bounds and sources; two of a model over each other."
    takes_files: ClassVar[str] = "a card, which is put in the place of B"
    without: ClassVar[tuple[str, ...]] = ("fit", "best", "reset", "save")

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """Two cards; without a second one the first stands alone."""
        first = (("neuron", "calibrated neuron"), ("rram", "calibrated RRAM"), ("card", "a file"))
        named = state.choices.get("of") == "card"
        return [
            Choice("of", "A is", "neuron", first),
            *([Choice("a", "A, a card", "", hint="my_cards/felif.json")] if named else []),
            Choice("file", "B, a card", "", hint="none"),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """None: a card is looked at here, and tuned on the page of its device."""
        return []

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """Latency and rate of neurons; programming curve and levels of cells."""
        try:
            first, _ = _both(state, place)
        except InputError:  # `model` says why
            return []
        if isinstance(first, NeuronCard):
            x = "constant current (nA)"
            return [
                Panel("latency", "First spike from rest", x, "time (ms)", log_x=True, log_y=True),
                Panel("rate", "Rate of the spikes that follow", x, "rate (Hz)", log_x=True, log_y=True),
            ]
        levels = Panel("levels", "Eight levels over drawn devices", "conductance (µS)", "devices")
        if isinstance(first, RRAMCard):
            return [
                Panel("set", "Mean device after a SET", "programming current (µA)", "conductance (µS)", log_x=True),
                levels,
            ]
        return [levels]  # fmt: skip

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
        if other is not None:
            said.append(f"as one page with membranes: {shlex.join(['bruno', 'compare', str(one), str(other)])}")
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
            title = "B against A" if rows else "B against A: the parameters are the same"
            found.append(Table(title, ("parameter", "unit", "A", "B", "difference", "in stderr"), rows))
        head = ("parameter", "value", "unit", "stderr", "bounds", "source")
        rows = tuple(
            (name, _number(p.value), p.unit, _number(p.stderr),
             "–" if p.min is None and p.max is None else f"{_number(p.min)} … {_number(p.max)}", p.source)
            for name, p in first.parameters.items()
        )  # fmt: skip
        return [*found, Table(f"A: {first.model} card, {first.provenance.date or 'no date'}", head, rows)]

    def file_chosen(self, state: State, name: str) -> State:
        """The card in the place of B."""
        return state.with_choice("file", name)


def _paths(state: State, place: Place) -> tuple[Path, Path | None]:
    of = state.choices.get("of", "neuron")
    if of == "card":
        first = place.path(state.choices.get("a", ""))
    else:
        first = calibrated_card("rram" if of == "rram" else "felif")
    name = state.choices.get("file", "")
    return first, place.path(name) if name else None


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
    cell = MeasuredCell(card)
    return {"levels": outline(1e6 * drawn_s(cell, np.linspace(*cell.g_range_s, 8), 0.0, DEVICES, rng))}


PAGE = CardsPage()
