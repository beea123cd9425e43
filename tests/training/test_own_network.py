"""A network of one's own in a run, and any module's weights on devices."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig, parse_config
from bruno_spice.training.networks.config_file import load_config
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.networks.own import build_own
from bruno_spice.training.networks.shapes import BatchFirst, PerFrame
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF
from bruno_spice.training.progress import Interrupted
from bruno_spice.training.runs.evaluation import evaluate, load_run
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import load_sweep, sweep
from bruno_spice.training.synapses.arrays import OnArray, on_arrays, rram_weights
from bruno_spice.training.synapses.base import FloatLinear
from bruno_spice.training.tasks import load_task
from tests.training.test_trainer import StopsAfter

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "network.md").read_text()
OWN = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self, n_inputs, n_outputs, parts, width=6):
        super().__init__()
        self.first = parts.layer(n_inputs, width, neuron="lif", recurrent=False, unit_current_a=20e-9, weight_std=0.7,
                                 synapse={"kind": "float"}, options={"tau_s": "20m"})
        self.second = parts.layer(width, width, neuron="felif", synapse={"bits": 4})
        self.readout = parts.synapse(2 * width, n_outputs)
        nn.init.normal_(self.readout.weight, std=0.2)

    def forward(self, inputs, lengths=None):
        one, _ = self.first(inputs, lengths)
        two, _ = self.second(one, lengths)
        return self.readout(torch.cat([one, two], dim=-1))

class Plain(nn.Module):
    def __init__(self, n_inputs, n_outputs, seen=None):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)
        self.seen = seen

    def forward(self, inputs):
        return self.linear(inputs.cumsum(1 if self.seen == "batch" else 0))

class Tied(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.back, self.there = nn.Linear(n_outputs, n_inputs), nn.Linear(n_inputs, n_outputs)
        self.back.weight = self.there.weight
        self.register_buffer("first", self.there.weight.detach()[0])

    def forward(self, inputs):
        return self.there(torch.tanh(self.back(torch.tanh(self.there(inputs))))) + self.first

class Wrong(nn.Module):
    def __init__(self, n_inputs, n_outputs, parts, setting=None):
        super().__init__()
        self.one = parts.synapse(n_inputs, n_outputs, **setting)

class Bare(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()

class Short(Plain):
    def forward(self, inputs):
        return self.linear(inputs)[0]
"""
BASE = {
    "task": "pulses",
    "task_options": {"trials": 40, "steps": 6},
    "neuron": {"options": {"reset": "event", "current_limits": "envelope"}},
    "training": {"epochs": 1, "batch_size": 8, "schedule": "constant"},
}


def config(**network):
    return RunConfig.model_validate(BASE | {"network": network})


