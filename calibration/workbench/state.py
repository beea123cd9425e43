"""What a page shows, as one value: undo, a shared link and a reload are each that value again. A `Memory` keeps it.

    link    ?view=measured&file=loop.csv&ps=0.21&free=ps,ea&region=0.0001:0.0004

A link holds what differs from the page's defaults, in the words of the command line; numbers are written in full, so
that the same floats come back.
"""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from bruno_spice.calibration.workbench.jobs import Job
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import shown
from bruno_spice.devices.units import SPICE_SUFFIX_EXPONENT, parse_spice_number

MOST_STEPS = 200
"""That can be undone."""
MOST_LINK = 8000
"""Characters of a link."""
FREE, REGION = "free", "region"


@dataclass(frozen=True)
class State:
    """`values` of parameters and `choices` by name, as far as they are not the page's defaults; SI units.

    `free` are the parameters of the next fit, `region` the part of the horizontal axis that it compares.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    region: tuple[float, float] | None = None

    def with_value(self, name: str, value: float) -> "State":
        """A copy with one parameter moved."""
        return replace(self, values={**self.values, name: value})

    def with_choice(self, name: str, value: str) -> "State":
        """A copy with something else chosen; the region is of what was chosen before, and goes."""
        return replace(self, choices={**self.choices, name: value}, region=None)

    def link(self) -> str:
        """The state as a query, without the question mark."""
        pairs = [*self.choices.items(), *((name, repr(float(value))) for name, value in self.values.items())]
        if self.free:
            pairs.append((FREE, ",".join(self.free)))
        if self.region is not None:
            pairs.append((REGION, ":".join(repr(float(each)) for each in self.region)))
        return urlencode(pairs, safe=",:/")

    @classmethod
    def of_link(cls, query: str, choices: Collection[str]) -> "State":
        """The state of `query`, in which the names in `choices` stand for choices and all others for numbers.

        Raises `InputError` for what is no number, no region, or longer than any link.
        """
        state = cls()
        for name, text in _pairs(query):
            if name == FREE:
                state = replace(state, free=tuple(word for word in text.split(",") if word))
            elif name == REGION:
                state = replace(state, region=region_of(text))
            elif name in choices:
                state = replace(state, choices={**state.choices, name: text})
            else:
                state = state.with_value(name, _number(name, text))
        return state


def choices_in(query: str, names: Collection[str]) -> State:
    """A state with what `query` says of the choices in `names`, and nothing else."""
    return State(choices={name: text for name, text in _pairs(query) if name in names})


def _pairs(query: str) -> list[tuple[str, str]]:
    if len(query) > MOST_LINK:
        raise InputError(f"the link is longer than {MOST_LINK} characters")
    return parse_qsl(query, keep_blank_values=True)  # an emptied field is not one as it started


def typed(text: str, unit: str) -> float:
    """The number in a field of a parameter in `unit`, which may stand behind it: ``2.5 MV/cm``, ``3nA``.

    A unit that is a suffix as well is one, as everywhere else: ``10m`` are ten milli.
    """
    number = text.replace("µ", "u").replace("μ", "u").strip()
    if unit != "1" and unit not in SPICE_SUFFIX_EXPONENT:
        number = number.removesuffix(unit).strip()
    return parse_spice_number(number)


def region_of(text: str) -> tuple[float, float]:
    """``FROM:TO``, which rise. Raises `InputError` for anything else."""
    first, colon, last = text.partition(":")
    if not colon:
        raise InputError(f"{shown(text)}: a region is FROM:TO, such as 0.2m:0.8m")
    low, high = parse_spice_number(first), parse_spice_number(last)
    if not low < high:
        raise InputError(f"{shown(text)}: a region ends behind its beginning")
    return low, high


def _number(name: str, text: str) -> float:
    try:
        return parse_spice_number(text)
    except InputError as error:
        raise InputError(f"{shown(name)} in the link: {error}") from None


@dataclass(frozen=True)
class History:
    """The state that is shown, `past` and undone ones, oldest and nearest first; `moving` while a slider is dragged."""

    now: State = field(default_factory=State)
    past: tuple[State, ...] = ()
    undone: tuple[State, ...] = ()
    moving: bool = False

    def to(self, state: State, settled: bool = True) -> "History":
        """`state` as the next step; what comes while it is not `settled` is one step together."""
        if state == self.now:
            return replace(self, moving=self.moving and not settled)
        past = self.past if self.moving else (*self.past, self.now)[-MOST_STEPS:]
        return History(state, past, (), not settled)

    def back(self) -> "History":
        """One step back, where there is one."""
        if not self.past:
            return replace(self, moving=False)
        return History(self.past[-1], self.past[:-1], (self.now, *self.undone))

    def forth(self) -> "History":
        """One undone step again, where there is one."""
        if not self.undone:
            return replace(self, moving=False)
        return History(self.undone[0], (*self.past, self.now), self.undone[1:])


@dataclass(frozen=True)
class Fitted:
    """What a fit found: `values` for the parameters, what to say of it, and what its command writes, in `folder`."""

    values: Mapping[str, float]
    said: tuple[str, ...]
    command: str
    folder: Path
    files: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    """What is chosen where the fit shows, beside what was."""


@dataclass(frozen=True)
class Saved:
    """What was written, the command that gives the same, or two in lines, and the one that goes on from there."""

    paths: tuple[Path, ...]
    command: str
    then: str = ""
    replaced: tuple[Path, ...] = ()
    """Of `paths`, those that held something else."""


@dataclass
class Memory:
    """What a window keeps over a reload, and the server as long as it runs: steps, the best so far, the last fit."""

    history: History = field(default_factory=History)
    best: tuple[float, State] | None = None
    fitting: State | None = None
    """What is being fitted."""
    job: Job | None = None
    """Its job, which a window that comes back hears again."""
    fitted: tuple[State, Fitted] | None = None
    saved: Saved | None = None
    said: tuple[str, ...] = ()
    folder: Path | None = None
    owner: object = None

    def fits(self) -> Path:
        """The folder of its fits; of those before the last one nothing is needed any more."""
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="bruno-workbench-"))
        for old in self.folder.iterdir():
            if self.fitted is None or old != self.fitted[1].folder:
                shutil.rmtree(old, ignore_errors=True)
        return self.folder

    def forget(self) -> None:
        """End its fit, remove what lies on the disk for it."""
        if self.job is not None:
            self.job.cancel()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
