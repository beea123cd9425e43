"""What a neuron's card says of a current: the compact model, within what the card was calibrated for."""

from collections.abc import Mapping

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform


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
