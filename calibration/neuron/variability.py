"""Device-to-device spread of FeLIF parameters, from Monte-Carlo on the neuron netlist.

    sigma_p = std_n(p_n) / mean_n(p_n),   correlation over the same devices n = 1...M

Each sampled device (`calibration.spice.variation`) is simulated at a few constant currents up to its first spike, its
threshold and reset hold are read off the spikes, and what its transients tell about the film is fitted anew,
starting from the card: electrode area, saturation polarization, a common factor on the activation fields, discharge
leak. Not more: a transient shows area/thickness, area x Ps and thickness x Ea, so a spread of the thickness appears as
a correlated one of these. That is what a network notices of it, and the correlations keep it.

The fits use less data than the card's, so only the spread is taken from them, never the mean. A correlation matrix of M
devices is known to 1/sqrt(M).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.cards.simulated import first_spike_s
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.recording import Recording, measure_spikes
from bruno_spice.calibration.circuits.stimuli import Drive
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fitting.least_squares import Free, search
from bruno_spice.calibration.fitting.memo import code_of, remembered
from bruno_spice.calibration.neuron.fit import Scales, first_spike_residual
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.variation import Samples, Variation
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.parts import Covariance
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si

Array = NDArray[np.float64]

FEWEST_SAMPLES = 8
CURRENTS_A = (160e-12, 1e-9, 10e-9)
"""Of the project's neuron. The lowest shows the leak, the highest the field dependence of switching."""
FIRST_SPIKE, TWO_SPIKES = 1.5, 3.0
"""A device is simulated for so many times the first-spike time of the card; the highest current shows two spikes."""
FIELD_FACTOR = "activation_field"
MEASURED = ("v_threshold", "t_refractory")
SPREAD_SCALES = Scales(spike_time=1e-3)
"""The shape of the transients tells devices apart as much as the spike times do."""


@dataclass(frozen=True, eq=False)
class DeviceFits:
    """FeLIF parameters `values` (devices, parameters) of sampled devices, SI units; activation fields as a factor."""

    names: tuple[str, ...]
    values: Array


