"""Precise spike trains from precise spike trains: 200 inputs, 200 outputs, each spike to its millisecond.

    loss    van Rossum's distance of every output train to the wanted one      (`training.tasks.spikes.trains`)
    f1      of spikes within +-2 ms; van_rossum: mean D^2 of a train

The task ``oxford`` is one recording: what is trained on is what is tested, so that it asks whether a network can place
its spikes, not whether it generalises. The trains of SLAYER's and Lava's tutorial, two files of 5 bytes a spike, big
endian: neuron (16 bits), polarity (1), time in us (23). They are read from the folder that ``BRUNO_DATA`` names.
Source: Shrestha & Orchard 2018, SLAYER: spike layer error reassignment in time, NeurIPS 31; its file format.

The network needs neurons at its output (``network.output_neuron``), whose spikes are the answer.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.base import PARTS, Batch, Example, Score, Shown, Task
from bruno_spice.training.tasks.sources import DataNotFound
from bruno_spice.training.tasks.spikes.trains import matched, times_ms, van_rossum

TAU_MS = 10.0
WITHIN_MS = 2.0
BYTES = 5
FOLDER, FILES = "oxford", ("input.bs1", "output.bs1")


@dataclass
class SpikePatterns(Task):
    """Wanted output trains as targets (T, n_outputs): 0 for no spike in a millisecond, else its instant in 0...1 ms."""

    tau_ms: float = TAU_MS

    asks_for_spikes: ClassVar[bool] = True
    metric: ClassVar[str] = "f1"
    higher_is_better: ClassVar[bool] = True
    criterion: ClassVar[str | None] = "van_rossum"
    picture_name: ClassVar[str] = "raster"

    @property
    def n_outputs(self) -> int:
        """Output trains."""
        return self.parts["train"][0].target.shape[-1]

    def loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Raises `InputError`: logits are no spikes."""
        raise InputError("this task asks for spikes, not for logits; set network.output_neuron, such as felif")

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """Raises `InputError`, as `loss`."""
        raise InputError("this task is scored by a network's spikes, which logits do not tell")

    def loss_of(self, output: Shown, batch: Batch) -> tuple[Tensor, float]:
        """Van Rossum's distance, summed over trains; the weight is their number."""
        shown = answer(output)
        apart = self._distance(shown, batch)
        return apart.sum(), float(apart.numel())

    def scores_of(self, output: Shown, batch: Batch) -> dict[str, Score]:
        """``f1`` within 2 ms, and ``van_rossum``."""
        shown, target = answer(output), batch.target
        there = batch.mask[..., None] > 0
        found = times_ms(shown.spikes * there, shown.crossing_ms)
        wanted = times_ms((target > 0) & there, target)
        pairs = [(f, w) for row, want in zip(found, wanted, strict=True) for f, w in zip(row, want, strict=True)]
        both = sum(matched(f, w, WITHIN_MS) for f, w in pairs)
        counted = sum(len(f) + len(w) for f, w in pairs)
        apart = self._distance(shown, batch)
        return {"f1": (2.0 * both, max(counted, 1)), "van_rossum": (float(apart.sum()), apart.numel())}

    def _distance(self, shown: Any, batch: Batch) -> Tensor:
        wanted = (batch.target > 0).to(shown.spikes.dtype)
        return van_rossum(
            shown.spikes, wanted, self.tau_ms, batch.mask, shown.crossing_ms, batch.target.to(shown.spikes.dtype)
        )

    def floors(self) -> dict[str, dict[str, float]]:
        """Trains of the wanted rates at random times, and silence."""
        rng = np.random.default_rng(0)
        found = counted = 0
        for each in self.parts["test"]:
            target = each.target.numpy()
            for n in range(target.shape[1]):
                wanted = np.flatnonzero(target[:, n]) + target[target[:, n] > 0, n]
                drawn = np.sort(rng.uniform(0, len(target), len(wanted)))
                found += matched(drawn, wanted, WITHIN_MS)
                counted += 2 * len(wanted)
        return {"random times": {"f1": 2.0 * found / max(counted, 1)}, "silence": {"f1": 0.0}}

    def picture_of(self, output: Shown, batch: Batch) -> Figure:
        """The wanted trains of the first test sequence, and those that the network shows."""
        from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR, new_figure

        shown = answer(output)
        figure = new_figure(1, 2, size=(12.8, 6.4), sharey=True)
        trains = times_ms(batch.target[:, :1] > 0, batch.target[:, :1]), times_ms(
            shown.spikes[:, :1], None if shown.crossing_ms is None else shown.crossing_ms[:, :1]
        )  # fmt: skip
        titles = ("wanted", "shown by the network")
        for axes, rows, title, colour in zip(figure.axes, trains, titles, (SPICE_COLOUR, MODEL_COLOUR), strict=True):
            for n, at_ms in enumerate(rows[0]):
                axes.plot(at_ms, np.full(len(at_ms), n), ".", ms=1.5, color=colour)
            axes.set_xlabel("time (ms)")
            axes.set_title(title, loc="left")
        figure.axes[0].set_ylabel("output train")
        return figure


