"""Variations of training sequences: what they change, what they leave, and that seed and epoch alone decide."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import Task, load_task
from bruno_spice.training.tasks.augmentation import Augmentation
from bruno_spice.training.tasks.base import Example
from bruno_spice.training.tasks.classification import Classification


def example(frames: int = 50) -> Example:
    inputs = torch.from_numpy(np.random.default_rng(0).poisson(0.4, (frames, 3)).astype(np.float32))
    return Example(inputs, torch.tensor(1))


def own_task(augmentation: Augmentation) -> Classification:
    task = load_task("pulses", {"trials": 40})
    assert isinstance(task, Classification)
    return replace(task, augmentation=augmentation)


def test_seed_and_epoch_alone_decide_what_training_sees() -> None:
    task = own_task(Augmentation(shift=4, warp=0.2, drop=0.2))

    def seen(seed: int, epoch: int) -> torch.Tensor:
        return torch.stack([each.inputs for each in task.training_examples(seed, epoch)])

    assert torch.equal(seen(0, 3), seen(0, 3))
    assert not torch.equal(seen(0, 3), seen(0, 4))
    assert not torch.equal(seen(0, 3), seen(1, 3))
    plain = torch.stack([each.inputs for each in task.parts["train"]])
    assert not torch.equal(seen(0, 3), plain)
    assert seen(0, 3).shape == plain.shape


def test_training_sees_the_variation_and_goes_on_with_it_bit_for_bit(
    small_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_task

    def varied(*arguments: Any) -> Task:
        task = plain(*arguments)
        assert isinstance(task, Classification)
        return replace(task, augmentation=Augmentation(drop=0.3))

    config = small_config.with_values(training__schedule="constant")
    train(config, tmp_path / "plain")
    monkeypatch.setattr("bruno_spice.training.runs.trainer.load_task", varied)
    train(config, tmp_path / "whole")
    train(config.with_values(training__epochs=2), tmp_path / "parts")
    train(config, tmp_path / "parts", resume=True)

    def losses(name: str) -> list[float]:
        return [row["train"]["loss"] for row in RunFolder(tmp_path / name).read_metrics()]

    assert losses("whole") == losses("parts")
    assert losses("whole") != losses("plain")


def test_zeros_leave_a_sequence_as_it_is() -> None:
    each = example()
    assert torch.equal(Augmentation()(each, np.random.default_rng(0)).inputs, each.inputs)


def test_a_shift_moves_every_frame_alike_and_brings_nothing_in() -> None:
    each = example()
    moved = Augmentation(shift=10)(each, np.random.default_rng(3)).inputs
    fits = [
        s for s in range(-10, 11)
        if torch.equal(moved[max(0, -s) : 50 - max(0, s)], each.inputs[max(0, s) : 50 - max(0, -s)])
    ]  # fmt: skip
    assert len(fits) == 1
    assert fits[0] != 0
    assert moved.sum() <= each.inputs.sum()


def test_a_warp_keeps_the_middle_and_changes_the_speed() -> None:
    ramp = Example(torch.arange(101.0)[:, None], torch.tensor(0))
    warped = Augmentation(warp=0.2)(ramp, np.random.default_rng(2)).inputs[:, 0]
    inside = warped > 0
    rate = np.polyfit(np.arange(101)[inside], warped[inside].numpy(), 1)[0]
    assert rate == pytest.approx(1 + np.random.default_rng(2).uniform(-0.2, 0.2), abs=0.01)
    assert rate != pytest.approx(1, abs=0.01)
    assert warped[50] == 50


def test_lost_events_are_as_many_as_said() -> None:
    each = Example(torch.ones(2000, 5), torch.tensor(0))
    kept = Augmentation(drop=0.3)(each, np.random.default_rng(0)).inputs
    assert float(kept.mean()) == pytest.approx(0.7, abs=0.02)
