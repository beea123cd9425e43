"""A few neurons of a trained layer with their resistors and mirrors in one deck, against torch.

    V_m = v_read x_m[t]  (inputs),  v_read s_m[t-1]  (recurrence, as torch recorded it)
    i_n = gain sum_m V_m (G+_nm - G-_nm) + bias,   gain = i_unit w_full / (g_step steps v_read)

The resistors are the conductances of ``DeviceLinear.programming()``: the run's own chip, each device with its spread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.calibration.circuits.crossbar import CrossbarArray, CrossbarRun
from bruno_spice.calibration.neuron.validation import matched_fraction
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from bruno_spice.training.networks.network import AnyNetwork, Network, SpikingLayer
from bruno_spice.training.neurons.base import CircuitLayer
from bruno_spice.training.roundtrip.circuit import felif_parameters
from bruno_spice.training.roundtrip.compare import STEP_S, Trial, root_mean, score_trial
from bruno_spice.training.roundtrip.recorded import Recorded, circuit_layers, run_network, spread_over_ranks
from bruno_spice.training.synapses.device import MINUS, PLUS, DeviceLinear

Array = NDArray[np.float64]
NEURONS = 4
MILLISECONDS = 25
LIMITLESS_A = (-1.0, 1.0)


def why_not(network: AnyNetwork, layer: str) -> str | None:
    """Why there is no crossbar deck of `layer`, in words; None where there is one."""
    if not isinstance(network, Network):
        return "a network of one's own may read its arrays in any way"
    if not layer.startswith("hidden."):
        return "the output neurons read analogue features, which are no read pulses"
    module = _layer(network, layer)
    if not isinstance(module.synapse, DeviceLinear):
        return "the weights of this run have no devices"
    if circuit_layers(network)[layer].devices:
        return "its neurons have devices of their own"
    return None


def _layer(network: AnyNetwork, layer: str) -> SpikingLayer:
    assert isinstance(network, Network)
    module = network.hidden[int(layer.rpartition(".")[2])]
    assert isinstance(module, SpikingLayer)
    return module


def choose(recorded: Recorded, chosen: Sequence[int], count: int = NEURONS) -> list[int]:
    """`count` of the neurons `chosen`, spread over their spikes in the excerpt; those that spike there first."""
    spikes = recorded.spikes[:MILLISECONDS, 0, list(chosen)].sum(0)
    order = np.argsort(spikes, kind="stable")
    active, quiet = order[spikes[order] > 0], order[spikes[order] == 0]
    places = spread_over_ranks(active, count) + spread_over_ranks(quiet, count)
    return [chosen[place] for place in places[:count]]


def crossbar_run(
    network: AnyNetwork, recorded: Recorded, neurons: Sequence[int], overrides: Mapping[str, float]
) -> CrossbarRun:
    """The deck of `neurons` over the first `MILLISECONDS` of the first recorded piece."""
    layer = _layer(network, recorded.layer)
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        run_network(network, recorded.batch)
    finally:
        hook.remove()
    steps = min(MILLISECONDS, int(recorded.lengths[0]))
    inputs = seen[0][:steps, 0].cpu().double().numpy()
    arrays = [crossbar_array("in", layer.synapse, inputs, neurons, layer.unit_current_a)]
    if layer.recurrent is not None:
        before = np.zeros((steps, recorded.spikes.shape[-1]))
        before[1:] = recorded.spikes[: steps - 1, 0]
        arrays.append(crossbar_array("rec", layer.recurrent, before, neurons, layer.unit_current_a))
    with torch.no_grad():
        bias_a = layer.bias[list(neurons)].cpu().double().numpy() * layer.unit_current_a
    limits = circuit_layers(network)[recorded.layer].limits
    return CrossbarRun(arrays, bias_a, (limits.low_a, limits.high_a) if limits else LIMITLESS_A, overrides)


def crossbar_array(name: str, synapse: Any, inputs: Array, neurons: Sequence[int], unit_a: float) -> CrossbarArray:
    """The rows, resistors and mirror gain of `synapse` towards `neurons`; `inputs` (T, M) in read pulses."""
    assert isinstance(synapse, DeviceLinear)
    program = synapse.programming()
    plus_s = program.g_expected_s[PLUS][list(neurons)]
    if program.reference is None:
        minus_s = program.g_expected_s[MINUS][list(neurons)]
    else:
        minus_s = np.broadcast_to(program.reference.g_expected_s, plus_s.shape)
    v_read = synapse.model.read_voltage_v
    gain = unit_a * float(synapse.scale()) / (synapse.g_step_s * synapse.steps_per_scale * v_read)
    return CrossbarArray(name, v_read * inputs, plus_s, minus_s, gain)


def compare_crossbar(
    run: CrossbarRun, waves: Sequence[Waveform], neurons: Sequence[int], recorded: Recorded, neuron: CircuitLayer
) -> tuple[dict[str, Any], list[Trial]]:
    """Figures of SPICE's `waves` of `run` beside torch's, with a row for each of `neurons`, and the trials."""
    steps = len(run.arrays[0].rows_v)
    middles_s = (np.arange(steps) + 0.5) * STEP_S
    rows: list[dict[str, Any]] = []
    trials: list[Trial] = []
    for index, wave in zip(neurons, waves, strict=True):
        current_a = recorded.current_a[:steps, 0, index]
        drive = Stimulus.steps(current_a, name=f"neuron {index} in the crossbar")
        parameters = felif_parameters(neuron, index)
        model = simulate(parameters, drive, steps * STEP_S)
        trial = Trial(recorded.pieces[0], drive, recorded.shown(steps, 0, index), model, wave)
        score = score_trial(trial, parameters)
        trials.append(trial)
        rows.append({
            "neuron": index,
            "current_error_a": float(np.abs(wave.resampled(middles_s)["i_syn_a"] - current_a).max()),
            "current_rms_a": float(np.sqrt(np.mean(current_a**2))),
            "spikes_torch": score.torch, "spikes_spice": score.spice, "spikes_matched": score.matched,
            "voltage_rms_v": root_mean(score.voltage_squares, score.samples),
        })  # fmt: skip
    totals = [sum(int(row[name]) for row in rows) for name in ("spikes_matched", "spikes_torch", "spikes_spice")]
    lines = [int(np.any(array.rows_v != 0, axis=0).sum()) for array in run.arrays]
    return {
        "milliseconds": steps,
        "piece": recorded.pieces[0],
        "lines": sum(lines),
        "resistors": 2 * sum(lines) * len(rows),
        "spikes_matched_fraction": matched_fraction(*totals),
        "current_error_a": max(row["current_error_a"] for row in rows),
        "neurons": rows,
    }, trials
