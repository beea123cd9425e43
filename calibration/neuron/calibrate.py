"""The neuron from netlist to card: simulate, fit in stages, choose the number of domains, validate.

Three sets of stimuli (`calibration.circuits.stimuli`) are kept apart: the fit sees constant currents and a rest; the
number of domains is chosen on a second set; the card's figures of merit come from a third. The envelope is what that
third set covered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.cards.provenance import circuit_parameter, provenance
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.drive import measure_drive
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.recording import Recording, SpikeMeasures, measure_spikes
from bruno_spice.calibration.circuits.stimuli import Drive
from bruno_spice.calibration.fitting.least_squares import Fit, Free, belief
from bruno_spice.calibration.fitting.memo import code_of, remembered
from bruno_spice.calibration.neuron.fit import fit_in_stages
from bruno_spice.calibration.neuron.inhibition import Inhibition, measure_inhibition
from bruno_spice.calibration.neuron.validation import NetworkScore, NeuronComparison, network_score, validate_neuron
from bruno_spice.calibration.neuron.variability import neuron_variability, sampled_devices
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.base import NeuronCard, card_class
from bruno_spice.devices.cards.parts import Parameter, Range
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.devices.stimulus import Stimulus

Array = NDArray[np.float64]

DOMAINS = (1, 4)
"""The numbers of domains that a card is chosen from: the published model's, and what it takes to find the spikes of a
trained network again in SPICE (docs/explanation/roundtrip.md)."""
GOOD_ENOUGH = 1.1
"""The fewest domains are taken whose selection error is within this factor of the best."""
MAX_EXTENSIONS = 3
"""How often a silent transient is doubled in length before the fit gives up on it."""
LEAST_MATCHED, JUDGED_SPIKES = 0.8, 10
"""Share of the spikes under network-like input below which a card is not to be believed, of so many at least."""
THERMAL_VOLTAGE_V = 26e-3
"""Below it a transistor mirror loses its current."""
Notice = Callable[[str], None]


@dataclass(frozen=True)
class NeuronCalibration:
    """The card with the SPICE recordings that it was fitted to and validated on."""

    card: NeuronCard
    fitted: list[Recording]
    held_out: list[Recording]
    fitted_comparisons: list[NeuronComparison]
    held_out_comparisons: list[NeuronComparison]
    drive: Drive = field(default_factory=Drive)

    def reference(self) -> Recording:
        """The recording nearest to the paper's 308 pA, or what stands for it."""
        steady = (r for r in self.fitted if r.steady)
        return min(steady, key=lambda r: abs(np.log(r.stimulus.i_syn_a[-1] / self.drive.constant_a(308e-12))))

    def model_frequency(self, points: int = 40) -> tuple[Array, Array]:
        """Currents in A over the fitted range and the model's spike frequency in Hz there; silent ones left out."""
        currents = np.geomspace(*_span([r.stimulus.i_syn_a[-1] for r in self.fitted if r.steady]), points)
        rates = []
        for current in currents:
            charge_c = 1.5 * stimuli.CHARGE_PER_RECORDING_C * self.drive.scale
            end_s = charge_c / (current - self.drive.offset_a) + stimuli.DEAD_TIME_PER_RECORDING_S
            spikes = simulate(self.card, Stimulus.dc(current), end_s, dt_s=1e-3).spike_times_s
            rates.append(1.0 / np.diff(spikes).mean() if spikes.size > 1 else np.nan)
        spiking = np.isfinite(rates)
        return currents[spiking], np.array(rates)[spiking]


@dataclass(frozen=True)
class Trial:
    """One number of domains: its fit, to be believed or not, and its error on the selection set."""

    domains: int
    fit: Fit
    parameters: NeuronParameters
    spike_time_scale: float
    """Relative spike-time error that the fit weighed as one (`calibration.neuron.fit.Scales`)."""
    voltage_rms_v: float

    def as_dict(self) -> dict[str, float | int | str]:
        """For the card."""
        return {
            "domains": self.domains,
            "voltage_rms_v": self.voltage_rms_v,
            "note": self.fit.doubt or "believed",
        }


