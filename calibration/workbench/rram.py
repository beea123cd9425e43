"""The page RRAM: programming curve, levels over devices, and how a written cell relaxes.

A filament's card (`devices.rram.filament`) is tuned against the netlist in SPICE; a card of measured cells
(`devices.rram.measured`), or the tables that `bruno fit rram` makes one of, is shown as it is.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.cards.catalogue import load_any_card
from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RTH_VARIANTS, RRAMRun, program_rrams
from bruno_spice.calibration.circuits.origin import Circuit, circuit_here
from bruno_spice.calibration.rram.fit import FREE, SetSweep, fit_filament
from bruno_spice.calibration.rram.levels import model_conductances
from bruno_spice.calibration.spice.netlist import Param
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
    counted,
    counting,
    joined,
    outline,
    sets,
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


def _params(netlist: Path) -> dict[str, Param]:
    return {n: p for n, p in rram_deck(netlist).params.items() if p.value is not None and n not in BY_RUN}


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
            Choice("netlist", "Circuit", "", hint="the card's"),
            Choice("file", "Measured table", "", hint="instead of a card"),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """The filament's parameters and the cell's in SPICE; measured cells have none."""
        if state.choices.get("file"):
            return []
        path = _card_path(state, place)
        circuit = _circuit(state, place)
        at = tuple(circuit.overrides.items())
        return _knobs(path, path.stat().st_mtime_ns, circuit.netlist, circuit.sha256, at)

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
        return values, view, {name: state.choices.get(name, "") for name in ("card", "netlist", "file")}

    def netlist(self, state: State, place: Place) -> str:
        """The cell's, at what the card was calibrated at."""
        return _circuit(state, place).sha256

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
        return _levels(card, bool(_overrides(state))) if view == "levels" else _programming(card, spice, state.region)

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The netlist's answer on the programming curve."""
        card = _shown(state, place)
        if not isinstance(card, RRAMCard) or state.choices.get("view", "programming") != "programming":
            return None
        currents, g_s, simulator = _in_spice(card, state, place, progress)
        said = _circuit(state, place).notes
        return Drawing({("set", "spice"): (1e6 * currents, US * g_s)}, said=said, simulator=simulator)

    def fit(self, state: State, place: Place, folder: Path, progress: Progress) -> Fitted:
        """The filament's ticked parameters, moved to SPICE's programming curve, or to its part in the region."""
        card = _shown(state, place)
        if not isinstance(card, RRAMCard):
            raise InputError("a card of measured cells has nothing to choose from: it holds what was measured")
        free = [replace(each, start=card[each.name]) for each in FREE if each.name in state.free]
        if not free:
            raise InputError("tick the parameters of the card that the fit may move")
        currents, g_s, _ = _in_spice(card, state, place, progress)
        inside = _within(currents, state.region)
        if inside.sum() <= len(free):
            raise InputError(f"{inside.sum()} points in the region cannot tell {len(free)} parameters")
        ones = np.ones(int(inside.sum()))
        sweep = SetSweep(currents[inside], card["length_mean"] * ones, card["radius_mean"] * ones, g_s[inside])
        names = [name for name in RRAMParameters.__dataclass_fields__ if name in card.parameters]
        report = counting(progress, f"fitting {', '.join(each.name for each in free)}")
        found, _ = fit_filament(sweep, card["g_hrs"], {name: card[name] for name in names}, free, report)
        errors = [f"{name} = {found.values[name]:.5g} ± {error:.2g}" for name, error in found.stderr.items()]
        doubt = (f"not to be believed: {found.doubt}",) if found.doubt else ()
        return Fitted(found.values, (*doubt, *errors), "", folder, ())

    def save(self, state: State, place: Place, fitted: Fitted | None) -> Saved:
        """The card where it was tuned or made, and the lines that read it and tuned cells in SPICE at 100 µA."""
        folder = place.out / "rram"
        card, file, moved, deck = _shown(state, place), state.choices.get("file", ""), _overrides(state), _deck(state)
        path = folder / "rram.json"
        inside = str(path.relative_to(place.root))
        named = ["--card", state.choices["card"]] if state.choices.get("card") else []
        words = ["bruno", "simulate", "rram", "--i-prog", "100u"]
        lines = [shlex.join([*words, *named, *sets(moved)])]
        if file:
            lines = [shlex.join(["bruno", "fit", "rram", file, "--out", inside])]
        circuit = _circuit(state, place)
        netlist = [] if circuit.netlist == RRAM_NETLIST else ["--netlist", str(circuit.netlist)]
        variant: list[str] = []
        if deck:
            assert isinstance(card, RRAMCard)
            run = _runs(card, circuit, deck, [1e-4])[0]
            geometry = ["--length", repr(run.length_m), "--radius", repr(run.radius_m)]
            variant = ["--variant", run.variant] if run.variant else []
            spice = [*words, "--engine", "spice", *netlist, *geometry, *variant, *sets(run.overrides)]
            lines.append(shlex.join([*spice, "--simulator", place.simulator]))
        paths = [write_atomic(folder / SETS, "\n".join([*lines, ""]))]
        then = ["bruno", "train", "--task", "chorales", *(["--rram-card", *named[1:]] if named else [])]
        if file or moved:
            paths.insert(0, card.save(path))
            then = ["bruno", "train", "--task", "chorales", "--rram-card", inside]
        elif deck:
            out = str((place.out / "cards").relative_to(place.root))
            at = {**circuit.overrides, **deck}
            then = ["bruno", "calibrate", "rram", *netlist, *variant, *sets(at), "--out", out]
        if moved:
            lines[0] = card_line(_card_path(state, place), moved, inside)
        return Saved(tuple(paths), "\n".join(lines), shlex.join(then))

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
def _knobs(path: Path, changed: int, netlist: Path, _sha256: str, at: tuple[tuple[str, float], ...]) -> list[Knob]:
    """Of the card, and of the cell in SPICE from where the card was calibrated."""
    card = _loaded(path, changed)
    if not isinstance(card, RRAMCard):
        return []
    bounds = {each.name: (each.min, each.max) for each in FREE}
    knobs = []
    for name, each in card.parameters.items():
        low, high = bounds.get(name) or around(each.value, card.sign_of(name) != "any")
        knobs.append(Knob(name, each.unit, card.MEANINGS[name], each.value, low, high, "Card", name in bounds))
    for name, param in _params(netlist).items():
        value = dict(at).get(name, float(param.value or 0.0))
        low, high = around(value, value > 0)
        meaning = param.comment or "of the cell"
        knobs.append(Knob(f"{DECK}{name}", param.unit, meaning, value, low, high, "Cell (SPICE)"))
    return knobs


