"""What may happen to a worker from outside, and what of its surroundings may not reach ngspice."""

import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_farm import children, rc_jobs, slow_jobs

import bruno_spice.calibration.spice.ngspice
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice import worker_process
from bruno_spice.calibration.spice.ngspice import Worker, installed_ngspice
from bruno_spice.calibration.spice.ngspice_worker import Watch
from bruno_spice.calibration.spice.worker_process import WorkerProcess

JOB = rc_jobs([1e3])[0]


@pytest.fixture(scope="module")
def calm():
    """The undisturbed result of `JOB`."""
    with Worker() as worker:
        return worker.run(JOB)


def assert_same(wave, other):
    np.testing.assert_array_equal(wave.time_s, other.time_s)
    np.testing.assert_array_equal(wave["v(out)"], other["v(out)"])


INIT = "set interp\nset ngbehavior=psa\noption reltol=0.5\nshell touch {}\n"


PLACES = ("HOME", "USERPROFILE", "SPICE_USERINIT_DIR", "SPICE_SCRIPTS", "SPICE_LIB_DIR", "NGSPICE_INPUT_DIR")


@pytest.mark.parametrize("where", ["in the folder", "in the environment"])
def test_no_init_file_of_the_user_acts(calm, tmp_path, monkeypatch, where):
    usual = installed_ngspice()
    for name in (".spiceinit", "spice.rc", "spinit", "scripts/spinit"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(INIT.format(tmp_path / "ran"))
    if where == "in the folder":
        monkeypatch.chdir(tmp_path)
    else:
        for place in PLACES:
            monkeypatch.setenv(place, str(tmp_path))
    with Worker() as worker:
        assert worker.start() == usual
        assert_same(worker.run(JOB), calm)
    assert not (tmp_path / "ran").exists()


def test_the_init_file_in_the_home_that_the_system_knows_does_not_act(calm, tmp_path):
    """ngspice asks the password file, not HOME; here one in which the user lives in a folder with a .spiceinit."""
    can = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    if not can:
        pytest.skip("needs user namespaces to stand in for the password file")
    (tmp_path / ".spiceinit").write_text(INIT.format(tmp_path / "ran"))
    (tmp_path / "passwd").write_text(f"root:x:0:0::{tmp_path}/:/bin/sh\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_farm import rc_jobs\nfrom bruno_spice.calibration.spice.ngspice import simulate\n"
        "print(simulate(rc_jobs([1e3])[0]).signals['v(out)'].sum())"
    )
    inside = f'mount --bind "{tmp_path}/passwd" /etc/passwd && exec "$0" -c "$1" "$2"'
    command = ["unshare", "-rm", "sh", "-c", inside, sys.executable, script, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    assert float(done.stdout) == float(calm["v(out)"].sum())
    assert not (tmp_path / "ran").exists()


def test_ngspice_runs_in_a_folder_where_nothing_is_and_nothing_can_be_put():
    with Worker() as worker:
        worker.start()
        folder = Path(f"/proc/{worker.process.pid}/cwd")
        if not folder.exists() and sys.platform != "linux":
            pytest.skip("only Linux shows a process's folder")
        assert list(folder.iterdir()) == []
        with pytest.raises(FileNotFoundError):
            (folder / ".spiceinit").write_text("set interp")


def test_another_library_of_the_same_version_has_another_identity(tmp_path, monkeypatch):
    usual = installed_ngspice()
    with Worker() as worker:
        worker.start()
        maps = Path(f"/proc/{worker.process.pid}/maps").read_text().split()
    own = tmp_path / "libngspice.so"
    shutil.copy(next(word for word in maps if "libngspice" in word), own)
    with own.open("ab") as file:
        file.write(b"\0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "./libngspice.so")
    with Worker() as worker:
        other = worker.start()
    assert other.version == usual.version
    assert other.identity != usual.identity
    assert JOB.key(other.identity) != JOB.key(usual.identity)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch):
    assert ctypes.util.find_library("ngspice")
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nowhere/libngspice.so")
    with Worker() as worker, pytest.raises(SimulationError, match=r"ngspice is not available; .*/nowhere/libngspice"):
        worker.start()


def test_a_full_disk_for_temporary_files_costs_no_simulation(calm, tmp_path, monkeypatch):
    """A TMPDIR that cannot be written; without any other place, a sentence that says so."""
    (tmp_path / "full").write_text("")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "full"))
    with Worker() as worker:
        assert_same(worker.run(JOB), calm)
    monkeypatch.setattr(worker_process, "TEMPORARY", ())
    with Worker() as worker, pytest.raises(SimulationError, match=r"none can be had: .*full: Not a directory"):
        worker.start()


def killed_at_start(times, monkeypatch, number=signal.SIGKILL):
    starts = []

    class Killed(WorkerProcess):
        def __init__(self, *asked):
            super().__init__(*asked)
            starts.append(self.pid)
            if len(starts) <= times:
                os.kill(self.pid, number)

    monkeypatch.setattr(bruno_spice.calibration.spice.ngspice, "WorkerProcess", Killed)
    return starts


def test_a_worker_killed_at_its_start_is_started_again_and_leaves_no_files(calm, tmp_path, monkeypatch):
    starts = killed_at_start(2, monkeypatch)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Worker() as worker:
        assert_same(worker.run(JOB), calm)
    assert len(starts) == 3
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_that_reaches_a_worker_at_its_start_changes_nothing(calm, monkeypatch):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it, and so would it
    starts = killed_at_start(1, monkeypatch, signal.SIGINT)
    with Worker() as worker:
        assert_same(worker.run(JOB), calm)
    assert len(starts) == 1


