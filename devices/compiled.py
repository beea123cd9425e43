"""How kernels are compiled: numba, no Python inside, the interpreter lock released, compiled code kept on
disk.

numba keys its cache on a kernel's own file. Kernels here call one another across files, so the cache folder
is keyed on the sources of the whole package: no change to a callee can leave a stale caller behind.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config as _config

from devices.sources import sources_sha256

F = TypeVar("F", bound=Callable[..., Any])
settings: Any = _config
_HERE = Path(__file__).parent


def _cache_folder() -> str:
    root = Path(settings.CACHE_DIR) if settings.CACHE_DIR else Path.home() / ".cache" / "bruno-spice"
    return str(root / f"kernels-{sources_sha256(_HERE)[:16]}")


_FOLDER = _cache_folder()


def kernel(**options: Any) -> Callable[[F], Any]:
    """Decorator: compile with numba, cached; `options` go to `numba.njit`."""

    def decorate(function: F) -> Any:
        before = settings.CACHE_DIR
        settings.CACHE_DIR = _FOLDER
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        finally:
            settings.CACHE_DIR = before

    return decorate


FAST_MATH = {"nnan", "nsz", "arcp", "contract", "afn"}
"""Liberties that SIMD code takes: no reassociation, so that sums keep their order; infinities stay infinities."""


def inlined(function: F) -> Any:
    """Decorator: a small function that disappears into the loops of vectorised kernels."""
    return numba.njit(forceinline=True, error_model="numpy", fastmath=FAST_MATH)(function)