def calibrate_neuron(
    netlist: Path = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    domains: Sequence[int] = DOMAINS,
    command: str = "bruno calibrate neuron",
    network_traces: int = 20,
    monte_carlo: int = 0,
    notice: Notice = lambda _: None,
    current_scale: float | None = None,
    currents_a: Sequence[float] = (),
    model: type[NeuronModel] = FeLIFModel,
) -> NeuronCalibration:
    """Simulate `netlist` (pins: see spice_netlists/README.md), fit `model`, validate, and make the card.

    `domains` are the numbers K of polarization domains to choose from (1 is the published model); so many `monte_carlo`
    devices give the card its variability (0: none); `notice` is told what goes on. The currents are those of the
    project's neuron times `current_scale`, which is measured unless given, and those of the fit `currents_a` if given.
    A fit that cannot be believed still makes a card, which says so (`Card.doubt`) and has no variability.
    Raises `InputError` or `NetlistError` before anything runs, `SimulationError` or `FitError`.
    """
    farm = farm or Farm()
    overrides = dict(overrides or {})
    deck = neuron_deck(netlist)
    origin = provenance(deck, overrides, command, farm.simulator)
    if not model.domain_parameters:
        domains = (1,)
    known = known_parameters(deck.with_params(overrides), model)
    if monte_carlo:
        sampled_devices(netlist, monte_carlo, overrides)

    measured = measure_drive(netlist, overrides, farm, notice, current_scale)
    drive = replace(measured, currents_a=tuple(currents_a))
    told = notice if current_scale is not None else _untold
    inhibition = measure_inhibition(record([stimuli.rest_and_floor(drive)], netlist, overrides, farm, told)[0])
    known |= _inhibited(inhibition, known)
    fitted = fit_recordings(netlist, overrides, farm, drive)
    selection = record(stimuli.selection_runs(drive), netlist, overrides, farm) if len(domains) > 1 else []
    held_out = record(stimuli.validation_runs(network_traces, drive), netlist, overrides, farm)
    start = start_parameters(measure_spikes(fitted), {name: p.value for name, p in known.items()}, model)
    trials = [fit_domains(k, fitted, selection, start, notice) for k in sorted(domains)]
    chosen, why = choose(trials)
    for held in chosen.fit.held:
        notice(f"'{held.name}' ended on its bound and is held there: {chosen.fit.values[held.name]:g}")
    fitted_comparisons = validate_neuron(fitted, chosen.parameters)
    held_out_comparisons = validate_neuron(held_out, chosen.parameters)
    score = network_score(held_out_comparisons)
    card = card_class(model).build(
        card_entries(chosen.parameters, chosen.fit, known),
        domains=chosen.domains,
        covariance=chosen.fit.covariance(),
        envelope=envelope([*fitted, *held_out]),
        fit=doubted(belief(chosen.fit), score)
        | {
            "domains_chosen": why,
            "domains_tried": [t.as_dict() for t in trials if selection],
            "drive": asdict(drive) | {"currents_a": list(drive.currents_a)},
            "evaluations": chosen.fit.evaluations,
            "spike_time_scale": chosen.spike_time_scale,
            "chi_square": float(np.sum(chosen.fit.residual**2)),
            "stimuli": [c.as_dict() for c in fitted_comparisons],
        },
        validation={
            "stimuli": [c.as_dict() for c in held_out_comparisons],
            "network_like": asdict(score),
        },
        provenance=origin,
    )
    if monte_carlo and not chosen.fit.doubt:
        notice(f"measuring the spread of {monte_carlo} devices")
        sigma, correlation = neuron_variability(card, netlist, monte_carlo, farm, overrides)
        card = card.model_copy(update={"variability": sigma, "variability_correlation": correlation})
    return NeuronCalibration(card, fitted, held_out, fitted_comparisons, held_out_comparisons, drive)


