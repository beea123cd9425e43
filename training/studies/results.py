"""A result file of docs/paper.md: what a command printed for each seed, and what made it.

`commit` is the last commit that touched what numbers depend on (`CODE`), so that a commit of results, of tests or of
prose leaves them valid.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.reading import load_json
from bruno_spice.training.runs.folder import versions

CODE = ("calibration", "data", "devices", "spice_netlists", "training", "constraints.txt", "pyproject.toml")


@dataclass(frozen=True)
class Code:
    """The state of the code that runs: its commit, and whether files differ from it."""

    commit: str
    dirty: bool

    @classmethod
    def of(cls, root: Path) -> "Code":
        """The state of the checkout at `root`. Raises `InputError` where there is no git checkout."""
        commit = git(root, "log", "-1", "--format=%H", "--", *CODE)
        if not commit:
            raise InputError(f"{root}: not a git checkout, so that no result could name the commit that made it")
        return cls(commit, bool(git(root, "status", "--porcelain", "--", *CODE)))


def git(root: Path, *words: str) -> str:
    """What ``git WORDS`` prints at `root`, stripped; nothing where it fails or there is no git."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(frozen=True)
class Run:
    """One seed: the command as it ran, when (UTC), for how long, and the JSON that it printed."""

    seed: int
    command: str
    date: str
    wall_time_s: float
    result: dict[str, Any]


@dataclass
class Results:
    """The content of a result file; all `runs` were made by the same code on the same machine."""

    experiment: str
    command: str
    """With its placeholders."""
    commit: str
    dirty: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """Seeds done so far."""
        return [run.seed for run in self.runs]

    @property
    def wall_time_s(self) -> float:
        """Of all runs together."""
        return sum(run.wall_time_s for run in self.runs)

    def add(self, run: Run) -> None:
        """Put `run` in the place of its seed."""
        self.runs = sorted([each for each in self.runs if each.seed != run.seed] + [run], key=lambda each: each.seed)

    def save(self, folder: Path) -> Path:
        """Write the file into `folder`."""
        content = asdict(self)
        runs = content.pop("runs")
        content |= {"seeds": self.seeds, "wall_time_s": self.wall_time_s, "runs": runs}
        return write_atomic(folder / f"{self.experiment}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def load_results(folder: Path, name: str) -> Results | None:
    """The results of the experiment `name` in `folder`; None where there are none. Raises `InputError` if malformed."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    try:
        raw = load_json(path)
        runs = [Run(**run) for run in raw.pop("runs")]
        seeds, wall_time_s = raw.pop("seeds"), raw.pop("wall_time_s")
        results = Results(**raw, runs=runs)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not a result file ({error})") from None
    if seeds != results.seeds or wall_time_s != results.wall_time_s or results.experiment != name:
        raise InputError(f"{path}: its head does not fit its runs")
    return results


def machine() -> dict[str, Any]:
    """Processor, cores in reach and system of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor(), "cores": cores, "system": f"{platform.system()} {platform.machine()}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def new_results(name: str, command: str, code: Code) -> Results:
    """No runs yet, made by `code` on this machine."""
    return Results(name, command, code.commit, code.dirty, machine(), versions())
