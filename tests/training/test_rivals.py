"""The rivals of FeLIF are what was published: each against an integration of its equations that shares no code."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.neurons.adaptive_lif import AdaptiveLIF
from bruno_spice.training.neurons.current_lif import CurrentLIF
from bruno_spice.training.neurons.learned_lif import LearnedLIF
from bruno_spice.training.neurons.lif import LIF
from bruno_spice.training.runs.evaluation import deviation, evaluate
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import SweepConfig, best_of_each, sweep

C_F, THRESHOLD_V = 4e-12, 2.5
SMALL = {"task": "pulses", "task_options": {"trials": 40, "steps": 6}, "network": {"hidden": [4]},
         "synapse": {"kind": "float"}, "training": {"epochs": 1, "batch_size": 8}}  # fmt: skip
STEPPED = {
    "adaptive": lambda: AdaptiveLIF(15e-3, 120e-3, 1.2),
    "current-based": lambda: CurrentLIF(12e-3, 4e-3),
    "current-based, equal time constants": lambda: CurrentLIF(8e-3, 8e-3),
    "learned": lambda: LearnedLIF(3, 9e-3).double(),
    "plain": lambda: LIF(7e-3),
}


def flow(name, current_a):
    """d(state)/dt of one neuron in 1/s under a constant current; state (V, ...)."""
    if name == "adaptive":  # V, b
        return lambda _, y: [-y[0] / 15e-3 + current_a / C_F, -y[1] / 120e-3]
    if name.startswith("current"):  # V, i in nA
        tau_s, synapse_s = (8e-3, 8e-3) if "equal" in name else (12e-3, 4e-3)
        return lambda _, y: [-y[0] / tau_s + 1e-9 * y[1] / C_F, (1e9 * current_a - y[1]) / synapse_s]
    if name == "learned":
        return lambda _, y: [-y[0] / 9e-3 + current_a / C_F]
    return lambda _, y: [-y[0] / 7e-3]


def integrated(name, current_a, recurrent_a):
    """Spikes and voltages (T, N) of the differential equations, the published rule at the end of each millisecond."""
    steps, width = current_a.shape
    states = [np.zeros(1 + (name == "adaptive" or name.startswith("current"))) for _ in range(width)]
    spikes, voltages = np.zeros((steps, width)), np.zeros((steps, width))
    for t in range(steps):
        total_a = current_a[t] + (spikes[t - 1] if t else np.zeros(width)) @ recurrent_a
        for n in range(width):
            before = states[n]
            y = solve_ivp(flow(name, total_a[n]), (0, 1e-3), before, rtol=1e-11, atol=1e-13, method="DOP853").y[:, -1]
            if name == "plain":
                y[0] += total_a[n] * 1e-3 / C_F
            threshold = THRESHOLD_V * (1 + 1.2 * before[1]) if name == "adaptive" else THRESHOLD_V
            fired = float(y[0] >= threshold)
            spikes[t, n], voltages[t, n] = fired, y[0]
            if name == "adaptive":
                y[0] -= threshold * fired
                y[1] += (1 - math.exp(-1e-3 / 120e-3)) * fired
            elif name.startswith("current"):
                y[0] -= THRESHOLD_V * fired
            else:
                y[0] *= 1 - fired
            states[n] = y
    return spikes, voltages


@pytest.mark.parametrize("name", STEPPED)
def test_a_layer_follows_the_integrated_equations_with_recurrence(name):
    rng = np.random.default_rng(3)
    current_a = rng.uniform(-1e-9, 5e-9, (40, 3))
    recurrent_a = rng.normal(0, 2e-9, (3, 3))
    spikes, voltage_v = integrated(name, current_a, recurrent_a)
    out, _ = STEPPED[name]()(torch.tensor(current_a)[:, None], None, torch.tensor(recurrent_a))
    assert 10 < spikes.sum() < 100
    np.testing.assert_array_equal(out.spikes[:, 0].detach(), spikes)
    atol = 1e-7 if name == "learned" else 1e-9  # of V; its parameter is kept in float32
    np.testing.assert_allclose(out.voltage_v[:, 0].detach(), voltage_v, rtol=1e-7, atol=atol)


@pytest.mark.parametrize("name", STEPPED)
def test_a_sequence_in_two_parts_and_one_that_ends_are_the_same_neurons(name):
    layer = STEPPED[name]()
    current_a = torch.rand(20, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 6e-9
    whole, state = layer(current_a)
    first, between = layer(current_a[:12])
    second, after = layer(current_a[12:], between)
    torch.testing.assert_close(torch.cat([first.voltage_v, second.voltage_v]), whole.voltage_v)
    for a, b in zip(state, after, strict=True):
        torch.testing.assert_close(a, b)
    ended, kept = layer(current_a, None, None, torch.tensor([12, 20]))
    assert not ended.spikes[12:, 0].any()
    torch.testing.assert_close(ended.spikes[:, 1], whole.spikes[:, 1])
    torch.testing.assert_close(kept.voltage_v[0], between.voltage_v[0])
    torch.testing.assert_close(kept.domains[:, 0], between.domains[:, 0])


def test_a_learned_time_constant_has_its_true_gradient():
    layer = LearnedLIF(2, 6e-3).double()
    current_a = torch.rand(9, 1, 2, dtype=torch.float64) * 1e-9  # no spike
    weight = torch.randn(9, 1, 2, dtype=torch.float64)

    def value():
        return (weight * layer(current_a)[0].voltage_v).sum()

    value().backward()
    found = layer.logit.grad.clone()
    with torch.no_grad():
        for n in range(2):
            ends = []
            for sign in (1, -1):
                layer.logit[n] += sign * 1e-5
                ends.append(float(value()))
                layer.logit[n] -= sign * 1e-5
            assert found[n] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    torch.testing.assert_close(layer.time_constants_s(), torch.full((2,), 6e-3, dtype=torch.float64))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_gated_layer_follows_its_equations(name):
    torch.manual_seed(0)
    layer = NEURONS[name].gated(3, 4).double()
    w, u, b, c = (each.detach().numpy() for each in layer.cell.parameters())
    inputs = torch.randn(7, 1, 3, dtype=torch.float64)
    h = memory = np.zeros(4)
    for t, x in enumerate(inputs[:, 0].numpy()):
        from_input, from_hidden = np.split(w @ x + b, len(b) // 4), np.split(u @ h + c, len(b) // 4)
        if name == "gru":
            r, z = (sigmoid(from_input[k] + from_hidden[k]) for k in (0, 1))
            h = (1 - z) * np.tanh(from_input[2] + r * from_hidden[2]) + z * h
        else:
            i, f, g, o = (from_input[k] + from_hidden[k] for k in range(4))
            memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(memory)
        np.testing.assert_allclose(layer(inputs)[t, 0].detach(), h, rtol=1e-10)


@pytest.mark.parametrize("name", ["adaptive-lif", "current-lif", "learned-lif"])
def test_a_rival_trains_by_name_and_takes_its_options(tmp_path, one_thread, name):
    config = RunConfig.model_validate(SMALL).with_values(network__neuron=name, neuron__options={"tau_s": "15m"})
    result = train(config, tmp_path / "run")
    assert evaluate(tmp_path / "run")["test"] == result["test"]
    torch.manual_seed(0)
    network = build_network(config, 2, 2, None, None)
    network(torch.ones(30, 2, 2) * (torch.rand(2) + 0.5)).logits.square().sum().backward()
    assert all(bool(torch.isfinite(each.grad).all()) for each in network.parameters() if each.grad is not None)
    if name == "learned-lif":
        assert network.hidden[0].neuron.logit.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: AdaptiveLIF(tau_adaptation_s=0.0), "tau_adaptation_s must be positive and finite, not 0"),
        (lambda: CurrentLIF(tau_synapse_s=math.inf), "tau_synapse_s must be positive and finite, not inf"),
        (lambda: LearnedLIF(3, v_threshold_v=-1.0), "v_threshold_v must be positive"),
        (lambda: AdaptiveLIF(shape="square"), "unknown surrogate shape 'square'"),
    ],
)
def test_constants_that_no_neuron_has_are_refused(make, complaint):
    with pytest.raises(InputError, match=complaint):
        make()


def test_rivals_are_tuned_by_the_same_search_and_the_table_says_what_was_spent(tmp_path, one_thread, bruno):
    base = tmp_path / "base.yaml"
    base.write_text(RunConfig.model_validate(SMALL).to_yaml())
    raw = {
        "config": str(base), "seeds": [0, 1], "trials": 2, "each": {"network.neuron": ["lif", "learned-lif"]},
        "search": {"training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
    }  # fmt: skip
    plan = SweepConfig.model_validate(raw)
    rows = sweep(plan, tmp_path / "runs")
    assert [row["settings"]["network.neuron"] for row in rows].count("lif") == 2
    settings = [row["settings"] for row in rows]
    tried = {name: {each["training.learning_rate"] for each in settings if each["network.neuron"] == name}
             for name in ("lif", "learned-lif")}  # fmt: skip
    assert tried["lif"] & tried["learned-lif"]  # the first draw of the same sampler
    for row in rows:
        assert (row["trials"], row["seeds"], row["updates"]) == (2, 2, 2 * 4)
        assert row["train_s"] > 0
    parameters = {row["settings"]["network.neuron"]: row["parameters"] for row in rows}
    assert parameters["learned-lif"] - parameters["lif"] == 4  # a time constant a neuron
    said = best_of_each(plan, rows)
    assert [line.partition(":")[0] for line in said] == ["network.neuron lif", "network.neuron learned-lif"]
    assert all("; budget 2 trials of 2 seeds, 16 updates, " in line for line in said)
    assert "seeds,parameters,updates,train_s" in (tmp_path / "runs" / "table.csv").read_text()
    with pytest.raises(ValueError, match="each goes with a search"):
        SweepConfig.model_validate({"grid": {"seed": [0]}, "each": {"network.neuron": ["lif"]}})


@pytest.mark.parametrize("higher", [True, False])
def test_a_setting_of_which_every_run_broke_comes_after_one_of_which_some_did(higher, tmp_path, monkeypatch):
    def run(base, settings, seed, *_):
        bits = settings["synapse.bits"]
        if bits == 2 or (bits == 3 and seed == 0):
            raise BrunoError(f"{bits} bits break")
        score = {"accuracy": 0.5 + 0.1 * bits}
        return {"metric": "accuracy", "higher_is_better": higher, "valid": score, "test": score}

    monkeypatch.setattr("bruno_spice.training.studies.sweep._run", run)
    (tmp_path / "base.yaml").write_text("task: pulses\n")
    plan = SweepConfig(config=str(tmp_path / "base.yaml"), seeds=[0, 1], grid={"synapse.bits": [2, 3, 4]})
    rows = sweep(plan, tmp_path / "s")
    assert [row["settings"]["synapse.bits"] for row in rows] == [4, 3, 2]
    assert [row.get("broken", "").count("break") for row in rows] == [0, 1, 2]


def test_the_spread_of_few_is_that_of_a_sample():
    assert deviation(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2.0))
    assert deviation(np.array([1.0])) == 0.0
    np.testing.assert_allclose(deviation(np.array([[1.0, 2.0], [3.0, 2.0]]), axis=0), [np.sqrt(2.0), 0.0])