def _overrides(state: State) -> dict[str, float]:
    return {n: float(v) for n, v in state.values.items() if not n.startswith(DECK)}


def _deck(state: State) -> dict[str, float]:
    """What was moved of the cell in SPICE."""
    return {n.removeprefix(DECK): float(v) for n, v in state.values.items() if n.startswith(DECK)}


def _circuit(state: State, place: Place) -> Circuit:
    """The cell that is chosen, or the card's own; of a card that has none here the project's, which it says."""
    path, name = _card_path(state, place), state.choices.get("netlist", "")
    card, named = _loaded(path, path.stat().st_mtime_ns), place.path(name) if name else None
    return circuit_here(card, RRAM_NETLIST, place.root, named, rram_deck)


def _runs(card: RRAMCard, circuit: Circuit, deck: Mapping[str, float], currents_a: Iterable[float]) -> list[RRAMRun]:
    """The mean device of the card, as it was calibrated, with what was moved in `deck`."""
    overrides = {n: v for n, v in {**circuit.overrides, **deck}.items() if n not in BY_RUN}
    stated = card.fit.get("rth_variant")
    variant = str(stated) if stated in RTH_VARIANTS else None
    of_mean = card["length_mean"], card["radius_mean"], variant
    return [RRAMRun(float(current), *of_mean, overrides=overrides) for current in currents_a]


def _in_spice(card: RRAMCard, state: State, place: Place, progress: Progress) -> tuple[Array, Array, str]:
    """Currents in A and conductances in S of the mean device, (`POINTS`,), and who ran the project's cell."""
    currents, circuit = np.geomspace(*current_range(card), POINTS), _circuit(state, place)
    own = circuit.netlist == RRAM_NETLIST
    farm = counted((place if own else replace(place, found="")).farm(circuit.netlist, rram_deck), progress)
    g_s = program_rrams(_runs(card, circuit, _deck(state), currents), circuit.netlist, farm)
    return currents, g_s, farm.simulator if own else ""


def _within(currents_a: Array, region: tuple[float, float] | None) -> NDArray[np.bool_]:
    first, last = region or (0.0, np.inf)
    return (currents_a >= first) & (currents_a <= last)


def _programming(card: RRAMCard, spice: Drawing | None, region: tuple[float, float] | None) -> Drawing:
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
    share = share[_within(at / 1e6, region)]
    if not share.size:
        return Drawing(lines, numbers)
    rms = float(np.sqrt(np.mean(share**2)))
    numbers["relative deviation"] = {"model": f"{100 * rms:.2f} % rms, {100 * np.abs(share).max():.2f} % at most"}
    return Drawing(lines, numbers, rms)


def _levels(card: RRAMCard, tuned: bool) -> Drawing:
    """Of the filament's model; what SPICE said of the levels is of the card as it was calibrated."""
    g_s, _ = model_conductances(levels(card), RRAMParameters.from_card(card), DEVICES, np.random.default_rng(0))
    numbers: dict[str, Mapping[Role, str]] = {}
    for n, column in enumerate(g_s.T):
        known = card.levels.levels[n] if card.levels is not None and len(card.levels.levels) == g_s.shape[1] else None
        row: dict[Role, str] = {"model": f"{US * column.mean():.1f} ± {US * column.std():.1f} µS"}
        if known is not None and not tuned:
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
