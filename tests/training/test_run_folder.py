"""A run folder is believed as far as its checksums go, belongs to one command at a time, and runs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from bruno_spice.devices.errors import BusyError, CardError, InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.reports.run import write_run_report
from bruno_spice.training.runs import checkpoint
from bruno_spice.training.runs.checkpoint import _digest
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.folder import RunFolder, sealed
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import SweepConfig, sweep
from bruno_spice.training.tasks import Task

CONFIG = RunConfig.model_validate(
    {
        "task": "pulses",
        "task_options": {"trials": 40, "steps": 8},
        "network": {"hidden": [4], "neuron": "lif"},
        "training": {"epochs": 2, "batch_size": 8},
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run that has ended."""
    folder = tmp_path_factory.mktemp("made") / "run"
    train(CONFIG, folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy of it to damage."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)


def uses(run):
    """Everything that reads a run folder, by name."""
    return {
        "evaluate": lambda: evaluate(run),
        "report": lambda: write_run_report(run),
        "resume": lambda: train(RunFolder(run).load_config(), run, resume=True),
    }


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("best.safetensors", "evaluate"), ("best.safetensors", "resume"), ("checkpoint.safetensors", "resume"),
        ("result.json", "report"), ("result.json", "evaluate"), ("cards/felif.json", "evaluate"),
        ("cards/rram.json", "evaluate"), ("cards/rram.json", "report"),
    ],
)  # fmt: skip
def test_one_flipped_bit_of_what_was_kept_is_refused_in_one_sentence(made, tmp_path, name, use):
    rng = np.random.default_rng(7)
    for number in range(4):
        run = tmp_path / str(number)
        shutil.copytree(made, run)
        flip(run / name, int(rng.integers(2**31)), int(rng.integers(8)))
        with pytest.raises(InputError) as refused:
            uses(run)[use]()
        assert Path(name).name in str(refused.value) or "card" in str(refused.value)
        assert "\n" not in str(refused.value)
        shutil.rmtree(run)


def test_a_changed_setting_is_not_taken_for_the_one_that_the_weights_were_trained_with(run):
    text = (run / "config.yaml").read_text()
    for old, new in (
        ("bits: 3", "bits: 2"),
        ("seed: 0", "seed: 1"),
        ("- 4", "- 5"),
        ("weight_std: 0.5", "weight_std: 0.6"),
    ):
        assert old in text
        (run / "config.yaml").write_text(text.replace(old, new))
        with pytest.raises(InputError, match="of another run, configuration or card"):
            evaluate(run)
    (run / "config.yaml").write_text(text.replace("epochs: 2", "epochs: 5").replace("threads: 1", "threads: 2"))
    assert evaluate(run)["test"] == RunFolder(run).read_result()["test"]


def test_a_file_under_another_name_is_not_believed(run, tmp_path):
    other = tmp_path / "other"
    train(CONFIG.with_values(seed=1), other)
    shutil.copy(other / "best.safetensors", run)
    with pytest.raises(InputError, match="of another run"):
        evaluate(run)
    shutil.copy(run / "checkpoint.safetensors", run / "best.safetensors")
    with pytest.raises(InputError, match="of another run"):
        evaluate(run)


def test_a_card_that_was_changed_is_named(run):
    card = run / "cards" / "rram.json"
    card.write_text(card.read_text().replace('"source": "fit"', '"source": "fit "', 1))
    for use in ("evaluate", "report"):
        with pytest.raises(CardError, match=r"cards/rram\.json: not the card that the run was trained with"):
            uses(run)[use]()


def test_a_damaged_checkpoint_begins_anew_with_overwrite_and_says_so_once(run, made):
    flip(run / "checkpoint.safetensors", 2000, 3)
    told = []
    again = train(CONFIG, run, resume=True, overwrite=True, reporter=Told(told))
    assert sum("begins anew" in line for line in told) == 1
    assert again["test"] == json.loads((made / "result.json").read_text())["test"]
    assert evaluate(run)["test"] == again["test"]


def scores(rows):
    """Rows of a sweep without the time that they took."""
    return [{name: value for name, value in row.items() if name != "train_s"} for row in rows]


def test_a_sweep_trains_a_damaged_run_anew_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(CONFIG.to_yaml())
    plan = SweepConfig(config="base.yaml", seeds=[0, 1], grid={"synapse.bits": [2]})
    rows = scores(sweep(plan, tmp_path / "s"))
    first, second = sorted((tmp_path / "s").glob("*/result.json"))
    flip(first, 500, 2)
    shutil.copy(first.parent / "best.safetensors", second.parent)
    told = []
    assert scores(sweep(plan, tmp_path / "s", Told(told))) == rows
    assert sum("trains anew" in line for line in told) == 2
    told.clear()
    assert scores(sweep(plan, tmp_path / "s", Told(told))) == rows
    assert not any("anew" in line for line in told)
    hashes = Task.data_hashes
    monkeypatch.setattr(Task, "data_hashes", lambda task: {**hashes(task), "train": "0" * 64})
    with pytest.raises(InputError, match="the train data have changed since; put them back, or name another --out"):
        sweep(plan, tmp_path / "s", Told(told))
    assert first.is_file()
    assert second.is_file()


