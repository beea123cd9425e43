"""Losses on spike trains, a task of precise spikes, numbers as targets, classes of unequal size."""

import numpy as np
import pytest
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import Output
from bruno_spice.training.neurons.base import Outputs
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import TASKS, load_task
from bruno_spice.training.tasks.base import Example
from bruno_spice.training.tasks.classification import classification
from bruno_spice.training.tasks.regression import Regression
from bruno_spice.training.tasks.spikes.patterns import SpikePatterns, load, pattern, read_spikes
from bruno_spice.training.tasks.spikes.trains import filtered, first_spike_ms, latency_loss, matched, van_rossum


def pairwise_distance(first_ms, second_ms, tau_ms):
    """D^2 by the sum over pairs of spikes."""
    return sum(
        sign * np.exp(-np.abs(np.subtract.outer(a, b)) / tau_ms).sum()
        for sign, a, b in ((0.5, first_ms, first_ms), (0.5, second_ms, second_ms), (-1.0, first_ms, second_ms))
    )


def test_van_rossums_distance_is_the_sum_over_pairs_of_spikes():
    rng = np.random.default_rng(0)
    first, second = (torch.tensor(rng.random((60, 2, 3)) < 0.1).double() for _ in range(2))
    tail = torch.zeros(200, 2, 3).double()  # the integral goes on behind the last spike
    found = van_rossum(torch.cat([first, tail]), torch.cat([second, tail]), 7.0)
    for b in range(2):
        for n in range(3):
            times = [np.flatnonzero(each[:, b, n].numpy()) + 1.0 for each in (first, second)]
            assert float(found[b, n]) == pytest.approx(pairwise_distance(*times, 7.0), rel=1e-9)
    assert float(van_rossum(first, first, 7.0).abs().max()) == 0.0


def test_instants_within_a_millisecond_move_the_filtered_train():
    spikes, instants = torch.zeros(9, 1, 1).double(), torch.zeros(9, 1, 1).double()
    spikes[2], instants[2] = 1.0, 0.25
    trace = filtered(spikes, 5.0, instants)[:, 0, 0]
    np.testing.assert_allclose(trace[2:], np.exp(-(np.arange(3, 10) - 2.25) / 5.0), rtol=1e-12)
    wanted = torch.zeros_like(spikes)
    wanted[2] = 1.0
    apart = [float(van_rossum(spikes, wanted, 5.0, None, instants, c * wanted)) for c in (0.25, 0.5, 1.0)]
    assert apart[0] == 0.0
    assert 0.0 < apart[1] < apart[2]


def test_the_mask_ends_a_train():
    spikes = torch.ones(6, 1, 2)
    mask = torch.tensor([[1.0], [1], [1], [0], [0], [0]])
    short = van_rossum(spikes[:3], torch.zeros(3, 1, 2), 4.0)
    torch.testing.assert_close(van_rossum(spikes, torch.zeros(6, 1, 2), 4.0, mask), short)


def test_the_first_spike_is_where_it_is_and_its_gradient_that_of_the_expectation():
    spikes, instants = torch.zeros(8, 1, 4).double(), torch.zeros(8, 1, 4).double()
    for n, t in enumerate((0, 3, 7)):
        spikes[t, 0, n], instants[t, 0, n] = 1.0, 0.4
    spikes[5, 0, 1] = 1.0  # a second one does not count
    np.testing.assert_allclose(first_spike_ms(spikes, instants)[0], [0.4, 3.4, 7.4, 8.0])
    np.testing.assert_allclose(first_spike_ms(spikes)[0], [1.0, 4.0, 8.0, 8.0])
    chances = torch.rand(6, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: first_spike_ms(x, 0.3 * torch.ones_like(x)), (chances,))
    by_hand = sum(
        (k + 1.0) * chances[k, 0, 0] * torch.prod(1 - chances[:k, 0, 0]) for k in range(6)
    ) + 6 * torch.prod(1 - chances[:, 0, 0])  # fmt: skip
    torch.testing.assert_close(first_spike_ms(chances)[0, 0], by_hand)
    loss = latency_loss(spikes, torch.full((1, 4), 3.4).double(), instants)
    np.testing.assert_allclose(loss[0], [9.0, 0.0, 16.0, 4.6**2], rtol=1e-6, atol=1e-9)


def test_spikes_are_matched_with_one_other_each():
    assert matched(np.array([1.0, 2.0, 9.0]), np.array([2.5, 30.0]), 2.0) == 1
    assert matched(np.array([1.0, 2.0]), np.array([1.5, 2.5]), 1.0) == 2
    assert matched(np.array([]), np.array([1.0]), 2.0) == 0


