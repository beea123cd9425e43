"""FeLIF card from neuron transients in ngspice (equations: `devices.models.felif`).

The fit goes in the stages of an extraction by hand, each on the part of the transients that shows its parameters:

1. *Spike* (`calibration.circuits.recording`): threshold and reset hold are read off the traces. A fit by finite
   differences does not move the hold, and a circuit's real dead time need not be the nominal one.
2. *Charge*: the charge balance is linear in capacitance, saturation polarization and leaks
  (`calibration.neuron.start`).
3. *Plateau*: its slope and its level against current give depolarization and switching kinetics, in closed form too;
   a search on all of the first ramp, in which shape counts more than spike times, refines them.
4. *Everything together*; only this result counts, and only if it can be believed (`calibration.fitting.least_squares`).

Residuals are membrane voltage and polarization up to the first spike, on a time axis scaled to each trace's own
first spike, and the logarithm of the spike time itself. On that axis they stay smooth when a spike moves; on the
common one they jump by volts. They are misfit of the model, not noise, so standard errors take only the
transients as independent of one another.

tau_0 is held at a hundredth of the fastest switching time, to the decade: over the fields of a neuron it trades off
against the activation field and alpha (the published pair, for 1e-13 s, has an alpha near 1.3 and a field eight times
as high), so that a film's own value, where it is known, goes into the fit (`tau_0_s`). With K = 1 the slope of the
plateau is a depolarization field (thickness_int). With K > 1 that field stays, and a domain for most of the film with
small ones for the tails of its distribution follow what is not straight in the plateau; each has its activation field
and weight. Offset fields are 0: a neuron drives its film one way, and then an offset cannot be told from an activation
field. Those fits start from the one with K = 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.fitting.least_squares import Fit, Free, best_fit, search
from bruno_spice.calibration.neuron.start import closed_form_start, with_tails
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models.felif import FeLIFModel

Array = NDArray[np.float64]

POINTS = 80
"""Samples of voltage and of polarization per transient."""
RTOL = 1e-8
MAX_EVALUATIONS = 1000
WEIGHT = "domain_weight"
MARGIN = 0.02
"""Least distance of a start to a bound, as a share of the decades between the bounds."""
STAGE_SPIKE_TIME = 0.003
"""Relative spike-time error that counts as one in the plateau stage: far from the truth the shape must lead."""
SPIKE_TIME_SCALES = (1e-4, 1e-3, STAGE_SPIKE_TIME)
"""The same in the final fit; the next where the one before gives no result that can be believed, because spike times so
exact are more than the model can follow and bend its parameters."""


@dataclass(frozen=True)
class Scales:
    """Residuals are divided by these: one standard deviation of noise, or the deviation that counts as much.

    The defaults weigh what a compact model of a real film misses: a voltage sample off by 60 mV as much as a spike time
    off by 0.01 %, since there are 80 samples for one spike.
    """

    voltage_v: float = 0.06
    polarization: float = 0.02
    spike_time: float = 1e-4


def free_parameters(start: NeuronParameters) -> list[Free]:
    """What the transients determine, around the values of `start`: what its model declares (`NeuronModel.fitted`).

    The first of several weights follows from the others.
    """
    found = []
    for name in start.model.fitted:
        per_domain = start.model.domain_parameters.get(name)
        low, high = (per_domain or start.model.parameters[name]).fit or (np.nan, np.nan)
        if per_domain is None:
            found.append(Free(name, float(getattr(start, name)), low, high))
        else:
            first = 2 if name == WEIGHT else 1
            values = getattr(start, name)
            found += [Free(f"{name}_{n}", float(values[n - 1]), low, high) for n in range(first, start.domains + 1)]
    return found


def _off_bounds(free: Free) -> Free:
    """`free`, its start moved inside where the fit with one domain ended on a bound."""
    margin = (free.max / free.min) ** MARGIN
    return replace(free, start=min(max(free.start, free.min * margin), free.max / margin))


def with_values(start: NeuronParameters, values: dict[str, float]) -> NeuronParameters:
    """`start` with `values` put in; domain parameters go by ``name_k``, and the first weight makes the sum 1."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        stem, _, index = name.rpartition("_")
        if index.isdigit() and stem in start.model.domain_parameters:
            changed.setdefault(stem, np.array(getattr(start, stem)))[int(index) - 1] = value
        else:
            changed[name] = value
    if WEIGHT in changed:
        changed[WEIGHT][0] = 1.0 - changed[WEIGHT][1:].sum()
    return replace(start, **changed)


def first_spike_residual(recording: Recording, parameters: NeuronParameters, scales: Scales) -> Array:
    """Deviation from SPICE up to the first spike, (`sample_count`,): voltage, polarization, ln of the spike time.

    A model that does not spike within three times SPICE's time is read as spiking there, so that the residual stays
    finite and points back.
    """
    spike_s = recording.spice.spike_times_s[0]
    longest_s = 3.0 * spike_s
    held_after = replace(parameters, t_refractory=2.0 * longest_s)
    model = simulate(held_after, recording.stimulus, longest_s, dt_s=spike_s / 4000, rtol=RTOL, **recording.start)
    model_spike_s = model.spike_times_s[0] if model.spike_times_s.size else longest_s
    share = (np.arange(POINTS) + 0.5) / POINTS
    spice_part = recording.spice.resampled(share * spike_s)
    model_part = model.resampled(share * model_spike_s)
    parts = [(model_part["v_mem_v"] - spice_part["v_mem_v"]) / scales.voltage_v]
    if recording.knows_polarization:
        parts.append((model_part["polarization"] - spice_part["polarization"]) / scales.polarization)
    return np.concatenate([*parts, [np.log(model_spike_s / spike_s) / scales.spike_time]])


