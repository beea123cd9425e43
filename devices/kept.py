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
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import ROOT, write_atomic

MARK = b"bruno-spice kept 1 "


def default_folder() -> Path:
    """``$BRUNO_CACHE``, or ``.cache/spice`` in the repository, or ``~/.cache/bruno-spice`` for an installed package."""
    if chosen := os.environ.get("BRUNO_CACHE"):
        return Path(chosen)
    if (ROOT / "pyproject.toml").exists():
        return ROOT / ".cache" / "spice"
    return Path.home() / ".cache" / "bruno-spice"


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

    def paths(self) -> Iterator[Path]:
        """The files of all entries."""
        return self.folder.glob(f"??/*{self.suffix}")

    def about(self, path: Path) -> dict[str, Any]:
        """What the entry at `path` says of itself, unverified, for a listing; nothing where that cannot be read."""
        try:
            with path.open("rb") as file:
                file.readline(200)
                return _said(file.readline(10_000))
        except OSError:
            return {}

    def path(self, key: str) -> Path:
        """Where the entry under `key` lies."""
        return self.folder / key[:2] / f"{key}{self.suffix}"


def _said(head: bytes) -> dict[str, Any]:
    try:
        about = json.loads(head)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
