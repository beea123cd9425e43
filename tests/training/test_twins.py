"""`bruno task`: a recording that lies in both parts is found, as it is or varied; independent ones are not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bruno_spice.cli import app
from bruno_spice.training.studies.twins import twins
from bruno_spice.training.tasks import load_task
from bruno_spice.training.tasks.base import Example
from bruno_spice.training.tasks.classification import classification

rng = np.random.default_rng(3)


@pytest.fixture(scope="module")
def task():
    """Four classes of 30 independent recordings, Poisson counts about a profile of the class."""
    rates = rng.gamma(1.0, 0.3, (4, 60, 8))
    classes = np.arange(120) % 4
    frames = rng.poisson(rates[classes]).astype(np.float32)
    return classification(list(frames), classes, list("abcd"), "made here")


def shifted(frames):
    return torch.roll(frames, 1, 0)


def noisy(frames):
    return frames + torch.from_numpy((rng.random(frames.shape) < 0.02).astype(np.float32))


def test_independent_recordings_have_no_twins(task):
    found = twins(task)
    assert found.share == 0
    assert found.ratios.min() > 0.6
    assert found.accuracy > 0.8


@pytest.mark.parametrize("varied", [torch.clone, shifted, noisy])
@pytest.mark.parametrize("variants", [1, 4])
def test_variants_of_training_recordings_are_found(task, varied, variants):
    """Each fourth test sequence is a variant; training holds the recording up to four times, varied again."""
    train, test = task.parts["train"], list(task.parts["test"])
    copied = list(range(0, len(test), 4))
    more = []
    for k in copied:
        test[k] = Example(varied(train[k].inputs), train[k].target)
        more += [Example(varied(train[k].inputs), train[k].target) for _ in range(variants - 1)]
    found = twins(replace(task, parts=task.parts | {"train": train + more, "test": test}))
    assert np.flatnonzero(found.ratios < 0.5).tolist() == copied


def test_the_command_tells_parts_floors_and_twins():
    said = CliRunner().invoke(app, ["task", "pulses", "--set", "trials=60"])
    assert said.exit_code == 0
    assert "42 train, 6 valid, 12 test sequences of 20 steps, 2 inputs, 2 outputs" in said.stdout
    assert "floor linear_on_rates: accuracy 1.0000" in said.stdout
    assert "of test sequences have a twin in training" in said.stdout
    found = json.loads(CliRunner().invoke(app, ["task", "pulses", "--set", "trials=60", "--json"]).stdout)
    task = load_task("pulses", {"trials": 60})
    assert found["twins"] == twins(task).summary()
    assert found["floors"] == task.floors()
