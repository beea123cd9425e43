"""Where data files come from: the folder ``BRUNO_DATA``, the cache, then a download; each checked by SHA-256."""

import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError

CACHE_NAME = "bruno-spice"
DOWNLOAD_TIMEOUT_S = 20
MOST_UNPACKED_BYTES = 1_000_000_000


class DataNotFound(InputError):
    """A data file is neither at hand nor could it be downloaded."""


def cache_folder() -> Path:
    """The folder for downloads and parsed data: ``BRUNO_CACHE``, else the system's own place for caches."""
    import pooch

    return Path(os.environ.get("BRUNO_CACHE") or pooch.os_cache(CACHE_NAME))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the ``.npz`` file at `path`; no objects. Raises `InputError` where it is damaged or a zip bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(each.file_size for each in archive.infolist())
        if size > MOST_UNPACKED_BYTES:
            raise InputError(f"{path}: {size:,} bytes unpacked, more than any data set here")
        with np.load(path, allow_pickle=False) as table:
            return {name: table[name] for name in table.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError, OSError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def local_file(name: str, known_sha256: str) -> Path | None:
    """The file `name` in ``BRUNO_DATA`` or in the cache, else None.

    Raises `InputError` where the file in ``BRUNO_DATA`` is not the one that is meant.
    """
    if folder := os.environ.get("BRUNO_DATA"):
        path = Path(folder) / name
        if path.is_file():
            if (found := sha256(path)) != known_sha256:
                raise InputError(
                    f"{path}: not the file that is meant (SHA-256 {found[:8]}..., expected {known_sha256[:8]}...); "
                    f"replace it or unset BRUNO_DATA"
                )
            return path
    cached = cache_folder() / name
    return cached if cached.is_file() and sha256(cached) == known_sha256 else None


def fetch(name: str, url: str, known_sha256: str) -> Path:
    """The file `name` at hand, else downloaded from `url` into the cache.

    Raises `DataNotFound`, which says what to put where, if it cannot be had.
    """
    if (path := local_file(name, known_sha256)) is not None:
        return path
    import pooch

    downloader = pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUT_S)
    pooch.get_logger().setLevel("ERROR")
    try:
        found = pooch.retrieve(url, known_sha256, fname=name, path=cache_folder(), downloader=downloader)
    except (OSError, ValueError) as error:
        reason = "the download does not match its SHA-256" if isinstance(error, ValueError) else _reason(error)
        raise DataNotFound(
            f"{name} is not at hand and could not be downloaded from {url} ({reason}); "
            f"put it into {cache_folder()} or into a folder that the variable BRUNO_DATA names"
        ) from None
    return Path(found)


def _reason(error: OSError) -> str:
    import requests

    offline = isinstance(error, requests.ConnectionError | requests.Timeout)
    return "no connection" if offline else str(error)
