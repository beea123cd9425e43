"""Fits by content: a fit of the same recordings with the same code is not done twice.

The key is the SHA-256 of everything that goes in, the source files that compute it among it, so that an edited
equation is fitted anew. Entries are small JSON files beside the simulation results.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import devices
from calibration.store import default_store_path
from devices.files import write_atomic

_DEVICES = Path(devices.__file__).parent
FIT_SOURCES = (
    *sorted(_DEVICES.glob("felif*.py")),
    *(_DEVICES / name for name in ("stimulus.py", "waveform.py")),
    *(Path(__file__).with_name(name) for name in ("fit_felif.py", "fitting.py", "recording.py")),
)
"""The code that every fit of a neuron runs through."""


def remembered(inputs: Iterable[Any], sources: Iterable[Path], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON-ready result of `compute`, from disk where it was computed before.

    `inputs` are arrays or things whose repr says all; `sources` are the files whose code the result depends on. A
    damaged entry is computed again.
    """
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(np.ascontiguousarray(item).tobytes() if isinstance(item, np.ndarray) else repr(item).encode())
    for source in sources:
        digest.update(source.read_bytes())
    path = default_store_path() / "fits" / f"{digest.hexdigest()}.json"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        result = compute()
        write_atomic(path, json.dumps(result))
        return result
