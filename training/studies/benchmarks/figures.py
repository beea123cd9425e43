"""Pictures of benchmarks. Each drawing function takes Axes and returns them.

One colour a gradient mode everywhere; measured sizes are filled, extrapolated ones hollow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.presentation.style import (
    MODEL_COLOUR,
    SECOND_COLOUR,
    SPICE_COLOUR,
    THIRD_COLOUR,
    new_figure,
    save,
)
from bruno_spice.training.studies.benchmarks.base import Measured
from bruno_spice.training.studies.benchmarks.gradient import RULES

COLOURS = {"bruno": MODEL_COLOUR, "tangent": THIRD_COLOUR, "checkpoint": SPICE_COLOUR, "bptt": SECOND_COLOUR}
NAMES = {"bruno": "BRUNO", "tangent": "tangent", "checkpoint": "checkpoint", "bptt": "BPTT, 1 µs"}
FAMILIES = {"LIF": SPICE_COLOUR, "snnTorch": SECOND_COLOUR, "Norse": "#e09f3e"}
STYLES = ("s-", "^--", "v:")
"""Of the layers of one family."""
AXIS = {
    "length": ("steps_ms", "sequence length (ms)"),
    "neurons": ("neurons", "neurons"),
    "batch": ("batch", "sequences in a batch"),
}

Row = dict[str, Any]


def growth_curves(axes: Axes, rows: list[Row], summary: dict[str, float], along: str, key: str) -> Axes:
    """`key` (time_s or peak_bytes) of every mode along one axis, log-log, the exponent of growth in the legend."""
    column, label = AXIS[along]
    for mode, colour in COLOURS.items():
        mine = [row for row in rows if row["along"] == along and row["gradient"] == mode]
        exponent = summary.get(f"{'memory' if key == 'peak_bytes' else 'time'}_slope_{mode}_{along}")
        text = NAMES[mode] + ("" if exponent is None else f"  ~ x$^{{{exponent:.2f}}}$")
        real = [row for row in mine if not row["extrapolated"]]
        beyond = [row for row in mine if row["extrapolated"]]
        axes.plot(*_points(real, column, key), "o-", color=colour, label=text)
        if beyond:
            axes.plot(*_points(real[-1:] + beyond, column, key), ":", color=colour)
            axes.plot(*_points(beyond, column, key), "o", color=colour, mfc="white")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.yaxis.set_major_formatter(EngFormatter("B" if key == "peak_bytes" else "s"))
    axes.legend(fontsize="small")
    return axes


def _points(rows: list[Row], column: str, key: str) -> tuple[list[float], list[float]]:
    return [row[column] for row in rows], [max(row[key], 1e-6) for row in rows]


def draw_growth(found: Measured) -> Figure:
    """Peak memory above, time below; one column an axis of growth."""
    figure = new_figure(2, 3, size=(15.5, 8.4))
    for column, along in enumerate(AXIS):
        growth_curves(figure.axes[column], found.rows, found.summary, along, "peak_bytes")
        growth_curves(figure.axes[3 + column], found.rows, found.summary, along, "time_s")
    figure.axes[0].set_ylabel("peak memory")
    figure.axes[3].set_ylabel("time, forward + backward")
    s = found.summary
    figure.suptitle(
        f"{s['main_steps_ms']:.0f} ms, {s['main_neurons']:.0f} neurons, batch {s['main_batch']:.0f}: "
        f"BRUNO {100 * s['bruno_less_memory']:.2f} % less memory and {100 * s['bruno_less_time']:.2f} % less time than "
        f"BPTT, tangent {100 * s['tangent_less_memory']:.2f} % and {100 * s['tangent_less_time']:.2f} %\n"
        "hollow: extrapolated",
        fontsize=14,
    )
    return figure


def bars(axes: Axes, names: list[str], values: list[float], colours: list[str], text: Callable[[float], str]) -> Axes:
    """A horizontal bar for each name on a logarithmic axis, its value written at its end."""
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, color=colours, height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {text(value)}", va="center", fontsize="small")
    axes.set_yticks(places, names)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 4)
    axes.grid(visible=False, axis="y")
    return axes


def draw_speed(found: Measured) -> Figure:
    """Time per neuron and step of every layer, with its gradient where it has one."""
    figure = new_figure(size=(11.5, 6.0))
    names, values, colours = [], [], []
    for row in found.rows:
        whole = row["with_gradient_us"]
        names.append(row["layer"] + (", forward" if whole is None else ""))
        values.append(row["forward_us"] if whole is None else whole)
        felif = MODEL_COLOUR if whole is not None else SECOND_COLOUR
        colours.append(felif if row["layer"].startswith("FeLIF") else SPICE_COLOUR)
    bars(figure.axes[0], names, values, colours, lambda x: f"{x:.3g} µs")
    figure.axes[0].set_xlabel("µs per neuron and step, forward + backward")
    figure.suptitle(
        f"FeLIF with exact gradients: 1/{found.summary['euler_forward_over_felif_tangent']:.0f} of the fused 1 µs "
        f"Euler kernel's forward pass\n{found.title}",
        fontsize=14,
    )
    return figure


def draw_frameworks(found: Measured) -> Figure:
    """Time per neuron and step against the size of the layer."""
    figure = new_figure(size=(11.0, 6.2))
    axes = figure.axes[0]
    families: dict[str, int] = {}
    for layer in dict.fromkeys(row["layer"] for row in found.rows):
        mine = [row for row in found.rows if row["layer"] == layer]
        family = layer.split()[0].rstrip(",")
        style = STYLES[families.setdefault(family, 0)]
        families[family] += 1
        felif = family == "FeLIF"
        colour = COLOURS[layer.removeprefix("FeLIF, ")] if felif else FAMILIES.get(family, SPICE_COLOUR)
        sizes = [row["neurons"] * row["batch"] for row in mine]
        times = [row["with_gradient_us"] for row in mine]
        axes.plot(sizes, times, "o-" if felif else style, color=colour, lw=2.2 if felif else 1.2, label=layer)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("neurons x batch")
    axes.set_ylabel("µs per neuron and step")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(f"forward + backward, {found.title}", fontsize=14)
    return figure


def draw_scale(found: Measured) -> Figure:
    """Cost per neuron and millisecond against the number of neurons, with a band of 20 %."""
    figure = new_figure(size=(9.6, 5.4))
    axes = figure.axes[0]
    for mode in dict.fromkeys(row["gradient"] for row in found.rows):
        mine = [row for row in found.rows if row["gradient"] == mode]
        costs = [row["us_per_neuron_ms"] for row in mine]
        spread = found.summary[f"{mode}_spread"]
        axes.axhspan(min(costs), 1.2 * min(costs), color=COLOURS[mode], alpha=0.12, lw=0)
        axes.plot([row["neurons"] for row in mine], costs, "o-", color=COLOURS[mode],
                  label=f"{NAMES[mode]}: within {100 * spread:.0f} %")  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("neurons")
    axes.set_ylabel("µs per neuron and ms")
    axes.legend()
    figure.suptitle(f"{found.title}, forward + backward; band: 20 %", fontsize=14)
    return figure


def draw_accuracy(found: Measured) -> Figure:
    """Error against time of every solver and setting."""
    figure = new_figure(size=(9.6, 5.4))
    axes = figure.axes[0]
    colours = {"euler": SECOND_COLOUR, "rosenbrock": THIRD_COLOUR, "logistic": MODEL_COLOUR}
    for method, colour in colours.items():
        mine = [row for row in found.rows if row["method"] == method and row.get("states", "random") == "random"]
        axes.plot([row["tangent_us"] for row in mine], [row["v_rms_v"] for row in mine], "o-", color=colour,
                  label=method)  # fmt: skip
        for row in mine:
            axes.annotate(f"{row['setting']:g}", (row["tangent_us"], row["v_rms_v"]), xytext=(6, 5),
                          textcoords="offset points", fontsize="x-small")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("µs per neuron and ms, with tangents")
    axes.set_ylabel("rms error of V after 1 ms")
    axes.yaxis.set_major_formatter(EngFormatter("V"))
    axes.legend()
    figure.suptitle(found.title, fontsize=14)
    return figure


def draw_memory(found: Measured) -> Figure:
    """Bytes kept by mode."""
    figure = new_figure(size=(10.0, 3.8))
    modes = [row["gradient"] for row in found.rows]
    show = EngFormatter("B", places=1)
    bars(figure.axes[0], [NAMES[mode] for mode in modes], [row["kept_bytes"] for row in found.rows],
         [COLOURS[mode] for mode in modes], lambda x: str(show(x)))  # fmt: skip
    figure.axes[0].xaxis.set_major_formatter(EngFormatter("B"))
    figure.suptitle(found.title, fontsize=14)
    return figure


def draw_fused(found: Measured) -> Figure:
    """Peak memory and time of each contestant."""
    figure = new_figure(1, 2, size=(14.0, 4.2))
    names = [f"{NAMES[row['gradient'].split('_')[0]].split(',')[0]}, {row['solver']}" for row in found.rows]
    colours = [COLOURS[row["gradient"].split("_")[0]] for row in found.rows]
    for axes, key, unit, label in zip(
        figure.axes, ("peak_bytes", "time_s"), "Bs", ("peak memory", "time, forward + backward"), strict=True
    ):
        bars(axes, names, [max(row[key], 1e-6) for row in found.rows], colours, EngFormatter(unit, places=1))
        axes.xaxis.set_major_formatter(EngFormatter(unit))
        axes.set_xlabel(label)
    figure.axes[1].set_yticklabels([])
    figure.suptitle(found.title, fontsize=14)
    return figure


def draw_gradient(found: Measured) -> Figure:
    """Cosine and norm ratio to the truth, for both surrogates."""
    figure = new_figure(1, 2, size=(13.5, 5.0))
    for axes, key, label in zip(figure.axes, ("cosine", "norm_ratio"), ("cosine", "ratio of norms"), strict=True):
        for shift, surrogate, colour in ((0.2, "charge", MODEL_COLOUR), (-0.2, "voltage", SECOND_COLOUR)):
            mine = [row for row in found.rows if row["surrogate"] == surrogate]
            places = np.arange(len(mine))[::-1] + shift
            axes.barh(places, [row[key] for row in mine], height=0.38, color=colour, label=f"surrogate on {surrogate}")
            for place, row in zip(places, mine, strict=True):
                axes.text(max(row[key], 0.0), place, f" {row[key]:.4g}", va="center", fontsize="small")
            axes.set_yticks(places - shift, [row["gradient"].replace("_", ", ") for row in mine])
        axes.axvline(1.0, color="black", lw=0.8)
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
    figure.axes[0].set_xlim(-0.2, 1.25)
    largest = max(row["norm_ratio"] for row in found.rows)
    if largest > 10.0:
        figure.axes[1].set_xscale("symlog", linthresh=2.0)
    figure.axes[1].set_xlim(0.0, (1.35 if largest <= 10.0 else 5.0) * largest)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    figure.suptitle(found.title, fontsize=14)
    return figure


def draw_norms(found: Measured) -> Figure:
    """Norm over the length of a sequence; an arrow up where it is not finite any more."""
    figure = new_figure(1, 1, size=(8.5, 5.2))
    axes = figure.axes[0]
    colours = dict(zip(RULES, (SECOND_COLOUR, "#e09f3e", MODEL_COLOUR, THIRD_COLOUR, SPICE_COLOUR), strict=True))
    largest = max(row["norm"] for row in found.rows if row["norm"] is not None)
    for name, colour in colours.items():
        mine = [row for row in found.rows if row["gradient"] == name]
        finite = [row for row in mine if row["norm"] is not None]
        axes.plot([row["steps_ms"] for row in finite], [row["norm"] for row in finite], "o-", color=colour, label=name)
        beyond = [row["steps_ms"] for row in mine if row["norm"] is None]
        axes.plot(beyond, [largest * 100.0] * len(beyond), "^", color=colour, mfc="white")
    axes.set_xscale("log")
    axes.set_yscale("log")
    lengths = sorted({row["steps_ms"] for row in found.rows})
    axes.set_xticks(lengths, [str(each) for each in lengths])
    axes.minorticks_off()
    axes.set_xlabel("sequence length (ms)")
    axes.set_ylabel("norm of the gradient by the weights")
    axes.legend(fontsize="small")
    axes.set_title(f"{found.title}\nhollow: not finite")
    return figure


def draw_devices(found: Measured) -> Figure:
    """Time with gradients by device parameters, of every neuron and reset."""
    figure = new_figure(size=(14.5, 7.0))
    names = [f"{row['neuron']}, {row['reset']}: {row['parameters']}" for row in found.rows]
    told = {row["ms"]: f"{row['ms']:.0f} ms, {row['ratio']:.3g} times" for row in found.rows}
    colours = [SPICE_COLOUR if row["parameters"] == "none" else MODEL_COLOUR for row in found.rows]
    axes = bars(figure.axes[0], names, list(told), colours, lambda x: told[x])
    axes.set_xlim(min(told) / 2, max(told) * 10)
    axes.set_xlabel("ms, forward + backward")
    figure.suptitle(found.title, fontsize=14)
    return figure


DRAWINGS: dict[str, Callable[[Measured], Figure]] = {
    "speed": draw_speed,
    "accuracy": draw_accuracy,
    "memory": draw_memory,
    "gradient": draw_gradient,
    "norms": draw_norms,
    "devices": draw_devices,
    "growth": draw_growth,
    "fused": draw_fused,
    "scale": draw_scale,
    "frameworks": draw_frameworks,
}


def draw(name: str, found: Measured, path: Path) -> Path:
    """Write the picture of the benchmark `name` as PNG."""
    return save(DRAWINGS[name](found), path)
