"""The RRAM bench: SET by a limiter, a current source or a transistor, RESET, hysteresis, cycling, parasitics.

All on the JART VCM cell (``models/jart_vcm.lib``) in the decks ``rram.cir`` and ``rram_1t1r.cir``, whose bit-line
source ``Vbl`` gets the voltage of each bench. Bit line positive sets (V(ae,oe) < 0), negative resets.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.experiments import (
    NETLISTS,
    READ_AFTER_SET_S,
    RRAM_NETLIST,
    RRAM_VECTORS,
    RTH_VARIANTS,
    SET_END_S,
    RRAMRun,
    program_rrams,
    read_conductance,
)
from calibration.farm import Farm, Job, run_jobs
from calibration.fecap_bench import BenchResult
from calibration.netlist import Netlist
from devices.waveform import Waveform

RRAM_1T1R_NETLIST = NETLISTS / "testbenches" / "rram_1t1r.cir"
RRAM_SOURCE_NETLIST = NETLISTS / "testbenches" / "rram_source.cir"
Overrides = Mapping[str, float] | None
Array = NDArray[np.float64]
EDGE_S, PULSE_S, GAP_S, READ_S = 10e-9, 1e-6, 40e-9, 120e-9


def set_by_limiter(
    currents_a: Sequence[float] = tuple(np.array([10, 20, 30, 50, 80, 100, 140, 200, 250, 300]) * 1e-6),
    geometries_m: Sequence[tuple[float, float]] = ((0.40e-9, 45e-9), (0.36e-9, 49e-9), (0.44e-9, 41e-9)),
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Conductance against programming current with an ideal limit, at (length, radius), both thermal variants."""
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
    deck = Netlist.load(netlist)
    jobs = [
        Job.from_netlist(deck.with_params({**(overrides or {}), "vgate": v}), RRAM_VECTORS, SET_END_S) for v in gates_v
    ]
    table = pd.DataFrame(
        [
            {
                "v_gate_v": v,
                "i_set_a": abs(_at(raw, 1.02e-6, "i(vcell)")),
                "g_s": read_conductance(raw, READ_AFTER_SET_S),
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
    deck = Netlist.load(netlist)
    jobs = [
        Job.from_netlist(deck.with_params({**(overrides or {}), "iprog": i}), RRAM_VECTORS, SET_END_S)
        for i in currents_a
    ]
    table = pd.DataFrame(
        [
            {"i_prog_a": i, "g_s": read_conductance(raw, READ_AFTER_SET_S)}
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
    """Conductance after 1 us of RESET at each voltage, from the state that `i_prog_a` set."""
    runs = [RRAMRun(i_prog_a, v_reset_v=v, overrides=overrides or {}) for v in voltages_v]
    conductances = program_rrams(runs, netlist, farm)
    table = pd.DataFrame({"v_reset_v": list(voltages_v), "g_s": conductances})
    return BenchResult("reset", table, table)


def hysteresis(
    v_set_v: float = 1.5,
    v_reset_v: float = 1.5,
    i_limit_a: float = 200e-6,
    sweep_s: float = 1e-3,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Quasi-static I-V loop: up to `v_set_v` under the current limit and back, down to -`v_reset_v` and back.

    The cell voltage is that of the bit line against the active electrode, positive for SET.
    """
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0]) * sweep_s
    levels = np.array([0.0, v_set_v, 0.0, -v_reset_v, 0.0])
    raw = _drive(times, levels, {**(overrides or {}), "iprog": i_limit_a}, netlist, sweep_s / 500, farm)
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
    v_set_v: float = 1.5,
    v_reset_v: float = 1.5,
    v_read_v: float = 0.2,
    overrides: Overrides = None,
    netlist: Path | str = RRAM_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """SET, read, RESET, read, over and over in one run; reads at +`v_read_v` on the cell."""
    times, levels, reads = [0.0], [0.0], []
    for _ in range(cycles):
        for level, width in ((v_set_v, PULSE_S), (-v_read_v, READ_S), (-v_reset_v, PULSE_S), (-v_read_v, READ_S)):
            for step, value in ((GAP_S, 0.0), (EDGE_S, level), (width, level), (EDGE_S, 0.0)):
                times.append(times[-1] + step)
                levels.append(value)
            if width == READ_S:
                reads.append(times[-1] - 2 * EDGE_S)
    times.append(times[-1] + GAP_S)
    levels.append(0.0)
    raw = _drive(np.array(times), np.array(levels), {**(overrides or {}), "iprog": i_prog_a}, netlist, None, farm)
    conductance = np.array([read_conductance(raw, t) for t in reads]).reshape(-1, 2)
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
    runs = [RRAMRun(i_prog_a, overrides={**(overrides or {}), "clim": c}) for c in capacitances_f]
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


def _drive(
    times: Array,
    levels: Array,
    overrides: Mapping[str, float],
    netlist: Path | str,
    t_max_s: float | None,
    farm: Farm | None,
) -> Waveform:
    deck = Netlist.load(netlist).with_params(overrides).with_source("Vbl", times, levels).with_tran(None, t_max_s)
    return run_jobs([Job.from_netlist(deck, RRAM_VECTORS, float(times[-1]))], farm)[0]


def _at(raw: Waveform, time_s: float, name: str) -> float:
    return float(raw.resampled([time_s])[name][0])
