"""What a page shows, as one value: undo, a shared link and a reload are each that value again.

    link    ?view=measured&file=loop.csv&ps=0.21&free=ps,ea&region=0.0001:0.0004

A link holds what differs from the page's defaults, in the words of the command line; numbers are written in full, so
that the same floats come back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import shown
from bruno_spice.devices.units import parse_spice_number

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
        return urlencode(pairs, safe=",:/#")

    @classmethod
    def of_link(cls, query: str, choices: Mapping[str, object]) -> "State":
        """The state of `query`, in which the names in `choices` stand for choices and all others for numbers.

        Raises `InputError` for what is no number, no region, or longer than any link.
        """
        if len(query) > MOST_LINK:
            raise InputError(f"the link is longer than {MOST_LINK} characters")
        state = cls()
        for name, text in parse_qsl(query):
            if name == FREE:
                state = replace(state, free=tuple(word for word in text.split(",") if word))
            elif name == REGION:
                state = replace(state, region=region_of(text))
            elif name in choices:
                state = replace(state, choices={**state.choices, name: text})
            else:
                state = state.with_value(name, _number(name, text))
        return state


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
