import dataclasses
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import bruno_spice.devices.kept
from bruno_spice.calibration.errors import ConvergenceError, NetlistError, SimulationError
from bruno_spice.calibration.spice.farm import Farm, run_jobs, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import Worker, installed_ngspice
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.kept import Kept, prune

RC = "* rc\n.param r=1k ; [Ohm] load\nR1 in out {r}\nC1 out 0 1n\nV1 in 0 PWL(0 0 1n 1)\n.tran 10n 5u 0 10n\n"


def rc_jobs(resistances):
    netlist = Netlist.from_text(RC, "rc.cir")
    return [transient_job(netlist.with_params({"r": r}), ["v(out)"], None) for r in resistances]


@pytest.fixture
def own(tmp_path):
    return Farm(workers=2, store=Store(tmp_path / "my störe"))


def test_results_come_in_the_order_of_the_jobs_and_twins_run_once(own):
    waves = run_jobs(rc_jobs([1e3, 4e3, 1e3, 2e3]), own)
    ends = [wave["v(out)"][-1] for wave in waves]
    assert ends == pytest.approx([1 - np.exp(-5e-6 / (r * 1e-9)) for r in (1e3, 4e3, 1e3, 2e3)], abs=2e-3)
    assert len(list(own.store.entries())) == 3


def test_a_second_run_is_read_from_the_store(own, monkeypatch):
    first = run_jobs(rc_jobs([1e3]), own)[0]
    monkeypatch.setattr(Worker, "run", lambda *_: pytest.fail("simulated again"))
    second = run_jobs(rc_jobs([1e3]), own)[0]
    np.testing.assert_array_equal(first.time_s, second.time_s)
    np.testing.assert_array_equal(first["v(out)"], second["v(out)"])


