"""A short version of `make chaos`."""

import random

import chaos


def test_under_signals_a_full_disk_and_flipped_entries_every_result_comes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "HITS_PER_S", {"worker": 3.0, "parent": 0.3, "flip": 10.0, "disk": 1.0})
    count = 100
    calm = chaos.calm_digests(count, tmp_path / "calm")
    assert len(set(calm)) == count
    outcome = chaos.disturbed(count, tmp_path, calm, random.Random(1))
    assert outcome.wrong == []
    assert sum(outcome.done.values()) > 3, outcome.done