def doubted(
    belief: dict[str, Any], score: NetworkScore, where: str = "on network-like input", whose: str = "SPICE's"
) -> dict[str, Any]:
    """`belief`, or a doubt where held-out input shows another neuron: a good fit of first spikes is not enough."""
    if not belief["believed"] or score.spikes < JUDGED_SPIKES or score.matched_fraction >= LEAST_MATCHED:
        return belief
    return {
        "believed": False,
        "doubt": (
            f"{where} only {100 * score.matched_fraction:.0f} % of {score.spikes} spikes come within 1 ms of {whose}: "
            "the model does not describe this circuit"
        ),
    }


def _inhibited(measured: Inhibition, known: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Floor and compliance as `measured`; the compliance only where the circuit does not give it."""
    where = "measured under inhibition, to the millivolt"
    floor = where if measured.settled else "lowest voltage seen: under inhibition the membrane came to no floor"
    found = {"v_floor": Parameter(value=measured.v_floor, unit="V", source=floor)}
    if known["v_compliance"].source != "netlist" and measured.v_compliance is not None:
        source = "measured on the way to the floor"
        found["v_compliance"] = Parameter(value=measured.v_compliance, unit="V", source=source)
    return found


def _untold(_: str) -> None:
    pass


def record(
    runs: Sequence[stimuli.Run], netlist: Path, overrides: Mapping[str, float], farm: Farm, notice: Notice = _untold
) -> list[Recording]:
    """`netlist` under each of `runs` in ngspice; `notice` is told what `simulate_neurons` has to say."""
    waves = simulate_neurons([NeuronRun(stimulus, end, overrides) for stimulus, end in runs], netlist, farm, notice)
    return [Recording(stimulus, wave) for (stimulus, _), wave in zip(runs, waves, strict=True)]


def fit_recordings(
    netlist: Path, overrides: Mapping[str, float], farm: Farm, drive: Drive | None = None
) -> list[Recording]:
    """What the fit sees (`Drive.fit_runs`); a silent transient is simulated again, twice as long."""
    runs = (drive or Drive()).fit_runs()
    recordings = record(runs, netlist, overrides, farm)
    for _ in range(MAX_EXTENSIONS):
        silent = [n for n, r in enumerate(recordings) if r.spice.spike_times_s.size == 0]
        if not silent:
            break
        longer = record([(runs[n][0], 2 * recordings[n].t_stop_s) for n in silent], netlist, overrides, farm)
        for n, recording in zip(silent, longer, strict=True):
            recordings[n] = recording
    return recordings


def known_parameters(deck: Netlist, model: type[NeuronModel] = FeLIFModel) -> dict[str, Parameter]:
    """Those that `model` declares a ``.param`` for, each from `deck` or, where it does not say, assumed."""
    mirror = Parameter(value=THERMAL_VOLTAGE_V, unit="V", source="thermal voltage of the input mirror")
    assumed = card_class(model).published().parameters | {"v_compliance": mirror}
    named = {name: declared.param for name, declared in model.parameters.items() if declared.param is not None}
    return {name: circuit_parameter(deck, param, assumed[name]) for name, param in named.items()}


def start_parameters(
    measured: SpikeMeasures, known: Mapping[str, float] | None = None, model: type[NeuronModel] = FeLIFModel
) -> NeuronParameters:
    """The published film with what the spikes, and inhibition and the circuit (`known`) say: where every fit starts."""
    values: dict[str, Any] = {"v_compliance": THERMAL_VOLTAGE_V, "v_floor": 0.0} | dict(known or {})
    return replace(
        NeuronParameters.from_card(card_class(model).published()),
        v_threshold=measured.v_threshold,
        t_refractory=measured.t_refractory,
        v_reset=measured.v_reset,
        polarization_reset=measured.polarization_reset,
        leak="symmetric",
        **values,
    )


SOURCES = {
    "v_threshold": "measured on the spikes",
    "t_refractory": "measured on the spikes",
    "v_reset": "measured after the spikes, to the millivolt",
    "polarization_reset": "measured after the spikes, to a thousandth",
    "tau_0": "a hundredth of the fastest switching time, to the decade",
}
SOURCES_OF_DOMAINS = {"domain_weight_1": "1 less the other weights"}
NO_OFFSET = "0: not to be told from the activation field while the film is driven one way"


def card_entries(parameters: NeuronParameters, result: Fit, known: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Every parameter of the card with its source: fitted, measured, `known` of the circuit, or published."""
    sources = SOURCES | SOURCES_OF_DOMAINS if parameters.domains > 1 else SOURCES
    cards: Any = card_class(parameters.model)
    published = cards.published().parameters
    entries = {}
    for name, unit in cards.units(parameters.domains).items():
        stem, _, index = name.rpartition("_")
        per_domain = stem in cards.DOMAIN_UNITS
        value = float(getattr(parameters, stem)[int(index) - 1]) if per_domain else float(getattr(parameters, name))
        given = published[name].source if name in published else NO_OFFSET
        source = NO_OFFSET if stem == "offset_field" and parameters.domains > 1 else sources.get(name, given)
        entries[name] = Parameter(value=value, unit=unit, source=source)
    return entries | dict(known) | result.parameters(cards.units(parameters.domains))


def choose(trials: Sequence[Trial]) -> tuple[Trial, str]:
    """The trial with the fewest domains among the nearly best that are believed, and why; the first if none is."""
    believed = [t for t in trials if not t.fit.doubt]
    if len(trials) == 1 or not believed:
        return trials[0], "as asked for" if len(trials) == 1 else "none is believed: the fewest domains"
    best = min(t.voltage_rms_v for t in believed)
    chosen = next(t for t in believed if t.voltage_rms_v <= GOOD_ENOUGH * best)
    return chosen, (
        f"{chosen.domains} domains: {1e3 * chosen.voltage_rms_v:.1f} mV rms on stimuli held out from the fit, "
        f"the fewest within {100 * (GOOD_ENOUGH - 1):.0f} % of the best ({1e3 * best:.1f} mV)"
    )


def fit_domains(
    domains: int,
    fitted: Sequence[Recording],
    selection: Sequence[Recording],
    start: NeuronParameters,
    notice: Notice,
    tau_0_s: float | None = None,
) -> Trial:
    """The fit with that number of `domains`, from `start`, and its error on the `selection`; `tau_0_s` if known."""
    notice(f"fitting {start.model.label} with {domains} domain{'s' if domains > 1 else ''}")
    arrays = [a for r in fitted for a in (r.spice.time_s, *r.spice.signals.values(), r.spice.spike_times_s)]
    arrays += [a for r in fitted for a in (r.stimulus.time_s, r.stimulus.i_syn_a)]

    def compute() -> dict[str, Any]:
        result, parameters, scales = fit_in_stages(fitted, start, domains, tau_0_s)
        numbers = replace(result, matrix=result.matrix.tolist(), residual=result.residual.tolist())
        values = {name: np.asarray(value).tolist() for name, value in asdict(parameters).items()}
        return {"fit": asdict(numbers), "parameters": values, "spike_time_scale": scales.spike_time}

    inputs = ["neuron", code_of(start.model), *arrays, domains, start, *([] if tau_0_s is None else [tau_0_s])]
    found = remembered(inputs, compute, "fit of a neuron's card")
    free, held = (tuple(Free(**f) for f in found["fit"][kind]) for kind in ("free", "held"))
    numbers = {name: np.array(found["fit"][name]) for name in ("matrix", "residual")}
    result = Fit(**{**found["fit"], "free": free, "held": held, **numbers})
    parameters = type(start)(**found["parameters"])
    scores = [c.voltage_rms_all_v for c in validate_neuron(selection, parameters)]
    rms = float(np.mean(scores)) if scores else 0.0
    return Trial(domains, result, parameters, found["spike_time_scale"], rms)


def envelope(recordings: Sequence[Recording]) -> dict[str, Range]:
    """The currents, voltages and spike rates that `recordings` cover."""
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
