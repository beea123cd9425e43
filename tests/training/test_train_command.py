"""``bruno train`` and ``bruno evaluate`` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.config import RunConfig

COMMAND = [sys.executable, "-m", "training.cli"]


def bruno(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False
    )  # fmt: skip


@pytest.fixture
def config_file(small_config: RunConfig, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(small_config.to_yaml())
    return path


def test_train_then_evaluate_then_a_clear_refusal(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = bruno("train", "--config", config_file, "--out", run, "--neuron", "lif", "--epochs", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == str(run)
    assert "epoch 2/2" in done.stderr
    assert "s left" in done.stderr
    again = bruno("evaluate", run, "--chips", "2", "--json")
    assert json.loads(again.stdout)["test"] == result["test"]
    refused = bruno("train", "--config", config_file, "--out", run)
    assert refused.returncode == 2
    assert "holds a run already" in refused.stderr


def test_faults_of_the_user_are_one_sentence_and_exit_code_two(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("training: {epochz: 1}")
    for arguments, complaint in (
        (["train", "--config", bad], "unknown key 'training.epochz'; did you mean 'epochs'?"),
        (["train", "--task", "nonsense", "--bits", "32"], "unknown task 'nonsense'"),
        (["train", "--bits", "12"], "synapse.bits"),
        (["evaluate", tmp_path], "no run here"),
    ):
        done = bruno(*arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


def test_ctrl_c_saves_the_run_and_resume_ends_it(small_config: RunConfig, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(small_config.with_values(training__epochs=400).to_yaml())
    run = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*COMMAND, "train", "--config", config, "--out", run], stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not (run / "checkpoint.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume` goes on" in told
    assert "Traceback" not in told
    epochs = json.loads((run / "checkpoint.json").read_text())["epoch"]
    assert not (run / "result.json").exists()
    done = bruno("train", "--out", run, "--resume", "--epochs", str(epochs + 1))
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "result.json").read_text())["epochs"] == epochs + 1


def test_help_shows_examples() -> None:
    for command in ("train", "evaluate"):
        assert f"bruno {command}" in bruno(command, "--help").stdout
