"""A reader of measured files and a simulator of one's own are one file each, outside the package."""

import numpy as np
import pytest

from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.calibration.measured import READERS
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.devices.errors import InputError

READER = """
import numpy as np

from bruno_spice.calibration.measured.record import Found, Reader, Record, column


def pairs(path, asked):
    'Lines of `name: value value ...`; the file has no units.'
    rows = dict(line.split(":") for line in path.read_text().splitlines()[1:])
    columns = [column(name, np.array(values.split(), float), asked) for name, values in rows.items()]
    return Found([Record("loop", "a pair", "line 2", tuple(columns))], ("pairs",))


PAIRS = Reader("pairs of a name and numbers", lambda head: head.startswith("PAIRS"), pairs)
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
    t, v = np.arange(n), np.linspace(-1.0, 1.0, n)
    said = {"t": t, "v": v, "q": 2 * v}
    path = tmp_path / "record.pairs"
    path.write_text("PAIRS\n" + "\n".join(f"{k}:{' '.join(map(str, x))}" for k, x in said.items()))
    columns = Columns("t", "v", "q", "charge", "us", "V", "uC/cm2")
    found = read_measurement(path, columns, None, f"{tmp_path}/mine.py:pairs")
    np.testing.assert_allclose(found.time_s, 1e-6 * t)
    np.testing.assert_allclose(found.response, 2e-2 * v)
    assert found.read_as == ("pairs", "record 1 of 1, a pair", "columns v and q", "pairs")
    with pytest.raises(InputError, match="unknown reader 'tabel'; did you mean 'table'"):
        read_measurement(path, columns, None, "tabel")
    with pytest.raises(InputError, match="has no column 't', only PAIRS"):
        read_measurement(path, columns, None)


def test_a_reader_in_the_registry_takes_the_files_that_are_its_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(READER)
    (tmp_path / "record.pairs").write_text("PAIRS\nt:0 1 2\nv:1 2 3\n")
    own = READERS.find(f"{tmp_path}/mine.py:PAIRS")
    monkeypatch.setattr(READERS, "_entries", {"pairs": own, **READERS._entries})
    found = read_file(tmp_path / "record.pairs", Asked(declared_units(["t=us"])))
    assert (found.format, found.title, len(found.records)) == ("pairs", "pairs of a name and numbers", 1)
    np.testing.assert_allclose(found.records[0].columns[0].values, [0, 1e-6, 2e-6])
    assert [each.unit for each in found.records[0].columns] == ["s", ""]


def test_a_simulator_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(SIMULATOR)
    (wave,) = run_jobs([JOB], Farm(workers=1, store=None, simulator=f"{tmp_path}/mine.py:DIVIDER"))
    np.testing.assert_array_equal(wave["v(b)"], [0.5, 0.5])
    (ngspice,) = run_jobs([JOB], Farm(workers=1, store=None))
    np.testing.assert_allclose(ngspice["v(b)"], 0.5, rtol=1e-6)
    with pytest.raises(InputError, match="unknown simulator 'ngspise'; did you mean 'ngspice'"):
        run_jobs([JOB], Farm(workers=1, store=None, simulator="ngspise"))
