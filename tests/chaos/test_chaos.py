"""A short version of `make chaos`."""

import random

import chaos


def test_under_signals_a_full_disk_and_flipped_entries_every_result_comes_bit_for_bit(tmp_path):
    calm, start_s = chaos.undisturbed(100, tmp_path / "calm")
    assert len(set(calm)) == 100
    outcome = chaos.disturbed(tmp_path, calm, start_s, random.Random(1))
    assert outcome.wrong == []
    assert {"SIGKILL to a worker", "SIGSTOP to a worker"} <= set(outcome.done)
