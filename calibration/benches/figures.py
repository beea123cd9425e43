"""Figures of the benches. Each function takes Axes and a `BenchResult` and returns the Axes; `FIGURES` names them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, NullFormatter

from bruno_spice.calibration.benches.fecap import BenchResult
from bruno_spice.devices.units import format_si

UC_PER_CM2 = 100.0
OTHERS = {"fine": "reltol 1e-6", "equations": "the equations"}
Figure1 = Callable[[Axes, BenchResult], Axes]


def _colours(count: int) -> np.ndarray:
    return colormaps["viridis"](np.linspace(0.05, 0.85, max(count, 1)))


def _lines(
    axes: Axes, table: pd.DataFrame, by: list[str], x: str, y: str, label: Callable[..., str], scale: float = 1.0
) -> Axes:
    groups = list(table.groupby(by, sort=True))
    for colour, (keys, part) in zip(_colours(len(groups)), groups, strict=True):
        axes.plot(part[x], scale * part[y], color=colour, lw=1.6, label=label(*keys))
    axes.legend(fontsize="small")
    return axes


def draw_loops(axes: Axes, result: BenchResult) -> Axes:
    """P-V loops, one colour a condition (amplitude, frequency or temperature)."""
    labels: dict[str, Callable[[float], str]] = {
        "amplitude_v": lambda v: f"{v:g} V",
        "frequency_hz": lambda f: format_si(f, "Hz"),
        "temperature_k": lambda t: f"{t:g} K",
    }
    by = [name for name in labels if name in result.traces and result.traces[name].nunique() > 1] or ["amplitude_v"]
    by = [name for name in by if name in result.traces]
    centred = result.traces.copy()
    keys = [name for name in labels if name in centred]
    charge = centred.groupby(keys)["charge_c_m2"]
    centred["charge_c_m2"] -= (charge.transform("max") + charge.transform("min")) / 2
    _lines(
        axes,
        centred,
        by,
        "voltage_v",
        "charge_c_m2",
        lambda *values: ", ".join(labels[name](value) for name, value in zip(by, values, strict=True)),
        UC_PER_CM2,
    )
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.axhline(0, color="black", lw=0.6)
    axes.axvline(0, color="black", lw=0.6)
    axes.set(xlabel="voltage (V)", ylabel="polarization (µC/cm²)")
    return axes


def draw_pund(axes: Axes, result: BenchResult) -> Axes:
    """Charge over the PUND sequence, time in units of the pulse width."""
    keys = ["amplitude_v", "width_s"]
    groups = list(result.traces.groupby(keys))
    for colour, (_, part) in zip(_colours(len(groups)), groups, strict=True):
        row = result.numbers.merge(part[keys].head(1), on=keys).iloc[0]
        start = part["time_s"].max() - 9.8 * float(row["width_s"])
        shown = part[part["time_s"] > start]
        axes.plot(
            (shown["time_s"] - start) / row["width_s"],
            UC_PER_CM2 * (shown["charge_c_m2"] - shown["charge_c_m2"].iloc[0]),
            color=colour,
            lw=1.6,
            label=f"{row['amplitude_v']:g} V, {format_si(row['width_s'], 's')}: "
            f"P-U {UC_PER_CM2 * row['p_minus_u_c_m2']:.1f}",
        )
    axes.set(xlabel="time (pulse widths)", ylabel="terminal charge (µC/cm²)")
    axes.legend(fontsize="small")
    return axes


def draw_kinetics(axes: Axes, result: BenchResult) -> Axes:
    """Switched fraction against pulse width, one curve an amplitude."""
    _lines(axes, result.traces, ["amplitude_v"], "width_s", "switched_fraction", lambda v: f"{v:g} V")
    for line in axes.lines:
        line.set_marker("o")
        line.set_markersize(4)
    axes.set(xscale="log", xlabel="pulse width", ylabel="switched fraction", ylim=(-0.03, 1.03))
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    return axes


def draw_forc(axes: Axes, result: BenchResult) -> Axes:
    """Density map of first-order reversal curves over voltage and reversal voltage."""
    table = result.traces.pivot(index="reversal_v", columns="voltage_v", values="density_c_m2_v2")
    mesh = axes.pcolormesh(table.columns, table.index, UC_PER_CM2 * table, cmap="viridis", shading="nearest")
    axes.figure.colorbar(mesh, ax=axes, label="density (µC/cm²/V²)")
    low, high = float(table.index.min()), float(table.columns.max())
    axes.plot([low, high], [low, high], color="black", lw=0.6)
    axes.plot([low, -low], [low, -low][::-1], color="white", lw=0.6, ls=":")
    axes.set(xlabel="voltage (V)", ylabel="reversal voltage (V)", xlim=(low, high), ylim=(low, -low))
    axes.grid(False)
    return axes


def draw_neuron_sweep(axes: Axes, result: BenchResult) -> Axes:
    """Spike rate against current."""
    axes.plot(result.numbers["i_dc_a"], result.numbers["rate_hz"], "o-", color=_colours(1)[0], ms=5)
    axes.set(xscale="log", yscale="log", xlabel="input current", ylabel="spike rate")
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.yaxis.set_major_formatter(EngFormatter("Hz"))
    return axes


def draw_neuron_traces(axes: Axes, result: BenchResult) -> Axes:
    """Membrane voltage of every condition, each shifted up by 3 V."""
    key = result.traces.columns[0]
    units = {"i_dc_a": "A", "gap_s": "s", "rate_in_hz": "Hz", "inhibition_a": "A"}
    groups = list(result.traces.groupby(key, sort=True))
    for shift, (colour, (value, part)) in enumerate(zip(_colours(len(groups)), groups, strict=True)):
        axes.plot(1e3 * part["time_s"], part["v_mem_v"] + 3 * shift, color=colour, lw=1.2)
        axes.annotate(
            format_si(float(str(value)), units.get(key, "")),
            (1.005, (3 * shift + 0.6)),
            xycoords=("axes fraction", "data"),
            color=colour,
            fontsize="small",
        )
    axes.set(xlabel="time (ms)", ylabel="membrane voltage (V), shifted by 3 V")
    return axes


def draw_effects(axes: Axes, result: BenchResult) -> Axes:
    """First spike against the factor on each parameter."""
    _lines(axes, result.numbers, ["parameter"], "factor", "first_spike_s", str, 1e3)
    for line in axes.lines:
        line.set_marker("o")
    axes.set(xlabel="parameter over its nominal value", ylabel="first spike (ms)")
    return axes


def draw_conductance(axes: Axes, result: BenchResult) -> Axes:
    """Conductance against what was varied: current, gate voltage, RESET voltage or capacitance."""
    table = result.numbers
    key = next(name for name in ("i_prog_a", "v_gate_v", "v_reset_v", "c_limiter_f") if name in table)
    unit = {"i_prog_a": "A", "v_gate_v": "V", "v_reset_v": "V", "c_limiter_f": "F"}[key]
    by = [name for name in ("variant", "length_m", "radius_m") if name in table]
    if by:
        _lines(
            axes,
            table,
            by,
            key,
            "g_s",
            lambda variant, length, radius: f"{variant} {1e9 * length:.2f}/{1e9 * radius:.0f} nm",
        )
    else:
        axes.plot(table[key], table["g_s"], "o-", color=_colours(1)[0])
    names = {
        "i_prog_a": "programming current",
        "v_gate_v": "word line",
        "v_reset_v": "RESET voltage",
        "c_limiter_f": "parasitic",
    }
    axes.set(xlabel=names[key], ylabel="conductance")
    axes.xaxis.set_major_formatter(EngFormatter(unit))
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    return axes


def draw_hysteresis(axes: Axes, result: BenchResult) -> Axes:
    """Current magnitude against cell voltage, logarithmic."""
    axes.semilogy(result.traces["v_cell_v"], np.abs(result.traces["i_cell_a"]) + 1e-9, color=_colours(1)[0], lw=1.6)
    axes.set(xlabel="cell voltage (V), positive sets", ylabel="current", ylim=(1e-7, None))
    axes.yaxis.set_major_formatter(EngFormatter("A"))
    return axes


def draw_cycling(axes: Axes, result: BenchResult) -> Axes:
    """Conductance after SET and after RESET over the cycles."""
    for colour, name, label in zip(_colours(2), ("g_on_s", "g_off_s"), ("after SET", "after RESET"), strict=True):
        axes.semilogy(result.numbers["cycle"], result.numbers[name], "o-", color=colour, label=label)
    axes.set(xlabel="cycle", ylabel="conductance")
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return axes


def draw_convergence(axes: Axes, result: BenchResult) -> Axes:
    """Errors of first spikes (dots) and intervals (crosses) against each drive's mean current."""
    numbers = result.numbers
    for colour, other in zip(_colours(2), ("fine", "equations"), strict=True):
        for what, marker in (("first", "o"), ("interval", "x")):
            name = f"{what}_error_{other}"
            if name in numbers:
                size = numbers[name].abs().where(numbers[name] != 0)
                label = f"{'first spike' if what == 'first' else 'worst interval'}, against {OTHERS[other]}"
                axes.plot(numbers["i_mean_a"], size, marker, color=colour, ms=6, label=label)
    axes.axhline(1e-4, color="black", lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="mean input current", ylabel="relative error of the deck's spikes")
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.legend(fontsize="small")
    return axes


