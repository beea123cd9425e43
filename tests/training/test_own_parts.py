"""A part of one's own is one file outside the package: a device, a gradient, a solver, a neuron, a task."""

import json

import pytest
import torch
import yaml

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry
from bruno_spice.training.dynamics import GRADIENTS, SOLVERS
from bruno_spice.training.networks.config import RunConfig, parse_config
from bruno_spice.training.networks.config_file import load_config
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.folder import Cards
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.synapses import SYNAPSES

MEASURED = '''
"""A table of measured levels with Gaussian spread, read noise and a slow decay."""
import numpy as np
from bruno_spice.training.synapses.device import DeviceLevels, SynapseDevice

TABLE_S = np.array([2e-6, 9e-6, 21e-6, 30e-6, 41e-6, 52e-6, 58e-6, 70e-6])

class Measured(SynapseDevice):
    label = "measured cell"
    setting_name = "g_write_s"
    states = ("factor",)

    def __init__(self, sigma: float = 0.03):
        self.sigma = sigma

    def levels(self, bits):
        some = TABLE_S[:: max(8 // 2**bits, 1)]
        return DeviceLevels(some, some)

    def mean(self):
        return (1.0,)

    def sample(self, shape, rng, cut_sigma):
        return (1 + self.sigma * np.clip(rng.normal(size=shape), -cut_sigma, cut_sigma),)

    def conductance_s(self, setting, factor):
        return setting * factor

    def read_noise_s(self, g_s, factor):
        return 0.01 * g_s

    def aged_s(self, g_s, age_s, factor):
        return g_s * (1 + age_s) ** -0.05
'''
DAMPED = '''
"""BRUNO's gradient of which a share passes."""
import torch
from bruno_spice.training.dynamics.gradients import Gradient, fused_sequence

class Damp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 0.25 * gradient

DAMPED = Gradient(lambda x, plan: fused_sequence(x._replace(current_a=Damp.apply(x.current_a)), plan))
'''
COUNTED = '''
"""Explicit Euler with few substeps, which counts its calls."""
import torch
from bruno_spice.training.dynamics.solvers import SolverInfo, euler

calls = []

def counted(*arguments):
    calls.append(arguments)
    return euler(*arguments)

COUNTED = SolverInfo(counted, 50, "substeps a macro step", torch.float64)
'''
ADAPTIVE = '''
"""A LIF whose threshold rises with each spike: V' = a V + I / I_unit - th s,  th' = b th + c s."""
import torch
from torch import nn
from bruno_spice.training.dynamics.surrogates import Spike, Surrogate
from bruno_spice.training.neurons.base import Outputs, State

class Adaptive(nn.Module):
    def __init__(self, decay: float = 0.7, rise: float = 0.2):
        super().__init__()
        self.decay, self.rise = decay, rise
        self.surrogate = Surrogate("voltage")

    def forward(self, current_a, state=None, recurrent_a=None, lengths=None):
        v = threshold = spikes = torch.zeros_like(current_a[0])
        seen, fired = [], []
        for i_a in current_a:
            if recurrent_a is not None:
                i_a = i_a + spikes @ recurrent_a
            v = self.decay * v + i_a / 10e-9
            spikes = Spike.apply(v - 1.0 - threshold, (v.detach() >= 1.0 + threshold).to(v.dtype), self.surrogate)
            seen.append(v)
            fired.append(spikes)
            v = v * (1 - spikes.detach())
            threshold = 0.9 * threshold + self.rise * spikes.detach()
        zeros = torch.zeros_like(torch.stack(seen))
        out = Outputs(torch.stack(fired), torch.stack(seen), zeros, current_a.detach())
        return out, State(v, v[None], v, v, spikes)
'''
TASK = """
import numpy as np
from bruno_spice.training.tasks.classification import classification

def counts(trials: int = 60, steps: int = 6):
    rng = np.random.default_rng(0)
    classes = np.arange(trials) % 2
    pulses = (rng.random((trials, steps, 1)) < np.where(classes == 0, 0.7, 0.1)[:, None, None]).astype(np.float32)
    return classification(list(pulses), classes, ["many", "few"], "made")
"""
SMALL = {"task": "pulses", "task_options": {"trials": 40, "steps": 4},
         "network": {"hidden": [5], "unit_current_a": 1e-9}, "training": {"epochs": 1}}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch, one_thread):
    """A working folder with five files of the user's, and none of the package touched."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("cells", MEASURED), ("damped", DAMPED), ("counted", COUNTED), ("adaptive", ADAPTIVE),
                       ("mine", TASK)):  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


OWN = {
    "synapse": {"synapse": {"kind": "cells.py:Measured", "options": {"sigma": 0.1}, "age_s": 100}},
    "gradient": {"neuron": {"gradient": "damped.py:DAMPED"}},
    "solver": {"neuron": {"options": {"solver": "counted.py:COUNTED"}}},
    "neuron": {"network": {"hidden": [5], "neuron": "adaptive.py:Adaptive", "recurrent": True},
               "neuron": {"options": {"rise": 0.4}}},
    "output neuron": {"network": {"hidden": [5], "neuron": "gru", "output_neuron": "adaptive.py:Adaptive"}},
    "task": {"task": "mine.py:counts", "task_options": {"trials": 40}},
}  # fmt: skip


@pytest.mark.parametrize("part", OWN)
def test_a_part_of_ones_own_trains_from_one_file(here, part):
    config = parse_config(SMALL | OWN[part], "here")
    result = train(config, here / "run")
    assert 0 <= result["test"]["accuracy"] <= 1
    scores = evaluate(here / "run", chips=1, trust_code=True)
    assert scores["test"] == result["test"]
    with pytest.raises(InputError, match=r"would run '\w+' of .*\.py'; add --trust-code"):
        evaluate(here / "run")
    needs = {"felif", "rram"} - ({"rram"} if part == "synapse" else {"felif"} if part == "neuron" else set())
    assert set(result["cards"]) == needs


def test_the_command_line_takes_all_of_them_at_once_and_a_configuration_needs_trust(here, bruno):
    words = ("--neuron", "adaptive.py:Adaptive", "--synapse", "cells.py:Measured", "--bits", 2, "--epochs", 1)
    code, out, err = bruno("train", "--task", "mine.py:counts", *words, "--set", "network.hidden=[4]", "--json")
    assert code == 0, err
    run = json.loads(out)["run"]
    assert run == "runs/mine-Adaptive-0"
    assert bruno("report", run)[0] == 0
    for command in (("evaluate", run), ("program", run), ("train", "--out", run, "--resume")):
        assert "--trust-code" in bruno(*command)[2]
    code, _, err = bruno("program", run, "--trust-code")
    assert code == 0, err
    table = (here / run / "programming" / "readout.csv").read_text().splitlines()
    assert table[0] == "row,column,polarity,level,g_write_s,g_target_s,g_expected_s"
    assert {line.split(",")[4] for line in table[1:]} <= {"2e-06", "2.1e-05", "4.1e-05", "5.8e-05"}
    assert "no FeLIF neurons, so there is no circuit" in " ".join(bruno("validate", run, "--trust-code")[2].split())


@pytest.mark.parametrize("part", OWN)
def test_whichever_key_names_code_a_received_file_runs_it_only_when_told(here, bruno, part):
    (here / "got.yaml").write_text(yaml.safe_dump(SMALL | OWN[part]))
    for name in ("cells", "damped", "counted", "adaptive", "mine"):
        (here / f"{name}.py").write_text("from pathlib import Path\nPath('PWNED').touch()\n")
    (here / "sweep.yaml").write_text(yaml.safe_dump({"config": "got.yaml", "grid": {"seed": [0]}}))
    for words in (("train", "--config", "got.yaml"), ("sweep", "sweep.yaml")):
        code, _, said = bruno(*words)
        assert (code, (here / "PWNED").exists()) == (2, False)
        assert "would run" in said
        assert "--trust-code" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.neuron", "adaptive.py:Adaptive"),
        ("synapse.kind", "cells.py:Measured"),
        ("neuron.gradient", "damped.py:DAMPED"),
        ("task", "mine.py:counts"),
    ],
)
def test_a_sweep_s_own_values_are_refused(here, bruno, key, value):
    for plan in ({"grid": {key: [value]}}, {"settings": {key: value}, "grid": {"seed": [0]}}):
        (here / "sweep.yaml").write_text(yaml.safe_dump({"task": "pulses"} | plan))
        assert f"its {key} would run" in bruno("sweep", "sweep.yaml")[2]


def test_what_the_command_line_names_excuses_no_other_key(here, bruno):
    (here / "got.yaml").write_text(yaml.safe_dump(SMALL | OWN["gradient"]))
    code, _, said = bruno("train", "--config", "got.yaml", "--neuron", "adaptive.py:Adaptive")
    assert (code, "neuron.gradient would run 'DAMPED'" in said) == (2, True)
    assert bruno("train", "--config", "got.yaml", "--gradient", "tangent", "--out", "a")[0] == 0
    assert bruno("train", "--config", "got.yaml", "--set", "neuron={gradient: coarse}", "--out", "b")[0] == 0


def test_the_damped_gradient_is_a_share_and_the_own_solver_is_called(here, one_domain):
    current_a = torch.full((4, 1, 3), 4e-9)

    def gradient(name):
        drive = current_a.clone().requires_grad_()
        FeLIF(one_domain, name)(drive)[0].voltage_v.sum().backward()
        return drive.grad

    torch.testing.assert_close(gradient("damped.py:DAMPED"), 0.25 * gradient("bruno"))
    FeLIF(one_domain, solver="counted.py:COUNTED")(current_a)
    assert len(SOLVERS.find("counted.py:COUNTED").run.__globals__["calls"]) == 4


def test_a_measured_table_spreads_ages_and_says_what_it_does_not_know(here, rram_card):
    config = parse_config(SMALL | OWN["synapse"], "here")
    assert Cards.of(config).synapse is None

    def readout(**settings):
        torch.manual_seed(0)
        network = build_network(config.with_values(**settings), 2, 2, Cards.of(config).neuron, None)
        return network.readout

    fresh, old = readout(synapse__age_s=0, synapse__read_noise=False), readout(synapse__read_noise=False)
    aged = (old.effective_weight() / fresh.effective_weight()).detach()
    assert float(aged.nanmean()) == pytest.approx(101**-0.05, rel=0.02)
    assert fresh.factor.std() == pytest.approx(0.1, rel=0.2)
    with pytest.raises(InputError, match="has 8 levels, not 16"):
        readout(synapse__bits=4)
    with pytest.raises(InputError, match=r"synapse\.options: there is no 'sgima'; there are sigma"):
        readout(synapse__options={"sgima": 1})
    rram = RunConfig.model_validate(SMALL | {"synapse": {"age_s": 10}})
    with pytest.raises(InputError, match="how a RRAM changes with time"):
        build_network(rram, 2, 2, Cards.of(rram).neuron, rram_card)(torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    ("registry", "name", "said"),
    [
        (NEURONS, "rilf", r"unknown neuron 'rilf'; did you mean '\w+'\? known are felif, heracles, lif"),
        (
            NEURONS,
            "adaptive.py:nn",
            r"'adaptive\.py:nn': neurons are a NeuronModel, a class derived from torch\.nn\.Module",
        ),
        (SYNAPSES, "cells.py:TABLE_S", "weights are a class derived from SynapseDevice or Synapse"),
        (SYNAPSES, "cells.py:SynapseDevice", "with all their methods"),
        (GRADIENTS, "damped.py:Damp", "a gradient is a .*Gradient, not a "),
        (GRADIENTS, "tangents", "did you mean 'tangent'"),
        (SOLVERS, "counted.py:counted", "a solver is a .*SolverInfo, not a function"),
        (SOLVERS, "counted.py:nothing", "has no SOLVER 'nothing'"),
        (SOLVERS, "none.py:S", "solver 'none.py:S': there is no file none.py"),
    ],
)
def test_what_is_no_part_is_one_sentence(here, registry, name, said):
    with pytest.raises(InputError, match=said) as caught:
        registry.find(name)
    assert "\n" not in str(caught.value)


def test_a_configuration_checks_names_against_the_registries_and_runs_nothing(here, monkeypatch):
    (here / "evil.py").write_text("raise SystemExit('ran')\n")
    (here / "a.yaml").write_text(
        "network: {neuron: evil.py:X}\nsynapse: {kind: evil.py:Y}\nneuron: {gradient: evil.py:Z}"
    )
    with pytest.raises(InputError, match=r"its network\.neuron would run 'X'"):
        load_config(here / "a.yaml")
    with pytest.raises(InputError, match=r"network\.neuron: unknown neuron 'felf'; did you mean 'felif'\?"):
        parse_config({"network": {"neuron": "felf"}}, "here")
    monkeypatch.setitem(NEURONS, "mine", NEURONS["lif"])
    assert parse_config({"network": {"neuron": "mine"}}, "here").network.neuron == "mine"


def test_a_file_runs_once_as_long_as_it_stays_as_it_is(here):
    (here / "once.py").write_text(
        "from pathlib import Path\nran = Path('ran')\nran.write_text('x' + (ran.read_text() if ran.exists() else ''))\n"
        "ONE, TWO = 1, 2\n"
    )
    things = Registry("thing", {"three": 3}, lambda found: found)
    assert [things.find(f"once.py:{name}") for name in ("ONE", "TWO", "ONE")] == [1, 2, 1]
    assert (here / "ran").read_text() == "x"
    assert (things["three"], dict(things), "three" in things) == (3, {"three": 3}, True)
