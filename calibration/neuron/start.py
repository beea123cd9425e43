"""What a neuron's first ramp tells without a search: start values of the fit, in closed form.

Charge is conserved whatever the polarization does, so with p = P/Ps (recorded, or estimated as below)

    int I dt = C V + A Ps (p - p(0)) + I_dsc t + I0 int A (exp(V/V_t) - 1) dt

is linear in C, Ps, I_dsc and I0: non-negative least squares over all transients. On the plateau nearly all of the
current switches polarization, so around the middle of its change of p

    k_dep Ps / k_cap = dV/dp,  t_int = eps0 eps_int (dV/dp) / Ps    slope: the depolarization field
    tau(E) = A Ps (1 - p) / I  at  E = k_cap V - k_dep Ps p         level: one point of tau(E) for each current
    ln ln(tau / tau_0) = alpha (ln E_a - ln E)                      a straight line in ln E

Where the polarization was not recorded (a measured trace), what the capacitance before the plateau does not take has
switched, and at the spike all of it has: p = 2 q/q_spike - 1 with q = int I dt - C V. The capacitance is the slope
of charge against voltage on the first fifth of the way up.

A film of normally distributed coercive fields has a plateau that follows the quantiles of the normal distribution,
q(u), u = (1 + p)/2. One domain with a depolarization field makes a straight line of it; K domains a line with steps.
`TAILS` are the steps of the least-squares approximation, q(u) = slope (2u - 1) + z_k within domain k, K - 1 of them in
the tails: two numbers a domain, its step z in standard deviations and its weight.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import nnls

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.errors import FitError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.physics import EPS_0
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]

TAILS = {1: ((0.68, 0.04),), 2: ((0.39, 0.06), (1.06, 0.016)), 3: ((0.26, 0.065), (0.66, 0.028), (1.3, 0.0084))}
"""(z, weight) of the domains in one tail, by their number."""
SLOPES = (np.nan, 1.69, 1.63, 1.54, 1.51, 1.47, 1.45, 1.43)
"""Slope of the line, by the number of domains."""
MOST_DOMAINS = len(SLOPES) - 1
QUARTILES = (0.25, 0.5, 0.75)
SAMPLES = 2000
LINEAR = 0.2
"""Share of the way up in which a film of unknown polarization counts as not yet switching."""
SLOWNESS = 100.0
"""The fastest switching time of the recordings over tau_0, to the decade. A ratio so large leaves tau_0 open: over the
fields of a neuron it trades off against alpha and the activation field."""


def closed_form_start(
    recordings: Sequence[Recording], measured: NeuronParameters, tau_0_s: float | None = None
) -> NeuronParameters:
    """`measured` with the capacitance, leaks and switching parameters that the first ramps of `recordings` show.

    `tau_0_s` is that of the film where it is known.
    """
    recordings = [r if r.knows_polarization else _with_polarization(r) for r in recordings]
    x = _with_charges(recordings, measured)
    level_v, slope_v, time_s = _plateaus(recordings, x)
    t_int = EPS_0 * x.eps_int * np.median(slope_v) / x.saturation_polarization
    tau_0 = tau_0_s or 10.0 ** np.floor(np.log10(time_s.min() / SLOWNESS))
    x = replace(x, thickness_int=float(np.clip(t_int, 2e-11, 5e-9)), tau_0=float(tau_0))
    return _with_kinetics(x, x.k_cap * level_v, time_s)


def switching_times(recordings: Sequence[Recording], x: NeuronParameters) -> tuple[Array, Array]:
    """What steady `recordings` tell of the kinetics, whatever tau_0: fields (n,) in V/m, switching times (n,) in s."""
    level_v, _, time_s = _plateaus([r if r.knows_polarization else _with_polarization(r) for r in recordings], x)
    return x.k_cap * level_v, time_s


def with_tails(recordings: Sequence[Recording], one: NeuronParameters, domains: int) -> NeuronParameters:
    """The K = 1 fit `one` as a film of `domains` domains: the first for most of it, the others in its tails."""
    if not 2 <= domains <= MOST_DOMAINS:
        raise FitError(f"FeLIF is fitted with 1 to {MOST_DOMAINS} domains, not {domains}")
    level_v = _plateaus([r if r.knows_polarization else _with_polarization(r) for r in recordings], one)[0]
    sigma = one.k_dep * one.saturation_polarization / SLOPES[1]
    lower, upper = TAILS.get(domains // 2, ()), TAILS.get((domains - 1) // 2, ())
    steps = np.array([0.0, *(-z for z, _ in lower), *(z for z, _ in upper)])
    weights = np.array([w for _, w in (*lower, *upper)])
    spread = sigma / (one.k_cap * float(np.median(level_v)))
    return replace(
        one,
        thickness_int=one.thickness_int * SLOPES[domains] / SLOPES[1],
        activation_field=one.activation_field[0] * np.maximum(1.0 + spread * steps, 0.2),
        offset_field=np.zeros(domains),
        domain_weight=np.array([1.0 - weights.sum(), *weights]),
    )


def _with_charges(recordings: Sequence[Recording], x: NeuronParameters) -> NeuronParameters:
    """`x` with what the charge balance gives: permittivity, saturation polarization, both leaks."""
    rows, charges = [], []
    for r in recordings:
        time = np.linspace(0.0, r.spice.spike_times_s[0], SAMPLES)[:-1]
        wave = r.spice.resampled(time)
        v, change = wave["v_mem_v"], wave["polarization"] - wave["polarization"][0]
        exponential = x.area * np.expm1(np.clip(v, 0.0, None) / x.leak_v_scale)
        charge = _integral(r.stimulus.at(time), time)
        row = np.stack([v - v[0], x.area * change, time, _integral(exponential, time)], axis=1)
        rows.append(row / charge[-1])
        charges.append(charge / charge[-1])
    matrix = np.concatenate(rows)
    lengths = np.linalg.norm(matrix, axis=0)
    found, _ = nnls(matrix / lengths, np.concatenate(charges))
    c_total, ps, discharge, density = found / lengths
    eps = (c_total - x.c_parallel) * x.thickness_hzo / (EPS_0 * x.area)
    return replace(
        x,
        eps_hzo=float(np.clip(eps, 3.3, 270.0)),
        saturation_polarization=float(np.clip(ps, 0.011, 1.9)),
        leak_discharge=float(np.clip(discharge, 1e-13, 1e-9)),
        leak_density=float(np.clip(density, 2e-6, 1.0)),
    )


def _with_polarization(recording: Recording) -> Recording:
    """`recording` with the polarization that its charges tell, up to its first spike and 1 from there."""
    spike_s = recording.spice.spike_times_s[0]
    time = np.linspace(0.0, spike_s, SAMPLES)
    v = recording.spice.resampled(time)["v_mem_v"]
    charge = _integral(recording.stimulus.at(time), time)
    low = v[0] + LINEAR * (v.max() - v[0])
    early = slice(0, max(int(np.argmax(v > low)), 2))
    rise = v[early] - v[0]
    capacitance = float(rise @ charge[early] / max(rise @ rise, 1e-12))
    switched = np.maximum.accumulate(np.clip(charge - capacitance * (v - v[0]), 0.0, None))
    known = 2.0 * np.interp(recording.spice.time_s, time, switched) / max(float(switched[-1]), 1e-30) - 1.0
    signals = {**recording.spice.signals, "polarization": known}
    return Recording(recording.stimulus, Waveform(recording.spice.time_s, signals, recording.spice.spike_times_s))


def _integral(values: Array, time_s: Array) -> Array:
    return np.asarray(cumulative_trapezoid(values, x=time_s, initial=0))


def _plateaus(recordings: Sequence[Recording], x: NeuronParameters) -> tuple[Array, Array, Array]:
    """Of each steady one (n,), at the middle of its change of p: voltage in V, taken to p = 0; dV/dp in V; tau in s."""
    rows = []
    for r in (r for r in recordings if r.steady):
        time = np.linspace(0.0, r.spice.spike_times_s[0], SAMPLES)[:-1]
        wave = r.spice.resampled(time)
        p = np.maximum.accumulate(wave["polarization"])
        at = np.array(QUARTILES) * (p[-1] - p[0]) + p[0]
        v = np.interp(at, p, wave["v_mem_v"])
        slope = max(float(v[2] - v[0]) / max(float(at[2] - at[0]), 1e-3), 1e-3)
        tau = x.area * x.saturation_polarization * (1.0 - at[1]) / float(r.stimulus.at(time[-1]))
        rows.append((v[1] - slope * at[1], slope, tau))
    level_v, slope_v, time_s = np.array(rows).T
    return level_v, slope_v, time_s


def _with_kinetics(x: NeuronParameters, field: Array, time_s: Array) -> NeuronParameters:
    """`x` with alpha and activation field from switching times (n,) in s at fields (n,) in V/m, tau_0 given."""
    decades = np.log(np.maximum(np.log(np.maximum(time_s, 3.0 * x.tau_0) / x.tau_0), 1e-3))
    away = np.log(np.maximum(field, 1e6))
    spread = np.ptp(away)
    alpha = -np.polyfit(away, decades, 1)[0] if spread > 1e-3 else x.alpha
    alpha = float(np.clip(alpha, 0.6, 15.0))
    activation = float(np.exp(np.mean(away + decades / alpha)))
    return replace(x, alpha=alpha, activation_field=np.array([np.clip(activation, 0.11e8, 90e8)]))
