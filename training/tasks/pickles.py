"""Reading foreign pickles without running what is in them, and without falling over it.

Another process (`training.tasks.pickle_child`) reads the pickle within limits of memory and time and hands back JSON,
which is data and nothing else.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import parse_json, printable, read_bytes

CHILD = Path(__file__).with_name("pickle_child.py")
MOST_BYTES = 500_000_000
TIMEOUT_S = 25.0


def read_pickle(path: Path) -> Any:
    """What is in the pickle at `path`, if it is plain data; arrays come as lists. Raises `InputError` otherwise."""
    content = read_bytes(path, MOST_BYTES)
    command = [sys.executable, "-I", str(CHILD)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: refused as a pickle of plain data (not read within {TIMEOUT_S:g} s)") from None
    if done.returncode != 0:
        raise InputError(f"{path}: refused as a pickle of plain data ({_reason(done)})")
    return parse_json(done.stdout.decode(errors="replace"), f"{path}: refused as a pickle of plain data")


def _reason(done: "subprocess.CompletedProcess[bytes]") -> str:
    if done.returncode < 0:
        return f"it crashed its reader with {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return printable(lines[-1]) if lines else f"its reader ended with {done.returncode}"
