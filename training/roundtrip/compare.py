"""How far apart torch, the card's equations and SPICE are under one and the same current, and whose doing it is.

    torch      the training kernel: a count of spikes each millisecond, V at its end
    model      the card's equations in continuous time (`devices.ferroelectric.scalar.transient.simulate`): the
    kernel's error is torch - model SPICE      the circuit: the card's error is model - SPICE

A spike of torch has the time of the model's spike in the same millisecond, or so near to it (`EDGE_S`) that the
kernel's rounding put it on the other side of the edge. One that the model does not have there (the kernel's error) is
found in SPICE only if SPICE has it in that very millisecond. So a found spike is within 1 ms of torch's either way.

Where one train has a spike and the other has none, the trains part: a spike starts the neuron anew, so what follows
differs too, until a common spike after which they are alike again. What counts is why they parted. At that time the
silent side lacked the charge

    x = [C (V_th - V) + A Ps (1 - p)] / [C (V_th - V_reset) + A Ps (1 - p_reset)]

to a spike of its own. Of torch only the ends of milliseconds are known; between them its current stands still, so that
it came nearest to the spike at one of the two around it. The card's known error in V and in p (rms of its validation
against SPICE) is worth the charge x_known in the same formula; a parting with x <= x_known is explained by it.
Model and SPICE part in the same way, whatever torch does, and their voltages are compared only where they have not.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.neuron.validation import GUARD_S, MATCH_WINDOW_S, between_spikes
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform, match_spikes
from bruno_spice.training.roundtrip.recorded import Shown

Array = NDArray[np.float64]
STEP_S = 1e-3
SAMPLE_S = 20e-6
EDGE_S = 20e-6
"""The kernel's error in the time of a spike: so near to the edge of a millisecond it may count one beyond it."""
APART = 0.03
"""A common spike starts both sides anew if then no larger share of a spike's charge lies between them."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One neuron on one piece, three ways."""

    piece: int
    stimulus: Stimulus
    torch: Shown
    model: Waveform
    spice: Waveform

    @property
    def t_stop_s(self) -> float:
        """Length of the piece in s."""
        return self.torch.counts.size * STEP_S


def per_step(spikes_s: Array, steps: int) -> Array:
    """How many of `spikes_s` fall into each of `steps` milliseconds, (steps,)."""
    return np.histogram(spikes_s, np.arange(steps + 1) * STEP_S)[0].astype(np.float64)


