"""Pictures of tasks: piano rolls and confusion matrices. Each drawing function takes Axes and returns them."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bruno_spice.calibration.presentation.style import SECOND_COLOUR

OCTAVE = 12


NOTE_OF_C = 12


"""MIDI number of the lowest C."""


MOST_NUMBERED = 10


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
