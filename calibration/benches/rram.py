"""The RRAM bench: SET by a limiter, a current source or a transistor, RESET, hysteresis, cycling, parasitics.

All on the JART VCM cell (``models/jart_vcm.lib``) in the decks ``rram.cir`` and ``rram_1t1r.cir``. Bit line positive
sets (V(ae,oe) < 0), negative resets. Hysteresis and cycling give the bit-line source ``Vbl`` a waveform of their own,
with the voltages that the deck's parameters ``vset``, ``vreset`` and ``vread`` name.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bruno_spice.calibration.benches.fecap import BenchResult
from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    RRAM_NETLIST,
    RTH_VARIANTS,
    RRAMRun,
    program_rrams,
    rram_geometry,
    rram_timing,
)
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS, Read, read_cell
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.waveform import Waveform

RRAM_1T1R_NETLIST = NETLISTS / "testbenches" / "rram_1t1r.cir"
RRAM_SOURCE_NETLIST = NETLISTS / "testbenches" / "rram_source.cir"
Overrides = Mapping[str, float] | None
Array = NDArray[np.float64]
EDGE_S, GAP_S, READ_S = 10e-9, 40e-9, 120e-9


def set_by_limiter(
    currents_a: Sequence[float] = tuple(np.array([10, 20, 30, 50, 80, 100, 140, 200, 250, 300]) * 1e-6),
    geometries_m: Sequence[tuple[float, float]] | None = None,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Conductance against programming current with an ideal limit, at (length, radius), both thermal variants.

    Without `geometries_m` they are the deck's own filament, a short and wide and a long and narrow one.
    """
    if geometries_m is None:
        length, radius = rram_geometry(rram_deck(netlist))
        geometries_m = [(length * a, radius * b) for a, b in ((1.0, 1.0), (0.9, 49 / 45), (1.1, 41 / 45))]
    keys = [
        (variant, length, radius, i) for variant in RTH_VARIANTS for length, radius in geometries_m for i in currents_a
    ]
    runs = [RRAMRun(i, length, radius, variant, overrides=overrides or {}) for variant, length, radius, i in keys]
    table = pd.DataFrame(
        [
            {"variant": variant, "length_m": length, "radius_m": radius, "i_prog_a": i, "g_s": g}
            for (variant, length, radius, i), g in zip(keys, program_rrams(runs, netlist, farm), strict=True)
        ]
    )
    return BenchResult("set", table, table)