def draw_tolerance(axes: Axes, result: BenchResult) -> Axes:
    """Largest error of a spike against reltol: a colour a simulator, a line a longest step; above, what is refused."""
    numbers = result.numbers
    doubtful = (numbers["early"] + numbers["double"] + numbers["failed"] > 0) | ~np.isfinite(numbers["error_s"])
    finite = numbers["error_s"][np.isfinite(numbers["error_s"])]
    top_us = 3e6 * float(finite.max()) if finite.size else 1.0
    names, steps = list(numbers["simulator"].unique()), sorted(numbers["t_max_s"].unique())
    styles = dict(zip(steps, ("-", "--", ":", "-.") * len(steps), strict=False))
    for colour, name in zip(_colours(len(names)), names, strict=True):
        for step in steps:
            part = numbers[(numbers["simulator"] == name) & (numbers["t_max_s"] == step)]
            label = f"{name}, steps up to {format_si(step, 's')}"
            error_us = 1e6 * part["error_s"].where(np.isfinite(part["error_s"]))
            axes.plot(part["reltol"], error_us, styles[step], marker="o", ms=4, color=colour, label=label)
        refused = numbers[(numbers["simulator"] == name) & doubtful]
        if len(refused):
            above_us = 1e6 * refused["error_s"].where(np.isfinite(refused["error_s"]), top_us * 1e-6)
            axes.plot(refused["reltol"], above_us, "x", color=colour, ms=10, mew=2, label=f"{name}, not believed")
    axes.set(xscale="log", yscale="log", xlabel="reltol", ylabel="largest error of a spike (µs)")
    axes.invert_xaxis()
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def draw_groups(axes: Axes, result: BenchResult) -> Axes:
    """Distance from the converged film against the number of groups: membrane on the left, film on the right."""
    numbers = result.numbers
    voltages = [name for name in map(str, numbers) if name.startswith("v_rms") and name.endswith("p_v")]
    for colour, name in zip(_colours(len(voltages)), voltages, strict=True):
        current = format_si(1e-12 * float(name.split("_")[2][:-1]), "A")
        axes.plot(numbers["groups"], 1e3 * numbers[name], "o-", color=colour, label=f"membrane, {current}")
    spice = numbers.dropna()
    axes.plot(
        spice["groups"], 1e3 * spice["v_rms_308p_ngspice_v"], "ks", ms=9, mfc="none", label="membrane, 308 pA, ngspice"
    )
    right = axes.twinx()
    films = {"loop": "3 V loop", "minor": "1.2 V loop", "pund": "PUND", "kinetics": "pulses"}
    for colour, (name, label) in zip(colormaps["autumn"](np.linspace(0.0, 0.7, 4)), films.items(), strict=True):
        right.plot(numbers["groups"], 100 * numbers[f"{name}_rms_ps"], "x--", color=colour, label=f"{label} (right)")
    ticks = [int(n) for n in numbers["groups"]]
    axes.set(xscale="log", yscale="log", xlabel="switching groups", ylabel="membrane, rms from the converged film (mV)")
    right.set(yscale="log", ylabel="film, rms from the converged one (% of Ps)")
    right.grid(False)
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.yaxis, right.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, fontsize="small", loc="upper right")
    return axes


FIGURES: dict[str, Figure1] = {
    "pv": draw_loops,
    "minor": draw_loops,
    "temperature": draw_loops,
    "pund": draw_pund,
    "kinetics": draw_kinetics,
    "forc": draw_forc,
    "sweep": draw_neuron_sweep,
    "trains": draw_neuron_traces,
    "coincidence": draw_neuron_traces,
    "inhibition": draw_neuron_traces,
    "effects": draw_effects,
    "convergence": draw_convergence,
    "tolerance": draw_tolerance,
    "groups": draw_groups,
    "set": draw_conductance,
    "source": draw_conductance,
    "1t1r": draw_conductance,
    "reset": draw_conductance,
    "parasitics": draw_conductance,
    "hysteresis": draw_hysteresis,
    "cycling": draw_cycling,
}
