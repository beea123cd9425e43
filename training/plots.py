"""Pictures of a training run. Each drawing function takes Axes and returns them."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from calibration.plots import MODEL_COLOUR, SECOND_COLOUR, SPICE_COLOUR, new_figure, save
from training.networks import Network
from training.runs import RunFolder
from training.tasks import Task

OCTAVE = 12
NOTE_OF_C = 12
"""MIDI number of the lowest C."""
MOST_NUMBERED = 10
FLOOR_STYLES = (":", "--", "-.")


def training_curve(axes: Axes, history: list[dict[str, Any]], metric: str, floors: dict[str, float]) -> Axes:
    """Validation `metric` by epoch, the training loss where it has the same unit, and the floors as level lines."""
    epochs = [row["epoch"] for row in history]
    valid = [row["valid"][metric] for row in history]
    axes.plot(epochs, valid, "o-", color=MODEL_COLOUR, label=f"validation {metric}")
    if metric in ("nll", "loss"):
        axes.plot(epochs, [row["train"]["loss"] for row in history], "s-", color=SECOND_COLOUR, label="training loss")
    for style, (name, value) in zip(FLOOR_STYLES * len(floors), floors.items(), strict=False):
        axes.axhline(value, color=SPICE_COLOUR, ls=style, label=f"{name} {value:.4g}")
    axes.set_ylabel(f"{metric} (nats per frame)" if metric == "nll" else metric)
    return _by_epoch(axes)


def _by_epoch(axes: Axes) -> Axes:
    """Whole epochs below, the legend above the curves."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(ncols=2, fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return axes


def activity_curve(axes: Axes, history: list[dict[str, Any]]) -> Axes:
    """Mean spikes per millisecond of each layer by epoch, with the share of silent neurons."""
    epochs = [row["epoch"] for row in history]
    for layer in history[0]["activity"]:
        activity = [row["activity"][layer] for row in history]
        (line,) = axes.plot(epochs, [each["rate"] for each in activity], "o-", label=f"{layer}: spikes per ms")
        axes.plot(epochs, [each["silent"] for each in activity], "s:", color=line.get_color(), label="share silent")
    axes.set_ylabel("hidden activity")
    axes.set_ylim(bottom=0)
    return _by_epoch(axes)


def piano_roll(
    axes: Axes, truth: NDArray[np.float64], probability: NDArray[np.float64] | None, lowest_midi_key: int
) -> Axes:
    """A piece, (frames, keys): predicted `probability` as shade, or the `truth` alone where there is none.

    True notes are outlined over a prediction. The vertical axis names the C of each octave.
    """
    frames, keys = truth.shape
    shade = truth if probability is None else probability
    extent = (0.0, float(frames), lowest_midi_key - 0.5, lowest_midi_key + keys - 0.5)
    image = axes.imshow(
        shade.T, origin="lower", aspect="auto", extent=extent, cmap="Blues", vmin=0, vmax=1, interpolation="nearest"
    )
    if probability is not None:
        for frame, key in np.argwhere(truth > 0):
            pitch = key + lowest_midi_key
            axes.hlines(pitch, frame + 0.1, frame + 0.9, color=SECOND_COLOUR, lw=1.6)
        axes.figure.colorbar(image, ax=axes, label="predicted probability", pad=0.01)
    sounding = np.flatnonzero(truth.any(0)) + lowest_midi_key
    marks = [key for key in range(lowest_midi_key, lowest_midi_key + keys) if key % OCTAVE == 0]
    axes.set_yticks(marks, [f"C{(key - NOTE_OF_C) // OCTAVE}" for key in marks])
    axes.set_ylim(sounding.min() - 2.5, sounding.max() + 2.5)
    axes.grid(visible=False)
    axes.set_xlabel("quarter notes = milliseconds of device time")
    axes.set_ylabel("key")
    return axes


def confusion(axes: Axes, counts: NDArray[np.int64], labels: list[str]) -> Axes:
    """True class against answered class, as shares of each true class; `counts` (true, answered).

    Up to `MOST_NUMBERED` classes, each cell holds its count.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    few = len(labels) <= MOST_NUMBERED
    size, most_letters = ("medium", 120) if few else ("x-small", 170)
    crowded = len(labels) * max((len(a) + len(b) for a, b in pairwise(labels)), default=0) > most_letters
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(labels)), labels, fontsize=size, **slanted)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    for (true, answered), count in np.ndenumerate(counts) if few else ():
        colour = "white" if shares[true, answered] > 0.5 else "black"
        axes.text(answered, true, str(count), ha="center", va="center", color=colour)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label="share of the true class", pad=0.01)
    return axes


def write_figures(
    folder: RunFolder, task: Task, network: Network, history: list[dict[str, Any]], result: dict[str, Any]
) -> None:
    """Write the pictures of a run: training.png of its `history` and `result`, and the task's own of the test part."""
    floors = {name: scores[task.metric] for name, scores in result["floors"].items()}
    spiking = bool(history[0]["activity"])
    figure = new_figure(1, 2 if spiking else 1, size=(12.8, 4.8))
    training_curve(figure.axes[0], history, task.metric, floors)
    if spiking:
        activity_curve(figure.axes[1], history)
    title = f"{result['task']}: test {task.metric} {result['test'][task.metric]:.4g} (epoch {result['best_epoch']})"
    figure.suptitle(title)
    save(figure, folder.figures / "training.png")
    draw_task(folder, task, network)


def draw_task(folder: RunFolder, task: Task, network: Network) -> None:
    """The task's own picture, made of the answers of `network` to the test part."""
    parameter = next(network.parameters())
    batch = task.collate(task.parts["test"]).to(parameter.device, parameter.dtype)
    was_training = network.training
    network.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        logits = network(batch.inputs, batch.lengths).logits.cpu()
    network.train(was_training)
    figure = task.picture(logits, batch.to(torch.device("cpu"), torch.float32))
    if figure is not None:
        save(figure, folder.figures / f"{task.picture_name}.png")
