"""FeLIF card from neuron transients in ngspice (equations: `devices.felif`).

The fit goes in the stages of an extraction by hand, each on the part of the transients that shows its parameters:

1. *Spike* (`calibration.recording`): threshold and reset hold are read off the traces. A fit by finite differences
   does not move the hold, and a circuit's real dead time need not be the nominal one.
2. *Charging*, before the polarization moves: capacitance and discharge leak.
3. *Plateau*: switching kinetics, saturation polarization and depolarization, on all of the first ramp.
4. *Everything together*; only this result counts, and only if it can be believed (`calibration.fitting`).

Residuals are membrane voltage and polarization up to the first spike, on a time axis scaled to each trace's own
first spike, and the logarithm of the spike time itself. On that axis they stay smooth when a spike moves; on the
common one they jump by volts.

K = 1 is the published model: tau_0 stays at 1e-13 s, since over the fields of a neuron it trades off against the
activation field and alpha, and the slope of the plateau is a depolarization field (thickness_int). K > 1 is a
polycrystalline film: each domain has its own activation field, offset field and weight; the slope comes from their
spread, thickness_int is 0, and the steps between domains tell tau_0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from calibration.errors import FitError
from calibration.fitting import Fit, Free, fit, search
from calibration.recording import Recording
from devices.card import FeLIFCard
from devices.felif import FeLIFParameters, simulate

Array = NDArray[np.float64]
Progress = Callable[[int, Array], None]

POINTS = 80
"""Samples of voltage and of polarization per transient."""
RTOL = 1e-8
STAGE_SPIKE_TIME = 0.003
"""Relative spike-time error that counts as one in the plateau stage: far from the truth the shape must lead."""


@dataclass(frozen=True)
class Scales:
    """Residuals are divided by these: one standard deviation of noise, or the deviation that counts as much.

    The defaults weigh what a compact model of a real film misses: a voltage sample off by 60 mV as much as a spike time
    off by 0.01 %, since there are 80 samples for one spike.
    """

    voltage_v: float = 0.06
    polarization: float = 0.02
    spike_time: float = 1e-4


def free_parameters(start: FeLIFParameters) -> list[Free]:
    """What the transients determine, around the values of `start`; K = 1 and K > 1 differ as the module says."""

    k = range(1, start.domains + 1)
    shared = [
        Free("eps_hzo", start.eps_hzo, 3.0, 300.0),
        Free("saturation_polarization", start.saturation_polarization, 0.01, 2.0),
        Free("alpha", start.alpha, 0.3, 30.0),
        Free("leak_discharge", start.leak_discharge, 1e-14, 1e-8),
        Free("leak_density", start.leak_density, 1e-8, 10.0),
    ]
    fields = [Free(f"activation_field_{n}", float(start.activation_field[n - 1]), 0.1e8, 100e8) for n in k]
    if start.domains == 1:
        return [*shared, Free("thickness_int", start.thickness_int, 1e-11, 1e-8), *fields]
    offsets = [Free(f"offset_field_{n}", float(start.offset_field[n - 1]), -5e8, 5e8, scale=1e8) for n in k]
    weights = [Free(f"domain_weight_{n}", float(start.domain_weight[n - 1]), 1e-3, 0.95, scale=0.1) for n in k[1:]]
    return [*shared, Free("tau_0", start.tau_0, 1e-10, 1e-3), *fields, *offsets, *weights]


def with_values(start: FeLIFParameters, values: dict[str, float]) -> FeLIFParameters:
    """`start` with `values` put in; domain parameters go by ``name_k``, and the first weight makes the sum 1."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        stem, _, index = name.rpartition("_")
        if index.isdigit() and stem in FeLIFCard.DOMAIN_UNITS:
            changed.setdefault(stem, np.array(getattr(start, stem)))[int(index) - 1] = value
        else:
            changed[name] = value
    if "domain_weight" in changed:
        changed["domain_weight"][0] = 1.0 - changed["domain_weight"][1:].sum()
    return replace(start, **changed)