def torch_times(counts: Array, model_s: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Times of torch's spikes in s, and whether each is known: the model's in the same millisecond, else its middle.

    In order: each spike of the model, `model_s` (n,) rising, is one of torch's at most.
    """
    times: list[float] = []
    known: list[bool] = []
    past = 0
    for t in np.flatnonzero(counts):
        past = max(past, int(np.searchsorted(model_s, t * STEP_S - EDGE_S)))
        there = model_s[past : past + int(counts[t])]
        there = there[there < (t + 1) * STEP_S + EDGE_S]
        past += there.size
        unknown = int(counts[t]) - there.size
        times += [*there, *([(t + 0.5) * STEP_S] * unknown)]
        known += [True] * there.size + [False] * unknown
    return np.array(times), np.array(known, dtype=bool)


@dataclass(frozen=True)
class Matching:
    """Spikes of torch and of SPICE in s, which of them have a partner, and the pairs (torch, SPICE) in time order."""

    torch_s: Array
    spice_s: Array
    pairs: list[tuple[int, int]]

    def lonely(self) -> tuple[Array, Array]:
        """Times of the spikes without a partner: torch's, SPICE's."""
        mine, theirs = (set(side) for side in zip(*self.pairs, strict=True)) if self.pairs else (set(), set())
        return (
            np.array([s for i, s in enumerate(self.torch_s) if i not in mine]),
            np.array([s for j, s in enumerate(self.spice_s) if j not in theirs]),
        )


def match_trial(trial: Trial) -> Matching:
    """Pair torch's spikes with SPICE's as the module's text says."""
    torch_s, known = torch_times(trial.torch.counts, trial.model.spike_times_s)
    spice_s = trial.spice.spike_times_s
    first = np.flatnonzero(known)
    pairs = [(int(first[i]), j) for i, j in match_spikes(torch_s[known], spice_s, MATCH_WINDOW_S)]
    taken = {j for _, j in pairs}
    for i in np.flatnonzero(~known):
        same = np.flatnonzero(np.floor(spice_s / STEP_S) == np.floor(torch_s[i] / STEP_S))
        free = [int(j) for j in same if int(j) not in taken]
        if free:
            pairs.append((int(i), free[0]))
            taken.add(free[0])
    return Matching(torch_s, spice_s, sorted(pairs))


@dataclass(frozen=True)
class Parting:
    """Where the trains part: one side spikes at `time_s`, the other lacked `missing_charge` of a spike's charge."""

    piece: int
    time_s: float
    spiked: str
    """torch, spice or, where only the card's equations are held against SPICE, model."""
    cause: str
    """card, or kernel where the card's equations side with SPICE."""
    missing_charge: float

    @property
    def silent(self) -> str:
        """Who lacked the charge: spice; model, or torch where the kernel missed what the card's equations have."""
        return "spice" if self.spiked != "spice" else "model" if self.cause == "card" else "torch"


def fresh_starts(trial: Trial, matching: Matching, parameters: NeuronParameters) -> list[float]:
    """Times in s of the common spikes after which both sides have the same history.

    Those are told by the state at the end of the millisecond after which both are past their dead time: the charges
    missing in torch and in SPICE are alike.
    """
    found = []
    for i, j in matching.pairs:
        time_s = float(max(matching.torch_s[i], matching.spice_s[j]))
        step = int(np.ceil((time_s + parameters.t_refractory) / STEP_S))
        if step <= trial.torch.counts.size:
            at = trial.spice.resampled([step * STEP_S])
            mine = missing_charge(trial.torch.voltage_v[step - 1], trial.torch.polarization[step - 1], parameters)
            theirs = missing_charge(at["v_mem_v"][0], at["polarization"][0], parameters)
            if abs(mine - theirs) > APART:
                continue
        found.append(time_s)
    return found


def partings(trial: Trial, matching: Matching, parameters: NeuronParameters) -> list[Parting]:
    """The spikes at which the trains part; those that follow until both start anew do not count."""
    torch_s, spice_s = matching.lonely()
    found = []
    for time_s, spiked in _first_lonely(
        fresh_starts(trial, matching, parameters), {"torch": torch_s, "spice": spice_s}
    ):
        near = np.abs(trial.model.spike_times_s - time_s) <= MATCH_WINDOW_S
        cause = "card" if bool(near.any()) == (spiked == "torch") else "kernel"
        found.append(_with_charge(trial, Parting(trial.piece, time_s, spiked, cause, 0.0), parameters))
    return found


def card_partings(trial: Trial, parameters: NeuronParameters) -> tuple[list[float], list[Parting]]:
    """As `fresh_starts` and `partings`, of the card's equations and SPICE: where both have the same history again, and
    where they part."""
    model, spice = trial.model, trial.spice
    pairs = match_spikes(model.spike_times_s, spice.spike_times_s, MATCH_WINDOW_S)
    starts = []
    for i, j in pairs:
        time_s = float(max(model.spike_times_s[i], spice.spike_times_s[j]))
        after = [min(time_s + parameters.t_refractory + GUARD_S, trial.t_stop_s)]
        states = (wave.resampled(after) for wave in (model, spice))
        mine, theirs = (missing_charge(at["v_mem_v"][0], at["polarization"][0], parameters) for at in states)
        if abs(mine - theirs) <= APART:
            starts.append(time_s)
    lonely = Matching(model.spike_times_s, spice.spike_times_s, pairs).lonely()
    found = _first_lonely(starts, dict(zip(("model", "spice"), lonely, strict=True)))
    return starts, [_with_charge(trial, Parting(trial.piece, t, who, "card", 0.0), parameters) for t, who in found]


def _first_lonely(starts: list[float], lonely: dict[str, Array]) -> list[tuple[float, str]]:
    """The first spike without a partner after each of `starts` and from the beginning: its time, and whose it is."""
    events = [(t, "") for t in starts] + [(float(t), who) for who, times in lonely.items() for t in times]
    found, together = [], True
    for time_s, who in sorted(events):
        if who and together:
            found.append((time_s, who))
        together = not who
    return found


def _with_charge(trial: Trial, parting: Parting, parameters: NeuronParameters) -> Parting:
    missing = missing_charge(*_silent_state(trial, parting), parameters)
    return replace(parting, missing_charge=float(max(missing.min(), 0.0)))


def _silent_state(trial: Trial, parting: Parting) -> tuple[Array, Array]:
    """V and p of the silent side within 1 ms of the parting."""
    if parting.silent == "torch":
        step = int(parting.time_s / STEP_S)
        ends = slice(max(step - 1, 0), step + 1)
        return trial.torch.voltage_v[ends], trial.torch.polarization[ends]
    around = np.clip(parting.time_s + np.linspace(-1, 1, 401) * MATCH_WINDOW_S, 0.0, trial.t_stop_s)
    at = (trial.spice if parting.silent == "spice" else trial.model).resampled(around)
    return at["v_mem_v"], at["polarization"]


def missing_charge(v: Any, p: Any, parameters: NeuronParameters) -> Any:
    """Charge still missing to a spike, as a share of that from reset to spike; `v` in V, `p` in -1...1, any shape."""
    x = parameters
    film_c = x.area * x.saturation_polarization
    whole_c = x.c_total * (x.v_threshold - x.v_reset) + film_c * (1 - x.polarization_reset)
    return (x.c_total * (x.v_threshold - v) + film_c * (1 - p)) / whole_c


def together(time_s: Array, starts: list[float], found: list[Parting]) -> NDArray[np.bool_]:
    """Which of `time_s` see both sides with the same history: not from a parting to the next of `starts`."""
    keep = np.ones(time_s.size, dtype=bool)
    for parting in found:
        later = [start for start in starts if start > parting.time_s]
        keep &= (time_s < parting.time_s) | (time_s > min(later, default=np.inf))
    return keep


@dataclass(frozen=True)
class TrialScore:
    """One neuron on one piece, in figures; squares are summed so that pieces add up."""

    piece: int
    torch: int
    model: int
    spice: int
    matched: int
    """Torch and SPICE."""
    kernel_matched: int
    """Torch and model, in the same millisecond."""
    card_matched: int
    """Model and SPICE, within 1 ms."""
    partings: list[Parting]
    card_partings: list[Parting]
    """Of model and SPICE."""
    voltage_squares: float
    """Of model - SPICE where both have the same history, between spikes."""
    polarization_squares: float
    samples: int
    kernel_squares: float
    """Of torch - model at the ends of milliseconds, between spikes."""
    kernel_samples: int


def score_trial(trial: Trial, parameters: NeuronParameters) -> TrialScore:
    """Compare the three."""
    matching = match_trial(trial)
    found = partings(trial, matching, parameters)
    of_card = card_partings(trial, parameters)
    steps = trial.torch.counts.size
    model_s, spice_s = trial.model.spike_times_s, trial.spice.spike_times_s
    dead_s = parameters.t_refractory

    time_s = np.arange(0.0, trial.t_stop_s, SAMPLE_S)
    spikes = np.concatenate([model_s, spice_s])
    time_s = time_s[between_spikes(time_s, spikes, dead_s) & together(time_s, *of_card)]
    model, spice = trial.model.resampled(time_s), trial.spice.resampled(time_s)

    ends_s = np.arange(1, steps + 1, dtype=np.float64) * STEP_S
    same = np.cumsum(trial.torch.counts) == np.searchsorted(model_s, ends_s)
    same &= between_spikes(ends_s, model_s, dead_s)
    kernel = trial.torch.voltage_v[same] - trial.model.resampled(ends_s[same])["v_mem_v"]
    return TrialScore(
        piece=trial.piece,
        torch=int(trial.torch.counts.sum()),
        model=model_s.size,
        spice=spice_s.size,
        matched=len(matching.pairs),
        kernel_matched=int(np.minimum(trial.torch.counts, per_step(model_s, steps)).sum()),
        card_matched=len(match_spikes(model_s, spice_s, MATCH_WINDOW_S)),
        partings=found,
        card_partings=of_card[1],
        voltage_squares=float(np.sum((model["v_mem_v"] - spice["v_mem_v"]) ** 2)),
        polarization_squares=float(np.sum((model["polarization"] - spice["polarization"]) ** 2)),
        samples=time_s.size,
        kernel_squares=float(np.sum(kernel**2)),
        kernel_samples=int(same.sum()),
    )


def root_mean(squares: float, count: int) -> float | None:
    """Root of the mean of squares; None of none."""
    return float(np.sqrt(squares / count)) if count else None
