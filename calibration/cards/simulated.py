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