def first_spike_residual(recording: Recording, parameters: FeLIFParameters, scales: Scales) -> Array:
    """Deviation from SPICE up to the first spike, (2 POINTS + 1,): voltage, polarization, ln of the spike time.

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
    return np.concatenate(
        [
            (model_part["v_mem_v"] - spice_part["v_mem_v"]) / scales.voltage_v,
            (model_part["polarization"] - spice_part["polarization"]) / scales.polarization,
            [np.log(model_spike_s / spike_s) / scales.spike_time],
        ]
    )


def charging_residual(recording: Recording, parameters: FeLIFParameters, scales: Scales) -> Array:
    """Voltage deviation before the polarization has moved by 0.5 %, (POINTS,)."""
    moved = np.flatnonzero(recording.spice["polarization"] > recording.spice["polarization"][0] + 0.01)
    until_s = float(recording.spice.time_s[moved[0]]) if moved.size else recording.t_stop_s
    window_s = (np.arange(POINTS) + 0.5) / POINTS * until_s
    model = simulate(parameters, recording.stimulus, until_s, dt_s=until_s / POINTS, rtol=RTOL, **recording.start)
    deviation = model.resampled(window_s)["v_mem_v"] - recording.spice.resampled(window_s)["v_mem_v"]
    return deviation / scales.voltage_v


def initial_guess(measured: FeLIFParameters, domains: int) -> FeLIFParameters:
    """Where the stages begin: the published film for K = 1, quantiles of a spread of coercive fields for K > 1."""
    if domains == 1:
        return measured
    quantiles = norm.ppf((np.arange(domains) + 0.5) / domains)
    return replace(
        measured,
        thickness_int=0.0,
        tau_0=1e-6,
        alpha=4.0,
        activation_field=np.full(domains, 1.6e8),
        offset_field=0.2e8 * quantiles,
        domain_weight=np.full(domains, 1.0 / domains),
    )


def staged_start(recordings: Sequence[Recording], guess: FeLIFParameters, scales: Scales) -> FeLIFParameters:
    """Stages 2 and 3: `guess` moved to where the final fit is a small step."""
    free = {f.name: f for f in free_parameters(guess)}
    frozen = replace(guess, activation_field=np.full(guess.domains, 1e11))

    def charging(values: dict[str, float]) -> Array:
        trial = with_values(frozen, values)
        return np.concatenate([charging_residual(r, trial, scales) for r in recordings])

    found = search(charging, [free.pop("eps_hzo"), free.pop("leak_discharge")], what="charging stage")
    charged = with_values(guess, found)
    lenient = replace(scales, spike_time=STAGE_SPIKE_TIME)

    def plateau(values: dict[str, float]) -> Array:
        trial = with_values(charged, values)
        return np.concatenate([first_spike_residual(r, trial, lenient) for r in recordings])

    found = search(plateau, list(free.values()), what="plateau stage", max_evaluations=600)
    return with_values(charged, found)


def fit_neuron(
    recordings: Sequence[Recording],
    start: FeLIFParameters,
    free: Sequence[Free] | None = None,
    scales: Scales | None = None,
    progress: Progress | None = None,
) -> tuple[Fit, FeLIFParameters]:
    """Fit `free` (default `free_parameters`) to recordings that each hold at least one spike.

    Raises `FitError` where the result cannot be believed.
    """
    free = free_parameters(start) if free is None else free
    scales = scales or Scales()

    def residual(values: dict[str, float]) -> Array:
        trial = with_values(start, values)
        return np.concatenate([first_spike_residual(recording, trial, scales) for recording in recordings])

    what = f"FeLIF fit with K = {start.domains}"
    result = fit(residual, free, what=what, progress=progress)
    fitted = with_values(start, result.values)
    if fitted.domain_weight[0] <= 0:
        raise FitError(f"{what}: 'domain_weight_1' is {fitted.domain_weight[0]:.3g}: use fewer domains")
    return result, fitted


def fit_in_stages(
    recordings: Sequence[Recording],
    measured: FeLIFParameters,
    domains: int = 1,
    starts: int = 3,
    scales: Scales | None = None,
    seed: int = 0,
) -> tuple[Fit, FeLIFParameters]:
    """All stages from `starts` guesses (the first undisturbed, the others with fields scattered by 15 %); the best.

    `measured` holds what stage 1 and the circuit give. Raises the first guess's `FitError` if none is believed.
    """
    scales = scales or Scales()
    rng = np.random.default_rng(seed)
    results: list[tuple[Fit, FeLIFParameters]] = []
    errors: list[FitError] = []
    for number in range(starts):
        guess = initial_guess(measured, domains)
        if number:
            scatter = np.exp(rng.normal(0.0, 0.15, domains))
            guess = replace(guess, activation_field=guess.activation_field * scatter)
        try:
            results.append(fit_neuron(recordings, staged_start(recordings, guess, scales), scales=scales))
        except FitError as error:
            errors.append(error)
    if not results:
        raise errors[0]
    return min(results, key=lambda result: float(np.sum(result[0].residual ** 2)))
