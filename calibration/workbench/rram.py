"""The page RRAM: programming curve, levels over devices, and how a written cell relaxes.

A filament's card (`devices.rram.filament`) is tuned against the netlist in SPICE; a card of measured cells
(`devices.rram.measured`), or the tables that `bruno fit rram` makes one of, is shown as it is.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from bruno_spice.calibration.cards.catalogue import load_any_card
from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RRAMRun, program_rrams
from bruno_spice.calibration.rram.fit import FREE, SetSweep, fit_filament
from bruno_spice.calibration.rram.levels import model_conductances
from bruno_spice.calibration.workbench.page import (
    Array,
    Choice,
    Drawing,
    Fitted,
    Knob,
    Line,
    Page,
    Panel,
    Progress,
    Role,
    Saved,
    around,
    card_line,
    chosen,
    joined,
    outline,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.rram.filament import RRAMParameters, conductance, current_range, levels
from bruno_spice.devices.rram.measured import MeasuredCell
from bruno_spice.devices.units import format_duration, format_si

DECK = "deck."
POINTS = 7
"""Currents that SPICE programs the mean device with."""
DEVICES = 4000
DRAWN, TIMES, SHOWN = 400, 12, 4
"""Devices, times and levels of a relaxation."""
GEOMETRY = {"length": "length_mean", "radius": "radius_mean"}
VIEWS = (("programming", "Programming curve"), ("levels", "Levels"), ("relaxation", "Relaxation"))
BY_RUN = ("iprog", "vreset", "ldisc", "rdisc", "rth_variant")
"""Parameters of the deck that the runs set themselves."""
US = 1e6
SETS = "rram.set"
LIBRARY = {n: p for n, p in rram_deck(RRAM_NETLIST).params.items() if p.value is not None and n not in BY_RUN}
"""The cell's parameters; jobs are forked from a process that has asked for them."""


