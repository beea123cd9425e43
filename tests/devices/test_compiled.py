"""Compiled kernels by content: what is compiled again, and what is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bruno_spice.devices.compiled import kernel, part

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from twice import twice
print(twice(21.0), sum(twice.stats.cache_hits.values()))
"""
KERNEL = """
from bruno_spice.devices.compiled import kernel

@kernel()
def twice(x):
    return 2.0 * x
"""


@pytest.fixture
def run(tmp_path):
    """What a program says, and its warnings, that calls a kernel of its own with the cache in tmp_path/cache."""
    (tmp_path / "twice.py").write_text(KERNEL)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(root)}

    def call():
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.stdout.split(), done.stderr

    return call


def test_a_damaged_compiled_kernel_is_compiled_again(run, tmp_path):
    assert run() == (["42.0", "0"], "")
    assert run() == (["42.0", "1"], "")
    for pattern in ("kernels-*/*/twice*.nbi", "kernels-*/*/twice*.nbc"):
        for path in (tmp_path / "cache").glob(pattern):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        said, warned = run()
        assert said == ["42.0", "0"]
        assert warned.count("RuntimeWarning: what") == 1


def test_a_cache_that_cannot_be_written_costs_only_time(run, tmp_path):
    (tmp_path / "cache").write_text("a file")
    said, warned = run()
    assert said == ["42.0", "0"]
    assert warned.count("RuntimeWarning: kernels are compiled anew in each command") == 1
    assert not list(tmp_path.glob("__pycache__/*.nb?"))


def test_a_part_is_compiled_once_whatever_constants_kernels_give_it():
    @part
    def times(x, n):
        return n * x

    @kernel()
    def both(x):
        return times(x, 2) + times(x, 3)

    assert both(1.0) == 5.0
    assert len(times.signatures) == 1
