"""Figures of a fit to traces: measured over model, a column each, with the residuals."""

from math import ceil

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.neuron.validation import model_of
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR, new_figure, residual
from bruno_spice.calibration.traces.fit import TraceFit
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.reading import short

MOST_PANELS = 12
ACROSS = 3
SHOWN_POINTS = 4000


def traces_figure(found: TraceFit) -> Figure:
    """Membrane of each trace, measured in grey and the card's in blue, above their difference."""
    parameters = NeuronParameters.from_card(found.card)
    labelled = [(each, "fitted") for each in found.fitted] + [(each, "held out") for each in found.held_out]
    labelled = labelled[:MOST_PANELS]
    across = min(ACROSS, len(labelled))
    down = ceil(len(labelled) / across)
    figure = new_figure(
        2 * down, across, size=(max(6.4, 5.2 * across), max(4.6, 3.9 * down)), squeeze=False, sharex=False,
        gridspec_kw={"height_ratios": [2.4, 1.0] * down},
    )  # fmt: skip
    grid = np.array(figure.axes).reshape(2 * down, across)
    for n, (trace, used) in enumerate(labelled):
        above, below = grid[2 * (n // across), n % across], grid[2 * (n // across) + 1, n % across]
        recording = trace.recording
        time = np.linspace(0.0, recording.t_stop_s, SHOWN_POINTS)
        measured, model = recording.spice.resampled(time), model_of(recording, parameters).resampled(time)
        above.plot(time, measured["v_mem_v"], color=SPICE_COLOUR, lw=3.0, label="measured")
        above.plot(time, model["v_mem_v"], color=MODEL_COLOUR, lw=1.3, label="model")
        above.xaxis.set_major_formatter(EngFormatter("s"))
        above.set_title(f"{short(trace.name, 40)} ({used})".replace("$", r"\$"), fontsize=10)
        above.set_ylabel("V (V)", fontsize=10)
        residual(below, measured, model, "v_mem_v", "model −\nmeas. (V)", 0.25)
        below.yaxis.label.set_fontsize(9)
        if n == 0:
            above.legend(fontsize=9)
        for axes in (above, below):
            axes.tick_params(labelsize=9)
    for n in range(len(labelled), down * across):
        grid[2 * (n // across), n % across].remove()
        grid[2 * (n // across) + 1, n % across].remove()
    return figure