def neuron_variability(
    card: NeuronCard,
    netlist: Path = NEURON_NETLIST,
    samples: int = 24,
    farm: Farm | None = None,
    overrides: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[dict[str, float], Covariance]:
    """Relative sigma by card parameter, and the correlation matrix of the same parameters, over `samples` devices.

    What varies is declared beside the netlist. Raises `InputError` without that declaration or with fewer than 8
    samples, `FitError` where a device cannot be fitted.
    """
    devices = sampled_recordings(card, netlist, samples, farm, dict(overrides or {}), seed)
    return spread_of(fit_devices(card, devices), card.domains)


def sampled_devices(netlist: Path, samples: int, overrides: Mapping[str, float], seed: int = 0) -> Samples:
    """The devices whose spread `neuron_variability` measures; raises the `InputError` that it would."""
    if samples < FEWEST_SAMPLES:
        raise InputError(f"a spread needs at least {FEWEST_SAMPLES} Monte-Carlo samples, not {samples}")
    return Variation.beside(netlist).sample(neuron_deck(netlist).with_params(overrides), samples, seed)


def sampled_recordings(
    card: NeuronCard, netlist: Path, samples: int, farm: Farm | None, overrides: dict[str, float], seed: int
) -> list[list[Recording]]:
    """Recordings of each sampled device at `CURRENTS_A`, as the card's drive scales them."""
    sampled = sampled_devices(netlist, samples, overrides, seed)
    currents = [Drive.of(card.fit).constant_a(i) for i in CURRENTS_A]
    factors = [TWO_SPIKES if i == max(currents) else FIRST_SPIKE for i in currents]
    drives = [(Stimulus.dc(i), factor * _spiking_s(card, i)) for i, factor in zip(currents, factors, strict=True)]
    runs = [NeuronRun(s, end, overrides | values) for values in sampled.overrides() for s, end in drives]
    waves = simulate_neurons(runs, netlist, farm)
    recordings = [Recording(run.stimulus, wave) for run, wave in zip(runs, waves, strict=True)]
    count = len(drives)
    for n, recording in enumerate(recordings):
        if recording.spice.spike_times_s.size == 0:
            raise FitError(
                f"{sampled.labels[n // count]} of the Monte-Carlo does not spike at "
                f"{format_si(currents[n % count], 'A')}: narrow the spread in the variation file"
            )
    return [recordings[n : n + count] for n in range(0, len(recordings), count)]


def _spiking_s(card: NeuronCard, current_a: float) -> float:
    spike_s = first_spike_s(card, current_a)
    if spike_s is None:
        raise FitError(f"the card's neuron does not spike at {format_si(current_a, 'A')}, where its spread is measured")
    return spike_s


def fit_devices(card: NeuronCard, devices: Sequence[Sequence[Recording]]) -> DeviceFits:
    """Fit each of `devices` from the values of `card`; the same fits of the same recordings are not done twice."""
    nominal = NeuronParameters.from_card(card)
    free = _free(nominal)

    def compute() -> dict[str, Any]:
        return {"values": [_fit_device(nominal, free, recordings) for recordings in devices]}

    each = [(r.spice, r.stimulus) for recordings in devices for r in recordings]
    arrays = [a for w, _ in each for a in (w.time_s, w["v_mem_v"], w["polarization"], w.spike_times_s)]
    arrays += [a for _, stimulus in each for a in (stimulus.time_s, stimulus.i_syn_a)]
    found = remembered(["devices", code_of(nominal.model), *arrays, nominal, free], compute, "fit of a sampled neuron")
    return DeviceFits((*(f.name for f in free), *MEASURED), np.array(found["values"]))


def _free(nominal: NeuronParameters) -> list[Free]:
    values = {name: float(getattr(nominal, name)) for name in ("area", "saturation_polarization", "leak_discharge")}
    return [Free(name, v, v / 3, v * 3) for name, v in (values | {FIELD_FACTOR: 1.0}).items()]


def _fit_device(nominal: NeuronParameters, free: Sequence[Free], recordings: Sequence[Recording]) -> list[float]:
    v_threshold = _threshold_v(recordings[0])
    t_refractory = measure_spikes(recordings[-1:]).t_refractory
    start = replace(nominal, v_threshold=v_threshold, t_refractory=t_refractory)

    def residual(values: dict[str, float]) -> Array:
        fields = start.activation_field * values[FIELD_FACTOR]
        shared: dict[str, Any] = {name: value for name, value in values.items() if name != FIELD_FACTOR}
        trial = replace(start, **shared, activation_field=fields)
        return np.concatenate([first_spike_residual(recording, trial, SPREAD_SCALES) for recording in recordings])

    found = search(residual, free, what="fit of a sampled device", tolerance=1e-5, max_evaluations=60)
    return [*(found[f.name] for f in free), v_threshold, t_refractory]


def _threshold_v(slow: Recording) -> float:
    """Membrane voltage in V at the first spike, or just before it where the reset takes less than a sample."""
    wave, spike_s = slow.spice, slow.spice.spike_times_s[0]
    before = wave["v_mem_v"][np.searchsorted(wave.time_s, spike_s) - 1]
    return float(max(before, wave.resampled([spike_s])["v_mem_v"][0]))


def spread_of(fits: DeviceFits, domains: int) -> tuple[dict[str, float], Covariance]:
    """Relative sigma by card parameter, and correlation, of fitted devices; the fields of all domains vary as one."""
    columns = {name: fits.values[:, n] for n, name in enumerate(fits.names) if name != FIELD_FACTOR}
    factor = fits.values[:, fits.names.index(FIELD_FACTOR)]
    columns |= {f"{FIELD_FACTOR}_{k}": factor for k in range(1, domains + 1)}
    sigma = {name: float(column.std(ddof=1) / abs(column.mean())) for name, column in columns.items()}
    matrix = np.corrcoef(np.array(list(columns.values())))
    return sigma, Covariance(names=list(columns), matrix=matrix.tolist())