class RRAMPage(Page):
    """Tune a filament's card, look at measured cells."""

    name: ClassVar[str] = "rram"
    title: ClassVar[str] = "RRAM"
    intro: ClassVar[str] = "A resistive cell: what a write leaves, which levels hold, how they relax."
    takes_files: ClassVar[str] = "a table of measured cells: a SET curve, levels or relaxation"

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """View, card and tables."""
        return [
            Choice("view", "View", "programming", VIEWS),
            Choice("card", "Card", "", hint="calibrated filament"),
            Choice("file", "Measured table", "", hint="instead of a card"),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """The filament's parameters and the cell's in SPICE; measured cells have none."""
        if state.choices.get("file"):
            return []
        path = _card_path(state, place)
        return _knobs(path, path.stat().st_mtime_ns)

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """One or two, as the view says."""
        view = state.choices.get("view", "programming")
        if view == "levels":
            return [Panel("levels", "Eight levels over drawn devices", "conductance (µS)", "devices")]
        if view == "relaxation":
            return [Panel("time", "Mean of some levels after a write, and one sigma", "time (s)", "conductance (µS)",
                          log_x=True)]  # fmt: skip
        if state.choices.get("file") or isinstance(_shown(state, place), MeasuredCard):
            return [Panel("set", "One SET: median over devices and writes", "setting (V or A)", "conductance (µS)")]
        x, micro = "programming current (µA)", 1e-6
        title = "Mean device after a SET"
        return [
            Panel("set", title, x, "conductance (µS)", x_scale=micro, log_x=True, region="A", points=True),
            Panel("left", "Model minus SPICE", x, "difference (%)", x_scale=micro, log_x=True, low=True),
        ]

    def spice_key(self, state: State) -> object:
        """Only the cell and its geometry: the filament's laws are none of SPICE's."""
        view = state.choices.get("view", "programming")
        values = {n: v for n, v in state.values.items() if n.startswith(DECK) or n in GEOMETRY.values()}
        return values, view, state.choices.get("card", ""), state.choices.get("file", "")

    def compared(self, state: State) -> object:
        """The cell and its geometry."""
        return self.spice_key(state)

    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """The card's answer."""
        view = chosen(self.choices(state, place), state)["view"]
        card = _shown(state, place)
        if isinstance(card, MeasuredCard):
            return _measured(card, view)
        assert isinstance(card, RRAMCard)
        if view == "relaxation":
            raise InputError(f"{card.unknown[0]}; choose a card of measured cells, or upload their relaxation")
        return _levels(card) if view == "levels" else _programming(card, spice)

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The netlist's answer on the programming curve."""
        card = _shown(state, place)
        if not isinstance(card, RRAMCard) or state.choices.get("view", "programming") != "programming":
            return None
        farm = place.farm(RRAM_NETLIST)
        progress(f"{farm.simulator} programs {POINTS} times")
        currents, g_s = _in_spice(card, state, place)
        return Drawing({("set", "spice"): (1e6 * currents, US * g_s)}, simulator=farm.simulator)

    def fit(self, state: State, place: Place, folder: Path, progress: Progress) -> Fitted:
        """The filament's ticked parameters, moved to SPICE's programming curve, or to its part in the region."""
        card = _shown(state, place)
        if not isinstance(card, RRAMCard):
            raise InputError("a card of measured cells has nothing to choose from: it holds what was measured")
        free = [replace(each, start=card[each.name]) for each in FREE if each.name in state.free]
        if not free:
            raise InputError("tick the parameters of the card that the fit may move")
        progress("SPICE programs the cell")
        currents, g_s = _in_spice(card, state, place)
        first, last = state.region or (0.0, np.inf)
        inside = (currents >= first) & (currents <= last)
        if inside.sum() <= len(free):
            raise InputError(f"{inside.sum()} points in the region cannot tell {len(free)} parameters")
        ones = np.ones(int(inside.sum()))
        sweep = SetSweep(currents[inside], card["length_mean"] * ones, card["radius_mean"] * ones, g_s[inside])
        names = [name for name in RRAMParameters.__dataclass_fields__ if name in card.parameters]
        found, _ = fit_filament(sweep, card["g_hrs"], {name: card[name] for name in names}, free)
        errors = [f"{name} = {found.values[name]:.5g} ± {error:.2g}" for name, error in found.stderr.items()]
        doubt = (f"not to be believed: {found.doubt}",) if found.doubt else ()
        return Fitted(found.values, (*doubt, *errors), "", folder, ())

    def save(self, state: State, place: Place, fitted: Fitted | None) -> Saved:
        """The card, the line that makes it, and one that reads it at 100 µA."""
        folder = place.out / "rram"
        card, file = _shown(state, place), state.choices.get("file", "")
        path = folder / "rram.json"
        inside = str(path.relative_to(place.root))
        if file:
            line = shlex.join(["bruno", "fit", "rram", file, "--out", inside])
        else:
            words = ["bruno", "simulate", "rram", "--i-prog", "100u"]
            words += ["--card", state.choices["card"]] if state.choices.get("card") else []
            line = shlex.join([*words, *(w for n, v in _overrides(state).items() for w in ("--set", f"{n}={v!r}"))])
        paths = (card.save(path), write_atomic(folder / SETS, line + "\n"))
        if not file and _overrides(state):
            line = card_line(_card_path(state, place), _overrides(state), inside)
        return Saved(paths, line, shlex.join(["bruno", "train", "--task", "chorales", "--rram-card", inside]))

    def file_chosen(self, state: State, name: str) -> State:
        """The table in the card's place."""
        return State(choices={"file": name, "view": state.choices.get("view", "programming")})


def _card_path(state: State, place: Place) -> Path:
    name = state.choices.get("card", "")
    return place.path(name) if name else calibrated_card("rram")


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int) -> Card:
    card = load_any_card(path)
    if not isinstance(card, RRAMCard | MeasuredCard):
        raise InputError(f"{path}: a {card.model} card is none of a resistive cell")
    return card


@lru_cache(maxsize=8)
def _of_table(path: Path, _changed: int) -> MeasuredCard:
    from bruno_spice.calibration.rram.measured import fit_measured
    from bruno_spice.calibration.rram.tables import read_cells

    return fit_measured([read_cells(path, None, None)]).card


def _shown(state: State, place: Place) -> Card:
    """The card, or that of the measured table, with what was tuned."""
    if file := state.choices.get("file", ""):
        path = place.path(file)
        return _of_table(path, path.stat().st_mtime_ns)
    path = _card_path(state, place)
    card = _loaded(path, path.stat().st_mtime_ns)
    return card.with_values(**_overrides(state)) if _overrides(state) else card


@lru_cache(maxsize=8)
def _knobs(path: Path, changed: int) -> list[Knob]:
    card = _loaded(path, changed)
    if not isinstance(card, RRAMCard):
        return []
    bounds = {each.name: (each.min, each.max) for each in FREE}
    knobs = []
    for name, each in card.parameters.items():
        low, high = bounds.get(name) or around(each.value, card.sign_of(name) != "any")
        knobs.append(Knob(name, each.unit, each.source, each.value, low, high, "Card", name in bounds))
    for name, param in LIBRARY.items():
        value = float(param.value or 0.0)
        low, high = around(value, value > 0)
        knobs.append(Knob(f"{DECK}{name}", param.unit, param.comment, value, low, high, "Cell (SPICE)"))
    return knobs


