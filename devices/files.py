"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from pathlib import Path

from devices.errors import InputError


def refuse_folder(path: Path) -> None:
    """Raise `InputError` where a file is to be written and `path` is a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


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
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
