"""The training loop: it learns, it repeats itself, it goes on where it stopped, and it says what is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import BrunoError, CardError, InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.progress import Interrupted, Silent
from bruno_spice.training.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from bruno_spice.training.runs.evaluation import chip_seed, evaluate, load_run
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.monitor import Rates, rate_warnings
from bruno_spice.training.runs.optimizer import rescale
from bruno_spice.training.runs.schedule import epoch_batches, schedule_factor
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.synapses.rram import RRAMLinear

pytestmark = pytest.mark.filterwarnings("ignore:the current runs from")


class StopsAfter(Silent):
    """A reporter that sends Ctrl-C after some updates."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def advance(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Collects(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Counts(Silent):
    done, total, closed = 0, 0, False

    def start(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def advance(self) -> None:
        self.done += 1

    def close(self) -> None:
        self.closed = True


def history(folder: Path) -> list[dict]:
    rows = RunFolder(folder).read_metrics()
    for row in rows:
        row.pop("train_time_s"), row.pop("valid_time_s")
    return rows


def test_a_run_learns_and_leaves_a_whole_folder(small_config: RunConfig, tmp_path: Path) -> None:
    result = train(small_config, tmp_path / "run")
    for name in (
        "config.yaml", "cards/felif.json", "cards/rram.json", "metrics.jsonl", "checkpoint.safetensors",
        "checkpoint.json", "best.safetensors", "result.json", "figures/training.png", "figures/confusion.png",
    ):  # fmt: skip
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    assert result["test"]["accuracy"] >= 0.75 > result["floors"]["chance"]["accuracy"]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    best = min(history(tmp_path / "run"), key=lambda row: row["valid"]["cross_entropy"])
    assert result["best_epoch"] == best["epoch"]
    assert result["valid"] == best["valid"]
    for key in ("task", "split", "source", "seed", "wall_time_s", "peak_memory_bytes", "cards", "versions"):
        assert result[key] is not None
    assert not list((tmp_path / "run").rglob("*.part"))


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(small_config: RunConfig, tmp_path: Path) -> None:
    train(small_config, tmp_path / "one")
    train(small_config, tmp_path / "two")
    train(small_config.with_values(seed=1), tmp_path / "three")
    assert history(tmp_path / "one") == history(tmp_path / "two")
    assert history(tmp_path / "one") != history(tmp_path / "three")


@pytest.mark.parametrize("updates", [3, 12, 18], ids=["in the first epoch", "in the second", "behind its last update"])
def test_an_interrupted_run_goes_on_bit_for_bit(small_config: RunConfig, updates: int, tmp_path: Path) -> None:
    config = small_config.with_values(synapse__rounding="stochastic", synapse__redraw_every=5)
    train(config, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after {updates} updates"):
        train(config, tmp_path / "parts", reporter=StopsAfter(updates))
    assert not (tmp_path / "parts" / "result.json").exists()
    train(config, tmp_path / "parts", resume=True)
    assert history(tmp_path / "whole") == history(tmp_path / "parts")
    whole, parts = (load_run(tmp_path / name)[2].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_resume_may_add_epochs_but_not_change_the_run(small_config: RunConfig, tmp_path: Path) -> None:
    constant = small_config.with_values(training__schedule="constant")
    train(constant.with_values(training__epochs=2), tmp_path / "run")
    train(constant, tmp_path / "run", resume=True)
    train(constant, tmp_path / "whole")
    assert history(tmp_path / "run") == history(tmp_path / "whole")
    for changes, complaint in (
        ({"network__neuron": "lif"}, r"but network\.neuron: 'rlif' was begun, 'lif' is asked for; begin another run"),
        ({"task_options": {"trials": 100}}, r"task_options\.steps: 10 was begun, 'nothing' is asked for"),
        ({"neuron__options": {"reset": "event"}}, r"neuron\.options\.reset: 'nothing' was begun, 'event' is asked for"),
    ):
        with pytest.raises(InputError, match=complaint):
            train(constant.with_values(**changes), tmp_path / "run", resume=True)
    told = Collects()
    train(constant.with_values(training__epochs=3), tmp_path / "run", resume=True, reporter=told)
    assert "nothing to train: the run has 4 epochs, 3 are asked for" in told.lines


def test_a_run_goes_on_only_while_it_is_the_same(small_config: RunConfig, tmp_path: Path) -> None:
    config = small_config.with_values(neuron__card=str(tmp_path / "felif.json"))
    card = FeLIFCard.load("data/calibrated/felif.json")
    card.save(tmp_path / "felif.json")
    for _ in range(2):
        with pytest.raises(Interrupted, match="after 3 updates"):
            train(config, tmp_path / "run", resume=True, overwrite=True, reporter=StopsAfter(3))
        card.with_values(v_threshold=2.4).save(tmp_path / "felif.json")
    with pytest.raises(Interrupted, match="after 5 updates"):
        train(config, tmp_path / "run", resume=True, overwrite=True, reporter=StopsAfter(2))
    other = config.with_values(network__hidden=[5])
    with pytest.raises(Interrupted, match="after 1 updates"):
        train(other, tmp_path / "run", resume=True, overwrite=True, reporter=StopsAfter(1))


def test_a_finished_run_is_trained_again_for_other_numbers_but_not_for_a_younger_card(
    small_config: RunConfig, tmp_path: Path
) -> None:
    config = small_config.with_values(neuron__card=str(tmp_path / "felif.json"), training__epochs=1)
    card = FeLIFCard.load("data/calibrated/felif.json")
    card.save(tmp_path / "felif.json")

    def again(config: RunConfig) -> tuple[dict[str, Any], list[str]]:
        told = Collects()
        return train(config, tmp_path / "run", resume=True, overwrite=True, reporter=told), told.lines

    first, _ = again(config)
    card.save(tmp_path / "felif.json")
    second, said = again(config)
    assert second == first
    assert said == [f"{tmp_path / 'run'} holds this run already, with this configuration and these cards"]
    longer, said = again(config.with_values(training__epochs=2))
    assert longer["epochs"] == 2
    assert "already" not in " ".join(said)
    card.with_values(v_threshold=2.4).save(tmp_path / "felif.json")
    other, said = again(config.with_values(training__epochs=2))
    assert other["cards"] != longer["cards"]
    assert "already" not in " ".join(said)


def test_a_folder_with_a_run_is_not_overwritten_by_accident(small_config: RunConfig, tmp_path: Path) -> None:
    short = small_config.with_values(training__epochs=1)
    train(short, tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already"):
        train(short, tmp_path / "run")
    stale = tmp_path / "run" / "figures" / "confusion_of_another_task.png"
    stale.touch()
    train(short, tmp_path / "run", overwrite=True)
    assert not stale.exists()
    with pytest.raises(InputError, match="no run here"):
        train(short, tmp_path / "other", resume=True)


@pytest.mark.parametrize("name", ["spice/mine.cir", "cards/felif.json", "report.html"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_of_others_that_are_called_as_a_run_s_are_not_deleted(small_config, tmp_path, name, resume) -> None:
    (mine := tmp_path / name).parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=f"{mine}: a run would delete it"):
        train(small_config, tmp_path, resume=resume, overwrite=True)
    assert mine.read_text() == "mine"


def test_a_run_of_another_length_begins_anew_where_it_may(small_config: RunConfig, tmp_path: Path) -> None:
    """Its learning rate falls over another length from the first update on."""
    long = small_config.with_values(training__epochs=2)
    whole = train(long, tmp_path / "whole")
    train(small_config.with_values(training__epochs=1), tmp_path / "run")
    again = train(long, tmp_path / "run", resume=True, overwrite=True)
    assert (again["test"], again["best_epoch"]) == (whole["test"], whole["best_epoch"])
    shorter = train(small_config.with_values(training__epochs=1), tmp_path / "run", resume=True, overwrite=True)
    assert shorter["epochs"] == 1


def test_a_network_has_one_ferroelectric_model(small_config: RunConfig, tmp_path: Path) -> None:
    for hidden, output in (("felif", "heracles"), ("heracles", "felif"), ("lif", "heracles")):
        card = "published" if hidden == "heracles" else "calibrated"
        config = small_config.with_values(
            network__neuron=hidden, network__output_neuron=output, neuron__card=card, neuron__values={}
        )
        with pytest.raises(InputError, match="a network has one ferroelectric model"):
            train(config, tmp_path / f"{hidden}-{output}")


def test_runs_of_neighbouring_seeds_have_no_virtual_chip_in_common() -> None:
    """With shared ones, spreads over seeds would be of fewer draws than they say."""
    assert len({chip_seed(seed, chip) for seed in range(20) for chip in range(50)}) == 1000


def test_evaluation_finds_the_same_scores_again_and_others_on_other_chips(
    small_config: RunConfig, tmp_path: Path
) -> None:
    result = train(small_config, tmp_path / "run")
    steps = Counts()
    again = evaluate(tmp_path / "run", chips=3, reporter=steps)
    assert (steps.done, steps.total, steps.closed) == (4, 4, True)
    assert again["test"] == result["test"]
    assert again["valid"] == result["valid"]
    assert again["chips"]["n"] == 3
    assert again["chips"]["std"]["cross_entropy"] > 0
    assert again["chips"]["min"]["accuracy"] <= again["chips"]["mean"]["accuracy"]


@pytest.mark.parametrize("neuron", ["felif", "lif", "gru", "lstm"])
@pytest.mark.parametrize("kind", ["float", "uniform"])
def test_every_neuron_trains_on_every_kind_of_weight(
    small_config: RunConfig, neuron: str, kind: str, tmp_path: Path
) -> None:
    config = small_config.with_values(network__neuron=neuron, synapse__kind=kind, training__epochs=1)
    result = train(config, tmp_path / "run")
    assert 0 <= result["test"]["accuracy"] <= 1
    row = history(tmp_path / "run")[0]
    assert row["gradient_norm"] > 0
    assert all(norm > 0 for name, norm in row["gradient_norms"].items() if "weight" in name)


def test_a_spiking_output_layer_and_two_hidden_ones_train(small_config: RunConfig, tmp_path: Path) -> None:
    config = small_config.with_values(
        network__output_neuron="felif", network__hidden=[8, 6], network__readout=["spikes"], network__input_skip=False,
        training__epochs=1,
    )  # fmt: skip
    train(config, tmp_path / "run")
    assert set(history(tmp_path / "run")[0]["activity"]) == {"hidden.0", "hidden.1", "output"}


def test_patience_ends_a_run_that_does_not_get_better(small_config: RunConfig, tmp_path: Path) -> None:
    config = small_config.with_values(training__learning_rate=1e-12, training__patience=2, training__epochs=30)
    assert train(config, tmp_path / "run")["epochs"] <= 6


def test_a_silent_layer_is_named(small_config: RunConfig, tmp_path: Path) -> None:
    told = Collects()
    train(small_config.with_values(network__unit_current_a=1e-13, training__epochs=1), tmp_path / "run", reporter=told)
    assert any("of the neurons of layer hidden.0 are silent" in line for line in told.lines)


def test_saturated_neurons_are_counted_over_unmasked_frames_only() -> None:
    rates, mask = Rates(), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    spikes = torch.ones(2, 2, 4)
    spikes[..., 0] = 0
    rates.add({"hidden.0": spikes}, mask)
    summary = rates.summary()["hidden.0"]
    assert summary == {"rate": 0.75, "silent": 0.25, "saturated": 0.75}
    assert "saturated" in rate_warnings({"hidden.0": summary})[0]


def test_a_gradient_that_is_not_finite_is_named_and_ends_the_run(
    small_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        RRAMLinear, "effective_weight", lambda self: self.weight * torch.where(self.weight > 9, 1.0, torch.nan)
    )
    told = Collects()
    with pytest.raises(BrunoError, match=r"^3 updates .* not finite, in .*hidden\.0\.synapse\.weight"):
        train(small_config.with_values(training__most_broken_updates=3), tmp_path / "run", reporter=told)
    assert sum("not finite" in line for line in told.lines) == 1


def test_updates_without_a_finite_gradient_are_left_out_and_counted(
    small_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RRAMLinear, "effective_weight", lambda self: self.weight + (0.0 * self.weight).sqrt())
    config = small_config.with_values(training__most_broken_updates=1000, training__average_decay=0.0)
    result = train(config, tmp_path / "run")
    assert result["broken_updates"] == result["updates"] > 20
    for row in history(tmp_path / "run"):
        assert row["gradient_norm"] is None
        assert row["gradient_norms"]["hidden.0.synapse.weight"] is None
        assert row["valid"] == history(tmp_path / "run")[0]["valid"]


def test_updates_without_a_finite_gradient_can_be_rescaled_and_applied(
    small_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every weight's gradient is multiplied by 1e38, and so is infinite in float32."""

    def steep(self: RRAMLinear) -> torch.Tensor:
        return self.weight + 1e38 * (1e38 * (self.weight - self.weight.detach()))

    monkeypatch.setattr(RRAMLinear, "effective_weight", steep)
    config = small_config.with_values(
        training__most_broken_updates=1000, training__average_decay=0.0, training__broken_updates="rescale"
    )
    told = Collects()
    result = train(config, tmp_path / "run", reporter=told)
    assert result["broken_updates"] == result["updates"] > 20
    assert any(line.endswith("is not finite; the update is rescaled") for line in told.lines)
    rows = history(tmp_path / "run")
    assert all(0 < row["gradient_norm"] < 1e4 for row in rows)
    assert rows[-1]["valid"] != rows[0]["valid"]


def test_a_gradient_beyond_numbers_is_rescaled_to_its_signs() -> None:
    for given, expected in (
        ([3e38, -3e38, 0.0], [1.0, -1.0, 0.0]),
        ([torch.inf, -torch.inf, 5.0], [1.0, -1.0, 0.0]),
        ([torch.nan, 2.0, -1.0], [0.0, 1.0, -0.5]),
        ([torch.nan, torch.nan, 0.0], [0.0, 0.0, 0.0]),
    ):
        first, second = torch.tensor(given[:1]), torch.tensor(given[1:])
        rescale([first, second])
        assert torch.cat([first, second]).tolist() == expected


def test_batches_hold_every_sequence_once_and_follow_from_seed_and_epoch(small_config: RunConfig) -> None:
    from bruno_spice.training.tasks.own_example import load

    examples, settings = load().parts["train"], small_config.training
    batches = epoch_batches(examples, settings, 0, 0)
    assert sorted(id(each) for batch in batches for each in batch) == sorted(id(each) for each in examples)
    ids = [[id(each) for each in batch] for batch in batches]
    assert ids == [[id(each) for each in batch] for batch in epoch_batches(examples, settings, 0, 0)]
    assert ids != [[id(each) for each in batch] for batch in epoch_batches(examples, settings, 0, 1)]


def test_the_cosine_schedule_falls_from_one_to_its_end(small_config: RunConfig) -> None:
    factors = [schedule_factor(small_config.training, epoch) for epoch in (0, 2, 4)]
    assert factors == pytest.approx([1.0, 0.525, 0.05])


def test_a_missing_card_is_one_sentence(small_config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no such card"):
        train(small_config.with_values(synapse__card="nowhere.json"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_is_one_sentence(small_config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device 'tpu9' cannot be used here"):
        train(small_config.with_values(device="tpu9"), tmp_path / "run")


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    cpu = torch.device("cpu")
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, optimizer, Progress(epoch=2, best_score=1.5), cpu)
    assert load_checkpoint(path, network, optimizer, cpu).best_score == 1.5
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(path, network, optimizer, cpu)


def test_two_processes_give_the_numbers_of_one_to_rounding(small_config: RunConfig, tmp_path: Path) -> None:
    config = small_config.with_values(training__epochs=2, training__batch_size=7)
    train(config, tmp_path / "one")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "bruno_spice",
        "train", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("everything is in") == 1
    assert "deprecated" not in done.stderr
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert b["train"]["loss"] == pytest.approx(a["train"]["loss"], rel=1e-3)
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=5e-3)
        assert b["valid"]["cross_entropy"] == pytest.approx(a["valid"]["cross_entropy"], rel=5e-3)
