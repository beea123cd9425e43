"""Fits by content: a fit of the same recordings with the same code is not done twice.

The key is the SHA-256 of everything that goes in, the source of the modules that compute it among it, so that an
edited equation is fitted anew. Entries are small JSON files beside the simulation results.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np

from calibration.store import default_store_path
from devices.files import write_atomic


def remembered(
    inputs: Iterable[Any], modules: Iterable[ModuleType], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The JSON-ready result of `compute`, from disk where it was computed before.

    `inputs` are arrays or things whose repr says all; `modules` are those whose code the result depends on. A damaged
    entry is computed again.
    """
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(np.ascontiguousarray(item).tobytes() if isinstance(item, np.ndarray) else repr(item).encode())
    for module in modules:
        digest.update(inspect.getsource(module).encode())
    path = default_store_path() / "fits" / f"{digest.hexdigest()}.json"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        result = compute()
        write_atomic(path, json.dumps(result))
        return result
