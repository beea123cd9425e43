"""What a page of the workbench declares: its parameters, its panels, and who answers, fits and saves.

A page holds no state of its own: everything is a function of a `State` and of the `Place` in which files lie. `model`
answers while a slider moves; `spice` and `fit` run in a process of their own and say how far they are.
"""

import math
import shlex
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.fitting.memo import remembered
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import Fitted as Fitted
from bruno_spice.calibration.workbench.state import Saved as Saved
from bruno_spice.calibration.workbench.state import State, choices_in
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.fecap.limits import refusal

Array = NDArray[np.float64]
Line = tuple[Array, Array]
"""Abscissae and ordinates (n,) in the units of a panel; a NaN breaks the line."""
Role = Literal["measured", "spice", "model", "left", "a", "b", "c", "d"]
"""Who says a line: the tester, the simulator, the compact model; `left` is model minus the first of the others. `a` to
`d` are several of a kind."""
Progress = Callable[[str], None]
"""Hears of a job in progress, a sentence each."""
SAID_EVERY_S = 0.1
BINS = 120
AROUND = 30.0
WIDE = 100.0
"""A parameter whose bounds are further apart than this factor goes along a logarithmic scale."""


@dataclass(frozen=True)
class Knob:
    """One parameter: where it starts and between which bounds a slider moves it, SI units; a field takes any value."""

    name: str
    unit: str
    meaning: str
    start: float
    low: float
    high: float
    group: str = ""
    free: bool = False
    """Whether a fit can move it."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """Between which values it can be at all."""
    whole: bool = False

    def refusal(self, value: float) -> str | None:
        """Why it cannot have `value`, in one sentence; None where it can."""
        if self.whole and value != round(value):
            return f"parameter '{self.name}' is a whole number, not {value:g}"
        return refusal(self.name, value, self.limits)

    @property
    def log(self) -> bool:
        """Whether its bounds span decades."""
        return self.low > 0 and self.high / self.low > WIDE

    def position(self, value: float) -> float:
        """Where on the slider, from 0 to 1, `value` is; values beyond the bounds are at its ends."""
        low, high, at = (math.log(max(each, 1e-300)) if self.log else each for each in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def view(self, state: State) -> dict[str, Any]:
        """For the window."""
        value = float(state.values.get(self.name, self.start))
        return {
            "name": self.name, "unit": "" if self.unit == "1" else self.unit, "meaning": self.meaning,
            "group": self.group, "value": f"{value:.5g}", "position": self.position(value), "free": self.free,
            "ticked": self.name in state.free, "moved": value != self.start,
            "low": f"{self.low:g}", "high": f"{self.high:g}", "log": self.log,
        }  # fmt: skip

    def at(self, position: float) -> float:
        """The value at `position` of the slider, to four digits, which a hand on a slider does not exceed."""
        low, high = (math.log(each) if self.log else each for each in (self.low, self.high))
        value = low + position * (high - low)
        value = math.exp(value) if self.log else value
        if not self.log and abs(value) < 1e-9 * (high - low):
            return 0.0
        value = min(max(value if self.log else round(value, 15), self.low), self.high)
        return float(round(value)) if self.whole else float(f"{value:.4g}")


@dataclass(frozen=True)
class Choice:
    """One thing to choose among `options` (value and text), or to write where there are none."""

    name: str
    label: str
    default: str
    options: tuple[tuple[str, str], ...] = ()
    hint: str = ""

    def view(self, state: State) -> dict[str, Any]:
        """For the window."""
        value = state.choices.get(self.name, self.default)
        return {
            "name": self.name,
            "label": self.label,
            "options": list(self.options),
            "hint": self.hint,
            "value": value,
        }


@dataclass(frozen=True)
class Panel:
    """A figure: title and axes, each with its unit; the one along whose axis a fit's region lies says its SI unit."""

    name: str
    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    x_scale: float = 1.0
    """SI units in a unit of the horizontal axis."""
    region: str = ""
    low: bool = False
    points: bool = False
    labels: tuple[tuple[Role, str], ...] = ()
    """What the legend calls a line here, where that is not who says it."""


