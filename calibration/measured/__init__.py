"""Records that were measured elsewhere: one module, and one line in `READERS`, for each kind of file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.calibration.measured.plain import Array, Column

Reader = Callable[[Path, "Sequence[Column]"], "tuple[list[Array], tuple[str, ...]]"]
"""From a file and the columns that its owner declares: those columns in SI units, (n,) each, and what was recognised
about the file that is worth saying. Raises `InputError` for what it cannot read."""


def _accept(found: Any) -> Reader:
    if not callable(found):
        raise InputError(f"a reader is a function of a path and columns, not a {type(found).__name__}")
    reader: Reader = found
    return reader


READERS: Registry[Reader] = Registry(
    "reader", {"table": "bruno_spice.calibration.measured.plain:read_declared"}, _accept, "function"
)