def answer(output: Shown) -> Any:
    """The `Outputs` of the layer ``output``, whose spikes are the answer. Raises `InputError` where there is none."""
    if "output" not in output.layers:
        raise InputError(
            "this task asks for spikes of a layer called output: set network.output_neuron, such as felif, or call a "
            "layer of a network of your own so"
        )
    return output.layers["output"]


def read_spikes(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neurons and times in us of the spikes in the file at `path`. Raises `InputError` where it holds no spikes."""
    content = path.read_bytes()
    if not content or len(content) % BYTES:
        raise InputError(f"{path}: {len(content)} bytes are no spikes of {BYTES} bytes each")
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, BYTES).astype(np.int64)
    return rows[:, 0] * 256 + rows[:, 1], (rows[:, 2] & 0x7F) * 65536 + rows[:, 3] * 256 + rows[:, 4]


def pattern(
    inputs: tuple[NDArray[np.int64], NDArray[np.int64]], outputs: tuple[NDArray[np.int64], NDArray[np.int64]],
    source: str, milliseconds: int | None = None,
) -> SpikePatterns:  # fmt: skip
    """The task of `outputs` from `inputs`, neurons and times in us of each, of which the first `milliseconds` count."""
    last_ms = int(max(inputs[1].max(), outputs[1].max())) // 1000 + 1
    steps = last_ms if milliseconds is None else min(milliseconds, last_ms)
    frames = torch.zeros(steps, int(inputs[0].max()) + 1)
    target = torch.zeros(steps, int(outputs[0].max()) + 1)
    for (neuron, time_us), table, instant in ((inputs, frames, False), (outputs, target, True)):
        kept = time_us // 1000 < steps
        at = torch.from_numpy(time_us[kept] // 1000), torch.from_numpy(neuron[kept])
        within = np.maximum(time_us[kept] % 1000, 1) * 1e-3 if instant else np.ones(int(kept.sum()))
        table[at] = torch.from_numpy(within).float()
    example = Example(frames, target)
    split = {"made_by": "none: one recording, trained and tested on"}
    return SpikePatterns({part: [example] for part in PARTS}, source, split)


def load(folder: str | None = None, milliseconds: int | None = None) -> SpikePatterns:
    """The recording of the files input.bs1 and output.bs1 in `folder`, by default ``oxford`` in ``BRUNO_DATA``.

    Raises `DataNotFound` where they are not there.
    """
    if milliseconds is not None and not milliseconds > 0:
        raise InputError(f"milliseconds must be positive, not {milliseconds!r}")
    where = Path(folder) if folder else Path(os.environ.get("BRUNO_DATA", ".")) / FOLDER
    paths = [where / name for name in FILES]
    if missing := [path for path in paths if not path.is_file()]:
        raise DataNotFound(
            f"{missing[0]} is not there: put {' and '.join(FILES)} of Lava's tutorial oxford into {where}, or name "
            "their folder in task_options.folder"
        )
    first, second = (read_spikes(path) for path in paths)
    return pattern(first, second, f"{where}: {len(second[0])} spikes from {len(first[0])}", milliseconds)