def _overrides(state: State) -> dict[str, float]:
    return {n: float(v) for n, v in state.values.items() if not n.startswith(DECK)}


def _in_spice(card: RRAMCard, state: State, place: Place) -> tuple[Array, Array]:
    """Currents in A and conductances in S of the mean device, (`POINTS`,)."""
    currents = np.geomspace(*current_range(card), POINTS)
    deck = {n.removeprefix(DECK): float(v) for n, v in state.values.items() if n.startswith(DECK)}
    geometry = card["length_mean"], card["radius_mean"]
    runs = [RRAMRun(float(current), *geometry, overrides=deck) for current in currents]
    return currents, program_rrams(runs, RRAM_NETLIST, place.farm(RRAM_NETLIST))


def _programming(card: RRAMCard, spice: Drawing | None) -> Drawing:
    x = RRAMParameters.from_card(card)
    i_prog_a = np.geomspace(*current_range(card), 80)

    def model(currents: Array) -> Array:
        return np.asarray(conductance(currents, x.length_mean, x.radius_mean, x))

    lines: dict[tuple[str, Role], Line] = {("set", "model"): (1e6 * i_prog_a, US * model(i_prog_a))}
    numbers: dict[str, Mapping[Role, str]] = {"at 100 µA": {"model": format_si(float(model(np.array([1e-4]))[0]), "S")}}
    if spice is None or ("set", "spice") not in spice.lines:
        return Drawing(lines, numbers)
    at, g_us = spice.lines["set", "spice"]
    share = US * model(at / 1e6) / g_us - 1.0
    lines["left", "left"] = (at, 100 * share)
    rms = float(np.sqrt(np.mean(share**2)))
    numbers["relative deviation"] = {"model": f"{100 * rms:.2f} % rms, {100 * np.abs(share).max():.2f} % at most"}
    return Drawing(lines, numbers, rms)


def _levels(card: RRAMCard) -> Drawing:
    g_s, _ = model_conductances(levels(card), RRAMParameters.from_card(card), DEVICES, np.random.default_rng(0))
    numbers: dict[str, Mapping[Role, str]] = {}
    for n, column in enumerate(g_s.T):
        known = card.levels.levels[n] if card.levels is not None and len(card.levels.levels) == g_s.shape[1] else None
        row: dict[Role, str] = {"model": f"{US * column.mean():.1f} ± {US * column.std():.1f} µS"}
        if known is not None:
            row["spice"] = f"{US * known.g_mean_s:.1f} ± {US * known.g_sigma_s:.1f} µS"
        numbers[f"level {n + 1}"] = row
    return Drawing({("levels", "model"): outline(US * g_s)}, numbers)


def _measured(card: MeasuredCard, view: str) -> Drawing:
    """A card of measured cells."""
    from bruno_spice.calibration.rram.measured import drawn_s  # scipy's optimizers, for whom they are

    cell = MeasuredCell(card)
    said = tuple(card.unknown)
    at_levels = np.linspace(*cell.g_range_s, 8)
    if view == "programming":
        setting, median_s = cell.set_median_s()
        sigma: dict[Role, str] = {"measured": f"{card.set_curve.devices} devices"} if card.set_curve else {}
        return Drawing({("set", "measured"): (setting, US * median_s), ("set", "model"): (setting, US * median_s)},
                       {"SET curve": sigma}, said=said)  # fmt: skip
    if view == "levels":
        g_s = drawn_s(cell, at_levels, 0.0, DEVICES, np.random.default_rng(0))
        read = {
            format_duration(at.time_s) if at.time_s else "right after writing": f"{100 * at.misread:.3g} % misread"
            for at in card.overlap
        }
        numbers: dict[str, Mapping[Role, str]] = {when: {"model": text} for when, text in read.items()}
        return Drawing({("levels", "model"): outline(US * g_s)}, numbers, said=said)
    if card.relaxation is None:
        raise InputError("how this cell changes with time after a write was not measured")
    times = np.geomspace(card.relaxation.time_s[0], card.relaxation.time_s[-1], TIMES)
    rng, lines = np.random.default_rng(0), []
    for level_s in at_levels[:: max(1, len(at_levels) // SHOWN)]:
        g_s = np.array([drawn_s(cell, np.array([level_s]), float(t), DRAWN, rng)[:, 0] for t in times])
        mean, sigma = US * g_s.mean(axis=1), US * g_s.std(axis=1)
        lines += [(times, mean), (times, mean - sigma), (times, mean + sigma)]
    return Drawing({("time", "model"): joined(lines)}, {}, said=said)


PAGE = RRAMPage()