@dataclass(frozen=True)
class Drawing:
    """Lines by panel and role, numbers (label and role to text), and how far model and target are from each other."""

    lines: Mapping[tuple[str, Role], Line] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[Role, str]] = field(default_factory=dict)
    rms: float | None = None
    """In shares of the target's span; `None` where there is nothing to compare with."""
    said: tuple[str, ...] = ()
    simulator: str = ""
    """The one that ``auto`` came to, which need not be looked for again."""


@dataclass(frozen=True)
class Table:
    """A table below the figures."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Page(ABC):
    """A page by its `name` in the address."""

    name: ClassVar[str]
    title: ClassVar[str]
    intro: ClassVar[str]
    takes_files: ClassVar[str] = ""
    """What a file is good for here, in a sentence; empty where none is."""
    preloaded: ClassVar[tuple[str, ...]] = ()
    """Modules that take long to import and that its jobs need, where the workbench is started on this page."""
    without: ClassVar[tuple[str, ...]] = ()
    """Buttons that say nothing here."""

    @abstractmethod
    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """What is to choose, given what is chosen."""

    @abstractmethod
    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """The parameters, given what is chosen."""

    @abstractmethod
    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """The figures, given what is chosen."""

    @abstractmethod
    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """The compact model's answer, and what was measured; `spice` is the simulator's last answer to this state."""

    def opens_with(self, place: Place) -> Sequence[str] | None:
        """What the model's first answer depends on, beside the program; `None` where it needs no kernels."""
        return None

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The simulator's answer; `None` where the page has nothing to simulate."""
        return None

    def spice_key(self, state: State) -> object:
        """What of `state` the simulator's answer depends on."""
        return (dict(state.values), dict(state.choices))

    def netlist(self, state: State, place: Place) -> str:
        """SHA-256 of what the simulator reads, with all that it includes: an edited one is simulated anew."""
        return ""

    def compared(self, state: State) -> object:
        """What of `state` the rms is taken to, beside what is chosen and the region: with another, best is anew."""
        return None

    def fit(self, state: State, place: Place, folder: Path, progress: Progress) -> Fitted:
        """`state`'s free parameters fitted; what the command would write lies in `folder`."""
        raise InputError(f"nothing is fitted on the page {self.title}")

    def save(self, state: State, place: Place, fitted: Fitted | None) -> Saved:
        """Write the tuned values; `fitted` is the fit that found them, where one did."""
        raise InputError(f"the page {self.title} has nothing to save")

    def tables(self, state: State, place: Place) -> Sequence[Table]:
        """What stands below the figures."""
        return ()

    def file_chosen(self, state: State, name: str) -> State:
        """`state` with the file `name` in use."""
        raise InputError(f"the page {self.title} takes no files")


def answer(page: Page, state: State, place: Place, spice: Drawing | None) -> Drawing:
    """What `page` says by its model; remembered as it opens, for kernels take longer to load than all that it shows."""
    inputs = page.opens_with(place) if state == State() and spice is None else None
    if inputs is None:
        return page.model(state, place, spice)

    def as_json() -> dict[str, Any]:
        found = page.model(state, place, None)
        lines = [(*where, x.tolist(), y.tolist()) for where, (x, y) in found.lines.items()]
        return {"lines": lines, "numbers": found.numbers, "rms": found.rms, "said": found.said}

    kept = remembered(["opening", page.name, *inputs], as_json, f"what the page {page.title} opens with")
    lines = {(panel, role): (np.array(x), np.array(y)) for panel, role, x, y in kept["lines"]}
    return Drawing(lines, kept["numbers"], kept["rms"], tuple(kept["said"]))


def spice_key(page: Page, state: State, place: Place) -> object:
    """What the simulator's answer depends on: what `page` says of `state`, the chosen files and the netlist as they
    are now."""
    netlist = ""
    with suppress(BrunoError, OSError):  # `knobs` says what is wrong with it
        netlist = page.netlist(state, place)
    return page.spice_key(state), place.versions(state.choices.values()), netlist


def of_page(page: Page, state: State, place: Place) -> State:
    """`state` without choices that what is chosen does not bring, and without values of parameters that are not there.

    What is not there could not be shown, moved back or opened again from a link.
    """
    while True:
        names = {choice.name for choice in page.choices(state, place)}
        choices = {name: value for name, value in state.choices.items() if name in names}
        if len(choices) == len(state.choices):
            break
        state = replace(state, choices=choices)
    there = {knob.name for knob in page.knobs(state, place)}
    values = {name: value for name, value in state.values.items() if name in there}
    return replace(state, values=values, free=tuple(name for name in state.free if name in there))


