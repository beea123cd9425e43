"""Writing files so that a reader never meets half of one, and folders that one command writes at a time."""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import BusyError, InputError

ROOT = Path(__file__).resolve().parents[1]
"""The project: the folder of `devices`, and of `data` beside it; in a checkout, of all the rest."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""
LOCK = ".lock"
"""Name of the file in a folder that says who writes there; it is gone when the command has ended."""


def is_file(path: Path) -> bool:
    """Whether there is a file `path`, whose name may be any text: one too long for a file system names none.

    Raises `OSError` where the file system does not tell (no permission).
    """
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def refuse_folder(path: Path) -> None:
    """Raise `InputError` where a file is to be written and `path` is a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


@lru_cache(maxsize=1)
def _umask() -> int:
    """What this process takes off the rights of a new file; asked once, for it is asked by setting it."""
    with _asking:
        umask = os.umask(0)
        os.umask(umask)
    return umask


_asking = threading.Lock()


def write_atomic(path: Path | str, content: str | bytes) -> Path:
    """Write `content` beside `path` and rename it into place: the old file or the new one, never a part.

    Raises `InputError` where `path` is a folder, `OSError` as the file system gives it (full disk, no permission);
    the old file is then untouched.
    """
    path = Path(path)
    refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def cell(value: Any) -> Any:
    """`value` as a cell of a table that a spreadsheet may open: text that it would take for a formula gets a quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


@contextlib.contextmanager
def folder_lock(folder: Path | str) -> Iterator[None]:
    """Keep `folder`, which is made where it is missing, to this command; the lock of a killed command holds no one up.

    Raises `BusyError`, which names the other process, where another command writes there; `InputError` where `folder`
    is a file; `OSError` as the file system gives it (no permission, no locks).
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = _lock(folder)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # before it is released: whoever waits for it finds it gone
        os.close(handle)
        with contextlib.suppress(OSError):  # something was written there
            for each in made:
                each.rmdir()


def _lock(folder: Path) -> int:
    """The open, locked lock file of `folder`."""
    while True:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_at(folder / LOCK, handle):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}".encode())
                return handle
            os.close(handle)
        except BlockingIOError:
            other = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            who = "".join(c for c in other if c.isprintable()) or "another process"
            raise BusyError(
                f"{folder} is being written by {who}; wait until it has ended, or name another folder"
            ) from None
        except BaseException:
            os.close(handle)
            raise


def _is_still_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
