"""What a kind of file is for the fuzz, and how commands and readers are called and heard."""

import contextlib
import io
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.commands.shared import run
from bruno_spice.cli import app
from bruno_spice.devices.errors import BrunoError

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"


class Believed(Exception):
    """A number that was changed on disk came out as if nothing had been."""


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: object
    out: str
    err: str


@dataclass(frozen=True)
class Kind:
    """A kind of file: `weight` of all inputs are of it."""

    weight: float
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path, bytes, random.Random], Outcome]
    lines: tuple[bytes, ...] = ()


def bruno(*args: object) -> Outcome:
    """``bruno ARGS`` in this process."""

    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["bruno", *map(str, args)]
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(app)
        except SystemExit as leaving:
            code = leaving.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def called(function: Callable[[], object]) -> Outcome:
    """`function` as a command would call it: the project's own errors are sentences with an exit code."""
    try:
        function()
    except BrunoError as error:
        return Outcome(error.exit_code, "", str(error))
    return Outcome(0, "", "")


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name
