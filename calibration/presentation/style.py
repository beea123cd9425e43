"""Figures that lay the model over SPICE. Each function takes Axes and returns them.

One look everywhere: SPICE is a broad grey line or open marker, the model a thin coloured one on top, residuals below.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder
from bruno_spice.devices.waveform import Waveform

SPICE_COLOUR = "#9aa0a6"
MODEL_COLOUR = "#0b6e99"
SECOND_COLOUR = "#d1495b"
THIRD_COLOUR = "#6a994e"
FORMATS = ("png", "pdf", "svg")
matplotlib.rcdefaults()  # a matplotlibrc of the user's may ask for LaTeX, or for colours that say something else
matplotlib.rcParams.update(
    {
        "font.size": 13,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "figure.dpi": 110,
        "savefig.dpi": 130,
    }
)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (9.6, 5.4), **kwargs: Any) -> Figure:
    """A figure in the project's style; its axes are ``figure.axes``."""
    figure, _ = plt.subplots(rows, columns, figsize=size, layout="constrained", **kwargs)
    return figure


def figure_format(path: Path) -> str:
    """The format that the suffix of `path` names. Raises `InputError` for any other than those of `FORMATS`."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"{path}: a figure's name ends in one of {', '.join(f'.{name}' for name in FORMATS)}")
    refuse_folder(path)
    return kind


def save(figure: Figure, path: Path, metadata: dict[str, str] | None = None) -> Path:
    """Write `figure` in the format of the suffix, whole or not at all, and close it; `metadata` are texts for a PNG.

    Raises `InputError` for a suffix that names no format.
    """
    kind = figure_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format=kind, metadata=metadata)
    part.replace(path)
    plt.close(figure)
    return path


def overlay(axes: Axes, spice: Waveform, model: Waveform, signal: str, label: str, unit: str) -> Axes:
    """One signal of SPICE (grey) and of the model (blue) against time."""
    axes.plot(spice.time_s, spice[signal], color=SPICE_COLOUR, lw=3.5, label="ngspice", solid_capstyle="round")
    axes.plot(model.time_s, model[signal], color=MODEL_COLOUR, lw=1.4, label="model")
    axes.set_ylabel(f"{label} ({unit})" if unit else label)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    return axes


def residual(axes: Axes, spice: Waveform, model: Waveform, signal: str, label: str, limit: float) -> Axes:
    """Model minus SPICE against time, clipped to +-`limit` so that a late spike does not hide the rest."""
    times = model.time_s
    difference = model[signal] - spice.resampled(times)[signal]
    axes.axhline(0.0, color="black", lw=0.7)
    axes.plot(times, np.clip(difference, -limit, limit), color=SECOND_COLOUR, lw=1.0)
    axes.set_ylim(-1.05 * limit, 1.05 * limit)
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    return axes
