import shutil
import subprocess
import time

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import NETLISTS
from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import Worker, ngspice_version

RC = "* rc\nR1 in out 1k\nC1 out 0 1n\nV1 in 0 PWL(0 0 1n 1)\n.options reltol=1e-5\n.tran 10n 5u 0 10n\n"


@pytest.fixture(scope="module")
def worker():
    with Worker(time_limit_s=20) as one:
        yield one


def run(worker, text, tmp_path, vectors=("v(out)",)):
    path = tmp_path / "deck.cir"
    path.write_text(text)
    return worker.run(transient_job(Netlist.load(path), vectors, None))


def test_an_rc_circuit_charges_as_the_exponential_says(worker, tmp_path):
    wave = run(worker, RC, tmp_path, ("v(out)", "i(v1)"))
    exact = 1 - np.exp(-wave.time_s / 1e-6)
    assert np.max(np.abs(wave["v(out)"] - exact)) < 2e-3
    assert wave["i(v1)"][np.searchsorted(wave.time_s, 1e-9)] == pytest.approx(-1e-3, rel=2e-3)


@pytest.mark.parametrize(
    ("bad", "line", "says"),
    [
        ("B1 out 0 I = sinn(V(in))", 6, "no such function 'sinn'"),
        ("R2 out 0 {undefined}", 6, "undefined"),
        ("M1 out in 0 0 nomodel", 6, "valid modelname"),
        ("X1 out nosub", 6, "unknown subcircuit 'nosub'"),
        ("V2  OUT", 6, "'v2' has too few nodes"),
        ("C2", 6, "'c2' has too few nodes"),
        ("X2", 6, "'x2' has too few nodes"),
        (".subckt two a b\nJ1 A  b\nR1 a b 1k\n.ends\nX1 out 0 two", 7, "too few nodes in 'J1 A b'"),
        (".subckt two a b\nE1 A  b\nR1 a b 1k\n.ends\nX1 out 0 two", 7, "not enough parameters in line in 'E1 A b'"),
        (".nonsense", 6, "there is no card '.nonsense'"),
        (".subckt two a b\nR1 a b 1k\n.ends\nX1 out 0 in two", 9, "too many pins"),
        (".subckt two a b\nR1 a b 1k\nB1 a b I = sinn(V(a))\n.ends\nX1 out 0 two", 8, "no such function 'sinn'"),
        (".subckt two a b\nR1 a b {nope}\n.ends\nX1 out 0 two", 7, "nope"),
    ],
)
def test_a_netlist_error_names_file_line_and_cause(worker, tmp_path, bad, line, says):
    head, rest = RC.split(".options", 1)
    with pytest.raises(NetlistError, match=says) as caught:
        run(worker, f"{head}* comment\n{bad}\n.options{rest}", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'deck.cir'}:{line}: ")
    assert caught.value.exit_code == 2


def test_an_error_in_an_include_names_the_include(worker, tmp_path):
    (tmp_path / "sub.lib").write_text("* sub\n.subckt bad a\nB1 a 0 I = sinn(V(a))\n.ends\n")
    with pytest.raises(NetlistError, match=r"sub.lib:3: no such function"):
        run(worker, RC + ".include sub.lib\nX1 out bad\n", tmp_path)


def test_a_deck_without_analysis_is_refused(worker, tmp_path):
    with pytest.raises(NetlistError, match=r"deck.cir: has no .tran card"):
        run(worker, RC.split(".tran")[0] + ".control\ntran 1u 10u\n.endc\n", tmp_path)


def test_a_vector_that_the_deck_lacks_is_named(worker, tmp_path):
    with pytest.raises(NetlistError, match="no node 'nowhere' and no source 'vx'"):
        run(worker, RC, tmp_path, ("v(nowhere)", "i(vx)", "v(out)"))


def test_no_convergence_says_when_and_where(worker, tmp_path):
    bad = "B2 b 0 V = V(out) > 0.5 ? 1e9*V(b)*V(b)+1e6 : 0\nR2 b 0 1\n"
    with pytest.raises(
        SimulationError, match=r"did not converge in the transient analysis at .* s, trouble with node 'b'"
    ) as caught:
        run(worker, RC + bad, tmp_path)
    assert caught.value.exit_code == 1


def test_a_run_over_the_time_limit_is_killed(tmp_path):
    with Worker(time_limit_s=1) as hasty:
        started = time.monotonic()
        with pytest.raises(SimulationError, match="no result within 1 s"):
            run(hasty, RC.replace("5u 0 10n", "50 0 10n"), tmp_path)
        assert time.monotonic() - started < 5
        assert run(hasty, RC, tmp_path).time_s[-1] == pytest.approx(5e-6)


def test_a_run_over_the_memory_limit_ends_in_one_error(tmp_path):
    with (
        Worker(time_limit_s=30, memory_limit_bytes=1 << 27) as small,
        pytest.raises(SimulationError, match=r"more than 0.125 GiB"),
    ):
        run(small, RC.replace("5u 0 10n", "5m 0 1n"), tmp_path)


def test_the_version_is_the_libraries_own():
    assert int(ngspice_version()) >= 30


@pytest.mark.parametrize("deck", sorted((NETLISTS / "testbenches").glob("*.cir")), ids=lambda p: p.name)
def test_every_testbench_runs_by_hand(deck, tmp_path):
    ngspice = shutil.which("ngspice")
    assert ngspice, "the ngspice program belongs to the set-up"
    done = subprocess.run([ngspice, "-b", str(deck)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
