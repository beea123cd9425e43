"""How kernels are compiled: numba, no Python inside, the interpreter lock released, compiled code kept on
disk.

numba keys its cache on a kernel's own file. Kernels here call one another across files, so the cache folder
is keyed on the sources of the whole package: no change to a callee can leave a stale caller behind. numba's files have
no checksum and two processes can write under one name; here each has one, and a name of its own.
"""

import contextlib
import hashlib
import io
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.core import config as _config
from numba.core.caching import IndexDataCacheFile

from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.sources import sources_sha256

F = TypeVar("F", bound=Callable[..., Any])
settings: Any = _config
_HERE = Path(__file__).parent


def _cache_folder() -> str:
    root = Path(settings.CACHE_DIR) if settings.CACHE_DIR else Path.home() / ".cache" / "bruno-spice"
    return str(root / f"kernels-{sources_sha256(_HERE)[:16]}")


_FOLDER = _cache_folder()
_DIGEST_BYTES = hashlib.sha256().digest_size


class CheckedFiles(IndexDataCacheFile):
    """numba's files of one kernel, with the SHA-256 of their content at their end, where unpickling passes over it.

    A damaged one is compiled again, and so is one of a user's file that lay elsewhere; one that cannot be written is
    not kept.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep what was compiled for the argument types `key`, or warn."""
        try:
            super().save(key, data)
        except OSError as error:
            _warn(f"compiled kernels are used but not kept: cannot write to {_FOLDER} ({error.strerror})")

    def _load_index(self) -> Any:
        return super()._load_index() if self._whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name) if self._whole(self._data_path(name)) else None
        except ModuleNotFoundError:  # numba's files name the module of the laws, which goes by the path of its file
            return None

    def _data_name(self, number: int) -> str:
        return self._data_name_pattern.format(number=uuid.uuid4().int)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        buffer = io.BytesIO()
        yield buffer
        content = buffer.getvalue()
        write_atomic(filepath, content + hashlib.sha256(content).digest())

    def _whole(self, path: str) -> bool:
        try:
            data = Path(path).read_bytes()
        except OSError:
            return False
        if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() == data[-_DIGEST_BYTES:]:
            return True
        with contextlib.suppress(OSError):
            Path(path).unlink()
        _warn(f"what {_FOLDER} kept was damaged in part; that is not used but compiled again")
        return False


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def _writable() -> bool:
    """Whether numba can keep anything in the cache folder; it would take another, without the key, if it could not."""
    try:
        Path(_FOLDER).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=_FOLDER).close()
    except OSError as error:
        _warn(f"kernels are compiled anew in each command: cannot write to {_FOLDER} ({error.strerror}); "
              "let NUMBA_CACHE_DIR name a folder that can be written")  # fmt: skip
        return False
    return True


_KEPT = _writable()


def kernel(**options: Any) -> Callable[[F], Any]:
    """Decorator: compile with numba, cached; `options` go to `numba.njit`."""

    def decorate(function: F) -> Any:
        before = settings.CACHE_DIR
        settings.CACHE_DIR = _FOLDER
        try:
            dispatcher = numba.njit(cache=_KEPT, nogil=True, error_model="numpy", **options)(function)
        finally:
            settings.CACHE_DIR = before
        if _KEPT:
            dispatcher._cache._cache_file.__class__ = CheckedFiles
        return dispatcher

    return decorate


FAST_MATH = {"nnan", "nsz", "arcp", "contract", "afn"}
"""Liberties that SIMD code takes: no reassociation, so that sums keep their order; infinities stay infinities."""


def part(function: F, **options: Any) -> Any:
    """What only kernels call: `function` compiled, and kept, within each of them; `options` go to `numba.njit`.

    Python has no entry to it, which would take a quarter of the time to compile, and a constant among its arguments
    makes no version of its own (numba compiled one for each).
    """
    options |= {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher: Any = numba.njit(**options)(function)
    by_literals = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: by_literals(tuple(map(types.unliteral, args)), kws)
    return dispatcher


def inlined(function: F) -> Any:
    """Decorator: a small `part` that disappears into the loops of vectorised kernels."""
    return part(function, forceinline=True, fastmath=FAST_MATH)