def set_by_transistor(
    gates_v: Sequence[float] = (0.75, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    overrides: Overrides = None,
    netlist: Path | str = RRAM_1T1R_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """1T1R: the word-line voltage sets the current, the current the conductance."""
    deck = rram_deck(netlist).with_params(_own(overrides, "vgate"))
    timing = rram_timing(deck, farm)
    end_s, near_end_s = timing.after_set.end_s, timing.set_end_s - 0.01 * timing.set_width_s
    jobs = [transient_job(deck.with_params({"vgate": v}), RRAM_VECTORS, end_s) for v in gates_v]
    table = pd.DataFrame(
        [
            {
                "v_gate_v": v,
                "i_set_a": abs(float(raw.resampled([near_end_s])["i(vcell)"][0])),
                "g_s": read_cell(raw, timing.after_set, timing.read_voltage_v, timing.where)[0],
            }
            for v, raw in zip(gates_v, run_jobs(jobs, farm), strict=True)
        ]
    )
    return BenchResult("1t1r", table, table)


def set_by_source(
    currents_a: Sequence[float] = (10e-6, 20e-6, 50e-6, 100e-6, 200e-6),
    overrides: Overrides = None,
    netlist: Path | str = RRAM_SOURCE_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """SET by a current source with a voltage clamp across the cell, read afterwards by voltage."""
    deck = rram_deck(netlist).with_params(_own(overrides, "iprog"))
    timing = rram_timing(deck, farm)
    jobs = [transient_job(deck.with_params({"iprog": i}), RRAM_VECTORS, timing.after_set.end_s) for i in currents_a]
    table = pd.DataFrame(
        [
            {"i_prog_a": i, "g_s": read_cell(raw, timing.after_set, timing.read_voltage_v, timing.where)[0]}
            for i, raw in zip(currents_a, run_jobs(jobs, farm), strict=True)
        ]
    )
    return BenchResult("source", table, table)


def reset_by_voltage(
    voltages_v: Sequence[float] = (0.9, 1.0, 1.2, 1.5, 2.0),
    i_prog_a: float = 60e-6,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Conductance after the deck's RESET at each voltage, from the state that `i_prog_a` set."""
    runs = [RRAMRun(i_prog_a, v_reset_v=v, overrides=overrides or {}) for v in voltages_v]
    conductances = program_rrams(runs, netlist, farm)
    table = pd.DataFrame({"v_reset_v": list(voltages_v), "g_s": conductances})
    return BenchResult("reset", table, table)


def hysteresis(
    v_set_v: float | None = None,
    v_reset_v: float | None = None,
    i_limit_a: float = 200e-6,
    sweep_s: float = 1e-3,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Quasi-static I-V loop: up to `v_set_v` under the current limit and back, down to -`v_reset_v` and back.

    The cell voltage is that of the bit line against the active electrode, positive for SET. Voltages that are not given
    are the deck's ``vset`` and ``vreset``.
    """
    deck = _deck(netlist, overrides, iprog=i_limit_a)
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0]) * sweep_s
    levels = np.array([0.0, _volts(deck, "vset", v_set_v), 0.0, -_volts(deck, "vreset", v_reset_v), 0.0])
    raw = _drive(deck, times, levels, sweep_s / 500, farm)
    cell = raw["v(oe)"] - raw["v(ae)"]
    table = pd.DataFrame({"time_s": raw.time_s, "v_cell_v": cell, "i_cell_a": raw["i(vcell)"]})
    rising = raw.time_s < times[1]
    switched = np.flatnonzero(rising & (raw["i(vcell)"] > 0.5 * i_limit_a))
    numbers = {
        "v_set_v": float(raw["v(oe)"][switched[0]]) if switched.size else float("nan"),
        "i_reset_max_a": float(-raw["i(vcell)"].min()),
    }
    return BenchResult("hysteresis", table, pd.DataFrame([numbers]))


def cycling(
    cycles: int = 10,
    i_prog_a: float = 100e-6,
    v_set_v: float | None = None,
    v_reset_v: float | None = None,
    v_read_v: float | None = None,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """SET, read, RESET, read, over and over in one run; reads at +`v_read_v` on the cell.

    Voltages that are not given are the deck's ``vset``, ``vreset`` and ``vread``; pulses last as long as the deck's.
    """
    deck = _deck(netlist, overrides, iprog=i_prog_a)
    set_v, reset_v = _volts(deck, "vset", v_set_v), _volts(deck, "vreset", v_reset_v)
    read_v = _volts(deck, "vread", v_read_v)
    timing = rram_timing(deck, farm)
    set_s, reset_s = (_plateau_s(width) for width in (timing.set_width_s, timing.reset_width_s))
    times, levels, reads = [0.0], [0.0], []
    for _ in range(cycles):
        for level, width in ((set_v, set_s), (-read_v, READ_S), (-reset_v, reset_s), (-read_v, READ_S)):
            for step, value in ((GAP_S, 0.0), (EDGE_S, level), (width, level), (EDGE_S, 0.0)):
                times.append(times[-1] + step)
                levels.append(value)
            if level == -read_v:
                end_s = times[-1] - EDGE_S
                reads.append(Read(end_s - READ_S, end_s - EDGE_S, end_s))
    times.append(times[-1] + GAP_S)
    levels.append(0.0)
    raw = _drive(deck, np.array(times), np.array(levels), None, farm)
    conductance = np.array([read_cell(raw, read, read_v, timing.where)[0] for read in reads]).reshape(-1, 2)
    table = pd.DataFrame({"cycle": np.arange(1, cycles + 1), "g_on_s": conductance[:, 0], "g_off_s": conductance[:, 1]})
    return BenchResult("cycling", table, table)


def parasitics(
    capacitances_f: Sequence[float] = (0.1e-15, 0.5e-15, 1e-15, 2e-15, 5e-15),
    i_prog_a: float = 50e-6,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """What capacitance on the limiter node does: its discharge through the cell overshoots the limit."""
    own = _own(overrides, "clim")
    runs = [RRAMRun(i_prog_a, overrides={**own, "clim": c}) for c in capacitances_f]
    conductances = program_rrams(runs, netlist, farm)
    table = pd.DataFrame({"c_limiter_f": list(capacitances_f), "g_s": conductances})
    return BenchResult("parasitics", table, table)


BENCHES: dict[str, Callable[..., BenchResult]] = {
    "set": set_by_limiter,
    "source": set_by_source,
    "1t1r": set_by_transistor,
    "reset": reset_by_voltage,
    "hysteresis": hysteresis,
    "cycling": cycling,
    "parasitics": parasitics,
}


def _own(overrides: Overrides, *names: str) -> dict[str, float]:
    """The user's `overrides`. Raises `InputError` where one of them is what the bench sets itself."""
    clash = [name for name in names if name in (overrides or {})]
    if clash:
        raise InputError(f"--set {clash[0]}: this bench sets {clash[0]} itself")
    return dict(overrides or {})


def _deck(netlist: Path | str, overrides: Overrides, **values: float) -> Netlist:
    return rram_deck(netlist).with_params({**_own(overrides, *values), **values})


def _volts(deck: Netlist, name: str, given_v: float | None) -> float:
    """`given_v`, or the number of the deck's parameter `name` in V."""
    value = given_v if given_v is not None else deck.params[name].value if name in deck.params else None
    if value is None:
        raise NetlistError(f"{deck.path}: gives no number for .param {name}, the voltage that this bench applies")
    return abs(value)


def _plateau_s(width_s: float) -> float:
    """The plateau of a pulse of `width_s` from foot to foot, to two digits."""
    if width_s <= 2 * EDGE_S:
        raise NetlistError("the deck has no SET or no RESET pulse whose length the cycles could take")
    return float(f"{width_s - 2 * EDGE_S:.2g}")


def _drive(deck: Netlist, times: Array, levels: Array, t_max_s: float | None, farm: Farm | None) -> Waveform:
    driven = deck.with_source("Vbl", times, levels).with_tran(None, t_max_s)
    return run_jobs([transient_job(driven, RRAM_VECTORS, float(times[-1]))], farm)[0]
