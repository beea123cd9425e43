"""What ngspice reads: the numbers of a deck's parameters and expressions, asked of ngspice itself.

A small deck holds the deck's ``.param`` and ``.func`` cards and, for each expression, a voltage source of that value;
ngspice's answer is the voltage. Where a text is a plain number as ours and ngspice's reading agree, ours is taken, for
ngspice's last digit may differ; everything else is ngspice's.
"""

import atexit
import math
import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.ngspice import Job, Worker
from bruno_spice.calibration.spice.statements import Statement, deck_text
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import parse_spice_number

TIME_LIMIT_S = 10.0
AGREEMENT = 1e-12
"""Relative difference within which two readings are the same number."""
_one_at_a_time = threading.Lock()


def numbers(statements: Sequence[Statement], asked: Sequence[tuple[str, Line]]) -> list[float]:
    """The values of the texts in `asked`, each with the line it stands at, among the parameters of `statements`.

    Raises `NetlistError` with file and line where ngspice finds no number.
    """
    if not asked:
        return []
    definitions = [replace(s.line, text=s.code) for s in statements if not s.scope and s.card in (".param", ".func")]
    sources = [replace(line, text=f"V{i} n{i} 0 {_braced(text)}") for i, (text, line) in enumerate(asked)]
    lines = (Line("* what ngspice reads"), *definitions, *sources, Line(".tran 1 1"), Line(".end"))
    return [closer(text, value) for (text, _), value in zip(asked, _answers(lines, len(asked)), strict=True)]


def begin() -> None:
    """Start the process that answers `numbers` beside what its caller does next; what fails is said to who asks."""

    def start() -> None:
        with _one_at_a_time, suppress(SimulationError):
            _worker(os.getpid()).start()

    threading.Thread(target=start, daemon=True).start()


def plain_number(text: str) -> float | None:
    """The value of `text` where it is a plain number with or without a suffix; else None."""
    try:
        return parse_spice_number(text.strip("{}'\" "))
    except InputError:
        return None


def closer(text: str, value: float) -> float:
    """`value`, which ngspice gave for `text`, or the plain number that `text` is where the two agree."""
    ours = plain_number(text)
    return ours if ours is not None and math.isclose(ours, value, rel_tol=AGREEMENT) else value


def _braced(text: str) -> str:
    return text if text.startswith(("{", "'")) else f"{{{text}}}"


@lru_cache(maxsize=256)
def _answers(lines: tuple[Line, ...], count: int) -> tuple[float, ...]:
    vectors = tuple(f"v(n{i})" for i in range(count))
    where = next((line.path for line in reversed(lines) if line.path), "the netlist")
    job = Job(deck_text(lines), vectors, 1.0, str(where), lines)
    try:
        with _one_at_a_time:
            wave = _worker(os.getpid()).run(job)
    except NetlistError as error:
        raise NetlistError(re.sub(r"'V\d+ n\d+ 0 ", "'", str(error))) from None
    except SimulationError as error:
        raise NetlistError(f"{where}: ngspice cannot evaluate the .params ({error})") from None
    return tuple(float(wave[name][0]) for name in vectors)


@lru_cache(maxsize=1)
def _worker(_process: int) -> Worker:
    """A worker of this process; a fork starts one of its own."""
    worker = Worker(TIME_LIMIT_S)
    atexit.register(worker.close)
    return worker
