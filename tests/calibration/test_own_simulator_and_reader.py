"""A reader of measured records and a simulator of one's own are one file each, outside the package."""

import numpy as np
import pytest

from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.devices.errors import InputError

READER = """
import numpy as np


def pairs(path, columns):
    'Lines of `name: value value ...`, in the units that the columns declare.'
    rows = dict(line.split(":") for line in path.read_text().splitlines())
    return [column.scale * np.array(rows[column.name].split(), float) for column in columns], ("pairs",)
"""
SIMULATOR = """
import numpy as np

from bruno_spice.calibration.spice.ngspice import Ngspice, Simulator
from bruno_spice.devices.waveform import Waveform


class Divider:
    'Knows one circuit: V/2 at every node, from 0 to the end.'

    def __init__(self, time_limit_s, memory_limit_bytes):
        pass

    def run(self, job):
        time_s = np.array([0.0, job.t_stop_s])
        return Waveform(time_s, {name: np.full(2, 0.5) for name in job.vectors})

    def close(self):
        pass


DIVIDER = Simulator(lambda: Ngspice("1", "divider 1"), Divider)
"""
JOB = Job("* a divider\nV1 a 0 1\nR1 a b 1\nR2 b 0 1\n.tran 1m 1\n.save v(b)\n.end", ("v(b)",), 1.0)


def test_a_reader_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(READER)
    n = 40
    t, v = np.arange(n), np.sin(np.arange(n))
    said = {"t": t, "v": v, "q": 2 * v}
    (tmp_path / "record.pairs").write_text("\n".join(f"{k}:{' '.join(map(str, x))}" for k, x in said.items()))
    columns = Columns("t", "v", "q", "charge", "us", "V", "uC/cm2")
    found = read_measurement(tmp_path / "record.pairs", columns, None, f"{tmp_path}/mine.py:pairs")
    np.testing.assert_allclose(found.time_s, 1e-6 * t)
    np.testing.assert_allclose(found.response, 2e-2 * v)
    assert found.read_as == ("pairs",)
    with pytest.raises(InputError, match="unknown reader 'tabel'; did you mean 'table'"):
        read_measurement(tmp_path / "record.pairs", columns, None, "tabel")


def test_a_simulator_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(SIMULATOR)
    (wave,) = run_jobs([JOB], Farm(workers=1, store=None, simulator=f"{tmp_path}/mine.py:DIVIDER"))
    np.testing.assert_array_equal(wave["v(b)"], [0.5, 0.5])
    (ngspice,) = run_jobs([JOB], Farm(workers=1, store=None))
    np.testing.assert_allclose(ngspice["v(b)"], 0.5, rtol=1e-6)
    with pytest.raises(InputError, match="unknown simulator 'ngspise'; did you mean 'ngspice'"):
        run_jobs([JOB], Farm(workers=1, store=None, simulator="ngspise"))
