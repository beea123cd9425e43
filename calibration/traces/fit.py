"""From traces to a card: the staged fit of `calibration.neuron.fit`, which a circuit in SPICE gets too.

What a trace does not show is said by the caller, or assumed as published and marked so: the film's area and thickness
(of which charge and field alone are seen), the wiring's capacitance, the floor of an inhibition that no trace has. A
trace has no polarization unless a simulator gives it; then voltage and spike times alone decide.

    fitted              constant currents, and others, up to their first spike each; at least two, one with two spikes
    held out            never fitted; the card's figures of merit
    several domains     every second of the held-out traces chooses their number, the others judge

What traces do not tell is no guess of the fit, but said, in the card too (`Card.unknown`): tau_0, which trades off
against alpha and the activation field; how capacitance and film share the charge, without a polarization.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bruno_spice.calibration.cards.provenance import of_measurement
from bruno_spice.calibration.circuits.recording import Recording, measure_spikes
from bruno_spice.calibration.fitting.least_squares import belief
from bruno_spice.calibration.neuron.calibrate import (
    THERMAL_VOLTAGE_V,
    Trial,
    card_entries,
    choose,
    doubted,
    envelope,
    fit_domains,
    start_parameters,
)
from bruno_spice.calibration.neuron.start import switching_times
from bruno_spice.calibration.neuron.validation import NeuronComparison, pooled_score, validate_neuron
from bruno_spice.calibration.traces.reading import Trace
from bruno_spice.devices.cards.base import NeuronCard, card_class
from bruno_spice.devices.cards.limits import refusal
from bruno_spice.devices.cards.parts import Parameter
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.units import format_si

TOGETHER = 0.95
"""Correlation of two errors from which on the traces tell a combination of both parameters, and hardly each of them."""
CONVENTION = "a hundredth of the fastest switching time, to the decade: a convention, no trace tells it"
FEWEST = 2
"""Traces of constant current under which capacitance and kinetics are told apart."""


@dataclass(frozen=True)
class TraceFit:
    """The card with the traces that it was fitted to and judged on."""

    card: NeuronCard
    fitted: list[Trace]
    held_out: list[Trace]
    fitted_comparisons: list[NeuronComparison]
    held_out_comparisons: list[NeuronComparison]
    said: list[str]
    """What an engineer must know of it, a sentence each."""


def fit_traces(
    fitted: Sequence[Trace],
    held_out: Sequence[Trace] = (),
    given: Mapping[str, float] | None = None,
    domains: Sequence[int] = (1,),
    model: type[NeuronModel] = FeLIFModel,
    notice: Callable[[str], None] = lambda _: None,
) -> TraceFit:
    """Fit `model` to `fitted`, judge it on `held_out`, and make the card.

    `given` are parameters that are known, by their names in the card. A fit that cannot be believed still makes a card,
    which says so (`Card.doubt`). Raises `InputError` for traces that cannot be fitted, `FitError` as the fit does.
    """
    _refuse_unfit(fitted)
    if not model.domain_parameters:
        domains = (1,)
    if len(domains) > 1 and len(held_out) < 2:
        raise InputError(
            f"--domains {','.join(map(str, domains))}: of several numbers one is chosen on traces that are held out; "
            "name at least two with --held-out, or one number"
        )
    recordings = [each.recording for each in fitted]
    known = known_parameters(given or {}, model)
    if (floor := _floor(given or {}, [*fitted, *held_out])) is not None:
        known["v_floor"] = floor
    measured = measure_spikes(recordings)
    start = start_parameters(measured, {name: entry.value for name, entry in known.items()}, model)
    selecting, judging = (list(held_out[::2]), list(held_out[1::2])) if len(domains) > 1 else ([], list(held_out))
    tau_0_s = known["tau_0"].value if "tau_0" in known else None
    trials = [
        fit_domains(k, recordings, [each.recording for each in selecting], start, notice, tau_0_s)
        for k in sorted(domains)
    ]
    chosen, why = choose(trials)
    fitted_comparisons = validate_neuron(recordings, chosen.parameters)
    held_comparisons = validate_neuron([each.recording for each in judging], chosen.parameters)
    score = pooled_score(held_comparisons)
    entries = card_entries(chosen.parameters, chosen.fit, known)
    if not all(r.knows_polarization for r in recordings):
        unseen = "assumed: a spike writes the film back, which no trace shows"
        entries["polarization_reset"] = entries["polarization_reset"].model_copy(update={"source": unseen})
    if "tau_0" in entries and tau_0_s is None and model is FeLIFModel:
        entries["tau_0"] = entries["tau_0"].model_copy(update={"source": CONVENTION})
    not_told = _not_told(recordings, chosen, tau_0_s)
    card = card_class(model).build(
        entries,
        domains=chosen.domains,
        covariance=chosen.fit.covariance(),
        envelope=envelope([each.recording for each in (*fitted, *held_out)]),
        fit=doubted(belief(chosen.fit), score, "on held-out traces", "the measured ones")
        | {
            "domains_chosen": why,
            "domains_tried": [each.as_dict() for each in trials if selecting],
            "evaluations": chosen.fit.evaluations,
            "spike_time_scale": chosen.spike_time_scale,
            "chi_square": float(np.sum(chosen.fit.residual**2)),
            "stimuli": [each.as_dict() for each in fitted_comparisons],
            "not_told": not_told,
        },
        validation={
            "stimuli": [each.as_dict() for each in held_comparisons],
            "network_like": asdict(score),
        },
        provenance=of_measurement(list(dict.fromkeys(each.path for each in (*fitted, *held_out))), "bruno fit neuron"),
    )
    said = [f"'{f.name}' ended on its bound and is held there: {chosen.fit.values[f.name]:g}" for f in chosen.fit.held]
    said += [*_unknown(card, judging), *not_told]
    return TraceFit(card, list(fitted), judging, fitted_comparisons, held_comparisons, said)


def known_parameters(given: Mapping[str, float], model: type[NeuronModel]) -> dict[str, Parameter]:
    """What a trace does not show, by name: `given`, or assumed. Raises `InputError` for what is fitted or unknown."""
    names = {name: declared for name, declared in model.parameters.items() if name not in model.fitted}
    seen = ("v_threshold", "v_reset", "t_refractory")
    by_param = {declared.param: name for name, declared in names.items() if declared.param}
    found: dict[str, Parameter] = {}
    for word, value in given.items():
        name = by_param.get(word, word)
        if name not in names or name in seen:
            raise InputError(
                f"--set {printable(word)}: what can be said of a measured neuron is "
                f"{', '.join(each for each in names if each not in seen)}; the rest the traces tell"
            )
        if refused := refusal(name, names[name].unit, names[name].sign, value):
            raise InputError(f"--set {printable(word)}: {refused}")
        found[name] = Parameter(value=float(value), unit=names[name].unit, source="given")
    published: Any = card_class(model).published().parameters
    for name, declared in names.items():
        if declared.param is not None and name not in found:
            value = THERMAL_VOLTAGE_V if name == "v_compliance" else published[name].value
            found[name] = Parameter(value=value, unit=declared.unit, source="assumed: no trace shows it")
    return found


def _floor(given: Mapping[str, float], traces: Sequence[Trace]) -> Parameter | None:
    """The lowest voltage under inhibition; None where it is given."""
    if "v_floor" in given:
        return None
    inhibited = [t.recording for t in traces if t.recording.stimulus.i_syn_a.min() < 0]
    if not inhibited:
        return Parameter(value=0.0, unit="V", source="assumed: no trace inhibits")
    lowest = min(float(r.spice["v_mem_v"].min()) for r in inhibited)
    return Parameter(value=round(min(lowest, 0.0), 3) + 0.0, unit="V", source="lowest voltage seen under inhibition")


def _refuse_unfit(fitted: Sequence[Trace]) -> None:
    silent = next((each for each in fitted if not each.recording.spice.spike_times_s.size), None)
    if silent is not None:
        raise InputError(
            f"{silent.name}: no spike in this trace, so it cannot be fitted; name it with --held-out, and where it "
            "does spike say so with --spike COLUMN or --threshold V"
        )
    steady = [each for each in fitted if each.recording.steady]
    levels = {round(math.log10(each.recording.stimulus.i_syn_a[-1]), 2) for each in steady}
    if len(levels) < FEWEST:
        raise InputError(
            f"{len(levels)} constant current{'' if len(levels) == 1 else 's'} among the fitted traces: how the "
            f"switching time depends on the field takes at least {FEWEST} different ones"
        )
    if not any(each.recording.spice.spike_times_s.size > 1 for each in steady):
        raise InputError("no trace of a constant current holds two spikes, so its dead time is unknown; record longer")


def _unknown(card: NeuronCard, judging: Sequence[Trace]) -> list[str]:
    assumed = [name for name, entry in card.parameters.items() if entry.source.startswith("assumed: no trace")]
    said = [f"assumed, since no trace shows it: {', '.join(map(shown, assumed))} (--set says them)"] if assumed else []
    if not judging:
        said.append("nothing was held out, so nothing but the fit says how good this card is (--held-out TRACE)")
    return said


def _not_told(recordings: Sequence[Recording], chosen: Trial, tau_0_s: float | None) -> list[str]:
    """What of the film the traces do not tell, and what would, a sentence each."""
    x, said = chosen.parameters, []
    if x.model is FeLIFModel and tau_0_s is None:
        field, time_s = switching_times(recordings, x)
        ends = np.argsort(-time_s)[[0, -1]]
        slow, fast = (f"{format_si(time_s[n], 's', 3)} at {1e-8 * field[n]:.2f} MV/cm" for n in ends)
        said.append(
            f"'tau_0' = {format_si(x.tau_0, 's')} is a convention; the traces tell the film's switching time, {slow} "
            f"to {fast}, and another tau_0 gives the same times with another 'alpha' and 'activation_field' "
            "(--set tau_0 says that of a known film; pulses on the bare film tell it: bruno fit fecap)"
        )
    if not all(r.knows_polarization for r in recordings):
        said.append(
            "without a polarization 'eps_hzo' and 'saturation_polarization' share the charge by the voltage's shape "
            "alone: a film that the model does not follow shifts them against each other by more than their standard "
            "errors (a polarization column, or a P-V loop of the film: bruno fit fecap)"
        )
    free, matrix = [f.name for f in chosen.fit.free], chosen.fit.matrix
    if matrix.size:
        sigma = np.sqrt(np.diag(matrix))
        together = np.triu(matrix / np.outer(sigma, sigma), 1)
        for a, b in np.argwhere(np.abs(together) > TOGETHER):
            said.append(
                f"the errors of {shown(free[a])} and {shown(free[b])} go together ({together[a, b]:+.3f}): the traces "
                "tell a combination of them better than each"
            )
    return said


def recordings_of(traces: Sequence[Trace]) -> list[Recording]:
    """Of `traces`, for figures."""
    return [each.recording for each in traces]