@pytest.fixture
def here(tmp_path, monkeypatch, one_thread):
    """A working folder with networks of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def test_everything_that_takes_a_run_takes_one_with_a_network_of_ones_own(here, bruno):
    two = config(own="own.py:Two", options={"width": 5})
    result = train(two, "run")
    row = json.loads((here / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert set(row["activity"]) == {"first.neuron", "second.neuron"}
    scores = evaluate("run", chips=1, trust_code=True)
    assert scores["test"] == result["test"]
    longer = train(two.with_values(training__epochs=2), "run", resume=True)
    assert train(two.with_values(training__epochs=2), "whole")["test"] == longer["test"]
    assert "add --trust-code" in bruno("evaluate", "run")[2]
    assert bruno("program", "run", "--trust-code")[0] == 0
    tables = {each.stem for each in (here / "run" / "programming").iterdir()}
    assert tables == {"module.second.synapse", "module.second.recurrent", "module.readout"}
    assert bruno("report", "run")[0] == 0
    for words, said in (
        (("evaluate", "run", "--after", "1h"), "was not measured"),
        (("codesign", "run"), "its network is one's own"),
    ):
        code, out, err = bruno(*words, "--trust-code")
        assert said in " ".join((out + err).split()), (code, out, err)


def test_weights_that_two_layers_share_are_kept_and_go_on_bit_for_bit(here):
    tied = config(own="own.py:Tied").with_values(training__epochs=2, training__average_decay=0.9)
    whole = train(tied, "whole")
    with pytest.raises(Interrupted):
        train(tied, "parts", reporter=StopsAfter(3))
    again = train(tied, "parts", resume=True)
    assert (again["test"], again["parameters"]) == (whole["test"], whole["parameters"])
    one, other = (load_run(name, trust_code=True)[2] for name in ("whole", "parts"))
    assert one.module.back.weight is one.module.there.weight
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert evaluate("parts", trust_code=True)["test"] == whole["test"]


def test_its_ferroelectric_neurons_go_back_into_spice(here, bruno):
    train(config(own="own.py:Two", options={"width": 5}).with_values(task_options={"trials": 100, "steps": 20}), "run")
    words = ("--neurons", 2, "--pieces", 1, "--layer", "second.neuron", "--trust-code")
    code, out, err = bruno("validate", "run", *words)
    assert code == 0, err
    assert "spikes found in SPICE" in " ".join(out.split())
    assert "no crossbar deck: a network of one's own" in " ".join(err.split())
    assert "has no FeLIF layer 'first'" in bruno("validate", "run", "--layer", "first", "--trust-code")[2]


def test_a_sweep_moves_its_options(here):
    Path("base.yaml").write_text(config(own="own.py:Plain").with_values(synapse__kind="float").to_yaml())
    Path("sweep.yaml").write_text("config: base.yaml\ngrid: {network.options.seen: [time, other]}\n")
    rows = sweep(load_sweep("sweep.yaml", trust_code=True), "runs")
    assert {row["settings"]["network.options.seen"] for row in rows} == {"time", "other"}


def test_the_batch_may_come_first(here, felif_card, rram_card):
    inputs = torch.rand(6, 3, 2)
    answers = []
    for options in ({}, {"batch_first": True, "options": {"seen": "batch"}}):
        torch.manual_seed(0)
        answers.append(build_own(config(own="own.py:Plain", **options), 2, 4, felif_card, rram_card)(inputs).logits)
    torch.testing.assert_close(*answers)


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        ({"own": "own.py:Two", "hidden": [20]}, r"hidden says nothing to a network of your own"),
        ({"own": "own.py"}, r"a network of your own is file\.py:Class, not 'own\.py'"),
        ({"own": "net.nir"}, r"a NIR graph cannot be trained here: its nodes are ideal neurons and weights"),
        ({"options": {"width": 3}}, r"options and batch_first are those of a network of your own"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(network, complaint):
    with pytest.raises(InputError, match=complaint) as refused:
        parse_config({"network": network}, "here")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("Two", {"widht": 3}, r"Two has no option 'widht'; there are width"),
        ("Three", {}, r"own\.py has no Class 'Three'"),
        ("OWN", {}, r"has no Class 'OWN'"),
        ("nn", {}, r"a network is a class derived from torch\.nn\.Module"),
        ("Bare", {}, r"Bare has no parameters"),
        ("Two", {"width": "wide"}, r"Two could not be made \("),
        ("Wrong", {"setting": {"bits": 12}}, r"parts, synapse: bits: .* \(it is 12\)"),
        ("Wrong", {"setting": {"bit": 2}}, r"parts, synapse: unknown key 'bit'; did you mean 'bits'"),
        ("Short", {}, r"must answer with logits \(T, B, n_outputs\) = \(4, 3, 2\) .*, not with \(3, 2\)"),
    ],
)
def test_a_class_that_is_no_network_is_refused_in_one_sentence(here, felif_card, rram_card, name, options, complaint):
    with pytest.raises(InputError, match=complaint) as refused:
        build_own(config(own=f"own.py:{name}", options=options), 2, 2, felif_card, rram_card)(torch.rand(4, 3, 2))
    assert "\n" not in str(refused.value)


def test_the_short_form_is_the_long_one_and_code_needs_trust(here):
    assert parse_config({"network": "own.py:Two"}, "here").network == config(own="own.py:Two").network
    Path("run.yaml").write_text("task: pulses\nnetwork: own.py:Two\n")
    assert load_config("run.yaml", chosen={"network"}).network.own == "own.py:Two"
    with pytest.raises(InputError, match=r"its network\.own would run 'Two' of .*own\.py'; add --trust-code"):
        load_config("run.yaml")


def test_frames_of_any_rank_need_a_network_that_knows_them(here):
    block = next(b for b in re.findall(r"cat > pictures\.py <<'END'\n(.*?)END\n", PAGE, re.S))
    Path("pictures.py").write_text(block)
    task = load_task("pictures.py:bars")
    assert task.input_shape == (2, 6, 6)
    assert task.floors()["linear_on_time_bins"]["accuracy"] > 0.9
    with pytest.raises(InputError, match=r"frames of the shape \(2, 6, 6\) need a network of your own"):
        train(RunConfig.model_validate(BASE | {"task": "pictures.py:bars", "task_options": {}}), "run")
    result = train(config(own="pictures.py:Conv").with_values(task="pictures.py:bars", task_options={}), "run")
    assert evaluate("run", trust_code=True)["test"] == result["test"]


# --- any module's weights on devices -----------------------------------------------------------------------------

MODULES = {
    "Linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "without bias": (lambda: nn.Linear(5, 3, bias=False), (4, 5)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 7)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=2, dilation=1, padding_mode="circular", padding=1), (2, 2, 6, 6)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (2, 1, 3, 3, 3)),
    "deep": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2))), (2, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_on_perfect_arrays_a_module_answers_as_before_and_learns_alike(name):
    make, shape = MODULES[name]
    torch.manual_seed(1)
    module, inputs = make(), torch.randn(shape)
    before = module(inputs)
    before.square().sum().backward()
    wanted = [each.grad.clone() for each in module.parameters()]
    changed = on_arrays(module, FloatLinear)
    after = changed(inputs)
    torch.testing.assert_close(after, before)
    after.square().sum().backward()
    found = []
    for array in (each for each in changed.modules() if isinstance(each, OnArray)):
        weight = array.array.weight.grad
        found.append(weight[:, : array.shape[1:].numel()].reshape(array.shape))
        found += [weight[:, -1]] if array.has_bias else []
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_weights_and_biases_lie_on_levels_of_the_devices(rram_card):
    torch.manual_seed(0)
    module = rram_weights(nn.Sequential(nn.Conv2d(2, 8, 3), nn.Flatten(), nn.Linear(8, 8)), rram_card,
                          bits=3, spread=False, noisy_reads=False)  # fmt: skip
    for layer in (module[0], module[2]):
        array = layer.array
        steps = array.effective_weight() / array.scale() * array.steps_per_scale
        nearest = steps.detach().round()
        assert set(nearest.flatten().tolist()) <= set(range(-7, 8))
        assert (steps.detach() - nearest).abs().max() < 0.35  # levels lie on the card's grid of conductances
    assert module(torch.randn(1, 2, 3, 3)).shape == (1, 8)
    noisy = rram_weights(nn.Linear(6, 4), rram_card, stochastic=True)
    assert not torch.equal(noisy(torch.eye(6)), noisy(torch.eye(6)))
    assert noisy.array.stochastic
    assert torch.equal(copy.deepcopy(module).state_dict()["0.array.weight"], module[0].array.weight)


def test_a_module_without_weights_of_that_kind_and_shared_ones_are_refused(rram_card):
    with pytest.raises(InputError, match="GRU has no Linear or Conv layer"):
        rram_weights(nn.GRU(2, 3), rram_card)
    with pytest.raises(InputError, match="module: LazyLinear has no values yet"):
        rram_weights(nn.LazyLinear(3), rram_card)
    shared = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    shared[1].weight = shared[0].weight
    with pytest.raises(InputError, match="1 and 0 share one weight"):
        rram_weights(shared, rram_card)


@pytest.mark.parametrize("layer", [FeLIF("calibrated"), LIF()], ids=["FeLIF", "LIF"])
def test_a_layer_with_the_batch_first_is_the_same_layer(layer):
    current = torch.rand(5, 2, 3) * 2e-8
    out, state = layer(current)
    turned, after = BatchFirst(layer)(current.transpose(0, 1))
    for a, b in zip(out, turned, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b.transpose(0, 1))
    for a, b in zip(state, after, strict=True):
        torch.testing.assert_close(a, b)


def test_a_network_with_the_batch_first_and_a_module_on_every_frame(rram_card):
    network = build_network(RunConfig.model_validate({"network": {"neuron": "lif", "hidden": [4]}}).with_values(
        synapse__kind="float", network__dropout=0.0), 2, 3, None, rram_card)  # fmt: skip
    inputs = torch.rand(5, 2, 2)
    out, turned = network(inputs), BatchFirst(network)(inputs.transpose(0, 1))
    torch.testing.assert_close(out.logits, turned.logits.transpose(0, 1))
    torch.testing.assert_close(out.spikes["hidden.0"], turned.spikes["hidden.0"].transpose(0, 1))
    pictures = torch.rand(3, 2, 1, 4, 4)
    front = nn.Conv2d(1, 2, 3)
    torch.testing.assert_close(PerFrame(front)(pictures)[0], front(pictures[0]))


# --- other libraries: the blocks of the page ---------------------------------------------------------------------


def block(title):
    """The Python block called `title` of the page, run."""
    (text,) = re.findall(rf'```{{ \.python title="{title}" }}\n(.*?)```', PAGE, re.S)
    names = {}
    exec(compile(text, title, "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore")
def test_the_lightning_module_of_the_page_learns(tmp_path):
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    torch.manual_seed(0)
    model = block("lightning")["Spiking"](3, 2)
    frames = torch.rand(32, 8, 3)
    classes = (frames.sum((1, 2)) > 12).long()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(frames, classes), batch_size=8)
    before = float(nn.functional.cross_entropy(model(frames), classes))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    lightning.Trainer(max_epochs=4, default_root_dir=tmp_path, enable_model_summary=False, **quiet).fit(model, loader)
    assert float(nn.functional.cross_entropy(model(frames), classes)) < before


@pytest.mark.filterwarnings("ignore")
def test_the_tonic_task_of_the_page_makes_frames_of_events(monkeypatch):
    tonic = pytest.importorskip("tonic", reason="Tonic is not installed")
    kinds = np.dtype([("t", int), ("x", int), ("p", int)])
    rows = [np.array([(1000 * k, k % 4, 1) for k in range(10)], dtype=kinds) for _ in range(20)]

    class Made:
        sensor_size, classes = (4, 1, 1), ["a", "b"]

        def __init__(self, save_to, train):
            self.pairs = [(each, index % 2) for index, each in enumerate(rows)]

        def __iter__(self):
            return iter(self.pairs)

    monkeypatch.setattr(tonic.datasets, "Made", Made, raising=False)
    task = block("tonic")["recordings"]("Made")
    assert task.input_shape == (4,)
    assert task.labels == ["a", "b"]


@pytest.mark.filterwarnings("ignore")
def test_the_hugging_face_task_of_the_page_reads_a_column_of_sequences(tmp_path):
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    rng = np.random.default_rng(0)
    table = {"sequence": [rng.random((6, 3)).tolist() for _ in range(20)], "label": [k % 2 for k in range(20)]}
    features = datasets.Features(
        sequence=datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
        label=datasets.ClassLabel(names=["low", "high"]),
    )
    datasets.Dataset.from_dict(table, features=features).save_to_disk(str(tmp_path / "made"))
    task = block("datasets")["table"](str(tmp_path / "made"))
    assert task.input_shape == (3,)
    assert task.labels == ["low", "high"]
