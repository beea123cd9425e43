"""What the training tests share: a small quick run."""

from collections.abc import Iterator

import pytest
import torch

from bruno_spice.training.networks.config import RunConfig

OWN_TASK = "pulses"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_config(one_thread: None) -> RunConfig:
    """Some seconds of work: ten LIF neurons on RRAM weights, two channels in."""
    return RunConfig.model_validate(
        {
            "task": OWN_TASK,
            "task_options": {"trials": 100, "steps": 10},
            "network": {"hidden": [10], "neuron": "rlif", "weight_std": 0.8},
            "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.02},
        }
    )
