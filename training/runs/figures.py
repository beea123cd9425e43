"""Pictures of a training run. Each drawing function takes Axes and returns them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, SPICE_COLOUR, new_figure, save
from bruno_spice.training.networks.network import AnyNetwork, Output
from bruno_spice.training.neurons.base import Outputs
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.tasks import Batch, Task

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


def write_figures(
    folder: RunFolder,
    task: Task,
    network: AnyNetwork,
    answers: Mapping[int, Tensor],
    history: list[dict[str, Any]],
    result: dict[str, Any],
) -> None:
    """Write the pictures of a run: training.png of its `history` and `result`, and the task's own of the test
    part."""
    floors = {name: scores[task.metric] for name, scores in result["floors"].items()}
    spiking = bool(history[0]["activity"])
    figure = new_figure(1, 2 if spiking else 1, size=(12.8, 4.8))
    training_curve(figure.axes[0], history, task.metric, floors)
    if spiking:
        activity_curve(figure.axes[1], history)
    title = f"{result['task']}: test {task.metric} {result['test'][task.metric]:.4g} (epoch {result['best_epoch']})"
    figure.suptitle(title)
    save(figure, folder.figures / "training.png")
    draw_task(folder, task, network, answers)


def draw_task(folder: RunFolder, task: Task, network: AnyNetwork, answers: Mapping[int, Tensor]) -> None:
    """The task's own picture, made of the `answers` to the test part (`training.runs.evaluation.score_part`), or of all
    that `network` shows where the task asks for spikes."""
    batch = task.collate(task.parts["test"])
    if task.asks_for_spikes:
        figure = task.picture_of(shown(network, batch), batch.to(torch.device("cpu"), torch.float32))
    else:
        logits = [answers[id(each)].float() for each in task.parts["test"]]
        figure = task.picture(torch.nn.utils.rnn.pad_sequence(logits), batch)
    if figure is not None:
        save(figure, folder.figures / f"{task.picture_name}.png")


def shown(network: AnyNetwork, batch: Batch) -> Output:
    """All that `network` shows of `batch`, on the CPU."""
    parameter = next(network.parameters())
    there = batch.to(parameter.device, parameter.dtype)
    was_training = network.training
    network.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        output = network(there.inputs, there.lengths)
    network.train(was_training)
    layers = {
        name: Outputs(*(None if value is None else value.cpu() for value in each))  # type: ignore[arg-type]
        for name, each in output.layers.items()
    }
    return replace(output, logits=output.logits.cpu(), layers=layers)
