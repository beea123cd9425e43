"""Scores of a trained network against the time since its devices were written, on its own chip and on others.

A chip is one draw of devices and of how their writes relax, so that a chip at one age is the same chip as at another.
Ages beyond what was measured are drawn on along its last straight line, and marked; where nothing was measured there is
nothing to say but the moment of writing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, new_figure
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.rram.measured import beyond
from bruno_spice.devices.units import format_duration
from bruno_spice.training.networks.network import AnyNetwork
from bruno_spice.training.progress import Reporter, Silent, threads
from bruno_spice.training.runs.evaluation import MEASURES, chip_seed, load_run, score_part
from bruno_spice.training.synapses.device import DeviceLinear
from bruno_spice.training.synapses.retention import of_array, unknown
from bruno_spice.training.tasks import Task


def arrays_of(network: AnyNetwork, where: Path | str) -> list[DeviceLinear]:
    """The arrays of `network`. Raises `InputError` where its weights have no devices."""
    found = [each for each in network.synapses().values() if isinstance(each, DeviceLinear)]
    if not found:
        raise InputError(f"{where}: its weights have no devices that could change with time")
    return found


def ages_of(arrays: Sequence[DeviceLinear], ages_s: Sequence[float]) -> tuple[list[float], float, str]:
    """Which of `ages_s` can be scored, up to when that rests on a measurement, and what to say where it is none."""
    device = arrays[0].model
    known_s = device.known_until_s()
    ordered = sorted(set(ages_s))
    return (ordered, known_s, "") if known_s else ([0.0], 0.0, unknown(device))


def over_time(
    network: AnyNetwork, arrays: Sequence[DeviceLinear], task: Task, ages_s: Sequence[float], chips: int, seed: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each of `ages_s`: test scores of the network's own chip and, with `chips`, of so many others.

    The network keeps the last chip and age.
    """
    own, others = [], []
    for age_s in ages_s:
        own.append(_scores(network, arrays, task, age_s, seed, reporter))
    with torch.random.fork_rng(devices=[]):
        for chip in range(1, chips + 1):
            own_seed = chip_seed(seed, chip)
            torch.manual_seed(own_seed)
            network.redraw()
            others.append([_scores(network, arrays, task, age_s, own_seed, reporter) for age_s in ages_s])
    rows = []
    for at, age_s in enumerate(ages_s):
        row: dict[str, Any] = {"age_s": age_s, "own": own[at]}
        if others:
            columns = {name: np.array([chip[at][name] for chip in others]) for name in own[at]}
            row |= {
                measure: {name: float(function(values)) for name, values in columns.items()}
                for measure, function in MEASURES.items()
            }
        rows.append(row)
    return rows


def _scores(
    network: AnyNetwork, arrays: Sequence[DeviceLinear], task: Task, age_s: float, seed: int, reporter: Reporter
) -> dict[str, float]:
    for array in arrays:
        array.age_s = age_s
    scores = score_part(network, task, "test", seed)[0]
    reporter.advance()
    return scores


def evaluate_over_time(
    run_dir: Path | str, ages_s: Sequence[float], chips: int = 0, reporter: Reporter | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Test scores of the run `run_dir` at `ages_s`, on its own chip and on `chips` drawn anew.

    Returns ``{"chips", "metric", "measured_until_s", "said", "ages", "levels"}``: `ages` as `over_time` has them, and
    whether each is extrapolated; `levels`, how many devices are read as another level at 0, 1 s, 1 h and 1 d where
    that is known; `said`, what the reader must know. Errors: as `load_run`, and `InputError` for weights without
    devices.
    """
    reporter = reporter or Silent()
    try:
        config, task, network = load_run(run_dir, reporter.line, trust_code)
        arrays = arrays_of(network, run_dir)
        ordered, known_s, said = ages_of(arrays, ages_s)
        reporter.start(0, len(ordered) * (1 + chips))
        with threads(config.threads):
            rows = over_time(network, arrays, task, ordered, chips, config.seed, reporter)
    finally:
        reporter.close()
    rows = [row | {"extrapolated": beyond(row["age_s"], known_s)} for row in rows]
    if drawn_on := [format_duration(row["age_s"]) for row in rows if row["extrapolated"]]:
        said = f"{', '.join(drawn_on)}: beyond the {format_duration(known_s)} that were measured, drawn on along ln t"
    return {
        "chips": chips,
        "metric": task.metric,
        "measured_until_s": known_s if np.isfinite(known_s) else None,
        "said": said,
        "ages": rows,
        "levels": [each.model_dump() for each in of_array(arrays[0])],
    }


def retention_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a row an age, the score that counts, on the own chip and over chips."""
    metric = found["metric"]
    heads = ["time since writing", f"test {metric}, its own chip"]
    if found["chips"]:
        heads += [f"{found['chips']} chips", "lowest", "highest"]
    rows = []
    for row in found["ages"]:
        mark = " (beyond)" if row["extrapolated"] else ""
        cells = [(format_duration(row["age_s"]) if row["age_s"] else "0") + mark, f"{row['own'][metric]:.4f}"]
        if found["chips"]:
            mean, std, low, high = (row[name][metric] for name in MEASURES)
            cells += [f"{mean:.4f} +- {std:.4f}", f"{low:.4f}", f"{high:.4f}"]
        rows.append(cells)
    return heads, rows


def retention_figure(found: dict[str, Any]) -> Figure:
    """The score against the time since writing: chips as mean and standard deviation, the own chip beside them."""
    metric, rows = found["metric"], found["ages"]
    figure = new_figure(size=(9.6, 4.8))
    axes = figure.axes[0]
    later = [row["age_s"] for row in rows if row["age_s"] > 0]
    start_s = min(later) / 30 if later else 1.0
    at = np.array([max(row["age_s"], start_s) for row in rows])
    if found["chips"]:
        mean, std = (np.array([row[measure][metric] for row in rows]) for measure in ("mean", "std"))
        label = f"{found['chips']} chips, mean and standard deviation"
        axes.errorbar(at, mean, std, fmt="o-", color=MODEL_COLOUR, capsize=4, label=label)
    own = [row["own"][metric] for row in rows]
    axes.plot(at, own, "s", color=SECOND_COLOUR, ms=7, label="its own chip")
    known_s = found["measured_until_s"]
    if known_s and at[-1] > known_s:
        axes.axvspan(known_s, at[-1] * 2, color="black", alpha=0.06, lw=0, label="beyond what was measured")
    axes.set_xscale("log")
    axes.set_xlim(at[0] / 2, at[-1] * 2)
    axes.set_xticks(at, ["written" if row["age_s"] == 0 else format_duration(row["age_s"]) for row in rows])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.set_xlabel("time since writing")
    axes.set_ylabel(f"test {metric} (nats per frame)" if metric == "nll" else f"test {metric}")
    axes.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    return figure
