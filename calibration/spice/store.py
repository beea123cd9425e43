"""Simulation results by content: the same deck, options, vectors and ngspice are never run twice.

The key of an entry is the SHA-256 of everything the result depends on; it holds the samples as little-endian doubles,
with names, points and label (`devices.kept`). A damaged entry is simulated again instead of believed.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bruno_spice.devices.kept import Kept, default_folder
from bruno_spice.devices.waveform import Waveform


@dataclass(frozen=True)
class Entry:
    """One stored result, for listing: its key, the job's label, its size in bytes and the time it was written."""

    key: str
    label: str
    points: int
    size_bytes: int
    written_at: float
    path: Path


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
        found = self._kept.get(key)
        if found is None:
            return None
        about, payload = found
        try:
            samples = np.frombuffer(payload, dtype="<f8").reshape(len(about["names"]) + 1, -1)
            return Waveform(samples[0].copy(), dict(zip(about["names"], samples[1:].copy(), strict=True)))
        except (ValueError, KeyError, TypeError):
            self._kept.refuse(key)
            return None

    def put(self, key: str, waveform: Waveform, label: str = "") -> bool:
        """Store `waveform`; False with a warning where the folder cannot be written (full disk, no permission)."""
        names = list(waveform.signals)
        samples = np.array([waveform.time_s, *(waveform[name] for name in names)], dtype="<f8")
        return self._kept.put(key, samples.tobytes(), label=label, names=names, points=samples.shape[1])

    @property
    def _kept(self) -> Kept:
        return Kept(self.path, ".wave")

    def entries(self) -> Iterator[Entry]:
        """Every stored result, newest first."""
        files = []
        for path in self._kept.paths():
            try:
                files.append((path.stat(), path))
            except FileNotFoundError:
                continue
        for stat, path in sorted(files, key=lambda item: -item[0].st_mtime):
            about = self._kept.about(path)
            label, points = about.get("label"), about.get("points")
            if not isinstance(label, str) or not isinstance(points, int):
                label, points = "damaged", 0
            shown = "".join(c if c.isprintable() else "?" for c in label)
            yield Entry(path.stem, shown, points, stat.st_size, stat.st_mtime, path)

    def prune(self, older_than_s: float = 0.0, keep_bytes: int = 0) -> list[Entry]:
        """Remove what is older than `older_than_s`, oldest first, until at most `keep_bytes` remain; return it."""
        entries = list(self.entries())
        total = sum(entry.size_bytes for entry in entries)
        removed = []
        for entry in reversed(entries):
            if total <= keep_bytes or time.time() - entry.written_at < older_than_s:
                break
            entry.path.unlink(missing_ok=True)
            total -= entry.size_bytes
            removed.append(entry)
        for part in self.path.rglob(".*.part"):  # of commands that were killed
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > 3600:
                    part.unlink()
        return removed