# --- the task of precise spikes ----------------------------------------------------------------------------------


def trains(seed, neurons, milliseconds, rate):
    """Spikes of `neurons` as (neuron, time in us), at most one a millisecond."""
    rng = np.random.default_rng(seed)
    time, neuron = np.nonzero(rng.random((milliseconds, neurons)) < rate)
    return neuron.astype(np.int64), time * 1000 + rng.integers(1, 1000, len(time))


def written(path, neuron, time_us):
    """The spikes as the binary file has them, with the sign of an ON event."""
    rows = np.stack([neuron >> 8, neuron & 255, 0x80 | (time_us >> 16), (time_us >> 8) & 255, time_us & 255], axis=1)
    path.write_bytes(rows.astype(np.uint8).tobytes())


def made(folder, neurons=200, milliseconds=60):
    for name, seed, rate in (("input.bs1", 1, 0.02), ("output.bs1", 2, 0.03)):
        written(folder / name, *trains(seed, neurons, milliseconds, rate))
    return folder


def shown(spikes, instants=None):
    zeros = torch.zeros_like(spikes)
    out = Outputs(spikes, zeros, zeros, zeros, instants)
    return Output(zeros, {"output": spikes}, {}, {"output": out})


def test_the_files_are_read_and_the_wanted_trains_score_fully(tmp_path):
    task = load(str(made(tmp_path)))
    neuron, time_us = read_spikes(tmp_path / "output.bs1")
    np.testing.assert_array_equal(neuron, trains(2, 200, 60, 0.03)[0])
    np.testing.assert_array_equal(time_us, trains(2, 200, 60, 0.03)[1])
    assert (task.n_inputs, task.n_outputs, len(task.parts["train"][0].inputs)) == (200, 200, 60)
    batch = task.collate(task.parts["test"])
    spikes = (batch.target > 0).float()
    right = task.finish(task.scores_of(shown(spikes, batch.target), batch))
    assert right == {"f1": 1.0, "van_rossum": 0.0}
    late = task.finish(task.scores_of(shown(spikes.roll(4, 0), batch.target.roll(4, 0)), batch))
    assert late["f1"] < 0.3
    assert late["van_rossum"] > 0.1
    silent = task.finish(task.scores_of(shown(torch.zeros_like(spikes)), batch))
    assert silent["f1"] == 0.0
    assert 0.05 < task.floors()["random times"]["f1"] < 0.3
    assert load(str(tmp_path), milliseconds=20).parts["train"][0].target.shape == (20, 200)


def test_a_run_learns_to_place_its_spikes_and_resumes(tmp_path, monkeypatch, one_thread, bruno):
    (tmp_path / "oxford").mkdir()
    made(tmp_path / "oxford", 200, 40)
    monkeypatch.setenv("BRUNO_DATA", str(tmp_path))
    network = {"hidden": [40], "neuron": "lif", "recurrent": False, "output_neuron": "felif", "readout": ["spikes"],
               "input_skip": False, "dropout": 0.0, "weight_std": 1.0}  # fmt: skip
    config = RunConfig.model_validate({
        "task": "oxford", "network": network, "synapse": {"kind": "float"},
        "neuron": {"gradient": "tangent", "options": {"reset": "event", "current_limits": "envelope", "tau_s": "10m"}},
        "training": {"epochs": 30, "learning_rate": 3e-2},
    })  # fmt: skip
    result = train(config, tmp_path / "run")
    assert result["test"]["f1"] > 1.5 * result["floors"]["random times"]["f1"]
    assert evaluate(tmp_path / "run")["test"] == result["test"]
    assert (tmp_path / "run" / "figures" / "raster.png").stat().st_size > 10_000
    for command in ("validate", "codesign"):
        assert "its task is scored by spikes" in " ".join(bruno(command, tmp_path / "run")[2].split())


