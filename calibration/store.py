"""Simulation results by content: the same deck, options, vectors and ngspice version are never run twice.

An entry is one file, named by the SHA-256 of everything the result depends on: a line of JSON (names,
points, checksum, label) and the samples as little-endian doubles. It is written beside its place and
renamed into it, and its checksum is verified on reading, so that several processes can share a store
and a damaged entry is simulated again instead of believed.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devices.files import write_atomic
from devices.waveform import Waveform

_REPOSITORY = Path(__file__).resolve().parent.parent


def default_store_path() -> Path:
    """``$BRUNO_CACHE``, or ``.cache/spice`` in the repository, or ``~/.cache/bruno-spice`` for an installed package."""
    if chosen := os.environ.get("BRUNO_CACHE"):
        return Path(chosen)
    if (_REPOSITORY / "pyproject.toml").exists():
        return _REPOSITORY / ".cache" / "spice"
    return Path.home() / ".cache" / "bruno-spice"


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
        return cls(default_store_path())

    def get(self, key: str) -> Waveform | None:
        """The waveform stored under `key`; None if there is none, or if it is damaged (it is then removed)."""
        path = self._file(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            head, _, payload = data.partition(b"\n")
            header = json.loads(head)
            if header["sha256"] != hashlib.sha256(payload).hexdigest():
                raise ValueError("checksum")
            samples = np.frombuffer(payload, dtype="<f8").reshape(len(header["names"]) + 1, -1)
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            return None
        return Waveform(samples[0].copy(), dict(zip(header["names"], samples[1:].copy(), strict=True)))

    def put(self, key: str, waveform: Waveform, label: str = "") -> bool:
        """Store `waveform`; False with a warning where the folder cannot be written (full disk, no permission)."""
        names = list(waveform.signals)
        samples = np.array([waveform.time_s, *(waveform[name] for name in names)], dtype="<f8")
        payload = samples.tobytes()
        header = {
            "label": label,
            "names": names,
            "points": samples.shape[1],
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        try:
            write_atomic(self._file(key), json.dumps(header).encode() + b"\n" + payload)
        except OSError as error:
            warnings.warn(
                f"simulation results are not kept: cannot write to {self.path} ({error.strerror})",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def entries(self) -> Iterator[Entry]:
        """Every stored result, newest first."""
        files = []
        for path in self.path.glob("??/*.wave"):
            try:
                files.append((path.stat(), path))
            except FileNotFoundError:
                continue
        for stat, path in sorted(files, key=lambda item: -item[0].st_mtime):
            try:
                with path.open("rb") as file:
                    header = json.loads(file.readline())
                yield Entry(path.stem, header["label"], header["points"], stat.st_size, stat.st_mtime, path)
            except (OSError, ValueError, KeyError):
                yield Entry(path.stem, "damaged", 0, stat.st_size, stat.st_mtime, path)

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
        for part in self.path.glob("??/.*.part"):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink(missing_ok=True)
        return removed

    def _file(self, key: str) -> Path:
        return self.path / key[:2] / f"{key}.wave"
