"""What the comparison says of each neuron: in order, explained by the card's known error, or flagged.

ok          every spike of torch is one of SPICE and the other way round
explained   the trains part, but only where the silent side was short of a spike by no more charge than the card's
            known error (`KnownError`)
flagged     anything else: a larger error of the card or of the training kernel, in voltage or at a spike that one of
            them alone has, currents that the card does not cover, a deck that ngspice could not do
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.neuron.validation import matched_fraction, rate_error
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.parts import Range
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.units import format_si
from bruno_spice.training.roundtrip.compare import Parting, TrialScore, missing_charge, root_mean
from bruno_spice.training.roundtrip.recorded import Recorded

Array = NDArray[np.float64]
SIDES = {"spice": "SPICE", "model": "the model", "torch": "the training kernel"}


@dataclass(frozen=True)
class NeuronRow:
    """One neuron; rate and currents are of all its pieces, the rest of those whose decks ngspice could do.

    A figure of merit is None where there is nothing to compare.
    """

    neuron: int
    rate_hz: float
    decks: int
    decks_failed: int
    spikes_torch: int
    spikes_model: int
    spikes_spice: int
    spikes_matched: int
    matched_fraction: float | None
    """Found spikes over those of torch or of SPICE, whichever has more; 1 where both are silent."""
    rate_error: float | None
    """Torch against SPICE, relative; None where SPICE is silent."""
    voltage_rms_v: float | None
    """Model against SPICE between spikes, as long as both have the same history."""
    polarization_rms: float | None
    kernel_matched_fraction: float | None
    """Torch against the model: spikes in the same millisecond."""
    kernel_voltage_rms_v: float | None
    card_matched_fraction: float | None
    """The model against SPICE: spikes within 1 ms."""
    current_min_a: float
    current_max_a: float
    partings: list[dict[str, Any]]
    card_partings: list[dict[str, Any]]
    """Of the model and SPICE."""
    verdict: str
    """ok, explained or flagged."""
    reason: str


@dataclass(frozen=True)
class KnownError:
    """What the card's validation against SPICE says of its error, and the currents that it covers."""

    voltage_rms_v: float
    polarization_rms: float
    charge: float
    """Both errors as a share of the charge from reset to spike."""
    current: Range | None
    """What the card was fitted to; None where it does not say."""

    def __str__(self) -> str:
        return f"the card is known to {self.charge:.1%}" if self.charge else "the card was not validated"

    @classmethod
    def of(cls, card: NeuronCard) -> "KnownError":
        """The worst held-out stimulus of `card`; nothing is known where the card was not validated."""
        rows = card.validation.get("stimuli", [])
        voltage = max((row["voltage_rms_all_v"] for row in rows), default=0.0)
        seen = [row["polarization_rms_all"] for row in rows]
        polarization = max((each for each in seen if each is not None), default=0.0)
        x = NeuronParameters.from_card(card)
        charge = missing_charge(x.v_threshold - voltage, 1 - polarization, x)
        return cls(voltage, polarization, float(charge), card.envelope.get("i_syn"))


@dataclass(frozen=True)
class RmsErrors:
    """What lies between the three of one neuron, root mean square; None where there is nothing to compare."""

    voltage_v: float | None
    """The model against SPICE, as `polarization`."""
    polarization: float | None
    kernel_voltage_v: float | None
    """Torch against the model."""


