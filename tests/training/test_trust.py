"""Code that was received runs only when told so: in a configuration, in a run folder, in a sweep."""

from pathlib import Path

import pytest
import yaml

from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.runs.trainer import train

ROOT = Path(__file__).parents[2]
CODE = "from pathlib import Path\nPath('PWNED').touch()\n" + (ROOT / "training/tasks/own_example.py").read_text()
QUICK = {"network": {"hidden": [4], "neuron": "lif"}, "training": {"epochs": 1}, "task_options": {"trials": 40}}


@pytest.fixture
def here(tmp_path, monkeypatch, one_thread):
    """A working folder with a task whose file leaves a trace when it runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def received(here):
    """A run folder whose configuration names a task of its sender's."""
    train(RunConfig.model_validate({"task": "mine.py:load", **QUICK}), here / "run")
    (here / "PWNED").unlink()
    (here / "mine.py").write_text(CODE)  # as it comes with the folder: a file that is new here runs anew
    return here / "run"


def refused(bruno, here, *words):
    code, out, said = bruno(*words)
    assert code == 2, out
    assert not (here / "PWNED").exists()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "task", ["os:system", "training.tasks.own_example:load", "subprocess:check_call", "os:system.py:x"]
)
def test_no_function_is_called_by_the_name_of_its_module(bruno, here, task):
    (here / "evil.yaml").write_text(yaml.safe_dump({"task": task, "task_options": {"command": "touch PWNED"}}))
    (here / "sweep.yaml").write_text(yaml.safe_dump({"task": task, "grid": {"seed": [0]}}))
    for words in (("train", "--config", "evil.yaml"), ("sweep", "sweep.yaml")):
        assert "--trust-code" in refused(bruno, here, *words)
        assert "task" in refused(bruno, here, *words, "--trust-code")
    assert "task" in refused(bruno, here, "train", "--task", task)


def test_a_configuration_runs_a_file_only_when_told_and_says_which(bruno, here):
    (here / "got.yaml").write_text(yaml.safe_dump({"task": "mine.py:load", **QUICK}))
    said = refused(bruno, here, "train", "--config", "got.yaml", "--out", "a")
    assert f"'load' of '{here / 'mine.py'}'" in said.replace("\n", " ")
    code, _, said = bruno("train", "--config", "got.yaml", "--out", "a", "--trust-code")
    assert (code, (here / "PWNED").exists()) == (0, True)
    assert f"runs load of {here / 'mine.py'}" in said


def test_a_file_that_the_command_line_names_runs_as_it_is_the_users_own(bruno, here):
    words = ("--epochs", 1, "--set", "network.hidden=[4]", "--set", "task_options={trials: 40}", "--out", "a")
    assert bruno("train", "--task", "mine.py:load", "--neuron", "lif", *words)[0] == 0
    (here / "got.yaml").write_text(yaml.safe_dump({"task": "other.py:load", **QUICK}))
    assert bruno("train", "--config", "got.yaml", "--set", "task=mine.py:load", "--out", "b")[0] == 0


@pytest.mark.parametrize(
    "words", [("evaluate", "run"), ("program", "run"), ("validate", "run"), ("train", "--out", "run", "--resume")]
)
def test_a_run_folder_runs_a_file_only_when_told(bruno, here, received, words):
    assert f"{here / 'mine.py'}" in refused(bruno, here, *words)
    code, _, said = bruno(*words, "--trust-code")
    assert code == (2 if words[0] == "validate" else 0), said  # it holds no FeLIF to validate
    assert (here / "PWNED").exists()
    assert f"runs load of {here / 'mine.py'}" in said


def test_a_report_needs_no_code_and_runs_none(bruno, here, received):
    assert bruno("report", "run")[0] == 0
    assert not (here / "PWNED").exists()


@pytest.mark.parametrize(
    "plan",
    [
        {"task": "mine.py:load", "grid": {"seed": [0]}},
        {"settings": {"task": "mine.py:load"}, "grid": {"seed": [0]}},
        {"grid": {"task": ["pulses", "mine.py:load"]}},
        {"config": "got.yaml", "grid": {"seed": [0]}},
    ],
)
def test_a_sweep_runs_a_file_only_when_told(bruno, here, plan):
    (here / "got.yaml").write_text(yaml.safe_dump({"task": "mine.py:load", **QUICK}))
    (here / "sweep.yaml").write_text(yaml.safe_dump(plan))
    assert "--trust-code" in refused(bruno, here, "sweep", "sweep.yaml", "--out", "s")


def test_a_sweep_that_is_trusted_runs_its_file(bruno, here):
    plan = {"task": "mine.py:load", "grid": {"network.neuron": ["lif"]}}
    plan["settings"] = {"network.hidden": [4], "training.epochs": 1}
    (here / "sweep.yaml").write_text(yaml.safe_dump(plan))
    assert bruno("sweep", "sweep.yaml", "--out", "s", "--trust-code")[0] == 0
    assert (here / "PWNED").exists()
