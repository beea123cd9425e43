"""Code of one's own belongs to a run as its data do: what another version of it gave is not taken for what it gives."""

from pathlib import Path

import pytest

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.config_file import code_files
from bruno_spice.training.progress import Interrupted
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import SweepConfig, sweep
from tests.training.test_trainer import Collects, StopsAfter

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)

    def forward(self, inputs):
        return 1.0 * self.linear(inputs)
"""
CONFIG = RunConfig.model_validate(
    {
        "task": "pulses",
        "task_options": {"trials": 30, "steps": 4},
        "network": "net.py:Net",
        "synapse": {"kind": "float"},
        "training": {"epochs": 1},
    }
)


@pytest.fixture
def net(tmp_path, monkeypatch, one_thread):
    """The network's file in a working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def edit(net):
    net.write_text(NET.replace("1.0", "-0.5"))


def test_a_sweep_runs_again_with_other_code_and_not_with_the_same(net, tmp_path):
    Path("base.yaml").write_text(CONFIG.to_yaml())
    plan = SweepConfig(config="base.yaml", grid={"seed": [0]})
    plan._trust_code = True
    first = sweep(plan, "runs")
    assert sweep(plan, "runs") == first
    edit(net)
    (other,), told = sweep(plan, "runs"), Collects()
    assert other["valid_cross_entropy_mean"] != first[0]["valid_cross_entropy_mean"]
    assert len(list(Path("runs").glob("*/result.json"))) == 2
    net.write_text(NET)
    assert sweep(plan, "runs", told) == first
    assert told.lines == [f"seed 0: valid accuracy {first[0]['valid_accuracy_mean']:.4f} over 1 seeds"]


def test_a_finished_run_is_trained_again_with_other_code(net):
    first = train(CONFIG, "run")
    assert train(CONFIG, "run", resume=True, overwrite=True) == first
    edit(net)
    told = Collects()
    other = train(CONFIG, "run", resume=True, overwrite=True, reporter=told)
    assert told.lines[0] == "begins anew: the code of net.py has changed since the run was begun"
    assert other["test"] != first["test"]
    assert other["code"] == code_files(CONFIG) != first["code"]


@pytest.mark.parametrize("change", [("1.0", "2.0"), ("linear", "other")], ids=["other numbers", "other weights"])
def test_a_run_goes_on_with_the_code_that_it_was_begun_with(net, change):
    longer = CONFIG.with_values(training__epochs=3)
    with pytest.raises(Interrupted):
        train(longer, "run", reporter=StopsAfter(3))
    net.write_text(NET.replace(*change))
    with pytest.raises(InputError, match=r"^--resume goes on with .*, but the code of net\.py is another now; put it"):
        train(longer, "run", resume=True)
    net.write_text(NET)
    assert train(longer, "run", resume=True)["epochs"] == 3


def test_a_run_is_evaluated_with_other_code_and_that_is_said(net):
    result, told = train(CONFIG, "run"), Collects()
    assert evaluate("run", reporter=told, trust_code=True)["test"] == result["test"]
    assert not any("code" in line for line in told.lines)
    edit(net)
    assert evaluate("run", reporter=told, trust_code=True)["test"] != result["test"]
    assert "warning: the code of net.py is not as it was when the run was trained" in told.lines
    assert RunFolder(Path("run")).read_result() == result


def test_every_file_that_a_configuration_names_counts_whichever_key_names_it(net):
    for name in ("task", "gradient", "solver", "lost"):
        Path(f"{name}.py").write_text(f"# {name}")
    Path("lost.py").unlink()
    config = CONFIG.with_values(
        task="task.py:load", neuron__gradient="gradient.py:MINE", neuron__options={"solver": "solver.py:MINE"},
        synapse__kind="lost.py:Device",
    )  # fmt: skip
    before = code_files(config)
    assert sorted(before) == ["gradient.py", "net.py", "solver.py", "task.py"]
    Path("gradient.py").write_text("# another")
    after = code_files(config)
    assert {name for name in before if before[name] != after[name]} == {"gradient.py"}
    assert code_files(RunConfig()) == {}
