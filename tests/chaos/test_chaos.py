"""A short version of `make chaos`."""

import contextlib
import random

import chaos

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice import SIMULATORS


def test_under_signals_a_full_disk_and_flipped_entries_every_result_comes_bit_for_bit(tmp_path):
    """In every simulator that is installed."""
    calm = chaos.undisturbed(24, tmp_path / "calm")
    assert len(set(calm.digests)) == 24
    installed = []
    for name in SIMULATORS:
        with contextlib.suppress(SimulationError):
            SIMULATORS[name].installed()
            installed.append(name)
    assert calm.simulators == installed
    outcome = chaos.disturbed(tmp_path, calm, random.Random(1))
    assert outcome.wrong == []
    hit = {f"{how} to a worker of {name}" for how in ("SIGKILL", "SIGSTOP") for name in installed}
    assert hit <= set(outcome.done)
