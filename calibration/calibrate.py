"""Calibration from end to end: netlist -> ngspice -> fit -> card, for the neuron and for the RRAM cell.

The simulations go through the farm and its store, so that a second calibration re-simulates only what an edited
netlist changes; the fits take a second and are always done anew.
"""

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.experiments import (
    NEURON_NETLIST,
    RRAM_NETLIST,
    NeuronRun,
    RRAMRun,
    program_rrams,
    simulate_neurons,
)
from calibration.farm import Farm
from calibration.fit_felif import Recording, fit_neuron, measure_spikes
from calibration.fit_rram import (
    CROSS_GEOMETRIES_NM,
    FIT_CURRENTS_A,
    HELD_OUT_CURRENTS_A,
    PAPER_GEOMETRIES_NM,
    Sweep,
    rram_card,
)
from calibration.netlist import Netlist
from calibration.ngspice import ngspice_version
from calibration.validation import NeuronComparison, validate_neuron
from devices.card import Card, FeLIFCard, Parameter, Provenance, Range, RRAMCard
from devices.errors import CardError, InputError
from devices.felif import FeLIFParameters, simulate
from devices.rram import Levels, levels
from devices.stimulus import Stimulus
from devices.units import format_si

Array = NDArray[np.float64]

FIT_CURRENTS_NEURON_A = (60e-12, 160e-12, 308e-12, 1e-9, 3e-9, 10e-9, 30e-9)
HELD_OUT_CURRENTS_NEURON_A = (120e-12, 800e-12, 5e-9, 20e-9)
NETWORK_LIKE_RANGE_A = (-5e-9, 30e-9)
CHARGE_PER_RECORDING_C = 32e-12
DEAD_TIME_PER_RECORDING_S = 1e-3
"""A DC transient lasts until this much charge has flowed in, and this much longer: two to three spikes."""
LONGEST_TRANSIENT_S = 0.35
INHIBITION = Stimulus.steps(np.array([4, 4, -1, 4, -5, -5, 4, 4, 4, -2, 8, 8]) * 1e-9, name="excitation and inhibition")
MAX_EXTENSIONS = 3
"""How often a silent transient is doubled in length before the fit gives up on it."""
V_COMPLIANCE_V = 26e-3
"""Thermal voltage: below it a transistor mirror loses its current."""


@dataclass(frozen=True)
class NeuronCalibration:
    """The FeLIF card with the SPICE recordings that it was fitted to and validated on."""

    card: FeLIFCard
    fitted: list[Recording]
    held_out: list[Recording]
    fitted_comparisons: list[NeuronComparison]
    held_out_comparisons: list[NeuronComparison]

    def reference(self) -> Recording:
        """The recording nearest to the paper's 308 pA."""
        return min(self.fitted, key=lambda r: abs(np.log(r.stimulus.i_syn_a[-1] / 308e-12)))

    def model_frequency(self, points: int = 40) -> tuple[Array, Array]:
        """Currents in A over the fitted range and the model's spike frequency in Hz there; silent ones left out."""
        currents = np.geomspace(*_span([r.stimulus.i_syn_a[-1] for r in self.fitted]), points)
        rates = []
        for current in currents:
            spikes = simulate(self.card, Stimulus.dc(current), 3 * 16e-12 / current, dt_s=1e-3).spike_times_s
            rates.append(1.0 / np.diff(spikes).mean() if spikes.size > 1 else np.nan)
        spiking = np.isfinite(rates)
        return currents[spiking], np.array(rates)[spiking]


@dataclass(frozen=True)
class RRAMCalibration:
    """The RRAM card with its sweeps and its eight levels."""

    card: RRAMCard
    fitted: Sweep
    held_out: Sweep
    levels: Levels


def network_like(seed: int, milliseconds: int = 60, span_a: tuple[float, float] = NETWORK_LIKE_RANGE_A) -> Stimulus:
    """A new current each millisecond, uniform within `span_a`: what a neuron in a network sees."""
    current = np.random.default_rng(seed).uniform(*span_a, milliseconds)
    return Stimulus.steps(current, name=f"network-like, seed {seed}")


