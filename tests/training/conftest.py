"""What the training tests share: a small quick run."""

import pytest

from training.config import RunConfig

OWN_TASK = "training.tasks.own_example:load"


@pytest.fixture
def small_config() -> RunConfig:
    """Some seconds of work: ten LIF neurons on RRAM weights, two channels in."""
    return RunConfig.model_validate(
        {
            "task": OWN_TASK,
            "task_options": {"trials": 60, "steps": 8},
            "network": {"hidden": [10], "neuron": "rlif", "weight_std": 0.8},
            "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.02},
        }
    )