@pytest.mark.parametrize("damage", ["sample", "header", "mark", "cut", "longer", "empty", "text", "renamed"])
def test_a_damaged_entry_is_simulated_again(own, damage):
    first = run_jobs(rc_jobs([1e3]), own)[0]
    path = own.store.entries()[0].path
    data = path.read_bytes()
    path.write_bytes(
        {
            "sample": flipped(data, -4 * len(data) // 10),
            "header": flipped(data, data.index(b"v(out)") + 2),
            "mark": flipped(data, 40),
            "cut": data[:-100],
            "longer": data + b"\0" * 16,
            "empty": b"",
            "text": b"{}\nhello",
            "renamed": Kept(own.store.path, ".wave").path(other_key(own)).read_bytes(),
        }[damage]
    )
    with pytest.warns(RuntimeWarning, match="damaged in part; that is not used but computed again"):
        second = run_jobs(rc_jobs([1e3]), own)[0]
    np.testing.assert_array_equal(first["v(out)"], second["v(out)"])
    assert own.store.get(path.stem) is not None


def flipped(data, position):
    damaged = bytearray(data)
    damaged[position] ^= 1
    return bytes(damaged)


def other_key(own):
    """The key of another, sound entry."""
    job = rc_jobs([2e3])[0]
    run_jobs([job], own)
    return job.key(installed_ngspice().identity)


def test_a_damaged_store_is_said_once_a_command(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_farm import rc_jobs\nfrom pathlib import Path\n"
        "from bruno_spice.calibration.spice.farm import Farm, run_jobs\n"
        "from bruno_spice.calibration.spice.store import Store\n"
        "store = Store(Path(sys.argv[2])); jobs = rc_jobs([1e3, 2e3, 3e3, 4e3]); run_jobs(jobs, Farm(store=store))\n"
        "for entry in store.entries(): entry.path.write_bytes(b'0')\n"
        "run_jobs(jobs, Farm(store=store))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)], capture_output=True, text=True
    )
    assert done.stderr.count("RuntimeWarning: what") == 1, done.stderr


def test_the_key_depends_on_everything_that_the_result_depends_on():
    job = rc_jobs([1e3])[0]
    keys = {
        job.key("39"),
        job.key("40"),
        rc_jobs([2e3])[0].key("39"),
        dataclasses.replace(job, t_stop_s=1e-6).key("39"),
        dataclasses.replace(job, vectors=("v(in)",)).key("39"),
        dataclasses.replace(job, deck=job.deck + ".options reltol=1e-6\n").key("39"),
    }
    assert len(keys) == 6


def test_a_full_disk_loses_the_store_and_not_the_result(own, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bruno_spice.devices.kept, "write_atomic", refuse)
    with pytest.warns(RuntimeWarning, match="used but not kept: cannot write to .*No space left"):
        wave = run_jobs(rc_jobs([1e3]), own)[0]
    assert wave.time_s[-1] == pytest.approx(5e-6)
    assert list(own.store.entries()) == []


def test_a_failure_keeps_the_other_results(own):
    good = rc_jobs([1e3, 2e3])
    bad = dataclasses.replace(good[0], deck=good[0].deck.replace("C1 out 0 1n", "X1 out nosub"), origins=())
    outcomes = try_jobs([good[0], bad, good[1]], own)
    assert isinstance(outcomes[1], NetlistError)
    assert outcomes[0]["v(out)"][-1] == pytest.approx(1 - np.exp(-5), abs=2e-3)
    with pytest.raises(NetlistError, match="nosub"):
        run_jobs([good[0], bad, good[1]], own)


def test_a_simulation_that_failed_is_tried_once_more_with_tighter_options(own, monkeypatch):
    attempts = []
    plain = Worker.run

    def fail_first(self, job):
        attempts.append(job)
        if len(attempts) == 1:
            raise ConvergenceError("did not converge")
        return plain(self, job)

    monkeypatch.setattr(Worker, "run", fail_first)
    with pytest.warns(RuntimeWarning, match=r"1 of 2 simulations did not converge .* with reltol=1e-06, .*: rc.cir$"):
        wave = run_jobs(rc_jobs([1e3, 2e3]), dataclasses.replace(own, workers=1))[0]
    assert wave["v(out)"][-1] == pytest.approx(1 - np.exp(-5), abs=2e-3)
    assert len(attempts) == 3
    assert "reltol=1e-06" in attempts[1].deck
    assert "reltol" not in attempts[0].deck


def test_the_result_of_a_retry_is_kept_as_the_tighter_deck_s_and_said_whenever_it_is_used(own, monkeypatch):
    plain, job = Worker.run, rc_jobs([1e3])[0]

    def fail_untightened(self, job):
        if "reltol" not in job.deck:
            raise ConvergenceError("did not converge")
        return plain(self, job)

    monkeypatch.setattr(Worker, "run", fail_untightened)
    with pytest.warns(RuntimeWarning, match="1 of 1 simulations did not converge"):
        first = run_jobs([job], own)[0]
    assert [entry.key for entry in own.store.entries()] == [job.tightened().key(installed_ngspice().identity)]
    monkeypatch.setattr(Worker, "run", lambda *_: pytest.fail("simulated again"))
    with pytest.warns(RuntimeWarning, match="1 of 1 simulations did not converge"):
        again = run_jobs([job], own)[0]
    np.testing.assert_array_equal(first["v(out)"], again["v(out)"])


def test_the_tighter_options_reach_ngspice(own):
    """A deck that asks for a careless reltol and gives the exact answer only with a tight one."""
    careless = rc_jobs([1e3])[0]
    deck = careless.deck.replace(".tran 10n 5u 0 10n", ".options reltol=0.5 trtol=7\n.tran 10n 5u 0 1u")
    assert deck != careless.deck
    rough = dataclasses.replace(careless, deck=deck, origins=())
    errors = []
    for job in (rough, rough.tightened()):
        wave = run_jobs([job], own)[0]
        errors.append(np.abs(wave["v(out)"] - (1 - np.exp(-wave.time_s / 1e-6))).max())
    assert errors[1] < 0.5 * errors[0]


def slow_jobs(count, t_stop_s=2e-3):
    netlist = Netlist.from_text(RC, "rc.cir").with_tran(t_stop_s, 10e-9)
    return [transient_job(netlist.with_params({"r": 1e3 + k}), ["v(out)"], t_stop_s) for k in range(count)]


def children(pid):
    """Process ids whose parent is `pid`."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in listing.split()]


def command_of(pid):
    """The words of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("whom", ["worker", "its fork"])
def test_a_process_killed_in_mid_run_changes_nothing(own, whom):
    job = slow_jobs(1)[0]
    calm = run_jobs([job], dataclasses.replace(own, store=None))[0]
    others, killed, forks = set(children(os.getpid())), [], []

    def kill():
        deadline = time.monotonic() + 20
        while not killed and time.monotonic() < deadline:
            for worker in set(children(os.getpid())) - others:
                for fork in children(worker):
                    victim = worker if whom == "worker" else fork
                    try:
                        os.kill(victim, signal.SIGKILL)
                    except ProcessLookupError:  # a helper of its start, gone by now
                        continue
                    killed.append(victim)
                    forks.append(fork)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    wave = run_jobs([job], dataclasses.replace(own, workers=1))[0]
    killer.join()
    assert killed
    np.testing.assert_array_equal(wave.time_s, calm.time_s)
    np.testing.assert_array_equal(wave["v(out)"], calm["v(out)"])
    assert [entry.key for entry in own.store.entries()] == [job.key(installed_ngspice().identity)]
    deadline = time.monotonic() + 20
    while command_of(forks[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not command_of(forks[0]), "it waits for a reader that is gone"


def test_ctrl_c_while_a_result_is_put_away_ends_the_workers(own, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "put", interrupted)
    before = children(os.getpid())
    with pytest.raises(KeyboardInterrupt):
        run_jobs(slow_jobs(40), own)
    started = set(children(os.getpid())) - set(before)
    assert not [pid for pid in started if b"ngspice_worker" in command_of(pid)]


def test_ctrl_c_ends_the_workers_and_leaves_nothing_half_written(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_farm import slow_jobs\n"
        "from pathlib import Path\n"
        "from bruno_spice.calibration.spice.farm import Farm, run_jobs\n"
        "from bruno_spice.calibration.spice.store import Store\n"
        "print('go', flush=True)\n"
        "run_jobs(slow_jobs(40), Farm(workers=2, store=Store(Path(sys.argv[2]))))\n"
    )
    folder = tmp_path / "store"
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", str(script), here, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    process.stdout.readline()
    deadline = time.monotonic() + 30
    while not list(folder.glob("??/*.wave")) and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"it hangs:\n{process.communicate()[1]}")
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert workers
    time.sleep(0.2)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not list(folder.glob("??/*.part"))
    store = Store(folder)
    assert all(store.get(entry.key) is not None for entry in store.entries())


def test_two_processes_can_share_a_store(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_farm import rc_jobs\n"
        "from pathlib import Path\n"
        "from bruno_spice.calibration.spice.farm import Farm, run_jobs\n"
        "from bruno_spice.calibration.spice.store import Store\n"
        "waves = run_jobs(rc_jobs([1e3 + k for k in range(12)]), Farm(workers=2, store=Store(Path(sys.argv[2]))))\n"
        "print(sum(float(w['v(out)'].sum()) for w in waves))\n"
    )
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path / "store")]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate(timeout=60)[0] for process in pair]
    assert sums[0] == sums[1]
    assert float(sums[0]) > 0
    assert len(list(Store(tmp_path / "store").entries())) == 12


def test_entries_are_listed_and_pruned_oldest_first(own):
    for r in (1e3, 2e3, 3e3):
        run_jobs(rc_jobs([r]), own)
        time.sleep(0.02)
    entries = list(own.store.entries())
    assert [entry.label for entry in entries] == ["rc.cir"] * 3
    removed = prune([own.store.kept], keep_bytes=entries[0].size_bytes)
    assert [entry.key for entry in removed] == [entries[2].key, entries[1].key]
    assert [entry.key for entry in own.store.entries()] == [entries[0].key]


def test_what_a_full_disk_or_a_model_breaks_is_one_job_s_outcome(own, monkeypatch):
    run = Worker.run

    def broken(self, job):
        if "r=2000" in job.deck.replace(" ", ""):
            raise OSError(errno.ENOSPC, "No space left on device", "model.osdi")
        return run(self, job)

    monkeypatch.setattr(Worker, "run", broken)
    first, second, third = try_jobs(rc_jobs([1e3, 2e3, 3e3]), own)
    assert isinstance(second, SimulationError)
    assert "model.osdi: No space left on device" in str(second)
    assert first["v(out)"][-1] > third["v(out)"][-1] > 0
