"""Experiments on the netlists: a stimulus in, a waveform or a conductance out, one at a time or many at once.

Neuron: the deck's source ``Istim`` takes the stimulus as a piecewise linear waveform; ``v(vm)``, ``v(pn)``,
``v(spk)``, ``v(vdd)`` come back. Spikes are read off ``v(spk)`` (`calibration.circuits.spike_output`).
RRAM: the deck ``rram.cir`` sets the cell with a current limit, reads it, resets it by a voltage, reads it. When it
reads is found in a run of the deck itself (`calibration.circuits.rram_reads`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice import spice_netlists
from bruno_spice.calibration.circuits.around import refuse_unscaled, rram_deck
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.recording import refuse_double_spikes, refuse_early_spikes
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS, RRAMTiming, find_timing, read_cell
from bruno_spice.calibration.circuits.spike_output import rests_high, spike_times
from bruno_spice.calibration.errors import CalibrationError, DoubtfulSpikesError, NetlistError, SimulationError
from bruno_spice.calibration.spice.farm import Farm, Job, Outcome, run_jobs, try_jobs, with_deck
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import parse_spice_number
from bruno_spice.devices.waveform import Waveform

NETLISTS = Path(spice_netlists.__file__).parent
NEURON_NETLIST = NETLISTS / "testbenches" / "neuron.cir"
RRAM_NETLIST = NETLISTS / "testbenches" / "rram.cir"

NEURON_VECTORS = ("v(vm)", "v(pn)", "v(spk)", "v(vdd)")
RISE_S = 1e-6
RELTOL = 1e-5
"""At ngspice's own 1e-3 and at 1e-4 a trial step can set a neuron's latch before the membrane is at the threshold."""

RTH_VARIANTS = {"var": 1.0, "det": 0.0}


@dataclass(frozen=True)
class NeuronRun:
    """One neuron simulation: `stimulus` for `t_stop_s`, with the deck's parameters in `overrides` replaced."""

    stimulus: Stimulus
    t_stop_s: float
    overrides: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RRAMRun:
    """One RRAM simulation: SET at `i_prog_a` in a filament of `length_m` and `radius_m`, then RESET at `v_reset_v`.

    Without `v_reset_v` the conductance after SET counts. `variant` "var" scales the thermal resistance with
    1/radius^2, "det" does not. What is None is as the deck has it.
    """

    i_prog_a: float
    length_m: float | None = None
    radius_m: float | None = None
    variant: str | None = None
    v_reset_v: float | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)


