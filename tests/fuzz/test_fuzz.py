"""A short version of `make fuzz`, and that its counters count."""

import json
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

FUZZ = Path(__file__).with_name("fuzz.py")


def test_no_damaged_or_hostile_file_runs_hangs_breaks_or_changes_anything(tmp_path):
    command = [sys.executable, str(FUZZ), "200", "--jobs", "1", "--seed", "2", "--out", str(tmp_path)]
    kinds = (
        "card,stimulus,table,free table,aixacct,radiant,xls,easyexpert,iccap,cells,oscilloscope,dialect,waveform,"
        "config,sweep,variation,store,fit,pickle,netlist,deck,veriloga"
    )
    done = subprocess.run([*command, "--kinds", kinds], capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert done.returncode == 0, done.stdout
    assert found["counts"] == dict.fromkeys(fuzz.FAULTS, 0)
    assert found["inputs"] == 200
    assert set(found["kinds"]) == set(kinds.split(","))


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        ("return called(lambda: int('x'))", "traceback"),
        ("return Outcome(3, '', '')", "traceback"),
        ("return Outcome(0, '\\x1b[31m', '')", "escape"),
        ("raise Believed('1 for 2')", "believed"),
        ("os.system('touch ' + os.environ['FUZZ_CANARY']); return Outcome(0, '', '')", "executed"),
        ("(folder / 'PWNED').touch(); return Outcome(2, '', 'refused')", "executed"),
        ("os._exit(3)", "crash"),
        ("while True: pass", "hang"),
    ],
)
def test_what_must_not_happen_is_counted(tmp_path, monkeypatch, body, counted):
    """A kind that is read badly on purpose."""
    import kinds

    space = dict(vars(kinds))
    exec(f"def bad(folder, data, rng):\n    {body.replace('; ', chr(10) + '    ')}", space)
    monkeypatch.setitem(kinds.KINDS, "bad", kinds.Kind(1.0, lambda: [b"a = 1"], space["bad"]))
    monkeypatch.setattr(fuzz, "LONGEST_S", 0.5)
    found = fuzz.fuzz(2, 0, 1, ["bad"], tmp_path)
    assert found["counts"] == dict.fromkeys(fuzz.FAULTS, 0) | {counted: 2}
