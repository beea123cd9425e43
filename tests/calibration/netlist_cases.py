"""Netlists of other hands, beside the project's own, and ngspice's word on them, had by hand."""

import re
import shutil
import subprocess
from pathlib import Path

from bruno_spice.calibration.circuits.experiments import NETLISTS

CASES = Path(__file__).parents[1] / "cases" / "netlists"
NGSPICE = shutil.which("ngspice")


def workshop(folder: Path) -> Path:
    """The project's netlists below `folder`, with the cases among the testbenches; returns that folder of decks."""
    for name in ("circuits", "models", "testbenches"):
        shutil.copytree(NETLISTS / name, folder / name)
    shutil.copytree(CASES, folder / "testbenches", dirs_exist_ok=True)
    (folder / "own").mkdir()
    for name in ("body.lib", "macro.lib"):
        shutil.move(folder / "testbenches" / name, folder / "own" / name)
    return folder / "testbenches"


def by_hand(deck: Path, names: list[str]) -> dict[str, float]:
    """What ``ngspice -b`` says of the deck's parameters `names`; the file's bytes stay but for the asking."""
    asking = [f".csparam asked{i}={{{name}}}" for i, name in enumerate(names)]
    asking += [".control", "set numdgt=16", *(f"print asked{i}" for i in range(len(names))), "quit", ".endc"]
    lines = deck.read_bytes().split(b"\n")
    at = next(
        (i for i, line in enumerate(lines) if line.lower().startswith((b".control", b".end\r", b".end"))), len(lines)
    )
    changed = deck.with_name(f"asked_{deck.name}")
    changed.write_bytes(b"\n".join([*lines[:at], *(line.encode() for line in asking), *lines[at:]]))
    assert NGSPICE, "the ngspice program belongs to the set-up"
    done = subprocess.run([NGSPICE, "-b", changed.name], cwd=deck.parent, capture_output=True, text=True, timeout=60)
    found = {int(i): float(value) for i, value in re.findall(r"asked(\d+) = (\S+)", done.stdout)}
    return {name: found[i] for i, name in enumerate(names)}