def test_workers_that_are_always_killed_end_in_one_true_error(monkeypatch):
    monkeypatch.setattr(worker_process, "PATIENCE_S", 0.0)
    monkeypatch.setattr(worker_process, "_LONGEST_PAUSE_S", 0.01)
    starts = killed_at_start(99, monkeypatch)
    says = r"rc.cir: its ngspice process was killed or stopped from outside 10 times, at last by signal 9; "
    with Worker() as worker, pytest.raises(SimulationError, match=says):
        worker.run(JOB)
    assert len(starts) == worker_process.ATTEMPTS == 10


def test_one_that_is_killed_by_the_second_is_tried_for_a_minute(calm, monkeypatch):
    """Found by `make chaos`: whatever worked alone at the end of a batch was killed ten times one after another."""
    monkeypatch.setattr(worker_process, "_LONGEST_PAUSE_S", 0.01)
    assert worker_process.PATIENCE_S == 60
    starts = killed_at_start(12, monkeypatch)
    with Worker() as worker:
        assert_same(worker.run(JOB), calm)
    assert len(starts) == 13


def test_a_worker_that_cannot_start_says_why(tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text("raise SystemError('no such luck')\n")
    monkeypatch.setattr(worker_process, "WORKER", tmp_path / "worker.py")
    with Worker() as worker, pytest.raises(SimulationError, match="could not start: SystemError: no such luck"):
        worker.start()


ORPHANED = """
import os, signal, time
from bruno_spice.calibration.spice.ngspice_worker import is_stopped
from bruno_spice.calibration.spice import worker_process
from bruno_spice.calibration.spice.worker_process import WorkerProcess
worker = WorkerProcess()
worker.greeting()
os.kill(worker.pid, signal.SIGSTOP)
while not is_stopped(worker.pid):
    time.sleep(0.01)
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stopped_worker_does_not_outlive_a_killed_parent():
    parent = subprocess.run([sys.executable, "-c", ORPHANED], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    left = Path(f"/proc/{int(parent.stdout)}")
    deadline_s = time.monotonic() + 20
    while left.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not left.exists()


@pytest.mark.parametrize("size", [0, 4 << 20], ids=["small deck", "deck beyond the pipe"])
def test_a_stopped_worker_does_not_hang(calm, monkeypatch, size):
    monkeypatch.setattr("bruno_spice.calibration.spice.ngspice_worker.STOPPED_LIMIT_S", 0.5)
    job = rc_jobs([1e3])[0]
    object.__setattr__(job, "deck", job.deck + f"* {'x' * 60}\n" * (size // 64))
    with Worker() as worker:
        worker.start()
        stopped = worker.process.pid
        os.kill(stopped, signal.SIGSTOP)
        started_s = time.monotonic()
        assert_same(worker.run(job), calm)
        assert time.monotonic() - started_s < 20
    assert not Path(f"/proc/{stopped}").exists()


@pytest.fixture(scope="module")
def slow():
    """A job of about half a second, and its undisturbed result."""
    job = slow_jobs(1, 4e-4)[0]
    return job, bruno_spice.calibration.spice.ngspice.simulate(job)


@pytest.mark.parametrize(
    "number", [signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name
)
def test_a_fork_that_gets_a_signal_changes_nothing(slow, number):
    job, calm = slow
    hit = []
    with Worker() as worker:
        worker.start()

        def send():
            deadline = time.monotonic() + 20
            while not hit and time.monotonic() < deadline:
                for fork in children(worker.process.pid):
                    os.kill(fork, number)
                    hit.append(fork)
                time.sleep(0.005)

        sender = threading.Thread(target=send)
        sender.start()
        disturbed = worker.run(job)
        sender.join()
    assert hit
    assert_same(disturbed, calm)


HALF = """
import json, os, struct, sys, time
def say(header, length):
    text = json.dumps(header).encode()
    os.write(1, struct.pack("<QQ", len(text), length) + text)
say({"status": "ready", "version": "39", "identity": "39"}, 0)
say({"status": "done", "names": ["time", "out"], "points": 9}, 144)
time.sleep(60)
"""


def test_half_an_answer_is_waited_for_as_long_as_a_job_may_take(tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text(HALF)
    monkeypatch.setattr(worker_process, "WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(bruno_spice.calibration.spice.ngspice, "_MARGIN_S", 0.5)
    started_s = time.monotonic()
    with Worker(time_limit_s=0.5) as worker, pytest.raises(SimulationError, match=r"rc\.cir: .* does not answer"):
        worker.run(JOB)
    assert time.monotonic() - started_s < 10


def test_a_job_of_a_computer_that_was_suspended_is_not_called_late(monkeypatch):
    """A clock that jumps by an hour."""
    watch = Watch(os.getpid(), limit_s=1.0)
    now_s = time.monotonic() + 3600.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    assert watch.verdict() is None
    now_s += 0.4
    assert watch.verdict() is None
    now_s += 0.4
    assert watch.verdict() == "hung"


def test_a_limit_on_the_address_space_of_the_shell_is_kept_to(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_farm import rc_jobs\nfrom bruno_spice.calibration.spice.ngspice import simulate\n"
        "print(simulate(rc_jobs([1e3])[0]).time_s[-1])"
    )
    command = 'ulimit -v 2000000; exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, script, str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert float(done.stdout) == pytest.approx(5e-6)