def linked(page: Page, place: Place, query: str) -> State:
    """The state of the link `query`. Raises `InputError` for what is none."""
    names = {"file", "record", "view"}
    while more := {choice.name for choice in page.choices(choices_in(query, names), place)} - names:
        names |= more  # what is chosen brings what else is to choose
    return State.of_link(query, names)


def load_kernels(page: Page, place: Place) -> None:
    """Have ready, beside what goes on, what a slider's first move needs."""

    def load() -> None:
        with suppress(BrunoError):  # the page will say it
            page.model(State(), place, None)

    threading.Thread(target=load, daemon=True).start()


def value_of(knobs: Sequence[Knob], state: State) -> dict[str, float]:
    """The value of every parameter."""
    return {knob.name: float(state.values.get(knob.name, knob.start)) for knob in knobs}


def chosen(choices: Sequence[Choice], state: State) -> dict[str, str]:
    """What is chosen, by name. Raises `InputError` for what is no option."""
    found = {}
    for choice in choices:
        value = state.choices.get(choice.name, choice.default)
        if choice.options and value not in [option for option, _ in choice.options]:
            listed = ", ".join(option for option, _ in choice.options)
            raise InputError(f"{choice.label}: there is no '{value[:60]}'; choose among {listed}")
        found[choice.name] = value
    return found


def counting(progress: Progress, what: str) -> Callable[[int, Array], None]:
    """What a fit tells people after its evaluations: how many, and which share of the start the best of them left."""
    first, best, said_s = 0.0, math.inf, -math.inf

    def report(count: int, residual: Array) -> None:
        nonlocal first, best, said_s
        deviation = float(np.sqrt(np.mean(residual**2)))
        first, best = first or deviation, min(best, deviation)
        if time.monotonic() - said_s > SAID_EVERY_S:
            said_s = time.monotonic()
            share = best / first if first else 1.0
            progress(f"{what}: {count} evaluations, {100 * share:.3g} % of the start's deviation left")

    return report


def counted(farm: Farm, progress: Progress) -> Farm:
    """`farm`, which tells how many of its simulations are done, where there are several."""

    def told(done: int, of: int) -> None:
        if of > 1:
            progress(f"{farm.simulator} runs: {done} of {of} done")

    progress(f"{farm.simulator} runs")
    return replace(farm, told=told)


def sets(values: Mapping[str, float]) -> list[str]:
    """`values` in the words of a command, bit for bit."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={float(value)!r}")]


def card_line(card: Path, values: Mapping[str, float], out: str) -> str:
    """The command that writes `card` with `values` into the file `out`."""
    pairs = [f"{name}={float(value)!r}" for name, value in values.items()]
    return shlex.join(["bruno", "card", "set", str(card), *pairs, "--out", out])


def outline(values: Array) -> Line:
    """How many of `values` (any shape) lie where, as the outline of bars."""
    counts, edges = np.histogram(values, BINS)
    return np.repeat(edges, 2)[1:-1], np.repeat(counts, 2).astype(float)


def around(value: float, positive: bool) -> tuple[float, float]:
    """Bounds of a slider about `value`, of a parameter that declares none."""
    if positive and value > 0:
        return value / AROUND, value * AROUND
    reach = 2 * abs(value) or 1.0
    return value - reach, value + reach


def checked(state: State, choices: Sequence[Choice], knobs: Sequence[Knob]) -> State:
    """`state`. Raises `InputError` for a parameter or a choice that the page does not have, or a value beyond all."""
    chosen(choices, state)
    names = {knob.name: knob for knob in knobs}
    for name in [*state.values, *state.free]:
        if name not in names:
            raise InputError(f"there is no parameter '{name[:60]}' on this page; it has {', '.join(names)}")
    for name, value in state.values.items():
        if (why := names[name].refusal(value)) is not None:
            raise InputError(why)
    for name in state.free:
        if not names[name].free:
            raise InputError(
                f"'{name}' cannot be fitted; choose among {', '.join(n for n, k in names.items() if k.free)}"
            )
    return state


def joined(lines: Sequence[Line]) -> Line:
    """Several lines as one, with gaps between them."""
    gap = np.array([np.nan])
    parts = [part for x, y in lines for part in ((x, y), (gap, gap))][:-1]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
