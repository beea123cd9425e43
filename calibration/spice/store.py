"""Simulation results by content: the same deck, options, vectors and ngspice are never run twice.

The key of an entry is the SHA-256 of everything the result depends on; it holds the samples as little-endian doubles,
with names, points and label (`devices.kept`). A damaged entry is simulated again instead of believed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bruno_spice.devices.kept import Entry, Kept, default_folder
from bruno_spice.devices.waveform import Waveform


@dataclass(frozen=True)
class Store:
    """Waveforms under `path`, by key."""

    path: Path

    @classmethod
    def default(cls) -> "Store":
        """The store that every command shares."""
        return cls(default_folder())

    def get(self, key: str) -> Waveform | None:
        """The waveform stored under `key`; None if there is none, or if it is damaged (it is then removed)."""
        found = self.kept.get(key)
        if found is None:
            return None
        about, payload = found
        try:
            samples = np.frombuffer(payload, dtype="<f8").reshape(len(about["names"]) + 1, -1)
            return Waveform(samples[0].copy(), dict(zip(about["names"], samples[1:].copy(), strict=True)))
        except (ValueError, KeyError, TypeError):
            self.kept.refuse(key)
            return None

    def put(self, key: str, waveform: Waveform, label: str = "") -> bool:
        """Store `waveform`; False with a warning where the folder cannot be written (full disk, no permission)."""
        names = list(waveform.signals)
        samples = np.array([waveform.time_s, *(waveform[name] for name in names)], dtype="<f8")
        return self.kept.put(key, samples.tobytes(), label=label, names=names, points=samples.shape[1])

    @property
    def kept(self) -> Kept:
        """Its files."""
        return Kept(self.path, ".wave")

    def entries(self) -> list[Entry]:
        """Every stored result, newest first."""
        return self.kept.entries()