def summarise(
    neuron: int, recorded: Recorded, scores: list[TrialScore], known: KnownError, failures: list[str]
) -> NeuronRow:
    """The row of one neuron, with its verdict; `failures` are what ngspice said of pieces that it could not do."""
    decks = len(scores) + len(failures)
    total = {
        field.name: sum(getattr(score, field.name) for score in scores)
        for field in fields(TrialScore)
        if field.name not in ("piece", "partings", "card_partings")
    }
    found = [parting for score in scores for parting in score.partings]
    of_card = [parting for score in scores for parting in score.card_partings]
    currents = recorded.currents_a(neuron)

    def share(matched: str, *of: str) -> float | None:
        return matched_fraction(total[matched], *(total[name] for name in of)) if scores else None

    errors = RmsErrors(
        root_mean(total["voltage_squares"], total["samples"]),
        root_mean(total["polarization_squares"], total["samples"]),
        root_mean(total["kernel_squares"], total["kernel_samples"]),
    )
    verdict, reason = judge(found, errors, currents, known, _failed(failures, decks), of_card)
    return NeuronRow(
        neuron=neuron,
        rate_hz=float(recorded.rates_hz[neuron]),
        decks=decks,
        decks_failed=len(failures),
        spikes_torch=total["torch"],
        spikes_model=total["model"],
        spikes_spice=total["spice"],
        spikes_matched=total["matched"],
        matched_fraction=share("matched", "torch", "spice"),
        rate_error=rate_error(total["torch"], total["spice"]),
        voltage_rms_v=errors.voltage_v,
        polarization_rms=errors.polarization,
        kernel_matched_fraction=share("kernel_matched", "torch", "model"),
        kernel_voltage_rms_v=errors.kernel_voltage_v,
        card_matched_fraction=share("card_matched", "model", "spice"),
        current_min_a=float(currents.min()),
        current_max_a=float(currents.max()),
        partings=[asdict(parting) for parting in found],
        card_partings=[asdict(parting) for parting in of_card],
        verdict=verdict,
        reason=reason,
    )


def judge(
    found: list[Parting],
    errors: RmsErrors,
    currents_a: Array,
    known: KnownError,
    failures: list[str],
    of_card: Sequence[Parting] = (),
) -> tuple[str, str]:
    """The verdict and its reason in one sentence; `of_card` are partings of the card's equations and SPICE."""
    faults = [*failures, *_too_far(errors, known), *_beyond_envelope(currents_a, known)]
    large = [parting for parting in [*found, *of_card] if parting.missing_charge > known.charge]
    if large:
        worst = max(large, key=lambda parting: parting.missing_charge)
        faults.append(
            f"the trains part where {SIDES[worst.silent]} lacks {worst.missing_charge:.1%} of a spike's charge; {known}"
        )
    if faults:
        return "flagged", "; ".join(faults)
    if not found:
        return "ok", "every spike found"
    worst_charge = max(parting.missing_charge for parting in found)
    kernel = sum(parting.cause == "kernel" for parting in found)
    times = "once" if len(found) == 1 else f"{len(found)} times"
    by = f" ({kernel} by the training kernel)" if kernel else ""
    return "explained", (
        f"the trains part {times}{by}, for want of at most {worst_charge:.1%} of a spike's charge; {known}"
    )


def _failed(failures: list[str], decks: int) -> list[str]:
    return [f"SPICE failed on {len(failures)} of {decks} decks: {failures[0]}"] if failures else []


def _too_far(errors: RmsErrors, known: KnownError) -> list[str]:
    found = []
    known_v = format_si(known.voltage_rms_v, "V", 3)
    voltage, polarization, kernel = errors.voltage_v or 0.0, errors.polarization or 0.0, errors.kernel_voltage_v or 0.0
    if voltage > known.voltage_rms_v or polarization > known.polarization_rms:
        found.append(
            f"the model is {format_si(voltage, 'V', 3)} and {polarization:.3f} of Ps (rms) from SPICE; "
            f"the card is known to {known_v} and {known.polarization_rms:.3f}"
        )
    if kernel > known.voltage_rms_v:
        found.append(
            f"the training kernel is {format_si(kernel, 'V', 3)} (rms) from the model, further than the card's "
            f"{known_v} from SPICE"
        )
    return found


def _beyond_envelope(currents_a: Array, known: KnownError) -> list[str]:
    covered = known.current
    if covered is None or covered.covers(float(currents_a.min()), float(currents_a.max())):
        return []
    seen = f"{format_si(float(currents_a.min()), 'A')}...{format_si(float(currents_a.max()), 'A')}"
    span = f"{format_si(covered.min, 'A')}...{format_si(covered.max, 'A')}"
    return [f"it sees {seen}, but the card covers {span} (neuron option current_limits: envelope keeps within)"]
