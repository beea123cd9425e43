"""``bruno train`` and ``bruno evaluate`` as a user meets them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest

from bruno_spice.calibration.targets import TARGETS
from bruno_spice.training.networks.config_file import load_config


@pytest.fixture
def config_file(small_config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(small_config.to_yaml())
    return path


def test_train_then_evaluate_then_a_clear_refusal(bruno, config_file, tmp_path):
    run = tmp_path / "run"
    code, out, err = bruno("train", "--config", config_file, "--out", run, "--neuron", "lif", "--epochs", 2, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["run"] == str(run)
    assert "epoch 2/2" in err
    assert re.search(r"valid accuracy \d\.\d{4}, cross_entropy \d\.\d{4} \(best epoch \d\)", err)
    assert result["criterion"] == "cross_entropy"
    assert "s left" in err
    _, out, _ = bruno("evaluate", run, "--chips", 2, "--json")
    assert json.loads(out)["test"] == result["test"]
    _, out, _ = bruno("evaluate", run, "--chips", 2)
    assert "test over 2 virtual chips: accuracy" in out
    code, out, err = bruno("train", "--config", config_file, "--out", run)
    assert code == 2
    assert "holds a run already" in err


def test_every_array_of_a_run_gets_its_programming_table(bruno, config_file, tmp_path):
    run = tmp_path / "run"
    assert bruno("train", "--config", config_file, "--out", run, "--epochs", 1)[0] == 0
    code, out, err = bruno("program", run, "--out", tmp_path / "tables", "--json")
    assert code == 0, err
    arrays = {row["array"]: row for row in json.loads(out)["arrays"]}
    assert arrays.keys() == {"hidden.0.synapse", "hidden.0.recurrent", "readout", "skip"}
    table = pd.read_csv(arrays["hidden.0.recurrent"]["table"])
    assert len(table) == arrays["hidden.0.recurrent"]["devices"] == 2 * 10 * 10
    assert table.level.between(0, 7).all()
    assert (table.groupby("level").i_prog_a.nunique() == 1).all()
    assert bruno("train", "--config", config_file, "--out", run, "--epochs", 1, "--bits", 32, "--overwrite")[0] == 0
    code, _, err = bruno("program", run)
    assert code == 2
    assert "no devices to program" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "--config", "bad.yaml"], "unknown key 'training.epochz'; did you mean 'epochs'?"),
        (["train", "--config", "none.yaml"], "no such configuration file"),
        (["train", "--task", "nonsense", "--bits", "32", "--card", "published"], "unknown task 'nonsense'"),
        (["train", "--bits", "12"], "--bits 12: a device has 1 to 8 bits; 32 are float weights"),
        (["train", "--bits", "33"], "--bits 33: a device has 1 to 8 bits; 32 are float weights"),
        (["train", "--bits", "0"], "--bits 0: a device has"),
        (["train", "--device", "gpu"], "device 'gpu' cannot be used here; take cpu or cuda\n"),
        (["train", "--out", "bad.yaml", "--task", "nonsense"], "bad.yaml: a file is there; --out takes a folder"),
        (["train", "--out", "bad.yaml/run", "--task", "nonsense"], "bad.yaml: a file is there; --out takes a folder"),
        (["train", "--set", "training.epochz=1"], "unknown key 'training.epochz'; did you mean 'epochs'?"),
        (["train", "--set", "optimiser.rate=1"], "a setting names 'optimiser'"),
        (["train", "--set", "training.epochs"], "write KEY=VALUE"),
        (["train", "--card", "none.json"], "none.json: no such card"),
        (["train", "--neuron", "hodgkin"], "hodgkin"),
        (["evaluate", "."], ".: no run here (config.yaml is missing); give a folder that `bruno train` wrote"),
    ],
)
def test_faults_of_the_user_are_one_sentence_and_exit_code_two(bruno, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("training: {epochz: 1}")
    code, _, err = bruno(*arguments)
    assert code == 2, err
    assert complaint in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


def test_bits_and_settings_reach_the_configuration(bruno, config_file, tmp_path):
    run = tmp_path / "run"
    settings = ["--set", "synapse.kind=uniform", "--set", "training.learning_rate=1e-3", "--set", "network.hidden=[4]"]
    code, _, err = bruno("train", "--config", config_file, "--out", run, "--epochs", 1, "--bits", 2, *settings)
    assert code == 0, err
    config = load_config(run / "config.yaml")
    assert (config.synapse.kind, config.synapse.bits, config.network.hidden) == ("uniform", 2, [4])
    assert config.training.learning_rate == 1e-3


def test_few_bits_put_float_weights_on_rram(bruno, config_file, tmp_path):
    floating = tmp_path / "float.yaml"
    floating.write_text(load_config(config_file).with_values(synapse__kind="float").to_yaml())
    code, out, err = bruno("train", "--config", floating, "--out", tmp_path / "run", "--epochs", 1, "--bits", 2)
    assert code == 0, err
    assert re.search(r"validation \d\.\d{4}, cross_entropy \d\.\d{4} \(best epoch 1 of 1\)", out)
    config = load_config(tmp_path / "run" / "config.yaml")
    assert (config.synapse.kind, config.synapse.bits) == ("rram", 2)


def test_ctrl_c_saves_the_run_and_resume_ends_it(bruno, small_config, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(small_config.with_values(training__epochs=1000).to_yaml())
    run = tmp_path / "run"
    command = [sys.executable, "-m", "bruno_spice", "train", "--config", str(config), "--out", str(run)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
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
    code, _, err = bruno("train", "--out", run, "--resume", "--epochs", epochs + 1)
    assert code == 0, err
    assert json.loads((run / "result.json").read_text())["epochs"] == epochs + 1


def test_the_report_of_the_calibration_says_that_it_may_simulate_and_shows_how_far(bruno, monkeypatch, tmp_path):
    bars = []
    for name in ("neuron", "rram"):
        watched = replace(TARGETS[name], calibrate=lambda farm: bars.append(farm.progress))
        monkeypatch.setitem(TARGETS, name, watched)
    monkeypatch.setattr(
        "bruno_spice.calibration.targets.report.write_report", lambda folder, *_: folder / "calibration.html"
    )
    code, _, err = bruno("report", "--out", tmp_path)
    assert code == 0, err
    assert bars == ["neuron in ngspice", "rram in ngspice"]
    assert "which takes minutes" in err
    assert "takes minutes" in " ".join(bruno("report", "--help")[1].split())


def test_help_shows_examples(bruno):
    for command in ("train", "evaluate"):
        assert f"bruno {command}" in bruno(command, "--help")[1]
