"""The plan of docs/paper.md: experiments, each a command of `bruno`, and the published numbers to set beside them.

    experiments:
      NAME-{neuron}:                                    one experiment for every combination of `grid`
        command: train --task T --neuron {neuron} --seed {seed} --out {run} --json
        grid: {neuron: [felif, lif]}
        seeds: [0, 1, 2]
        alone: true                                     not beside others: it measures time or memory
        needs: OTHER                                    it reads the run folder of OTHER, an earlier entry
        quick: --epochs 1                               appended for the quick version, which leaves out what has none
    references: {...}                                   any tree of published numbers, with their sources

Placeholders of a command: {seed}; {run}, the run folder of this experiment and seed; {runs}, the folder of all of them.
What the environment says, such as $BRUNO_DATA, is put in when the command runs; a result names the variable.
"""

import itertools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading_yaml import load_yaml

PLAN = Path(__file__).with_name("paper.yaml")


class _Entry(BaseModel):
    """An experiment of the file, its grid not yet laid out."""

    model_config = ConfigDict(extra="forbid")
    command: str
    grid: dict[str, Annotated[list[str | int], Field(min_length=1)]] = Field(default_factory=dict)
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    alone: bool = False
    needs: str | None = None
    quick: str | None = None


class _File(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")
    experiments: dict[str, _Entry]
    references: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A command to run once a seed."""

    name: str
    command: str
    """Without ``bruno``; placeholders as the module's text says."""
    seeds: list[int]
    alone: bool = False
    needs: "Experiment | None" = None
    """Whose run folder of the same seed and the same code the command reads."""

    @property
    def shown(self) -> str:
        """The command as a result file names it."""
        return f"bruno {self.command}"

    def folder(self, seed: int, runs: Path) -> Path:
        """The run folder for `seed` below `runs`."""
        return runs / f"{self.name}-{seed}"

    def words(self, seed: int, runs: Path) -> list[str]:
        """The words of the command for `seed`, with run folders below `runs`."""
        places = {"seed": seed, "run": self.folder(seed, runs).as_posix(), "runs": runs.as_posix()}
        return [word.format_map(places) for word in shlex.split(self.command)]


@dataclass(frozen=True)
class PaperPlan:
    """Experiments by name in the order of the file, and the published numbers."""

    experiments: dict[str, Experiment]
    references: dict[str, Any]


def load_plan(path: Path | str = PLAN, quick: bool = False) -> PaperPlan:
    """Read the plan at `path`; `quick`: the quick versions with one seed, the other experiments without seeds.

    Raises `InputError` with the key at fault.
    """
    try:
        file = _File.model_validate(load_yaml(path, "no such plan"))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
    experiments: dict[str, Experiment] = {}
    for pattern, entry in file.experiments.items():
        for values in itertools.product(*entry.grid.values()):
            cell = dict(zip(entry.grid, map(str, values), strict=True))
            name, command = _filled(pattern, cell), _filled(entry.command, cell)
            seeds = entry.seeds
            if quick:
                command, seeds = f"{command} {entry.quick or ''}".strip(), seeds[: int(entry.quick is not None)]
            needs = _filled(entry.needs, cell) if entry.needs else None
            if needs and needs not in experiments:
                raise InputError(f"{path}: experiments.{pattern}.needs: no earlier experiment is called {needs}")
            experiments[name] = Experiment(name, command, seeds, entry.alone, experiments[needs] if needs else None)
    return PaperPlan(experiments, file.references)


def _filled(text: str, cell: dict[str, str]) -> str:
    for key, value in cell.items():
        text = text.replace(f"{{{key}}}", value)
    return text
