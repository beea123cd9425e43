"""What a neuron's card says of a current: the compact model, within what the card was calibrated for."""

from collections.abc import Mapping

import numpy as np

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

NARROWEST_A = 100e-12, 30e-9
"""Currents that count where a card does not say what it covers."""


def simulate_card(
    card: NeuronCard, where: str, drive: Stimulus, end_s: float, overrides: Mapping[str, float]
) -> Waveform:
    """`card`, which lies at `where`, with `overrides` of its parameters under `drive` until `end_s`.

    Raises `EnvelopeError` for a current that the card was not calibrated for, and what `simulate` raises.
    """
    if span := card.envelope.get("i_syn"):
        low, high = float(drive.i_syn_a.min()), float(drive.i_syn_a.max())
        if not span.covers(low, high):
            worst = high if high > span.max else low
            raise EnvelopeError(
                f"a current of {format_si(worst, 'A')} lies outside {format_si(span.min, 'A')} ... "
                f"{format_si(span.max, 'A')}, for which {where} was calibrated; use --engine spice or recalibrate"
            )
    return simulate(card.with_values(**overrides), drive, end_s)


def first_spike_s(card: NeuronCard, current_a: float, samples: int = 200, rtol: float = 1e-7) -> float | None:
    """First spike in s of the compact model at a constant current; None where leaks keep it from ever spiking.

    It is waited for until four times the charge that switches the film has flowed in, in so many `samples`.
    """
    charge_c = 2 * (4.0 * card["area"] * card["saturation_polarization"] + 10.0 * card["v_threshold"] * 1e-12)
    end_s = charge_c / current_a
    spikes = simulate(card, Stimulus.dc(current_a), end_s, dt_s=end_s / samples, rtol=rtol).spike_times_s
    return float(spikes[0]) if spikes.size else None


def span_of(card: NeuronCard) -> tuple[float, float]:
    """The constant currents that `card` covers."""
    covered = card.envelope.get("i_syn")
    if covered is None or not covered.max > 0:
        return NARROWEST_A
    return max(NARROWEST_A[0] * covered.max / NARROWEST_A[1], covered.min), covered.max


def spike_charge_of(x: NeuronParameters) -> float:
    """Charge in C from rest to a spike: twice the film's, and the capacitances'."""
    return float(2 * x.film_charge + x.c_total * (x.v_threshold - min(x.v_reset, 0.0)))


def latency_and_interval(x: NeuronParameters, current_a: float) -> tuple[float, float]:
    """First spike and the interval after it in s, NaN where there is none."""
    end_s = 5 * spike_charge_of(x) / current_a + 2 * x.t_refractory
    spikes = simulate(x, Stimulus.dc(current_a), end_s, dt_s=end_s / 100).spike_times_s
    found = [*spikes[:1], *np.diff(spikes[:2]), np.nan, np.nan]
    return float(found[0]), float(found[1])
