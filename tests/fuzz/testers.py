"""Files of testers, as kinds of file for the fuzz: what is in them, one record as a table, and a fit's view of one."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from kind import CASES, Kind, Outcome, bruno, called, written


def _free_tables() -> list[bytes]:
    units = (CASES / "fecap" / "loop.csv").read_text().replace("t,v,q", "t [us],v [V],q [uC/cm2]")
    german = units.replace(",", ";").replace(".", ",")
    parts = f"# area [um2]: 25\n{units}\n{units}"
    return [units.encode(), german.encode("utf-16"), parts.encode(), units.partition("\n")[2].encode()]


def _tester_file(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """A file of a tester: what is in it, one record as a table, and a fit's view of it."""
    from bruno_spice.calibration.fecap.measurement import Columns, read_measurement

    path = written(folder, "measured.dat", data)
    draw = rng.random()
    if draw < 0.2:
        return bruno("data", "show", path)
    if draw < 0.4:
        return bruno("data", "convert", path, "--record", rng.choice((1, 2, 7)), "--out", folder / "out.csv")
    return called(lambda: read_measurement(path, Columns(), 1e-10, None, rng.choice((None, 1, 3)), None))


def _workbook(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """A workbook whose bytes are overwritten where they stand, so that its sectors stay in place."""
    from mutate import mutated

    if rng.random() < 0.2:
        return _tester_file(folder, mutated(data, rng, [], os.environ["FUZZ_CANARY"]), rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        put = rng.choice((b"\0", b"\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xfe\xff\xff\xff", rng.randbytes(2)))
        at = rng.choice((rng.randrange(512), rng.randrange(len(out)), rng.randrange(len(out))))
        out[at : at + len(put)] = put
    return _tester_file(folder, bytes(out), rng)


def _cells(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """Readings of RRAM cells, or reads of cells left alone: to a card."""
    from bruno_spice.calibration.rram.measured import fit_measured
    from bruno_spice.calibration.rram.reads import read_noise, read_traces
    from bruno_spice.calibration.rram.tables import read_cells

    path = written(folder, "cells.csv", data)
    if rng.random() < 0.3:
        return called(lambda: read_noise(read_traces(path), 400.0))
    return called(lambda: fit_measured([read_cells(path)]))


def _traces() -> list[bytes]:
    rows = [(n * 1e-5, 2.5 * (n % 150) / 150, 3.0 if n else 0.0) for n in range(400)]
    return [
        ("t [s],vm [V],i [nA]\n" + "\n".join(f"{t:.6g},{v:.6g},{i:g}" for t, v, i in rows)).encode(),
        ("t [s];vm [V]\n" + "\n".join(f"{t:.6g};{v:.6g}" for t, v, _ in rows)).replace(".", ",").encode(),
    ]


def _trace(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """A membrane trace with its current, in a column or as a constant."""
    from bruno_spice.calibration.measured.choice import Choice
    from bruno_spice.calibration.traces.reading import Columns, read_trace

    path = written(folder, "trace.csv", data)
    return called(lambda: read_trace(Choice(path), Columns(), rng.choice((None, "3n"))))


def _tester(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(CASES / "measured" / name).read_bytes() for name in names]


AIXACCT_LINES = (
    b"Table 2", b"Data Table [1,2]", b"SingleLoop: YES", b"ManualWaveform: YES", b"Area [mm2]: 0", b"Area [C]: 1",
    b"Thickness [nm]: 1e400", b"Time [s]\tV+ [V]\tP1 [uC/cm2]\t", b"TfaModule: DHM", b"Waveform: \x1b[31m", b"\t\t\t",
    b"Time [s]\t" * 300, b"Hysteresis Frequency [Hz]: -1", b":" * 3000,
)  # fmt: skip
RADIANT_LINES = (
    b"Points:\t99999999999999999999", b"Volts:\t0", b"Hysteresis Period (ms):\t0", b"Sample Area (cm2):\tnan",
    b"Point\tTime (ms)\tDrive Voltage\tMeasured Polarization", b"PMax (V):\t1", b"PMax (%s):\t1",
)  # fmt: skip
EASYEXPERT_LINES = (
    b"SetupTitle, `touch CANARY`", b"DataName, a, a", b"DataName", b"DataValue", b"DataValue, 1, 2, 3, 4",
    b"Dimension1, 999999999", b"Dimension2, 0", b"Dimension2, 9999999", b"TestParameter",
    b"TestParameter, Channel.VName, Id, Id",
)  # fmt: skip
ICCAP_LINES = (
    b"BEGIN_DB", b"END_DB", b"BEGIN_HEADER", b"END_HEADER", b" ICCAP_VAR VG 0", b" #VD ID", b" #", b"ICCAP_INPUTS",
    b"  X V A B C D LIN 9 0 1 99999999 1", b"  X V LIN", b"  X V LIST 1 3 1 2 3", b"  X V SYNC 1 0 VG", b"  X V ESYNC",
)  # fmt: skip
RAW_LINES = (
    b"Binary:", b"Values:", b"Title: x", b"Flags: real stepped", b"Flags: complex", b"No. Points: 999999999",
    b"No. Variables: 0", b"No. Points: 63", b"Variables:", b"\t2\tv(x)\tvoltage", b"\t1\tv(x)\tvoltage\x1b[31m",
)  # fmt: skip
PSF_LINES = (
    b"HEADER", b"TYPE", b"SWEEP", b"TRACE", b"VALUE", b"END", b'"a" "V"', b'"group" GROUP 999999999', b'"time" 1e400',
    b'"V" STRUCT(', b"PROP(", b")", b'"time" 5e-4', b'"\x1b[31m" "V"', b'"group" 1 2 3',
)  # fmt: skip

TESTERS: dict[str, Kind] = {
    "free table": Kind(0.06, _free_tables, _tester_file),
    "aixacct": Kind(
        0.06,
        _tester(*(f"aixacct_{each}.dat" for each in ("dhm", "forc", "pund", "leakage", "fatigue"))),
        _tester_file,
        AIXACCT_LINES,
    ),
    "radiant": Kind(0.04, _tester("radiant.txt"), _tester_file, RADIANT_LINES),
    "xls": Kind(0.06, _tester("keithley.xls"), _workbook),
    "easyexpert": Kind(0.04, _tester("easyexpert.csv"), _tester_file, EASYEXPERT_LINES),
    "iccap": Kind(0.04, _tester("iccap.mdm"), _tester_file, ICCAP_LINES),
    "cells": Kind(0.04, _tester("rram_set.csv", "rram_relaxation.csv", "rram_reads.tsv"), _cells),
    "raw": Kind(0.04, _tester("ngspice.raw", "ltspice.raw"), _tester_file, RAW_LINES),
    "psf": Kind(0.04, _tester("spectre.tran"), _tester_file, PSF_LINES),
    "trace": Kind(0.04, _traces, _trace),
    "oscilloscope": Kind(0.04, _tester("oscilloscope.csv"), _tester_file),
}
