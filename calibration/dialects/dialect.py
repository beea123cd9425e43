"""What a language is to `bruno netlist import`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.dialects.files import Files
from bruno_spice.calibration.dialects.written import Written


@dataclass(frozen=True)
class Dialect:
    """A language: how it is called, how a file of it is recognised, and what translates one."""

    title: str
    recognises: Callable[[Sequence[str]], bool]
    """From the first lines of a file."""
    translate: Callable[[Path, Files], Written]
    """The file at a path, and what its includes may read."""
