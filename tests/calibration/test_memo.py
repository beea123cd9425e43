"""Fits by content: what is computed again, and what is not."""

from pathlib import Path

import numpy as np
import pytest

import calibration
import devices
from calibration.memo import FIT_SOURCES, remembered


@pytest.fixture
def compute(tmp_path, monkeypatch):
    """A computation that counts its runs, with a store of its own."""
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    runs = []
    return lambda inputs, sources: remembered(inputs, sources, lambda: runs.append(0) or {"runs": len(runs)})["runs"]


def test_the_same_inputs_and_code_are_not_computed_twice_and_others_are(compute, tmp_path):
    source = tmp_path / "equation.py"
    source.write_text("y = x")
    inputs = [np.arange(3.0), "K = 1"]
    assert compute(inputs, [source]) == compute(inputs, [source]) == 1
    assert compute([np.arange(3.0), "K = 2"], [source]) == 2
    source.write_text("y = 2 * x")
    assert compute(inputs, [source]) == 3
    for entry in (tmp_path / "fits").iterdir():
        entry.write_text("damaged")
    assert compute(inputs, [source]) == 4


def test_a_fit_of_a_neuron_counts_every_file_of_its_equations():
    own = {path.name for path in Path(devices.__file__).parent.glob("felif*.py")}
    assert {"felif.py", "felif_kernels.py", "felif_constants.py"} <= own
    folders = {Path(package.__file__).parent for package in (calibration, devices)}
    assert {path.name for path in FIT_SOURCES} >= own | {"recording.py", "fit_felif.py", "fitting.py", "waveform.py"}
    assert {path.parent for path in FIT_SOURCES} == folders
    assert all(path.is_file() for path in FIT_SOURCES)
