"""Waveforms: one time base, named signals, spike times; the same for SPICE and for the compact models.

Signal names carry their unit: ``v_mem_v`` in V, ``i_syn_a`` in A, ``polarization`` normalised to -1...1.
SPICE's time points are adaptive, so signals are compared after resampling, and spikes by their times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.errors import StimulusError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.reading import printable
from bruno_spice.devices.tables import read_plain_csv

Array = NDArray[np.float64]


def _no_spikes() -> Array:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Waveform:
    """Signals over one time base, and the spikes among them.

    - `time_s`: (n,) in s, not decreasing.
    - `signals`: (n,) each, by name with its unit: ``v_mem_v`` in V, ``i_syn_a`` in A, ``polarization`` within -1...1.
    - `spike_times_s`: (k,) in s; none by default.

    ``waveform["v_mem_v"]`` is a signal. Raises `StimulusError` if a signal's length differs from that of the time base
    or the times decrease.
    """

    time_s: Array
    signals: Mapping[str, Array]
    spike_times_s: Array = field(default_factory=_no_spikes)

    def __post_init__(self) -> None:
        for name, signal in self.signals.items():
            if np.shape(signal) != np.shape(self.time_s):
                raise StimulusError(
                    f"signal '{name}' has shape {np.shape(signal)}, the time base {np.shape(self.time_s)}"
                )
        if np.any(np.diff(self.time_s) < 0):
            raise StimulusError("the time base of a waveform must not decrease")

    def __getitem__(self, name: str) -> Array:
        return self.signals[name]

    def resampled(self, time_s: ArrayLike) -> "Waveform":
        """The same signals, linearly interpolated at `time_s`; spike times unchanged."""
        times = np.asarray(time_s, dtype=np.float64)
        signals = {name: np.interp(times, self.time_s, signal) for name, signal in self.signals.items()}
        return Waveform(times, signals, self.spike_times_s)

    def crossings(self, name: str, level: float, rising: bool = True) -> Array:
        """Times in s at which signal `name` crosses `level` upwards (or downwards), interpolated."""
        signal = self[name] - level
        signal = signal if rising else -signal
        before = np.flatnonzero((signal[:-1] < 0) & (signal[1:] >= 0))
        fraction = -signal[before] / (signal[before + 1] - signal[before])
        return self.time_s[before] + fraction * np.diff(self.time_s)[before]

    def to_csv(self, path: Path | str) -> None:
        """Write ``time_s,<signals>,spike`` to `path` and the spike times to ``<stem>.spikes.csv`` beside it."""
        import pandas as pd  # a third of a second, for those who write

        path = Path(path)
        spike = np.zeros(self.time_s.size, dtype=int)
        after = np.searchsorted(self.time_s, self.spike_times_s, side="left")
        spike[after[after < spike.size]] = 1
        table = pd.DataFrame({"time_s": self.time_s, **self.signals, "spike": spike})
        write_atomic(path, table.to_csv(index=False, float_format="%.9g"))
        spikes = pd.DataFrame({"time_s": self.spike_times_s})
        write_atomic(spikes_path(path), spikes.to_csv(index=False, float_format="%.12g"))

    @classmethod
    def from_csv(cls, path: Path | str) -> "Waveform":
        """Read what `to_csv` wrote; without a spikes file the spikes are the samples marked 1.

        Raises `StimulusError` with the line for what is no plain CSV, or no number.
        """
        path = Path(path)
        signals = dict(read_plain_csv(path, missing="no such waveform file").columns)
        if "time_s" not in signals:
            raise StimulusError(f"{printable(str(path))}: a waveform needs the column time_s")
        time, marked = signals.pop("time_s"), signals.pop("spike", None)
        beside = spikes_path(path)
        if beside.exists():
            spikes = read_plain_csv(beside, ["time_s"], missing="no such file", may_be_empty=True).columns["time_s"]
        else:
            spikes = time[marked > 0] if marked is not None else _no_spikes()
        return cls(time, signals, spikes)


def spikes_path(trace_path: Path) -> Path:
    """Where the spike times of `trace_path` lie: ``trace.csv`` -> ``trace.spikes.csv``."""
    return trace_path.with_suffix(".spikes.csv")


def rms_difference(reference: Waveform, other: Waveform, name: str, time_s: ArrayLike) -> float:
    """Root mean square of ``other[name] - reference[name]``, both resampled at `time_s`."""
    difference = other.resampled(time_s)[name] - reference.resampled(time_s)[name]
    return float(np.sqrt(np.mean(difference**2)))


def match_spikes(reference_s: ArrayLike, other_s: ArrayLike, window_s: float = 1e-3) -> list[tuple[int, int]]:
    """Pairs (index in reference, index in other) of spikes within `window_s`, each spike used once, in time order."""
    reference, other = np.asarray(reference_s), np.asarray(other_s)
    pairs, j = [], 0
    for i, spike in enumerate(reference):
        while j < other.size and other[j] < spike - window_s:
            j += 1
        if j < other.size and abs(other[j] - spike) <= window_s:
            pairs.append((i, j))
            j += 1
    return pairs