def simulate_neuron(
    stimulus: Stimulus,
    t_stop_s: float,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Waveform:
    """SPICE's answer to `stimulus`: ``i_syn_a`` (A), ``v_mem_v`` (V), ``polarization`` (-1...1) and the spike times.

    Raises `NetlistError` for a deck with the wrong pins, nodes or parameters, `SimulationError` where ngspice failed.
    """
    return simulate_neurons([NeuronRun(stimulus, t_stop_s, overrides or {})], netlist, farm, notice)[0]


def simulate_neurons(
    runs: Sequence[NeuronRun],
    netlist: Path | str = NEURON_NETLIST,
    farm: Farm | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Waveform]:
    """`simulate_neuron` for many runs, in parallel.

    A run whose spikes are doubtful is simulated once more with tighter options. `notice` is told of it, of a tolerance
    that is tightened, and where the spikes are falls of the output.
    """
    if (reltol := loose_reltol(neuron_deck(netlist))) is not None:
        notice(f"{netlist}: simulated with reltol={RELTOL:g}, since spikes come early at the deck's {reltol:g}")
    jobs, farm = neuron_jobs(runs, netlist), farm or Farm()
    raw = run_jobs(jobs, farm)
    if any(rests_high(wave) for wave in raw):
        notice(f"{netlist}: spk rests high, so a spike is its fall through half the supply")
    waveforms = []
    for outcome in neuron_waveforms(raw, runs, jobs, farm, notice):
        if isinstance(outcome, CalibrationError):
            raise outcome
        waveforms.append(outcome)
    return waveforms


def neuron_waveforms(
    raw: Sequence[Outcome], runs: Sequence[NeuronRun], jobs: Sequence[Job], farm: Farm, notice: Callable[[str], None]
) -> list[Outcome]:
    """What the `jobs` of `runs` brought from `farm`, judged, or each one's error.

    Those whose spikes are doubtful are simulated once more with tighter options, of which `notice` is told.
    """
    found = [_judged(outcome, run, job) for outcome, run, job in zip(raw, runs, jobs, strict=True)]
    doubtful = [k for k, outcome in enumerate(found) if isinstance(outcome, DoubtfulSpikesError)]
    if doubtful:
        again = [jobs[k].tightened() for k in doubtful]
        for k, outcome, job in zip(doubtful, try_jobs(again, farm), again, strict=True):
            found[k] = _judged(outcome, runs[k], job, farm)
        options = ", ".join(f"{name}={value}" for name, value in again[0].retry_options.items())
        labels = ", ".join(job.label for job in again)
        notice(f"{len(again)} of {len(jobs)} simulations had spikes early or twice; again with {options}: {labels}")
    return found


def _judged(outcome: Outcome, run: NeuronRun, job: Job, farm: Farm | None = None) -> Outcome:
    if isinstance(outcome, CalibrationError):
        return outcome
    try:
        return neuron_waveform(outcome, run.stimulus, job, farm)
    except SimulationError as error:
        return error


def neuron_jobs(
    runs: Sequence[NeuronRun], netlist: Path | str = NEURON_NETLIST, vectors: Sequence[str] = NEURON_VECTORS
) -> list[Job]:
    """The jobs of `runs`, which bring back `vectors`, at a `RELTOL` at which no spike comes early."""
    deck = tightened(neuron_deck(netlist))
    return [neuron_job(deck, run, vectors) for run in runs]


def neuron_job(deck: Netlist, run: NeuronRun, vectors: Sequence[str] = NEURON_VECTORS) -> Job:
    """The job of `run` on a neuron's `deck`."""
    driven = deck.with_params(run.overrides).with_source("Istim", *pwl(run.stimulus, run.t_stop_s))
    return transient_job(driven, vectors, run.t_stop_s, f"{deck.path.name} ({run.stimulus.name})")


def loose_reltol(deck: Netlist) -> float | None:
    """The deck's reltol where it is looser than `RELTOL`, else None."""
    reltol = parse_spice_number(deck.option("reltol") or "1e-3")
    return reltol if reltol > RELTOL else None


def tightened(deck: Netlist) -> Netlist:
    """`deck`, at `RELTOL` where its own is looser."""
    return deck if loose_reltol(deck) is None else deck.with_options(reltol=RELTOL)


def neuron_waveform(raw: Waveform, stimulus: Stimulus, job: Job, farm: Farm | None = None) -> Waveform:
    """The three neuron signals and the spikes in what a neuron `job` brought back, from `farm` where it is given.

    Raises `SimulationError` for a spike before the membrane has reached the threshold, or twice; `farm` keeps its deck.
    """
    with kept_where_refused(job, farm):
        return _neuron_waveform(raw, stimulus, job)


@contextmanager
def kept_where_refused(job: Job, farm: Farm | None) -> Iterator[None]:
    """Within the block what `job` brought is judged; `farm` keeps the deck of what is refused, as of a failed run."""
    try:
        yield
    except SimulationError as error:
        raise (with_deck(error, job, farm) if farm else error) from None


def _neuron_waveform(raw: Waveform, stimulus: Stimulus, job: Job) -> Waveform:
    refuse_unscaled(raw, job)
    time, current = pwl(stimulus, float(raw.time_s[-1]))
    signals = {
        "i_syn_a": np.interp(raw.time_s, time, current),
        "v_mem_v": raw["v(vm)"],
        "polarization": raw["v(pn)"],
    }
    wave = Waveform(raw.time_s, signals, spike_times(raw))
    deck = Netlist(Path(job.label), job.lines)
    refuse_early_spikes(wave, deck.value("vth"), job.label)
    refuse_double_spikes(wave, deck.value("tref"), job.label)
    return wave


def job_parameter(job: Job, name: str) -> float | None:
    """The number that the job's deck gives its ``.param`` `name`; None where it gives none."""
    return Netlist(Path(job.label), job.lines).value(name)


def pwl(stimulus: Stimulus, t_stop_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (n,) in s and A of the source: `stimulus` up to `t_stop_s`, but from 0 A at 0 s.

    A current that is already there at 0 s ramps up within 1 us, for otherwise ngspice's operating point would
    charge the membrane before time begins.
    """
    time, current = stimulus.time_s, stimulus.i_syn_a
    if stimulus.at(0.0) != 0.0:
        later = time > RISE_S
        time = np.concatenate([[0.0, RISE_S], time[later]])
        current = np.concatenate([[0.0, float(stimulus.at(RISE_S))], current[later]])
    elif time[0] > 0.0:
        time, current = np.concatenate([[0.0], time]), np.concatenate([[0.0], current])
    needed = int(np.searchsorted(time, t_stop_s)) + 1
    return time[:needed], current[:needed]


def program_rrams(
    runs: Sequence[RRAMRun], netlist: Path | str = RRAM_NETLIST, farm: Farm | None = None
) -> NDArray[np.float64]:
    """Conductances (n,) in S of `runs` (n,), in parallel; raises what `read_rrams` does."""
    return read_rrams(runs, netlist, farm)[:, 0]


def read_rrams(
    runs: Sequence[RRAMRun], netlist: Path | str = RRAM_NETLIST, farm: Farm | None = None
) -> NDArray[np.float64]:
    """Conductance in S and the cell's voltage in V at the last read of each of `runs` (n,), (n, 2).

    Raises `NetlistError` for a deck that lacks a parameter or a read, `SimulationError` where ngspice failed or a cell
    is not at its read voltage.
    """
    timing, raw = _timed(runs, netlist, farm)
    reads = [timing.read(run.v_reset_v is not None) for run in runs]
    return np.array(
        [read_cell(w, read, timing.read_voltage_v, timing.where) for w, read in zip(raw, reads, strict=True)]
    )


def _timed(runs: Sequence[RRAMRun], netlist: Path | str, farm: Farm | None) -> tuple[RRAMTiming, list[Waveform]]:
    """When the deck of `runs` reads, and what they brought up to there.

    What they override seldom moves the reads, so they run beside the deck that tells, up to the reads of the deck as it
    lies there, and again only where those are others.
    """
    deck = rram_deck(netlist)
    own = deck.with_params(shared_overrides(runs))
    if own.text == deck.text:
        timing = rram_timing(deck, farm)
        return timing, run_jobs(rram_jobs(runs, timing, netlist), farm)
    try:
        ends = rram_jobs(runs, rram_timing(deck, farm), netlist)
    except CalibrationError:
        ends = []
    told, *raw = run_jobs([_whole(own), *ends], farm)
    timing = _timing_in(told, own)
    jobs = rram_jobs(runs, timing, netlist)
    return timing, raw if jobs == ends else run_jobs(jobs, farm)


def shared_overrides(runs: Sequence[RRAMRun]) -> dict[str, float]:
    """What all of `runs` override alike: the deck whose reads they share."""
    first, *others = (run.overrides for run in runs)
    return {name: v for name, v in first.items() if all(other.get(name) == v for other in others)}


def rram_timing(deck: Netlist, farm: Farm | None = None) -> RRAMTiming:
    """When `deck` sets, resets and reads its cell, in a run of the whole deck with its own parameters."""
    return _timing_in(run_jobs([_whole(deck)], farm)[0], deck)


def _whole(deck: Netlist) -> Job:
    deck.element("Vcell")
    return transient_job(deck, RRAM_VECTORS, deck.t_stop_s(), f"{deck.path.name} (as it is)")


def _timing_in(raw: Waveform, deck: Netlist) -> RRAMTiming:
    return find_timing(raw, deck.value("vread"), str(deck.path))  # all of `params` would ask ngspice for each


def rram_jobs(runs: Sequence[RRAMRun], timing: RRAMTiming, netlist: Path | str = RRAM_NETLIST) -> list[Job]:
    """The jobs of `runs`, each up to the end of its last read."""
    deck = rram_deck(netlist)
    return [
        transient_job(
            deck.with_params(rram_overrides(run, deck)),
            RRAM_VECTORS,
            timing.read(run.v_reset_v is not None).end_s,
            f"{deck.path.name} ({run.i_prog_a * 1e6:.4g} uA)",
        )
        for run in runs
    ]


def rram_overrides(run: RRAMRun, deck: Netlist) -> dict[str, float]:
    """The parameters of `deck` that stand for `run`.

    Raises `NetlistError` for an unknown variant, or a parameter that `run` gives twice.
    """
    if run.variant is not None and run.variant not in RTH_VARIANTS:
        raise NetlistError(f"unknown thermal-resistance variant '{run.variant}'; choose var or det")
    given = {
        "iprog": run.i_prog_a,
        "ldisc": _in_deck_unit(deck, "ldisc", run.length_m),
        "rdisc": _in_deck_unit(deck, "rdisc", run.radius_m),
        "rth_variant": None if run.variant is None else RTH_VARIANTS[run.variant],
        "vreset": run.v_reset_v,
    }
    values = {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name in run.overrides:
            raise NetlistError(f"{deck.path}: .param {name} is given twice: the run sets it to {values[name]:g} itself")
    return {**values, **run.overrides}


def rram_geometry(deck: Netlist) -> tuple[float, float]:
    """Filament length and radius in m that `deck` itself has. Raises `NetlistError` where it gives no number."""
    found = []
    for name in ("ldisc", "rdisc"):
        value = deck.params[name].value if name in deck.params else None
        if value is None or not value > 0:
            raise NetlistError(f"{deck.path}: gives no positive number for .param {name}, the filament's geometry")
        found.append(value if deck.params[name].unit == "m" else value / 1e9)
    return found[0], found[1]


def _in_deck_unit(deck: Netlist, name: str, length_m: float | None) -> float | None:
    """A length in nm, or in m where the comment of the deck's parameter says so."""
    if length_m is None or (name in deck.params and deck.params[name].unit == "m"):
        return length_m
    if name in deck.params and deck.params[name].unit not in ("", "nm"):
        raise NetlistError(
            f"{deck.params[name].where}: .param {name} counts in {deck.params[name].unit}, not in nm or m"
        )
    return length_m * 1e9


def rram_conductance(raw: Waveform, run: RRAMRun, timing: RRAMTiming) -> float:
    """Conductance in S at the last read of an RRAM job."""
    return read_cell(raw, timing.read(run.v_reset_v is not None), timing.read_voltage_v, timing.where)[0]
