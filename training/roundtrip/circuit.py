"""Which circuit stands for a neuron of a run, and running it, and the card's equations, under given currents.

A neuron on a piece is a deck of its own: it starts where torch's neuron starts (discharged, polarization written
back), decks run side by side on the farm, and each is kept by its content, so that a stopped validation goes on where
it was. A device of its own (`neuron.spread`) scales the netlist's parameters by what its card parameters are to the
card's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bruno_spice.calibration.benches.neuron import LEVELS
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NeuronRun, neuron_jobs, neuron_waveform
from bruno_spice.calibration.circuits.origin import Circuit, circuit_at, circuit_of
from bruno_spice.calibration.errors import CalibrationError, SimulationError
from bruno_spice.calibration.spice.farm import Farm, Job, try_jobs
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from bruno_spice.training.neurons.base import CircuitLayer
from bruno_spice.training.roundtrip.compare import STEP_S, Trial
from bruno_spice.training.roundtrip.recorded import Recorded


def find_circuit(
    card: NeuronCard, level: str = "a", netlist: Path | None = None, inside: Path | None = None
) -> Circuit:
    """The circuit that `card` was calibrated on (level ``a``), its transistor version (``b``), or `netlist`.

    Raises `InputError` where the card names none that can be found (with `inside`: that may be read from there),
    `NetlistError` where it cannot be read.
    """
    if netlist is None and level != "a":
        netlist = LEVELS[level]
    if netlist is not None:
        return circuit_at(netlist, card)
    return circuit_of(card, "name one with --netlist FILE", inside)


def device_values(neuron: CircuitLayer, index: int) -> dict[str, float]:
    """Card parameters of the neuron at `index` that are not the card's: of its own device, or trained with the
    weights."""
    values = {name: float(getattr(neuron, f"device_{name}")[index]) for name in neuron.devices}
    for name, factor in neuron.factors().items():
        own = factor.detach().flatten()
        values[name] = values.get(name, neuron.card[name]) * float(own[index if len(own) > 1 else 0])
    return values


def deck_overrides(circuit: Circuit, neuron: CircuitLayer, index: int) -> dict[str, float]:
    """The netlist's parameters that stand for the neuron at `index`.

    Raises `InputError` where its device differs in something that the netlist has no parameter for, or in what the
    netlist has one parameter for and the card several that differ each by a factor of its own.
    """
    values = dict(circuit.overrides)
    device = device_values(neuron, index)
    nominal = neuron_deck(circuit.netlist).params if device else {}
    deck_parameter = neuron.card.NEURON.deck_parameter
    for name, value in device.items():
        deck_name = deck_parameter(name)
        if deck_name is None or deck_name not in nominal or nominal[deck_name].value is None:
            raise InputError(
                f"the neurons of this run differ in {name}, for which {circuit.netlist.name} has no .param; "
                f"what can be carried over is {', '.join(filter(deck_parameter, neuron.card.parameters))}"
            )
        alike = [other for other in neuron.card.parameters if deck_parameter(other) == deck_name]
        factors = [device.get(other, neuron.card[other]) / neuron.card[other] for other in alike]
        if not np.allclose(factors, factors[0]):
            raise InputError(
                f"the netlist has one .param {deck_name} for {', '.join(alike)}, which neuron {index} has at "
                f"{', '.join(f'{factor:.4g}' for factor in factors)} of the card's; leave them out of neuron.spread"
            )
        base = circuit.overrides.get(deck_name, nominal[deck_name].value)
        values[deck_name] = float(base or 0.0) * value / neuron.card[name]
    return values


def stimulus(recorded: Recorded, place: int, index: int) -> Stimulus:
    """What the neuron at `index` saw on the piece at `place`: a step a millisecond, edges of 1 us."""
    name = f"neuron {index} on test piece {recorded.pieces[place]}"
    return Stimulus.steps(recorded.current_a[: recorded.lengths[place], place, index], name=name)


def run_trials(
    recorded: Recorded,
    neuron: CircuitLayer,
    overrides: Mapping[int, Mapping[str, float]],
    netlist: Path,
    farm: Farm,
    beside: Sequence[Job] = (),
) -> tuple[dict[int, list[Trial]], dict[int, list[str]], list[Waveform | CalibrationError]]:
    """Trials of each neuron of `overrides` on every piece, what ngspice said of decks that it could not do, and what
    the jobs `beside` brought, which are simulated at the same time.

    Raises `NetlistError` where the netlist is at fault.
    """
    keys = [(index, place) for index in overrides for place in range(len(recorded.pieces))]
    runs = [
        NeuronRun(stimulus(recorded, place, index), float(recorded.lengths[place]) * STEP_S, overrides[index])
        for index, place in keys
    ]
    parameters = {index: felif_parameters(neuron, index) for index in overrides}
    trials: dict[int, list[Trial]] = {index: [] for index in overrides}
    failures: dict[int, list[str]] = {index: [] for index in overrides}
    jobs = neuron_jobs(runs, netlist)
    outcomes = try_jobs([*beside, *jobs], farm)
    for (index, place), run, job, raw in zip(keys, runs, jobs, outcomes[len(beside) :], strict=True):
        if isinstance(raw, CalibrationError):
            if isinstance(raw, InputError):
                raise raw
            failures[index].append(str(raw))
            continue
        try:
            spice = neuron_waveform(raw, run.stimulus, job)
        except SimulationError as error:
            failures[index].append(str(error))
            continue
        trials[index].append(trial(recorded, place, index, run, parameters[index], spice))
    return trials, failures, outcomes[: len(beside)]


def felif_parameters(neuron: CircuitLayer, index: int) -> NeuronParameters:
    """The card's numbers for the neuron at `index`."""
    return NeuronParameters.from_card(neuron.card.with_values(**device_values(neuron, index)))


def trial(
    recorded: Recorded, place: int, index: int, run: NeuronRun, parameters: NeuronParameters, spice: Waveform
) -> Trial:
    """Torch, the card's equations and `spice` for the neuron at `index` on the piece at `place`."""
    shown = recorded.shown(round(run.t_stop_s / STEP_S), place, index)
    model = simulate(parameters, run.stimulus, run.t_stop_s)
    return Trial(recorded.pieces[place], run.stimulus, shown, model, spice)