def region_residual(
    recording: Recording, parameters: NeuronParameters, scales: Scales, region_s: tuple[float, float]
) -> Array:
    """Deviation from SPICE at `POINTS` times of `region_s`, (`POINTS`,) or twice as many: voltage and polarization.

    Raises `InputError` where the region is not one before the first spike, after which a deviation jumps.
    """
    first_s, last_s = region_s
    spikes_s = recording.spice.spike_times_s
    end_s = min([recording.t_stop_s, *spikes_s[:1]])
    if not 0.0 <= first_s < last_s <= end_s:
        raise InputError(
            f"a neuron is compared within a region before its first spike, which here is from 0 to {end_s:.6g} s"
        )
    times = np.linspace(first_s, last_s, POINTS)
    model = simulate(parameters, recording.stimulus, last_s, dt_s=last_s / 4000, rtol=RTOL, **recording.start)
    at_model, at_spice = model.resampled(times), recording.spice.resampled(times)
    parts = [(at_model["v_mem_v"] - at_spice["v_mem_v"]) / scales.voltage_v]
    if recording.knows_polarization:
        parts.append((at_model["polarization"] - at_spice["polarization"]) / scales.polarization)
    return np.concatenate(parts)


def sample_count(recording: Recording) -> int:
    """How many residuals a recording has: a measured one has no polarization."""
    return (2 if recording.knows_polarization else 1) * POINTS + 1


def staged_start(
    recordings: Sequence[Recording], measured: NeuronParameters, scales: Scales, tau_0_s: float | None = None
) -> NeuronParameters:
    """Stages 2 and 3 for K = 1: `measured` moved to where the final fit is a small step."""
    start = closed_form_start(recordings, measured, tau_0_s) if measured.model is FeLIFModel else measured
    lenient = replace(scales, spike_time=STAGE_SPIKE_TIME)

    def plateau(values: dict[str, float]) -> Array:
        trial = with_values(start, values)
        return np.concatenate([first_spike_residual(r, trial, lenient) for r in recordings])

    found = search(plateau, free_parameters(start), what="plateau stage", max_evaluations=300)
    return with_values(start, found)


def fit_neuron(
    recordings: Sequence[Recording],
    start: NeuronParameters,
    free: Sequence[Free] | None = None,
    scales: Scales | None = None,
    region_s: tuple[float, float] | None = None,
    progress: Callable[[int, Array], None] | None = None,
) -> tuple[Fit, NeuronParameters]:
    """Fit `free` (default `free_parameters`) to recordings that each hold at least one spike.

    With `region_s` only what lies within counts, and no spike time; `progress` is that of `best_fit`. `Fit.doubt` says
    where the result cannot be believed. Raises `FitError` where the model cannot be evaluated.
    """
    free = [_off_bounds(f) for f in free_parameters(start)] if free is None else free
    scales = scales or Scales()

    def residual(values: dict[str, float]) -> Array:
        trial = with_values(start, values)
        if region_s is not None:
            return np.concatenate([region_residual(recording, trial, scales, region_s) for recording in recordings])
        return np.concatenate([first_spike_residual(recording, trial, scales) for recording in recordings])

    what = f"{start.model.label} fit with K = {start.domains}"
    counts = [sample_count(r) - (1 if region_s is not None else 0) for r in recordings]
    groups = None  # one recording says nothing of how others would deviate
    if len(recordings) > 1:
        groups = np.repeat(np.arange(len(recordings)), counts)
    result = best_fit(residual, free, what=what, groups=groups, max_evaluations=MAX_EVALUATIONS, progress=progress)
    fitted = with_values(start, result.values)
    if fitted.shares[0] <= 0:
        doubt = f"{what}: '{WEIGHT}_1' is {fitted.shares[0]:.3g}: use fewer domains"
        result = replace(result, doubt=result.doubt or doubt)
    return result, fitted


def fit_in_stages(
    recordings: Sequence[Recording], measured: NeuronParameters, domains: int = 1, tau_0_s: float | None = None
) -> tuple[Fit, NeuronParameters, Scales]:
    """All stages; `measured` holds what stage 1 and the circuit give, `tau_0_s` what is known of the film.

    The result with the first of `SPIKE_TIME_SCALES` that is believed, or else with the first of them; and the scales.
    """
    found = _with_some_scale(recordings, staged_start(recordings, measured, Scales(), tau_0_s))
    return found if domains == 1 else _with_some_scale(recordings, with_tails(recordings, found[1], domains))


def _with_some_scale(recordings: Sequence[Recording], start: NeuronParameters) -> tuple[Fit, NeuronParameters, Scales]:
    found = []
    for spike_time in SPIKE_TIME_SCALES:
        scales = Scales(spike_time=spike_time)
        found.append((*fit_neuron(recordings, start, scales=scales), scales))
        if not found[-1][0].doubt:
            return found[-1]
    return found[0]