def test_what_is_no_task_of_spikes_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("BRUNO_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"input\.bs1 is not there: put input\.bs1 and output\.bs1"):
        load_task("oxford")
    (tmp_path / "input.bs1").write_bytes(b"1234567")
    with pytest.raises(InputError, match=r"input\.bs1: 7 bytes are no spikes of 5 bytes each"):
        read_spikes(tmp_path / "input.bs1")
    made(tmp_path, 5, 20)
    task = load(str(tmp_path))
    logits = Output(torch.zeros(20, 1, 5))
    with pytest.raises(InputError, match=r"set network\.output_neuron"):
        task.loss_of(logits, task.collate(task.parts["train"]))
    with pytest.raises(InputError, match="milliseconds must be positive"):
        load(str(tmp_path), milliseconds=0)
    assert isinstance(pattern(trains(0, 3, 9, 0.5), trains(1, 2, 9, 0.5), "made"), SpikePatterns)


# --- numbers as targets, classes of unequal size -----------------------------------------------------------------


def regression(seed=0):
    rng = np.random.default_rng(seed)
    examples = []
    for _ in range(30):
        x = torch.tensor(rng.random((int(rng.integers(5, 9)), 2)), dtype=torch.float32)
        examples.append(Example(x, torch.stack([x.sum(1), 1 + x[:, 0] ** 2, x[:, 1] - 2], dim=1)))
    return Regression({"train": examples[:20], "valid": examples[20:24], "test": examples[24:]}, "made")


def test_regression_scores_are_those_of_all_frames_over_unequal_batches():
    task = regression()
    sums: dict = {}
    answers, wanted = [], []
    for rows in (slice(0, 2), slice(2, 6)):
        batch = task.collate(task.parts["test"][rows])
        logits = torch.randn(*batch.mask.shape, 3, generator=torch.Generator().manual_seed(4))
        for name, (total, weight) in task.scores(logits, batch).items():
            sums[name] = tuple(a + b for a, b in zip(sums.get(name, (0.0, 0.0)), (total, weight), strict=True))
        there = batch.mask.bool()
        answers.append(logits[there].double().numpy())
        wanted.append(batch.target[there].double().numpy())
    found, (y, t) = task.finish(sums), (np.concatenate(answers), np.concatenate(wanted))
    assert found["mse"] == pytest.approx(np.square(y - t).mean(), rel=1e-6)
    assert found["mae"] == pytest.approx(np.abs(y - t).mean(), rel=1e-6)
    assert found["r2"] == pytest.approx(1 - np.square(y - t).sum() / np.square(t - t.mean()).sum(), rel=1e-6)
    assert set(found) == {"mse", "mae", "r2"}
    floors = task.floors()
    assert floors["linear"]["mse"] < 0.1 * floors["mean"]["mse"]


def test_a_network_learns_numbers_and_other_targets_are_refused(tmp_path, monkeypatch, one_thread):
    monkeypatch.setitem(TASKS, "numbers", regression)
    small = {
        "network": {"hidden": [10], "neuron": "lif", "dropout": 0.0},
        "training": {"epochs": 25, "learning_rate": 3e-2},
    }
    config = RunConfig.model_validate({"task": "numbers", "synapse": {"kind": "float"}, **small})
    result = train(config, tmp_path / "run")
    assert result["metric"] == "mse"
    assert result["test"]["mse"] < 0.7 * result["floors"]["mean"]["mse"]
    task = regression()
    task.parts["valid"][1] = Example(task.parts["valid"][1].inputs, torch.zeros(3))
    with pytest.raises(InputError, match=r"sequence 1 of valid has a target \(3,\) of torch\.float32; it must be"):
        task.check()


def unequal(**options):
    rng = np.random.default_rng(0)
    classes = np.array([0] * 80 + [1] * 30 + [2] * 10)
    inputs = [rng.random((4, 2)).astype(np.float32) for _ in classes]
    return classification(inputs, classes, ["many", "some", "few"], "made", **options)


def test_classes_weigh_as_asked_and_balanced_accuracy_is_the_mean_recall():
    task = unequal(class_weights="balanced", balanced_accuracy=True)
    counts = np.bincount([int(each.target) for each in task.parts["train"]])
    np.testing.assert_allclose(task.weights(), counts.sum() / (3 * counts), rtol=1e-6)
    batch = task.collate(task.parts["test"])
    logits = torch.randn(4, len(batch.target), 3, generator=torch.Generator().manual_seed(0))
    loss, weight = task.loss(logits, batch)
    wanted = torch.nn.functional.cross_entropy(logits.mean(0), batch.target, weight=task.weights())
    torch.testing.assert_close(loss / weight, wanted)
    assert unequal(class_weights=[1, 2, 3]).weights().tolist() == [1, 2, 3]
    found = task.finish(task.scores(logits, batch))
    answers = logits.mean(0).argmax(-1)
    recalls = [float((answers[batch.target == label] == label).float().mean()) for label in range(3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert set(found) == {"accuracy", "cross_entropy", "balanced_accuracy"}
    plain = unequal()
    assert plain.weights() is None
    assert set(plain.finish(plain.scores(logits, batch))) == {"accuracy", "cross_entropy"}
    for wrong in ([1, 2], [1, -1, 1], "even"):
        with pytest.raises(InputError, match="class_weights must be none, balanced or 3 numbers"):
            unequal(class_weights=wrong).check()
