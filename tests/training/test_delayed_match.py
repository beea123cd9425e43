"""The delayed match task asks what it says: the answer follows from cue and probe, and counts from the probe on."""

import json

import numpy as np
import pytest
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.training.codesign.page import _scores
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.reports.run import write_run_report
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import SweepConfig, sweep
from bruno_spice.training.tasks.base import PARTS
from bruno_spice.training.tasks.spikes.delayed_match import ANSWER_MS, QUIET_MS, load

SMALL = {"trials": 200, "pattern_ms": 12, "gap_ms": (3, 40), "jitter_ms": 0.0, "lost": 0.0}


@pytest.fixture(scope="module")
def task():
    return load(**SMALL)


def test_cue_and_probe_decide_and_nothing_sounds_between_them(task):
    targets, gaps = [], []
    for part in PARTS:
        for each in task.parts[part]:
            frames = each.inputs.numpy()
            gap = len(frames) - QUIET_MS - 2 * task.pattern_ms - ANSWER_MS
            cue, silent, probe, answer = np.split(frames[QUIET_MS:], np.cumsum([task.pattern_ms, gap, task.pattern_ms]))
            assert cue.any()
            assert not silent.any()
            assert not answer.any()
            assert not frames[:QUIET_MS].any()
            assert np.array_equal(cue, probe) == bool(each.target)
            targets.append(int(each.target))
            gaps.append(gap)
    assert sum(targets) == 100
    assert min(gaps) == 3
    assert max(gaps) == 40
    assert np.median(gaps) < 15  # log-uniform


def test_the_answer_counts_from_the_probe_on_and_is_told_by_gap(task):
    batch = task.collate(task.parts["test"])
    right = torch.nn.functional.one_hot(batch.target, 2).float() - 0.5
    late = torch.arange(len(batch.mask))[:, None] >= batch.lengths - task.pattern_ms - ANSWER_MS
    logits = torch.where(late[..., None], right, -9 * right)  # wrong all along before, and louder
    found = task.scores(logits, batch)
    assert found["accuracy"] == (len(batch.target), len(batch.target))
    assert task.scores(-logits, batch)["accuracy"][0] == 0
    gaps = task.gaps_ms(batch)
    assert found["accuracy_gap_from_0_ms"] == (int((gaps < 20).sum()),) * 2
    assert found["accuracy_gap_from_20_ms"] == (int((gaps >= 20).sum()),) * 2
    assert found["accuracy_gap_from_80_ms"] == (0, 0)


def test_a_range_without_gaps_has_no_score(task, tmp_path):
    config = {"task": "delayed_match", "task_options": SMALL, "network": {"hidden": [4], "neuron": "lif"}}
    settings = {"training": {"epochs": 1}, "synapse": {"kind": "float"}}
    result = train(RunConfig.model_validate(config | settings), tmp_path / "run")
    assert {"accuracy_gap_from_0_ms", "accuracy_gap_from_20_ms"} < result["test"].keys()
    assert "accuracy_gap_from_80_ms" not in result["test"]


def test_the_same_seed_gives_the_same_trials():
    first, again, other = load(**SMALL), load(**SMALL), load(**SMALL, seed=8)
    assert first.split == again.split != other.split


@pytest.mark.parametrize("wrong", [{"patterns": 1}, {"gap_ms": (9, 3)}, {"trials": 10**9}, {"pattern_ms": 1}])
def test_sizes_that_make_no_task_are_refused(wrong):
    with pytest.raises(InputError, match="delayed_match: "):
        load(**{**SMALL, **wrong})


def test_a_score_that_the_test_part_alone_has_stands_in_table_and_report(one_thread, tmp_path):
    """Of 60 trials none of validation has a long gap."""
    config = RunConfig.model_validate({
        "task": "delayed_match", "task_options": {"trials": 60}, "network": {"neuron": "lif", "hidden": [4]},
        "synapse": {"kind": "float"}, "training": {"epochs": 1},
    })  # fmt: skip
    (tmp_path / "base.yaml").write_text(config.to_yaml())
    plan = SweepConfig(config=str(tmp_path / "base.yaml"), grid={"network.neuron": ["lif"]})
    (row,) = sweep(plan, tmp_path / "runs")
    assert "test_accuracy_gap_from_80_ms_mean" in row
    assert "valid_accuracy_gap_from_80_ms_mean" not in row
    (result,) = (tmp_path / "runs").glob("*/result.json")
    ended = result.stat().st_mtime_ns
    assert sweep(plan, tmp_path / "runs") == [row]
    assert result.stat().st_mtime_ns == ended
    page = write_run_report(result.parent).read_text()
    table = page[page.index("accuracy_gap_from_80_ms") :]
    assert "–" in table[: table.index("</tr>", table.index("valid"))]
    stages = {"as trained": {part: json.loads(result.read_text())[part] for part in ("valid", "test")}}
    assert "–" in _scores({"scores": stages}).rows[0]