class Told:
    """Collects what a run tells."""

    def __init__(self, lines):
        self.lines = lines

    def start(self, done, total):
        """Nothing."""

    def advance(self):
        """Nothing."""

    def line(self, text):
        self.lines.append(text)

    def close(self):
        """Nothing."""


def forged(run, name, tensors=None, **state):
    """Weights of `run` changed by someone who mends the checksum too."""
    path = run / name
    with safe_open(path, framework="pt") as file:
        header, old = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    progress = json.dumps(json.loads(header["state"]) | state)
    tensors = old | (tensors or {})
    header |= {"state": progress, "sha256": _digest(tensors, header["belongs"], progress)}
    path.write_bytes(save(tensors, header))


@pytest.mark.parametrize(
    ("state", "tensors"),
    [
        ({"epoch": -5}, {}), ({"epoch": "x"}, {}), ({"history": 3}, {}), ({"best_score": []}, {}),
        ({}, {"rng.cpu": torch.zeros(3, dtype=torch.uint8)}), ({}, {"model.hidden.0.bias": torch.zeros(9)}),
        ({}, {"model.odd": torch.zeros(1)}),
        ({}, {"optimizer.hidden.0.bias.exp_avg": torch.zeros(9)}),
    ],
)  # fmt: skip
def test_a_forged_checkpoint_ends_in_one_sentence(run, state, tensors):
    forged(run, "checkpoint.safetensors", tensors, **state)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: .*--overwrite") as refused:
        train(CONFIG.with_values(training__epochs=3), run, resume=True)
    assert "\n" not in str(refused.value)


def test_weights_that_are_no_number_end_in_one_sentence(run):
    forged(run, "best.safetensors", {"hidden.0.synapse.weight": torch.full((4, 2), torch.nan)})
    with pytest.raises(InputError, match=r"weight .4x2. holds nan"):
        evaluate(run)


@pytest.mark.parametrize(
    "name", ["test", "floors", "valid", "metric", "split", "cards", "wall_time_s", "seed", "source"]
)
@pytest.mark.parametrize("value", ["gone", None, [], {"a": []}])
def test_a_forged_result_ends_in_one_sentence(run, name, value):
    result = json.loads((run / "result.json").read_text())
    result[name] = value
    if value == "gone":
        del result[name]
    (run / "result.json").write_text(json.dumps(sealed(result)))
    try:
        write_run_report(run)
    except InputError as refused:
        assert "result.json: not as it was written" in str(refused)  # noqa: PT017
    else:
        assert name in ("source", "metric", "seed", "floors", "split")


@pytest.mark.parametrize("name", ["result.json", "best.safetensors", "cards/felif.json", "config.yaml"])
def test_a_pipe_in_a_run_folder_holds_no_one_up(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    use = uses(run)["report" if name == "result.json" else "evaluate"]
    with pytest.raises(InputError):
        use()


def test_a_run_folder_that_leads_elsewhere_is_neither_written_nor_cleared(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.json").write_text("{}")
    shutil.rmtree(run / "cards")
    (run / "cards").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="a link to elsewhere"):
        train(CONFIG, run, overwrite=True)
    assert (tmp_path / "mine" / "a.json").exists()


LONG = """
import sys
from bruno_spice.cli import main
sys.argv = ["bruno", "train", "--task", "pulses", "--neuron", "lif", "--epochs", "100000", "--out", sys.argv[1]]
main()
"""


def test_a_second_run_into_a_folder_is_refused_at_once_and_a_killed_one_holds_no_one_up(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path / "run")], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "checkpoint.safetensors").exists() and time.monotonic() < until:
            time.sleep(0.1)
        with pytest.raises(BusyError, match=f"process {first.pid} "):
            train(CONFIG, tmp_path / "run", overwrite=True)
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    train(CONFIG, tmp_path / "run", overwrite=True)
    assert evaluate(tmp_path / "run")["task"] == "pulses"


def test_kept_content_of_every_kind_of_number_fits_its_checksum(tmp_path):
    kinds = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
    tensors = {str(kind): torch.zeros((2, 3), dtype=kind) for kind in kinds} | {
        "none": torch.zeros(0),
        "one": torch.tensor(1.0),
    }
    checkpoint._write(tmp_path / "a", tensors, "best x", "{}")
    read, _ = checkpoint._read(tmp_path / "a", "best x")
    assert {name: value.dtype for name, value in read.items()} == {name: value.dtype for name, value in tensors.items()}
