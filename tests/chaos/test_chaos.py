"""A short version of `make chaos`."""

import random

import chaos


def test_under_signals_a_full_disk_and_flipped_entries_every_result_comes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "HITS_PER_JOB", {"worker": 0.1, "parent": 0.01, "flip": 0.2, "disk": 0.03})
    calm, job_s = chaos.undisturbed(100, tmp_path / "calm")
    assert len(set(calm)) == 100
    outcome = chaos.disturbed(tmp_path, calm, job_s, random.Random(1))
    assert outcome.wrong == []
    assert sum(outcome.done.values()) > 3, outcome.done
