"""What is kept on disk between commands: one file an entry, believed only where every bit is as it was written.

An entry is named by a key, the SHA-256 of everything that its content depends on. Its first line holds a mark and the
SHA-256 of all that follows: a line of JSON, {"key": ..., and what the owner says of it}, and the content. So a flipped
bit anywhere, a cut file and an entry under another's name are all noticed. It is written beside its place and renamed
into it, so that several processes can share a folder.
"""

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import ROOT, write_atomic

MARK = b"bruno-spice kept 1 "
LEFT_S = 3600.0
"""A part of a file that nobody has written to for so long is left over."""


def default_folder() -> Path:
    """``$BRUNO_CACHE``, or ``.cache/spice`` in the repository, or ``~/.cache/bruno-spice`` for an installed package."""
    if chosen := os.environ.get("BRUNO_CACHE"):
        return Path(chosen)
    if (ROOT / "pyproject.toml").exists():
        return ROOT / ".cache" / "spice"
    return Path.home() / ".cache" / "bruno-spice"


@dataclass(frozen=True)
class Entry:
    """One thing that is kept, for a listing, with what its owner says `about` it, unverified."""

    key: str
    size_bytes: int
    written_at: float
    path: Path
    about: dict[str, Any]

    @property
    def label(self) -> str:
        """What its owner calls it, fit to be printed."""
        label = self.about.get("label", "without a name" if "key" in self.about else None)
        return "".join(c if c.isprintable() else "?" for c in label) if isinstance(label, str) else "damaged"


@dataclass(frozen=True)
class Kept:
    """Entries with the ending `suffix` under `folder`, by key."""

    folder: Path
    suffix: str

    def get(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """What was said of the content under `key`, and the content; None where there is none or it is damaged.

        A damaged entry is removed, with a warning.
        """
        path = self.path(key)
        try:
            data = path.read_bytes() if path.is_file() else None
        except OSError:
            data = None
        if data is None:
            return None
        first, _, rest = data.partition(b"\n")
        if first != MARK + hashlib.sha256(rest).hexdigest().encode():
            self.refuse(key)
            return None
        head, _, content = rest.partition(b"\n")
        about = _said(head)
        if about.get("key") != key:
            self.refuse(key)
            return None
        return about, content

    def refuse(self, key: str) -> None:
        """Remove the entry under `key`, which is not what it should be, and warn; the same words for every one."""
        with contextlib.suppress(OSError):
            self.path(key).unlink(missing_ok=True)
        warnings.warn(
            f"what {self.folder} kept was damaged in part; that is not used but computed again",
            RuntimeWarning,
            stacklevel=2,
        )

    def put(self, key: str, content: bytes, **about: Any) -> bool:
        """Keep `content` under `key`; False with a warning where that cannot be written (full disk, no permission)."""
        rest = json.dumps({"key": key, **about}).encode() + b"\n" + content
        try:
            write_atomic(self.path(key), MARK + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        except (OSError, InputError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            warnings.warn(
                f"results are used but not kept: cannot write to {self.folder} ({why})", RuntimeWarning, stacklevel=2
            )
            return False
        return True

    def entries(self) -> list[Entry]:
        """All that is here, newest first."""
        found = []
        for path in self.folder.glob(f"??/*{self.suffix}"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append(Entry(path.stem, stat.st_size, stat.st_mtime, path, _about(path)))
        return sorted(found, key=lambda entry: -entry.written_at)

    def path(self, key: str) -> Path:
        """Where the entry under `key` lies."""
        return self.folder / key[:2] / f"{key}{self.suffix}"


def prune(kept: Sequence[Kept], older_than_s: float = 0.0, keep_bytes: int = 0) -> list[Entry]:
    """Remove what is older than `older_than_s`, oldest first, until at most `keep_bytes` remain of all; return it."""
    entries = sorted((entry for each in kept for entry in each.entries()), key=lambda entry: entry.written_at)
    total = sum(entry.size_bytes for entry in entries)
    removed = []
    for entry in entries:
        if total <= keep_bytes or time.time() - entry.written_at < older_than_s:
            break
        entry.path.unlink(missing_ok=True)
        total -= entry.size_bytes
        removed.append(entry)
    for part in {part for each in kept for part in each.folder.rglob(".*.part")}:  # of commands that were killed
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > LEFT_S:
                part.unlink()
    return removed


def _about(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.readline(200)
            return _said(file.readline(10_000))
    except OSError:
        return {}


def _said(head: bytes) -> dict[str, Any]:
    try:
        about = json.loads(head)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
