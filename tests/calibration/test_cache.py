"""``bruno cache``: all that is kept is listed, and pruned oldest first."""

import json
import os

import numpy as np
import pytest

from bruno_spice.calibration.fitting.memo import fits, remembered
from bruno_spice.calibration.spice.store import Store
from bruno_spice.calibration.verilog_a.openvaf import compiled_models
from bruno_spice.devices.waveform import Waveform

KINDS = ["result", "model", "fit"]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A result, a model and a fit, one second after the other."""
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    Store.default().put("a" * 64, Waveform(np.arange(3.0), {"v(1)": np.ones(3)}), "rc.cir")
    compiled_models().put("b" * 64, b"model", label="compiled model")
    remembered(["K = 1"], lambda: {"tau_s": 1e-3}, "fit of a test")
    files = [entry.path for each in (Store.default().kept, compiled_models(), fits()) for entry in each.entries()]
    for age_s, path in zip((30, 20, 10), files, strict=True):
        written_at = path.stat().st_mtime - age_s
        os.utime(path, (written_at, written_at))
    return files


def test_results_models_and_fits_are_listed(bruno, kept):
    code, out, _ = bruno("cache", "list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert [each["kind"] for each in listed] == KINDS
    assert [each["label"] for each in listed] == ["rc.cir", "compiled model", "fit of a test"]
    assert [each["points"] for each in listed] == [3, None, None]
    assert "1 result, 1 model, 1 fit" in bruno("cache", "list")[1]


def test_what_has_no_name_or_cannot_be_read_is_listed_as_that(bruno, kept):
    fits().put("c" * 64, b"{}")
    kept[0].write_bytes(b"cut")
    labels = {each["label"] for each in json.loads(bruno("cache", "list", "--json")[1])}
    assert labels == {"damaged", "compiled model", "fit of a test", "without a name"}


def test_the_oldest_goes_first_and_without_a_bound_all_goes(bruno, kept):
    both = sum(path.stat().st_size for path in kept[1:])
    assert "removed 1 entry" in bruno("cache", "prune", "--keep", str(both))[1]
    assert [path.exists() for path in kept] == [False, True, True]
    assert "removed 0 entries" in bruno("cache", "prune", "--older-than", "1")[1]
    assert "removed 2 entries" in bruno("cache", "prune")[1]
    assert not any(path.exists() for path in kept)