def calibrate_neuron(
    netlist: Path = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    currents_a: Sequence[float] = FIT_CURRENTS_NEURON_A,
    command: str = "bruno calibrate neuron",
) -> NeuronCalibration:
    """Simulate `netlist` (pins: see spice_netlists/README.md), fit FeLIF with K = 1, validate, and make the card.

    Raises `NetlistError`, `SimulationError` or `FitError`.
    """
    farm = farm or Farm()
    overrides = dict(overrides or {})
    fitted, held_out = _neuron_recordings(netlist, overrides, farm, currents_a)
    measured = measure_spikes(fitted)
    start = replace(
        FeLIFParameters.from_card(FeLIFCard.published()),
        v_threshold=measured.v_threshold,
        t_refractory=measured.t_refractory,
        v_reset=0.0,
        v_floor=0.0,
        v_compliance=V_COMPLIANCE_V,
    )
    fit, parameters = fit_neuron(fitted, start)
    sources = {
        "v_threshold": "measured on the spikes",
        "t_refractory": "measured on the spikes",
        "v_reset": "the circuit resets the membrane to ground",
        "v_floor": "the circuit's ground",
        "v_compliance": "thermal voltage of the input mirror",
    }
    published = FeLIFCard.published()
    entries = {
        name: Parameter(value=getattr(start, name), unit=unit, source=sources[name])
        if name in sources
        else published.parameters[name]
        for name, unit in FeLIFCard.units(1).items()
    } | fit.parameters(FeLIFCard.units(1))
    fitted_comparisons, held_out_comparisons = (validate_neuron(r, parameters) for r in (fitted, held_out))
    card = FeLIFCard.build(
        entries,
        domains=1,
        covariance=fit.covariance(),
        envelope=_neuron_envelope([*fitted, *held_out]),
        fit={
            "evaluations": fit.evaluations,
            "chi_square": float(np.sum(fit.residual**2)),
            "stimuli": [c.as_dict() for c in fitted_comparisons],
        },
        validation={"stimuli": [c.as_dict() for c in held_out_comparisons]},
        provenance=_provenance(netlist, overrides, command),
    )
    return NeuronCalibration(card, fitted, held_out, fitted_comparisons, held_out_comparisons)


def _neuron_recordings(
    netlist: Path, overrides: dict[str, float], farm: Farm, currents_a: Sequence[float]
) -> tuple[list[Recording], list[Recording]]:
    """All transients in one go, held-out ones among them; a silent DC transient is simulated again, twice as long."""
    runs = [_dc_run(current) for current in (*currents_a, *HELD_OUT_CURRENTS_NEURON_A)]
    fit_count = len(currents_a)
    runs += [(INHIBITION, 12e-3), (network_like(1), 60e-3)]
    recordings = _record(runs, netlist, overrides, farm)
    for _ in range(MAX_EXTENSIONS):
        silent = [n for n, r in enumerate(recordings[:fit_count]) if r.spice.spike_times_s.size == 0]
        if not silent:
            break
        longer = _record([(runs[n][0], 2 * recordings[n].t_stop_s) for n in silent], netlist, overrides, farm)
        for n, recording in zip(silent, longer, strict=True):
            recordings[n] = recording
    return recordings[:fit_count], recordings[fit_count:]


def _dc_run(current_a: float) -> tuple[Stimulus, float]:
    stimulus = replace(Stimulus.dc(current_a), name=f"{format_si(current_a, 'A')} DC")
    return stimulus, min(CHARGE_PER_RECORDING_C / current_a + DEAD_TIME_PER_RECORDING_S, LONGEST_TRANSIENT_S)


