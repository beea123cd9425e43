"""Which epoch is the best, and what an update counts for: odd scores and weights neither mislead a run nor end it."""

from pathlib import Path
from typing import Any

import pytest

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.progress import Interrupted
from bruno_spice.training.runs import trainer
from bruno_spice.training.runs.deciding import is_better
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import load_task
from tests.training.test_trainer import StopsAfter, history

pytestmark = pytest.mark.filterwarnings("ignore:the current runs from")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts in the place of the validation scores of epoch n what a function makes of them."""

    def put(change: Any) -> None:
        real, epochs = trainer.score_part, []

        def scores(*given: Any) -> Any:
            found, rates = real(*given)
            epochs.append(given)
            return change(len(epochs), found), rates

        monkeypatch.setattr(trainer, "score_part", scores)

    return put


def test_a_score_that_is_no_number_is_not_the_best_for_ever(
    small_config: RunConfig, tmp_path: Path, scored: Any
) -> None:
    scored(lambda epoch, found: found | ({"cross_entropy": float("nan")} if epoch == 1 else {}))
    config = small_config.with_values(training__epochs=2)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", reporter=StopsAfter(12))
    assert train(config, tmp_path / "run", resume=True)["best_epoch"] == 2
    task = load_task("pulses", {"trials": 20, "steps": 3})
    assert is_better(task, 0.5, float("-inf"))
    assert not is_better(task, float("-inf"), 0.5)
    assert is_better(task, 0.4, 0.5)
    assert not is_better(task, float("nan"), float("nan"))


@pytest.mark.parametrize("name", ["accuracy", "cross_entropy"])
def test_a_deciding_score_that_is_missing_is_named(
    small_config: RunConfig, tmp_path: Path, scored: Any, name: str
) -> None:
    scored(lambda _, found: {each: value for each, value in found.items() if each != name})
    with pytest.raises(InputError, match=rf"^epoch 1: validation has no score '{name}', by which .* there are \w+$"):
        train(small_config, tmp_path / "run")


def test_batches_of_classes_of_weight_0_are_passed_over(
    small_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config.with_values(
        training__epochs=1, training__batch_size=1, task_options={"trials": 20, "steps": 3}
    )
    weights = [0.0, 2.0]
    task = load_task(config.task, config.task_options)
    monkeypatch.setattr(task, "class_weights", weights)
    monkeypatch.setattr(trainer, "load_task", lambda *given: task)
    assert train(config, tmp_path / "run")["updates"] == 14
    assert history(tmp_path / "run")[0]["train"]["loss"] > 0
    weights[1] = 0.0
    with pytest.raises(InputError, match=r"^epoch 1: no training sequence has any weight in the loss"):
        train(config, tmp_path / "other")
