"""Fits by content: a fit of the same recordings with the same code is not done twice.

The key is the SHA-256 of everything that goes in, the code of this package and of `devices` and the versions of the
numerical libraries among it, so that an edited equation is fitted anew. Entries lie beside the simulation results, in
the same form (`devices.kept`): a damaged one is fitted again, and a folder that cannot be written loses none.
"""

import hashlib
import inspect
import json
import sys
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bruno_spice.devices.files import ROOT
from bruno_spice.devices.kept import Kept, default_folder
from bruno_spice.devices.sources import sources_sha256

CODE = (ROOT / "calibration", ROOT / "devices")
LIBRARIES = ("numpy", "scipy", "lmfit", "numba")


def fits() -> Kept:
    """Where every command keeps what it computed."""
    return Kept(default_folder() / "fits", ".fit")


def remembered(inputs: Iterable[Any], compute: Callable[[], dict[str, Any]], label: str = "fit") -> dict[str, Any]:
    """The result of `compute`, as JSON gives it back, from disk where it was computed before with the same code.

    `inputs` are arrays, or things whose repr says all. `compute` is told apart by them alone; `label` is for listings.
    """
    kept = fits()
    key = _key(inputs)
    found = kept.get(key)
    if found is None:
        content = json.dumps(compute()).encode()
        kept.put(key, content, label=label)
    else:
        content = found[1]
    return dict(json.loads(content))


def _key(inputs: Iterable[Any]) -> str:
    digest = hashlib.sha256(code_identity().encode())
    for item in inputs:
        array = isinstance(item, np.ndarray)
        with np.printoptions(precision=17, threshold=sys.maxsize):
            content = np.ascontiguousarray(item).tobytes() if array else repr(item).encode()
        digest.update(f"{(item.dtype.str, item.shape) if array else 'repr'} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def code_of(model: type) -> str:
    """The text of the file that says what `model` is: of a user's own it is no part of the code of the packages.

    Of one without a file, a word that is never the same: nothing is remembered of it.
    """
    try:
        return Path(inspect.getfile(model)).read_text()
    except (OSError, TypeError):
        return uuid.uuid4().hex


@cache
def code_identity() -> str:
    """What every fit runs through: the code of both packages and the libraries under it."""
    return " ".join([sources_sha256(*CODE), *(f"{name} {version(name)}" for name in LIBRARIES)])
