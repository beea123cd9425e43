"""The figures of docs/paper.md and docs/where.md, each from the results; None where these lack."""

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bruno_spice.calibration.presentation.style import (
    MODEL_COLOUR,
    SECOND_COLOUR,
    SPICE_COLOUR,
    THIRD_COLOUR,
    new_figure,
)
from bruno_spice.training.studies.benchmarks.base import Measured
from bruno_spice.training.studies.benchmarks.figures import DRAWINGS
from bruno_spice.training.studies.paper.paired import ACCURACY, COMPARISONS, NLL

if TYPE_CHECKING:
    from bruno_spice.training.studies.paper.values import Values

RIVAL_COLOURS = {"LIF": THIRD_COLOUR, "recurrent LIF": SECOND_COLOUR, "GRU": "#555555", "LSTM": "#555555"}
BITS = (32, 8, 4, 3)
TASKS = ("braille27", "braille7")
NEURONS = {
    "felif": ("FeLIF", MODEL_COLOUR),
    "rlif": ("recurrent LIF", SECOND_COLOUR),
    "lif": ("LIF", THIRD_COLOUR),
}
CHORALES = {
    "chorales-felif-32": ("FeLIF\nfloat", MODEL_COLOUR),
    "chorales-rlif-32": ("rec. LIF\nfloat", SECOND_COLOUR),
    "chorales-lif-32": ("LIF\nfloat", THIRD_COLOUR),
    "chorales-felif-3": ("FeLIF\n3-bit RRAM", MODEL_COLOUR),
    "chorales-rlif-3": ("rec. LIF\n3-bit RRAM", SECOND_COLOUR),
    "chorales-lif-3": ("LIF\n3-bit RRAM", THIRD_COLOUR),
    "chorales-gru": ("GRU", "#555555"),
    "chorales-lstm": ("LSTM", "#555555"),
}


def bits_curve(axes: Axes, values: "Values", task: str) -> Axes:
    """Test accuracy of `task` against the bits of a weight, with its spread; beside all letters, the published one."""
    published = values.plan.references["braille"] if task == "braille27" else None
    for neuron, (label, colour) in NEURONS.items():
        cells = [(x, values.numbers(f"{task}-{neuron}-{bits}", "test.accuracy")) for x, bits in enumerate(BITS)]
        cells = [(x, found) for x, found in cells if found]
        means = [statistics.mean(found) for _, found in cells]
        spreads = [statistics.stdev(found) if len(found) > 1 else 0.0 for _, found in cells]
        axes.errorbar([x for x, _ in cells], means, spreads, fmt="o-", color=colour, label=label, capsize=4)
        if published:
            levels = [published[str(bits)][neuron] for bits in BITS]
            values.read.append(levels)
            axes.plot(range(len(BITS)), levels, ":", color=colour, alpha=0.7)
    axes.plot([], [], ":", color=SPICE_COLOUR, label="published, on other data")
    axes.set_xticks(range(len(BITS)), ["float" if bits == max(BITS) else f"{bits}" for bits in BITS])
    axes.set_xlabel("bits of a weight")
    axes.set_ylabel("test accuracy")
    axes.set_title(task)
    return axes


def bits_figure(values: "Values") -> Figure | None:
    """Accuracy against bits for each Braille task of which more than one cell was run."""
    tasks = [task for task in TASKS if sum(name.startswith(f"{task}-") for name in values.files) > 1]
    if not tasks:
        return None
    figure = new_figure(1, len(tasks), size=(6.4 * len(tasks) + 1.0, 5.0))
    for axes, task in zip(figure.axes, tasks, strict=True):
        bits_curve(axes, values, task)
    figure.axes[0].legend(fontsize="small", loc="lower left")
    return figure


def chorales_figure(values: "Values") -> Figure | None:
    """Test NLL of every network that was run, each seed and the mean; a floor and published numbers as level lines."""
    cells = {name: values.numbers(name, "test.nll") for name in CHORALES if name in values.files}
    if not cells:
        return None
    figure = new_figure(size=(11.0, 5.0))
    axes = figure.axes[0]
    for x, (name, found) in enumerate(cells.items()):
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        axes.errorbar(x, statistics.mean(found), spread, fmt="o", color=CHORALES[name][1], capsize=6, ms=9)
        axes.plot([x] * len(found), found, ".", color="black", alpha=0.35)
    floors: dict[str, Any] = values.results(next(iter(cells)))[0]["floors"]
    levels = {f"floor: {name}": scores["nll"] for name, scores in floors.items() if name == "logistic"}
    levels |= {f"published: {name}": values.plan.references["chorales"][name] for name in ("RNN", "sSNU", "TCN")}
    values.read.append(levels)
    for label, level in levels.items():
        axes.axhline(level, color=SPICE_COLOUR, lw=1.2, ls="--" if label.startswith("floor") else ":")
        axes.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), fontsize="small", va="center")
    axes.set_xlim(-0.5, len(cells) - 0.5)
    axes.set_xticks(range(len(cells)), [CHORALES[name][0] for name in cells])
    every = [value for found in cells.values() for value in found] + list(levels.values())
    axes.set_ylim(min(every) - 0.15, max(every) + 0.15)
    axes.set_ylabel("test NLL (nats a frame)")
    return figure


def where_figure(values: "Values") -> Figure | None:
    """By how much FeLIF is better than each rival, with its interval: a panel for the chorales, one for the letters."""
    found = [(each, values.difference(each)) for each in COMPARISONS]
    rows = [(each, apart) for each, apart in found if apart is not None and apart.seeds > 1]
    parts = [[row for row in rows if (row[0].score is score)] for score in (NLL, ACCURACY)]
    if not all(parts):
        return None
    figure = new_figure(2, 1, size=(9.0, 1.6 + 0.3 * len(rows)), gridspec_kw={"height_ratios": [len(p) for p in parts]})
    for axes, part in zip(figure.axes, parts, strict=True):
        for y, (each, apart) in enumerate(part):
            colour = RIVAL_COLOURS[each.rival]
            axes.errorbar(apart.mean, y, xerr=apart.high - apart.mean, fmt="o", color=colour, capsize=4)
        axes.axvline(0.0, color=SPICE_COLOUR, lw=1.2)
        axes.set_yticks(range(len(part)), [f"{e.task}, {e.weights}: {e.rival}" for e, _ in part], fontsize="small")
        axes.set_ylim(len(part) - 0.4, -0.6)
        axes.set_xlabel(f"FeLIF better by ({part[0][0].score.unit})")
    return figure


def bench_figure(bench: str) -> Callable[["Values"], Figure | None]:
    """The picture that ``bruno bench`` itself draws of `bench`, from its rows."""

    def drawn(values: "Values") -> Figure | None:
        found = values.results(f"bench-{bench}")
        if not found:
            return None
        content = {key: value for key, value in found[0][bench].items() if key != "about"}
        values.read.append(content)
        return DRAWINGS[bench](Measured(**content))

    return drawn


FIGURES: dict[str, Callable[["Values"], Figure | None]] = {
    "bits": bits_figure,
    "chorales": chorales_figure,
    "where": where_figure,
    **{bench: bench_figure(bench) for bench in ("growth", "fused", "scale", "frameworks")},
}