def _record(
    runs: Sequence[tuple[Stimulus, float]], netlist: Path, overrides: dict[str, float], farm: Farm
) -> list[Recording]:
    waves = simulate_neurons([NeuronRun(stimulus, end, overrides) for stimulus, end in runs], netlist, farm)
    return [Recording(stimulus, wave) for (stimulus, _), wave in zip(runs, waves, strict=True)]


def _neuron_envelope(recordings: list[Recording]) -> dict[str, Range]:
    currents = _span([x for r in recordings for x in _span(r.stimulus.i_syn_a)])
    voltages = _span([x for r in recordings for x in _span(r.spice["v_mem_v"])])
    rates = [1.0 / float(np.diff(r.spice.spike_times_s).mean()) for r in recordings if r.spice.spike_times_s.size > 1]
    return {
        "i_syn": Range(min=currents[0], max=currents[1], unit="A"),
        "v_mem": Range(min=voltages[0], max=voltages[1], unit="V"),
        "rate": Range(min=0.0, max=max(rates, default=0.0), unit="Hz"),
    }


def _span(values: Sequence[float] | Array) -> tuple[float, float]:
    return float(np.min(values)), float(np.max(values))


def calibrate_rram(
    netlist: Path = RRAM_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    variant: str = "var",
    command: str = "bruno calibrate rram",
) -> RRAMCalibration:
    """Program the cell in ngspice over current and geometry, fit the filament model, and make the card."""
    farm = farm or Farm()
    overrides = dict(overrides or {})
    fit_points = [(i, *g) for g in PAPER_GEOMETRIES_NM + CROSS_GEOMETRIES_NM for i in FIT_CURRENTS_A]
    held_out_points = [(i, *g) for g in PAPER_GEOMETRIES_NM for i in HELD_OUT_CURRENTS_A]
    points = np.array(fit_points + held_out_points) * [1.0, 1e-9, 1e-9]
    runs = [RRAMRun(i, length, radius, variant, overrides=overrides) for i, length, radius in points.tolist()]
    untouched = RRAMRun(float(FIT_CURRENTS_A[0]), variant=variant, overrides=overrides | {"vset": 0.0})
    g_s = program_rrams([*runs, untouched], netlist, farm)
    columns = np.column_stack([points, g_s[:-1]])
    fitted, held_out = Sweep(*columns[: len(fit_points)].T), Sweep(*columns[len(fit_points) :].T)
    card = rram_card(fitted, held_out, float(g_s[-1]), variant, _provenance(netlist, overrides, command))
    return RRAMCalibration(card, fitted, held_out, levels(card))


def _provenance(netlist: Path, overrides: dict[str, float], command: str) -> Provenance:
    return Provenance(
        netlist=_relative(netlist),
        sha256=Netlist.load(netlist).sha256(overrides),
        ngspice_version=ngspice_version(),
        command=command,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        overrides=overrides,
    )


def _relative(path: Path) -> str:
    """`path` below the project where it lies there, so that a card does not carry its maker's folders."""
    root = Path(__file__).parents[1]
    return path.resolve().relative_to(root).as_posix() if path.resolve().is_relative_to(root) else path.name


def save_card(card: Card, path: Path) -> bool:
    """Write `card` unless `path` holds the same one but for its date; return whether it was written."""
    try:
        old = type(card).load(path)
    except CardError:
        old = None
    if old is not None and _undated(old) == _undated(card):
        return False
    card.save(path)
    return True


def _undated(card: Card) -> str:
    content = json.loads(card.to_json())
    content["provenance"].pop("date")
    return json.dumps(content)


TARGETS: dict[str, Callable[..., NeuronCalibration | RRAMCalibration]] = {
    "neuron": calibrate_neuron,
    "rram": calibrate_rram,
}
CARD_FILES = {"neuron": "felif.json", "rram": "rram.json"}


def targets(what: str) -> list[str]:
    """The names to calibrate: ``neuron``, ``rram`` or, for ``all``, both."""
    if what == "all":
        return list(TARGETS)
    if what not in TARGETS:
        raise InputError(f"'{what}' cannot be calibrated; choose neuron, rram or all")
    return [what]
