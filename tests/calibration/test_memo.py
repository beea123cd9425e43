"""Fits by content: what is computed again, and what is not."""

import errno
import json
from dataclasses import dataclass

import numpy as np
import pytest

import bruno_spice.devices.kept
from bruno_spice.calibration.fitting import memo
from bruno_spice.calibration.fitting.memo import code_of, remembered
from bruno_spice.devices.registry import Registry

MODULES = Registry("class", {}, lambda found: found, "Class")


@dataclass
class Start:
    values: np.ndarray


VALUES = {"alpha": 1.2991234567890123, "tau_0": 3.3e-7}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A store of its own; the runs of the computation so far."""
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    return []


def fit(runs, inputs):
    """The number of the run that gave the result."""
    return remembered(inputs, lambda: runs.append(0) or {"runs": len(runs)})["runs"]


def test_the_same_inputs_are_not_computed_twice_and_others_are(runs):
    inputs = [np.arange(3.0), "K = 1"]
    assert fit(runs, inputs) == fit(runs, inputs) == 1
    assert fit(runs, [np.arange(3.0), "K = 2"]) == 2
    assert fit(runs, [np.arange(3.0)[:2], np.arange(3.0)[2:], "K = 1"]) == 3
    assert fit(runs, [np.arange(3.0).reshape(3, 1), "K = 1"]) == 4
    assert fit(runs, [np.arange(3.0).view(np.int64), "K = 1"]) == 5


def test_edited_code_and_another_library_are_fitted_anew(runs, tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "ferroelectric").mkdir(parents=True)
    equation = package / "ferroelectric" / "felif.py"
    equation.write_text("y = x")
    monkeypatch.setattr(memo, "CODE", (*memo.CODE, package))

    def identity():
        memo.code_identity.cache_clear()
        return memo.code_identity()

    seen = [identity()]
    equation.write_text("y = 2 * x")
    seen.append(identity())
    equation.rename(package / "felif.py")
    seen.append(identity())
    monkeypatch.setattr(memo, "version", lambda name: "0.0")
    seen.append(identity())
    assert len(set(seen)) == 4
    monkeypatch.setattr(memo, "CODE", (tmp_path / "moved_away",))
    with pytest.raises(FileNotFoundError, match="no Python files"):
        identity()
    memo.code_identity.cache_clear()


def test_no_flipped_bit_of_a_kept_fit_is_believed(runs, tmp_path, monkeypatch):
    """A bit of every byte of the entry, one at a time."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    remembered(["K = 1"], lambda: runs.append(0) or VALUES)
    path = next(tmp_path.glob("fits/??/*.fit"))
    whole = path.read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        with pytest.warns(RuntimeWarning, match="damaged in part; that is not used but computed again"):
            assert remembered(["K = 1"], lambda: runs.append(0) or VALUES) == VALUES
    assert len(runs) == 1 + len(whole)
    assert path.read_bytes() == whole


def test_a_fit_under_another_s_name_is_not_believed(runs, tmp_path):
    assert (fit(runs, ["K = 1"]), fit(runs, ["K = 2"])) == (1, 2)
    one, two = (p for p in tmp_path.glob("fits/??/*.fit"))
    one.write_bytes(two.read_bytes())
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert sorted([fit(runs, ["K = 1"]), fit(runs, ["K = 2"])])[1] == 3


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_fit_that_cannot_be_kept_is_used(runs, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, "it cannot")

    monkeypatch.setattr(bruno_spice.devices.kept, "write_atomic", refuse)
    with pytest.warns(RuntimeWarning, match="used but not kept: cannot write to .*fits .it cannot"):
        assert remembered(["K = 1"], lambda: VALUES) == VALUES


def test_a_fit_comes_back_as_it_was_to_the_last_bit(runs):
    values = {"values": [0.1 + 0.2, 5e-324, -1.7976931348623157e308], "text": json.dumps(VALUES)}
    assert remembered(["K = 1"], lambda: values) == values
    assert remembered(["K = 1"], lambda: pytest.fail("computed again")) == values


def test_a_model_of_a_user_is_its_file_s_text(runs, tmp_path):
    """Its laws are no part of the packages; numbers differ in the last digit."""
    path = tmp_path / "mine.py"
    for count, law in enumerate(("2.0 * x", "3.0 * x"), 1):
        path.write_text(f"class Mine:\n    law = {law!r}\n")
        mine = MODULES.find(f"{path}:Mine")
        assert fit(runs, [code_of(mine), "start"]) == count
    assert fit(runs, [Start(np.array([1.0, 2.0]))]) == 3
    assert fit(runs, [Start(np.array([1.0, np.nextafter(2.0, 3.0)]))]) == 4
